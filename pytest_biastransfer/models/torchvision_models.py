"""``torchvision:NAME?weights=...``: torchvision's registry of classification models."""

from __future__ import annotations

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
    wanted = spec.query.get("weights")
    if wanted is None:
        return Model(models.get_model(spec.rest, weights=None, **options), name=spec.rest)
    known = {weights.name: weights for weights in models.get_model_weights(spec.rest)}
    if wanted != "DEFAULT" and wanted not in known:
        raise ModelError(
            f"spec {spec.text!r}: {spec.rest} has no weights {wanted!r}; {nearest(wanted, [*known, 'DEFAULT'])}"
        )
    weights = models.get_model_weights(spec.rest).DEFAULT if wanted == "DEFAULT" else known[wanted]
    preset = weights.transforms()
    return Model(
        models.get_model(spec.rest, weights=weights, **options),
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
