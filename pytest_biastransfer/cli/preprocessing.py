"""``biastransfer init``: completes the preprocessing in a model's spec, and shows how an image looks after it.

A model without its preprocessing gets other images than in training.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.specs.spec import Spec

_EXAMPLE: Final = "size=224&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
_SIZES: Final = ("size", "resize", "crop")


@dataclass(frozen=True)
class Completed:
    """A model's spec with its preprocessing.

    Attributes
    ----------
    spec
        The spec, with the missing keys if they are known.
    note
        The message for the terminal; empty if nothing was missing.
    question
        The question for a comment above the line; empty if nothing is missing any more.
    """

    spec: str
    note: str = ""
    question: str = ""


def completed(key: str, spec: Spec) -> Completed:
    """Return the spec of the ini value `key`. If it declares no preprocessing, that of its architecture is added."""
    missing = [name for name in ("mean", "std") if name not in spec.query]
    sized = any(name in spec.query for name in _SIZES)
    if not missing or _brings_its_own(spec):
        return Completed(spec.text)
    architecture = _torchvision_architecture(spec)
    undeclared = [*missing, *(() if sized else ("size",))]
    added = None if architecture is None or len(missing) == 1 else _keys_of(architecture, sized=sized)
    if added is None:
        return _with_question(key, spec, undeclared)
    note = (
        f"{key}: the spec declared no {', '.join(undeclared)}, so {added} is added, the "
        f"preprocessing of torchvision's weights of {architecture}; change it if the model was trained otherwise"
    )
    return Completed(f"{spec.text}{'&' if '?' in spec.text else '?'}{added}", note)


def preprocessing_lines(model: Model, images: LabelledImages, path: Path) -> list[str]:
    """Return a description of a model's preprocessing. Draw the first image before and after it to a file."""
    import torch

    from pytest_biastransfer.evaluation.preview import Preview
    from pytest_biastransfer.evaluation.side_by_side import draw_pair

    as_loaded = dataclasses.replace(model.preprocess, resize=None, crop=None)
    before, after = (Preview(images, preprocess, [0]).pixels for preprocess in (as_loaded, model.preprocess))
    low, high = (float(end) for end in torch.aminmax(model.preprocess.normalize(after)))
    lines = [
        f"{model.name}: {model.preprocess.description}",
        f"{model.name}: gets values from {low:.2f} to {high:.2f} for the first image",
    ]
    if before.shape[1] in (1, 3) and after.shape[1] in (1, 3):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_pair(before, after).save(path)
        lines.append(f"{path}: the first image as loaded, and as {model.name} gets it before normalization")
    return lines


def _with_question(key: str, spec: Spec, missing: list[str]) -> Completed:
    exception = ", unless the function itself returns a Model with them" if spec.scheme == "python" else ""
    question = f"with what {', '.join(missing)} was this model trained? The spec declares none{exception}"
    separator = "&" if spec.query else "?"
    example = f"{separator}{_EXAMPLE}, or {separator}mean=0&std=1 if it was trained without normalization"
    return Completed(spec.text, f"{key}: {question}: add for example {example}", f"{question}, for example {example}")


def _brings_its_own(spec: Spec) -> bool:
    """Whether the preprocessing comes with the model."""
    spec = _innermost(spec)
    return spec.scheme in ("timm", "hf", "zeroshot") or (spec.scheme == "torchvision" and "weights" in spec.query)


def _torchvision_architecture(spec: Spec) -> str | None:
    spec = _innermost(spec)
    return spec.rest if spec.scheme == "torchvision" else None


def _innermost(spec: Spec) -> Spec:
    """Return the spec of the architecture, or of the backbone, that a spec's model is made of."""
    from pytest_biastransfer.models.loading import inner_of

    inner = inner_of(spec)
    return spec if inner is None else _innermost(inner)


def _keys_of(architecture: str, *, sized: bool) -> str | None:
    """Return the keys for the preprocessing of torchvision's weights; None for an unknown architecture."""
    from torchvision import models

    if architecture not in models.list_models(module=models):
        return None
    preset = models.get_model_weights(architecture).DEFAULT.transforms()
    normalization = "&".join(f"{name}={','.join(map(str, getattr(preset, name)))}" for name in ("mean", "std"))
    return normalization if sized else f"{_size(preset.crop_size[0], preset.resize_size[0])}&{normalization}"


def _size(crop: int, resize: int) -> str:
    if crop == resize:
        return f"size={crop}"
    # The share with the fewest digits that gives this size, because the resized side is rounded down.
    shares = [round(crop / resize, digits) for digits in range(2, 7)]
    share = next((share for share in shares if share <= 1 and math.floor(crop / share) == resize), None)
    return f"resize={resize}&crop={crop}" if share is None else f"size={crop}&crop_pct={share}"
