"""What happens to an image before the model sees it: resize, crop, scale, normalize."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from pytest_biastransfer.errors import ModelError, percent_hint
from pytest_biastransfer.fingerprints import fingerprint
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

_MOST_OF_A_BYTE: Final = 255
# In units of [0, 1]; nobody divides by more than twice the whole range.
_MOST: Final = {"mean": 1, "fill": 1, "std": 2}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The preprocessing of one model, in the terms of torchvision's transforms.

    An image is resized, cropped in its centre, scaled to [0, 1] and normalized to
    ``(image - mean) / std``. Interventions happen between cropping and normalizing.

    Parameters
    ----------
    size
        Short for ``resize=size, crop=size``: the whole shorter side, cropped to a square.
    crop_pct
        With `size`: resize to ``size / crop_pct`` (rounded down) instead, as timm and Hugging Face say it; in (0, 1].
    resize
        Pixels of the shorter side after resizing, or (height, width). Default: `size`, or no resizing.
    resize_mode
        ``"shortest"``: the ratio is kept, the image covers `resize`; ``"longest"``: it is kept, the image fits into
        `resize`; ``"exact"``: the image becomes `resize`, whatever its ratio. Default: ``"shortest"`` for one number,
        ``"exact"`` for two.
    crop
        Side of the square cropped from the centre, or (height, width). An image that is smaller is
        padded. Default: `size`, or no cropping.
    crop_rounding
        Where an odd number of rows or columns is cut off: ``"nearest"`` (default; torchvision, timm) cuts the even
        half of it from the top or left, ``"down"`` (Hugging Face) the smaller half.
    fill
        What is padded with: one number, or one a channel, in [0, 1]. Default: black.
    mean, std
        One number, or one a channel, in units of [0, 1]. Default: no normalization.
    interpolation
        ``"bilinear"`` (default), ``"bicubic"``, ``"nearest"``, ``"lanczos"``, ``"box"`` or ``"hamming"``, as Pillow
        defines them.
    antialias
        Whether ``"bilinear"`` and ``"bicubic"`` smooth what they shrink. Pillow always does, the others always do;
        without, images are resized as torch resizes tensors.
    resize_backend
        What resizes pictures of 8 bits: ``"pillow"`` (default), as torchvision and timm do, or ``"torch"``, as Hugging
        Face's processors do; they differ by at most two steps of 255.
    channels
        1 or 3: images are converted to so many channels before anything else happens to them, colours to gray as
        Pillow's mode ``"L"`` does it. Default: as many as the dataset's images have; pictures have 3.
    normalized_input
        The dataset's images come normalized with `mean` and `std` already. The normalization is then
        undone, so that interventions see an image in [0, 1], and done again for the model.

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
        for name, words in (
            ("interpolation", Interpolation),
            ("resize_mode", ResizeMode),
            ("resize_backend", ResizeBackend),
            ("crop_rounding", CropRounding),
        ):
            _require_word(name, getattr(self, name), get_args(words))
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
        """What nothing was said about: whether, and how, images are normalized, and, if so, resized.

        >>> Preprocess(size=224).undeclared, Preprocess().undeclared, Preprocess(mean=0, std=1).undeclared
        (['mean', 'std'], ['mean', 'std', 'size'], [])
        """
        lacking = [name for name in ("mean", "std") if getattr(self, name) is None]
        return [*lacking, "size"] if lacking and self.resize is None and self.crop is None else lacking

    @property
    def in_words(self) -> str:
        """All that happens to an image.

        >>> Preprocess(size=224, mean=0.5, std=0.25).in_words
        'resize 224 (shortest, bilinear), crop 224, mean 0.5, std 0.25'
        """
        resizing = None if self.resize is None else f"{self.resize} ({self.resize_mode}, {self.interpolation})"
        parts = {"resize": resizing, "crop": self.crop, "mean": self.mean, "std": self.std}
        texts = {name: _plain(value) for name, value in parts.items() if value is not None}
        if not texts:
            return "no preprocessing declared, images are only scaled to [0, 1]"
        words = ", ".join(f"{name} {text}" for name, text in texts.items())
        lacking = self.undeclared
        return f"{words}; no {' and no '.join(lacking)} declared" if lacking else words

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides about the model's input."""
        return fingerprint(self._geometry, self.mean, self.std, self.normalized_input)

    @property
    def pixels_fingerprint(self) -> str:
        """Hash of what decides about the pixels before normalization."""
        undone = (self.mean, self.std) if self.normalized_input else None
        return fingerprint(self._geometry, undone)

    @property
    def _geometry(self) -> tuple[object, ...]:
        resizing = (self.resize, self.resize_mode, self.interpolation, self.antialias, self.resize_backend)
        geometry = (*resizing, self.crop, self.crop_rounding, self.fill)
        return geometry if self.channels is None else (*geometry, self.channels)

    def resize_and_crop(self, image: Image) -> Image:
        """Return the image of [channels, height, width] resized and cropped, of the same dtype."""
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
        """Return an image [channels, height, width] with as many `channels` as are declared."""
        return image if self.channels is None else with_channels(image, self.channels)

    @property
    def for_masks(self) -> Preprocess:
        """What puts a mask [1, height, width] where the image is: outside of it there is no mask."""
        found: Preprocess = dataclasses.replace(self, fill=0.0)
        return found

    def undo_normalization(self, image: Image) -> Image:
        """Return a normalized image [channels, height, width] as it was in [0, 1]."""
        import numpy as np

        mean, std = (np.array(value, dtype=np.float32).reshape(-1, 1, 1) for value in (self.mean, self.std))
        _require_channels(image.shape[0], mean=len(mean), std=len(std))
        return image * std + mean

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Return images [batch, channels, height, width] in [0, 1] as the model wants them."""
        if self.mean is None and self.std is None:
            return images
        shape = (1, -1, 1, 1)
        mean = images.new_tensor(0.0 if self.mean is None else self.mean).reshape(shape)
        std = images.new_tensor(1.0 if self.std is None else self.std).reshape(shape)
        _require_channels(images.shape[1], mean=mean.shape[1], std=std.shape[1])
        return (images - mean) / std


def _require_pixels(name: str, value: object, most: int) -> None:
    parts = tuple(value) if isinstance(value, tuple | list) and len(value) == most > 1 else (value,)
    if value is None or all(type(part) is int and part > 0 for part in parts):
        return
    raise ModelError(f"Preprocess: {name}={value!r}, expected a whole number of pixels above 0")


def _resize_for(size: int | None, crop_pct: float | None) -> int | None:
    """Return what is resized to where only a size is given."""
    if crop_pct is None:
        return size
    if isinstance(crop_pct, bool) or not isinstance(crop_pct, int | float) or not 0.01 <= crop_pct <= 1:
        hint = percent_hint(crop_pct)
        raise ModelError(f"Preprocess: crop_pct={crop_pct!r}, expected a number from 0.01 to 1, such as 0.875{hint}")
    if size is None:
        raise ModelError(f"Preprocess: crop_pct={crop_pct!r} needs size=, the side of the crop that it is a share of")
    return math.floor(size / crop_pct)


def _plain(value: object) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


def _require_word(name: str, value: object, words: Sequence[str]) -> None:
    if value not in words:
        raise ModelError(f"Preprocess: {name}={value!r}, expected one of {words}")


def _numbers(name: str, value: object) -> tuple[float, ...]:
    parts: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,)
    wrong = not parts or not all(
        isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in parts
    )
    if wrong or (name == "std" and min(parts) <= 0):
        condition = ", above 0" if name == "std" else ""
        raise ModelError(f"Preprocess: {name}={value!r}, expected one number or one a channel{condition}")
    if max(parts) > _MOST[name]:
        shares = ",".join(f"{part / _MOST_OF_A_BYTE:.3g}" for part in parts)
        hint = f", not of 0 to 255; did you mean {shares}?" if max(parts) <= _MOST_OF_A_BYTE else ""
        raise ModelError(f"Preprocess: {name}={value!r}, expected numbers in units of [0, 1]{hint}")
    return tuple(map(float, parts))


def _require_channels(channels: int, **counts: int) -> None:
    for name, count in counts.items():
        if count not in (1, channels):
            raise ModelError(
                f"Preprocess: {name} has {count} values, but the images have {channels} channels; "
                f"expected {name}= of one number, or {channels}"
            )
