"""The two towers of CLIP and SigLIP, of images and of texts, each loaded from a common directory without the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.pretrained_module import (
    clear_errors,
    config_of,
    require_same_tensors,
    saved_tensors,
    transformers_of,
    with_own_tensors,
)
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tower:
    """One of the towers of a pair.

    Attributes
    ----------
    kind
        The name of its class in transformers.
    output
        The field of its output that is the embedding.
    tensors
        The beginnings of the names of its tensors in a file of both towers.
    """

    kind: str
    output: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Which classes of transformers a model consists of, and how it was trained.

    Attributes
    ----------
    images, texts
        Its towers.
    scalars
        The tensors beside them: the logarithm of the factor of cosines, and what is added.
    padding
        The length that texts were padded to: of the longest one, or of the longest that is possible.
    is_lower_case
        Whether it was trained with texts in lower case only.
    embeds_end
        Whether the embedding of a text is that of its last token, ``eos_token_id``.
    """

    images: Tower
    texts: Tower
    scalars: tuple[str, ...]
    padding: str
    is_lower_case: bool
    embeds_end: bool


# Tensors that older releases saved, and that newer ones compute.
_COMPUTED: Final = re.compile(r"(^|\.)position_ids$")
_PAIRS: Final = MappingProxyType(
    {
        "clip": Pair(
            images=Tower("CLIPVisionModelWithProjection", "image_embeds", ("vision_model.", "visual_projection.")),
            texts=Tower("CLIPTextModelWithProjection", "text_embeds", ("text_model.", "text_projection.")),
            scalars=("logit_scale",),
            padding="longest",
            is_lower_case=False,
            embeds_end=True,
        ),
        # SigLIP 2, too, whose models for pictures of one size are of the same classes.
        "siglip": Pair(
            images=Tower("SiglipVisionModel", "pooler_output", ("vision_model.",)),
            texts=Tower("SiglipTextModel", "pooler_output", ("text_model.",)),
            scalars=("logit_scale", "logit_bias"),
            padding="max_length",
            is_lower_case=True,
            embeds_end=False,
        ),
    }
)


class SavedTowers:
    """Both towers in a directory, as `save_pretrained` of a ``CLIPModel`` or a ``SiglipModel`` writes it.

    Parameters
    ----------
    spec
        The spec that names it, for error messages.
    directory
        The directory.

    Raises
    ------
    ModelError
        If it has another model, or its configuration refers to anything outside.
    """

    def __init__(self, spec: Spec, directory: Path) -> None:
        self.spec = spec
        self.directory = directory
        self.config = config_of(spec, directory)
        kind = str(self.config.model_type)
        if kind not in _PAIRS:
            raise ModelError(
                f"spec {spec.text!r}: {directory} has a model of the type {kind!r}, expected a CLIPModel or a "
                f"SiglipModel with both of its towers; {nearest(kind, _PAIRS)}"
                + ("; an image classifier is loaded by hf:" if _is_classifier(self.config) else "")
            )
        self.pair = _PAIRS[kind]
        # A tower alone takes the width of the common space from its own configuration, which may differ.
        if kind == "clip":
            for own in (self.config.vision_config, self.config.text_config):
                own.projection_dim = self.config.projection_dim

    @property
    def width(self) -> int:
        """The number of dimensions of an embedding."""
        # SigLIP's tower of images has no projection.
        return int(getattr(self.config, "projection_dim", None) or self.config.vision_config.hidden_size)

    def images(self) -> torch.nn.Module:
        """Return the tower of images; no tensor of the texts' is read. Raises `ModelError` for weights that differ."""
        return self._tower(self.pair.images, self.pair.texts, self.config.vision_config)

    def texts(self) -> torch.nn.Module:
        """Return the tower of texts. Raises `ModelError` for weights that differ."""
        return self._tower(self.pair.texts, self.pair.images, self.config.text_config)

    def scalars(self) -> dict[str, torch.Tensor]:
        """Return the tensors beside the towers, float32 with one element each, by name."""
        with clear_errors(self.spec, self.directory):
            saved = saved_tensors(self.spec, self.directory, self.pair.scalars)
        scalars: dict[str, torch.Tensor] = {}
        for name in self.pair.scalars:
            tensor = saved.get(name)
            if tensor is not None and tensor.numel() == 1:
                scalars[name] = tensor.float().clone()
            else:
                shape = "none" if tensor is None else list(tensor.shape)
                raise ModelError(
                    f"spec {self.spec.text!r}: {self.directory}: expected {name} with one element, found {shape}; save "
                    f"the whole model with save_pretrained()"
                )
        return scalars

    def _tower(self, tower: Tower, other: Tower, config: Any) -> torch.nn.Module:
        transformers = transformers_of(self.spec)
        kind = getattr(transformers, tower.kind)
        # The other tower's tensors are left over on purpose, and what else does not fit is an error below.
        with clear_errors(self.spec, self.directory), _without_warnings(transformers.utils.logging):
            module, info = with_own_tensors(kind, self.directory, config)
        left = [
            name
            for name in info["unexpected_keys"]
            if not name.startswith(other.tensors) and name not in self.pair.scalars and not _COMPUTED.search(name)
        ]
        require_same_tensors(self.spec, self.directory, kind.__name__, info, left)
        # transformers computes the positions, and does not save them. As saved ones they are a part of the model.
        for layer in module.modules():
            for name, buffer in list(layer.named_buffers(recurse=False)):
                layer.register_buffer(name, buffer)
        return module.float().eval()


@contextmanager
def _without_warnings(logging: Any) -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _is_classifier(config: Any) -> bool:
    return any("ForImageClassification" in str(name) for name in config.architectures or ())
