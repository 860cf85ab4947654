"""The preprocessing of a model's images: resize, crop, scale, normalize."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from pytest_biastransfer.errors import ModelError, percent_hint
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions.host_tensors import constant
from pytest_biastransfer.models.channels import with_channels
from pytest_biastransfer.models.resizing import (
    CropRounding,
    Extent,
    Interpolation,
    ResizeBackend,
    ResizeMode,
    cropped,
    resized,
    resized_extent,
)

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.models.resizing import Image

_BYTE_MAX: Final = 255
# In units of [0, 1]. A larger value was most likely meant in units of [0, 255].
_UPPER_BOUNDS: Final = {"mean": 1, "fill": 1, "std": 2}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The preprocessing of one model, in the terms of torchvision's transforms.

    An image is resized, cropped at its centre, scaled to [0, 1] and normalized to ``(image - mean) / std``.
    Interventions are applied between cropping and normalizing.

    Parameters
    ----------
    size
        Short for ``resize=size, crop=size``: the shorter side is resized, then a square is cropped.
    crop_pct
        With `size`: resize to ``size / crop_pct`` (rounded down) instead, as timm and Hugging Face do; in [0.01, 1].
    resize
        Pixels of the shorter side after resizing, or (height, width). Default: `size`, or no resizing.
    resize_mode
        ``"shortest"`` keeps the aspect ratio, and the image covers `resize`; ``"longest"`` keeps it, and the image fits
        into `resize`; ``"exact"`` resizes to `resize` without keeping it. Default: ``"shortest"`` for one number,
        ``"exact"`` for two.
    crop
        Side of the square cropped from the centre, or (height, width). A smaller image is padded. Default: `size`, or
        no cropping.
    crop_rounding
        How half of an odd number of cropped rows or columns is rounded at the top and the left: ``"nearest"``
        (default; torchvision, timm) rounds to the nearest even number, ``"down"`` (Hugging Face) rounds down.
    fill
        The value of the padding: one number, or one a channel, in [0, 1]. Default: black.
    mean, std
        One number, or one a channel, in units of [0, 1]. Default: no normalization.
    interpolation
        ``"bilinear"`` (default), ``"bicubic"``, ``"nearest"``, ``"lanczos"``, ``"box"`` or ``"hamming"``, as Pillow
        defines them.
    antialias
        Whether ``"bilinear"`` and ``"bicubic"`` smooth when they shrink an image; with False, images are resized as
        torch resizes tensors. ``"lanczos"``, ``"box"`` and ``"hamming"`` always smooth.
    resize_backend
        The library that resizes 8-bit images: ``"pillow"`` (default) as in torchvision and timm, or ``"torch"`` as in
        Hugging Face's processors. The results differ by at most 2/255.
    channels
        1 or 3: the number of channels to which images are converted first; colours become gray as in Pillow's mode
        ``"L"``. Default: the number of channels of the dataset's images; pictures have 3.
    normalized_input
        Whether the dataset's images are already normalized with `mean` and `std`. The normalization is then undone, so
        that interventions get an image in [0, 1], and applied again for the model.

    Raises
    ------
    ModelError
        If a value is out of range.

    Examples
    --------
    >>> Preprocess(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).crop
    224
    """

    size: InitVar[int | None] = None
    crop_pct: InitVar[float | None] = None
    resize: Extent | None = None
    resize_mode: ResizeMode | None = None
    crop: Extent | None = None
    crop_rounding: CropRounding = "nearest"
    fill: float | Sequence[float] = 0.0
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    resize_backend: ResizeBackend = "pillow"
    channels: int | None = None
    normalized_input: bool = False

    def __post_init__(self, size: int | None, crop_pct: float | None) -> None:
        _require_pixels("size", size, 1)
        for name, default in (("resize", _resize_for(size, crop_pct)), ("crop", size)):
            value = default if getattr(self, name) is None else getattr(self, name)
            _require_pixels(name, value, 2)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)
        if self.resize_mode is None:
            object.__setattr__(self, "resize_mode", "exact" if isinstance(self.resize, tuple) else "shortest")
        for name, choices in (
            ("interpolation", Interpolation),
            ("resize_mode", ResizeMode),
            ("resize_backend", ResizeBackend),
            ("crop_rounding", CropRounding),
        ):
            _require_choice(name, getattr(self, name), get_args(choices))
        if self.channels is not None and (isinstance(self.channels, bool) or self.channels not in (1, 3)):
            raise ModelError(f"Preprocess: channels={self.channels!r}, expected 1 (gray) or 3 (colours)")
        if self.normalized_input and (self.mean is None or self.std is None):
            raise ModelError(
                "Preprocess: normalized_input=True needs mean= and std=, those that the dataset normalizes with"
            )
        for name in ("mean", "std", "fill"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value))

    @property
    def undeclared(self) -> list[str]:
        """The missing declarations: mean and standard deviation, and if one of them is missing, also the size.

        >>> Preprocess(size=224).undeclared, Preprocess().undeclared, Preprocess(mean=0, std=1).undeclared
        (['mean', 'std'], ['mean', 'std', 'size'], [])
        """
        lacking = [name for name in ("mean", "std") if getattr(self, name) is None]
        return [*lacking, "size"] if lacking and self.resize is None and self.crop is None else lacking

    @property
    def description(self) -> str:
        """The steps in one line, for reports.

        >>> Preprocess(size=224, mean=0.5, std=0.25).description
        'resize 224 (shortest, bilinear), crop 224, mean 0.5, std 0.25'
        """
        resizing = None if self.resize is None else f"{self.resize} ({self.resize_mode}, {self.interpolation})"
        steps = {"resize": resizing, "crop": self.crop, "mean": self.mean, "std": self.std}
        texts = {name: _plain(value) for name, value in steps.items() if value is not None}
        if not texts:
            return "no preprocessing declared, images are only scaled to [0, 1]"
        text = ", ".join(f"{name} {text}" for name, text in texts.items())
        lacking = self.undeclared
        return f"{text}; no {' and no '.join(lacking)} declared" if lacking else text

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the model's input depends on."""
        return fingerprint(self._geometry, self.mean, self.std, self.normalized_input)

    @property
    def pixels_fingerprint(self) -> str:
        """Hash of everything that the pixels before normalization depend on."""
        undone = (self.mean, self.std) if self.normalized_input else None
        return fingerprint(self._geometry, undone)

    @property
    def _geometry(self) -> tuple[object, ...]:
        resizing = (self.resize, self.resize_mode, self.interpolation, self.antialias, self.resize_backend)
        geometry = (*resizing, self.crop, self.crop_rounding, self.fill)
        return geometry if self.channels is None else (*geometry, self.channels)

    def resize_and_crop(self, image: Image) -> Image:
        """Return an image [channels, height, width] resized and cropped, with the same dtype."""
        if self.resize is not None and self.resize_mode is not None:
            target = resized_extent(image.shape[1:], self.resize, self.resize_mode)
            if target != image.shape[1:]:
                image = resized(image, target, self.interpolation, self.antialias, self.resize_backend)
        if self.crop is None:
            return image
        fill: Any = self.fill
        _require_channels(image.shape[0], fill=len(fill))
        return cropped(image, self.crop, self.crop_rounding, fill)

    def with_declared_channels(self, image: Image) -> Image:
        """Return an image [channels, height, width] with the declared number of `channels`."""
        return image if self.channels is None else with_channels(image, self.channels)

    @property
    def for_masks(self) -> Preprocess:
        """The same geometry for masks [1, height, width], padded with 0: the padding belongs to no object."""
        preprocess: Preprocess = dataclasses.replace(self, fill=0.0)
        return preprocess

    def undo_normalization(self, image: Image) -> Image:
        """Return a normalized image [channels, height, width] in [0, 1], as it was before the normalization."""
        import numpy as np

        mean, std = (np.array(value, dtype=np.float32).reshape(-1, 1, 1) for value in (self.mean, self.std))
        _require_channels(image.shape[0], mean=len(mean), std=len(std))
        return image * std + mean

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Return images [batch, channels, height, width] in [0, 1], normalized for the model."""
        if self.mean is None and self.std is None:
            return images
        shape = (1, -1, 1, 1)
        mean = constant(0.0 if self.mean is None else self.mean, images).reshape(shape)
        std = constant(1.0 if self.std is None else self.std, images).reshape(shape)
        _require_channels(images.shape[1], mean=mean.shape[1], std=std.shape[1])
        return (images - mean) / std


def _require_pixels(name: str, value: object, most_numbers: int) -> None:
    numbers = tuple(value) if isinstance(value, tuple | list) and len(value) == most_numbers > 1 else (value,)
    if value is None or all(type(number) is int and number > 0 for number in numbers):
        return
    raise ModelError(f"Preprocess: {name}={value!r}, expected a whole number of pixels above 0")


def _resize_for(size: int | None, crop_pct: float | None) -> int | None:
    """Return the size to resize to where only `size` and `crop_pct` are declared."""
    if crop_pct is None:
        return size
    if isinstance(crop_pct, bool) or not isinstance(crop_pct, int | float) or not 0.01 <= crop_pct <= 1:
        hint = percent_hint(crop_pct)
        raise ModelError(f"Preprocess: crop_pct={crop_pct!r}, expected a number from 0.01 to 1, such as 0.875{hint}")
    if size is None:
        raise ModelError(f"Preprocess: crop_pct={crop_pct!r} needs size=, the side of the crop that it is a share of")
    return math.floor(size / crop_pct)


def _plain(value: object) -> str:
    return ",".join(f"{number:g}" for number in value) if isinstance(value, tuple) else str(value)


def _require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ModelError(f"Preprocess: {name}={value!r}, expected one of {choices}")


def _numbers(name: str, value: object) -> tuple[float, ...]:
    numbers: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,)
    wrong = not numbers or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers
    )
    if wrong or (name == "std" and min(numbers) <= 0):
        condition = ", above 0" if name == "std" else ""
        raise ModelError(f"Preprocess: {name}={value!r}, expected one number or one a channel{condition}")
    if max(numbers) > _UPPER_BOUNDS[name]:
        shares = ",".join(f"{number / _BYTE_MAX:.3g}" for number in numbers)
        hint = f", not of 0 to 255; did you mean {shares}?" if max(numbers) <= _BYTE_MAX else ""
        raise ModelError(f"Preprocess: {name}={value!r}, expected numbers in units of [0, 1]{hint}")
    return tuple(map(float, numbers))


def _require_channels(channels: int, **counts: int) -> None:
    for name, count in counts.items():
        if count not in (1, channels):
            raise ModelError(
                f"Preprocess: {name} has {count} values, but the images have {channels} channels; "
                f"expected {name}= of one number, or {channels}"
            )
