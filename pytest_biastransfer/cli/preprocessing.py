"""What ``init`` does about the preprocessing of a model, without which it sees other images than in training."""

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
        The spec, with the keys that were missing, where they are known.
    note
        What is said about it in the terminal; empty where nothing was missing.
    question
        What a comment above its line asks for; empty where nothing is left to ask for.
    """

    spec: str
    note: str = ""
    question: str = ""


def completed(key: str, spec: Spec) -> Completed:
    """Return the spec of the ini value `key` with the preprocessing of its architecture, where it declares none."""
    lacking = [name for name in ("mean", "std") if name not in spec.query]
    sized = any(name in spec.query for name in _SIZES)
    if not lacking or _brings_its_own(spec):
        return Completed(spec.text)
    architecture = _torchvision_architecture(spec)
    unsaid = [*lacking, *(() if sized else ("size",))]
    added = None if architecture is None or len(lacking) == 1 else _keys_of(architecture, sized=sized)
    if added is None:
        return _asked(key, spec, unsaid)
    note = (
        f"{key}: the spec declared no {', '.join(unsaid)}, so {added} is added, as "
        f"torchvision's own weights of {architecture} want it; change it where this model was trained with another one"
    )
    return Completed(f"{spec.text}{'&' if '?' in spec.text else '?'}{added}", note)


def preprocessing_lines(model: Model, images: LabelledImages, path: Path) -> list[str]:
    """Return in words what happens to an image before a model sees it, and draw it beside the image in a file."""
    import torch

    from pytest_biastransfer.evaluation.preview import Canvas
    from pytest_biastransfer.evaluation.side_by_side import beside

    as_loaded = dataclasses.replace(model.preprocess, resize=None, crop=None)
    before, after = (Canvas(images, preprocess, [0]).pixels for preprocess in (as_loaded, model.preprocess))
    low, high = (float(end) for end in torch.aminmax(model.preprocess.normalize(after)))
    lines = [
        f"{model.name}: {model.preprocess.in_words}",
        f"{model.name}: gets values from {low:.2f} to {high:.2f} of the first image",
    ]
    if before.shape[1] in (1, 3) and after.shape[1] in (1, 3):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside(before, after).save(path)
        lines.append(f"{path}: the first image as it was loaded, and as {model.name} gets it before normalization")
    return lines


def _asked(key: str, spec: Spec, lacking: list[str]) -> Completed:
    made = ", unless the function itself returns a Model with them" if spec.scheme == "python" else ""
    question = f"with what {', '.join(lacking)} was this model trained? The spec declares none{made}"
    separator = "&" if spec.query else "?"
    example = f"{separator}{_EXAMPLE}, or {separator}mean=0&std=1 where it was trained without"
    return Completed(spec.text, f"{key}: {question}: add for example {example}", f"{question}, for example {example}")


def _brings_its_own(spec: Spec) -> bool:
    """Whether the preprocessing comes with the model."""
    if spec.scheme == "checkpoint" and "arch" in spec.query:
        return _brings_its_own(spec.nested("arch"))
    return spec.scheme in ("timm", "hf") or (spec.scheme == "torchvision" and "weights" in spec.query)


def _torchvision_architecture(spec: Spec) -> str | None:
    if spec.scheme == "checkpoint" and "arch" in spec.query:
        return _torchvision_architecture(spec.nested("arch"))
    return spec.rest if spec.scheme == "torchvision" else None


def _keys_of(architecture: str, *, sized: bool) -> str | None:
    """Return the keys that say what torchvision's own weights want; None for what it does not have."""
    from torchvision import models

    if architecture not in models.list_models(module=models):
        return None
    preset = models.get_model_weights(architecture).DEFAULT.transforms()
    normalization = "&".join(f"{name}={','.join(map(str, getattr(preset, name)))}" for name in ("mean", "std"))
    return normalization if sized else f"{_size(preset.crop_size[0], preset.resize_size[0])}&{normalization}"


def _size(crop: int, resize: int) -> str:
    if crop == resize:
        return f"size={crop}"
    # The share with the fewest digits that gives this size again, as it is rounded down.
    shares = [round(crop / resize, digits) for digits in range(2, 7)]
    share = next((share for share in shares if share <= 1 and math.floor(crop / share) == resize), None)
    return f"resize={resize}&crop={crop}" if share is None else f"size={crop}&crop_pct={share}"
