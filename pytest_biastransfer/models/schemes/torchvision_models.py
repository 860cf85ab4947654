"""``torchvision:NAME?weights=...``: a classification model of torchvision."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.error import URLError

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.safe_loading.state_files import read_state
from pytest_biastransfer.models.safe_loading.state_loading import load_state
from pytest_biastransfer.models.safe_loading.weights_file import weights_file, without_weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources, drawn_at_random
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.specs.spec import Spec

# The options that torchvision sets for its own weights, which were trained with another normalization of the input.
_WITH_WEIGHTS: Final = MappingProxyType(
    {
        "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
        "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
    }
)
# Some files have old names of torch's modules: norm.1 and conv.2 for norm1 and conv2.
_OLD_NAME: Final = re.compile(r"(?<=\.)(norm|relu|conv)\.(?=[12]\.)")


def _load(spec: Spec, architectures: Architectures) -> Model:
    weights = _weights(spec)
    if weights is None:
        return _architecture(spec)
    _require_own_head(spec, weights)
    path = weights_file(spec, _downloaded(spec, weights))
    model = _described(_built(spec, weights), weights, spec)
    state = {_OLD_NAME.sub(r"\1", name): value for name, value in read_state(path).items()}
    load_state(model.module, state, f"spec {spec.text!r}: {path}")
    return model


def _architecture(spec: Spec) -> Model:
    """Build the model without weights; `weights=` sets the preprocessing and, if their number fits, the class names."""
    without_weights_file(
        spec, "name them with &weights=, or a file of your own with checkpoint:FILE?arch=torchvision:..."
    )
    weights = _weights(spec)
    module = _built(spec, None)
    if weights is None:
        return Model(module, name=spec.rest, class_order="string")
    return _described(module, weights, spec)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    weights = _weights(spec)
    if weights is None:
        raise drawn_at_random()
    return Sources((_cached(weights),))


def _built(spec: Spec, weights: Any) -> Any:
    from torchvision import models

    count = spec.number("num_classes")
    options: dict[str, Any] = {} if count is None else {"num_classes": count}
    if weights is not None:
        options = {"num_classes": len(weights.meta["categories"])} | _WITH_WEIGHTS.get(spec.rest, {})
        if spec.rest.startswith("vit_"):
            options["image_size"] = weights.meta["min_size"][0]
    elif spec.rest in _WITH_WEIGHTS:
        # The default too, but set explicitly it avoids torchvision's warning about slow initialization.
        options["init_weights"] = True
    return models.get_model(spec.rest, weights=None, **options)


def _described(module: Any, weights: Any, spec: Spec) -> Model:
    preset, categories = weights.transforms(), weights.meta["categories"]
    count = spec.number("num_classes")
    return Model(
        module,
        preprocess=Preprocess(
            resize=preset.resize_size[0],
            crop=preset.crop_size[0],
            mean=preset.mean,
            std=preset.std,
            interpolation=preset.interpolation.value,
        ),
        classes=categories if categories and count in (None, len(categories)) else None,
        name=spec.rest,
        class_order="string",
    )


def _require_own_head(spec: Spec, weights: Any) -> None:
    if weights.meta["categories"] is None:
        raise ModelError(f"spec {spec.text!r}: {weights.name} are weights of the features alone, without a classifier")
    count, own = spec.number("num_classes"), len(weights.meta["categories"])
    if count not in (None, own):
        raise ModelError(
            f"spec {spec.text!r}: the weights are of {own} classes, num_classes={count}; leave num_classes out, or "
            f"name a file of your own: checkpoint:FILE?arch=torchvision:{spec.rest}&num_classes={count}"
        )


def _downloaded(spec: Spec, weights: Any) -> Path:
    """Return the file of the weights; it is downloaded if it is missing, as the spec names these weights."""
    import torch

    path = _cached(weights)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    digits = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        torch.hub.download_url_to_file(weights.url, str(path), digits and digits.group(1), progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"spec {spec.text!r}: {weights.url} cannot be downloaded ({error}); put the file at {path} yourself"
        ) from error
    return path


def _cached(weights: Any) -> Path:
    """Return the path in torch's cache to which weights are downloaded."""
    import torch

    return Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])


def _weights(spec: Spec) -> Any:
    """Return the weights that a spec names, or None; raise for a model or weights that torchvision does not have."""
    from torchvision import models

    spec.check_keys((*SHARED_KEYS, "weights", "num_classes"))
    # Detection, segmentation, video and quantized models live in modules of their own.
    available = models.list_models(module=models)
    if spec.rest not in available:
        raise ModelError(
            f"spec {spec.text!r}: torchvision has no classification model {spec.rest!r}; "
            f"{nearest(spec.rest, available)}"
        )
    requested = spec.query.get("weights")
    if requested is None:
        return None
    available_weights = models.get_model_weights(spec.rest)
    if requested == "DEFAULT":
        return available_weights.DEFAULT
    if requested not in available_weights.__members__:
        raise ModelError(
            f"spec {spec.text!r}: {spec.rest} has no weights {requested!r}; "
            f"{nearest(requested, [*available_weights.__members__, 'DEFAULT'])}"
        )
    return available_weights[requested]


SCHEME: Final = Scheme(_load, _sources_of, _architecture)
