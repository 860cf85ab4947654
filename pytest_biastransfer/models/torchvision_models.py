"""``torchvision:NAME?weights=...``: torchvision's registry of classification models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.specs import Spec


def load(spec: Spec) -> Model:
    """Build the model; with weights, their preprocessing and class names come along."""
    from torchvision import models

    # Detection, segmentation, video and quantized models live in modules of their own.
    available = models.list_models(module=models)
    if spec.rest not in available:
        raise ModelError(
            f"spec {spec.text!r}: torchvision has no classification model {spec.rest!r}; "
            f"{nearest(spec.rest, available)}"
        )
    count = spec.number("num_classes")
    options = {} if count is None else {"num_classes": count}
    weights = _weights(spec)
    module = models.get_model(spec.rest, weights=weights, **options)
    if weights is None:
        return Model(module, name=spec.rest)
    preset = weights.transforms()
    return Model(
        module,
        preprocess=Preprocess(
            resize=preset.resize_size[0],
            crop=preset.crop_size[0],
            mean=preset.mean,
            std=preset.std,
            interpolation=preset.interpolation.value,
        ),
        classes=weights.meta["categories"],
        name=spec.rest,
    )


def weights_file(spec: Spec) -> Path | None:
    """Return where torch keeps the weights that a spec names, once they are downloaded."""
    import torch
    from torchvision import models

    weights = _weights(spec) if spec.rest in models.list_models(module=models) else None
    return weights and Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])


def _weights(spec: Spec) -> Any:
    from torchvision import models

    wanted = spec.query.get("weights")
    if wanted is None:
        return None
    known = models.get_model_weights(spec.rest)
    if wanted == "DEFAULT":
        return known.DEFAULT
    if wanted not in known.__members__:
        raise ModelError(
            f"spec {spec.text!r}: {spec.rest} has no weights {wanted!r}; "
            f"{nearest(wanted, [*known.__members__, 'DEFAULT'])}"
        )
    return known[wanted]
