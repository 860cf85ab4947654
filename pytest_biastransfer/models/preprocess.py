"""What happens to an image before the model sees it: resize, crop, scale, normalize."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    Image = npt.NDArray[np.uint8 | np.float32]

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Extent = int | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The preprocessing of one model, in the terms of torchvision's transforms.

    An image is resized, cropped in its centre, scaled to [0, 1] and normalized to
    ``(image - mean) / std``. Interventions happen between cropping and normalizing.

    Parameters
    ----------
    size
        Short for ``resize=size, crop=size``: the whole shorter side, cropped to a square.
    resize
        Pixels of the shorter side after resizing, or (height, width). Default: `size`, or no resizing.
    crop
        Side of the square cropped from the centre, or (height, width). An image that is smaller is
        padded with black. Default: `size`, or no cropping.
    mean, std
        One number, or one a channel, in units of [0, 1]. Default: no normalization.
    interpolation
        ``"bilinear"`` (default), ``"bicubic"`` or ``"nearest"``; the first two with antialiasing.
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
    resize: Extent | None = None
    crop: Extent | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    interpolation: Interpolation = "bilinear"
    normalized_input: bool = False

    def __post_init__(self, size: int | None) -> None:
        _require_pixels("size", size, 1)
        for name in ("resize", "crop"):
            value = size if getattr(self, name) is None else getattr(self, name)
            _require_pixels(name, value, 2)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)
        if self.interpolation not in get_args(Interpolation):
            raise ModelError(
                f"Preprocess: interpolation={self.interpolation!r}, expected one of {get_args(Interpolation)}"
            )
        if self.normalized_input and (self.mean is None or self.std is None):
            raise ModelError(
                "Preprocess: normalized_input=True needs mean= and std=, those that the dataset normalizes with"
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value))

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides about the model's input."""
        return fingerprint(self.resize, self.crop, self.mean, self.std, self.interpolation, self.normalized_input)

    @property
    def pixels_fingerprint(self) -> str:
        """Hash of what decides about the pixels before normalization."""
        undone = (self.mean, self.std) if self.normalized_input else None
        return fingerprint(self.resize, self.crop, self.interpolation, undone)

    def resize_and_crop(self, image: Image) -> Image:
        """Return the image of [channels, height, width] resized and cropped, of the same dtype."""
        if self.resize is not None:
            target = _resized_extent(image.shape[1:], self.resize)
            if target != image.shape[1:]:
                image = _resize(image, target, self.interpolation)
        return image if self.crop is None else _crop_center(image, self.crop)

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


def _numbers(name: str, value: object) -> tuple[float, ...]:
    parts: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,)
    wrong = not parts or not all(
        isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in parts
    )
    if wrong or (name == "std" and min(parts) <= 0):
        condition = ", above 0" if name == "std" else ""
        raise ModelError(f"Preprocess: {name}={value!r}, expected one number or one a channel{condition}")
    return tuple(map(float, parts))


def _require_channels(channels: int, **counts: int) -> None:
    for name, count in counts.items():
        if count not in (1, channels):
            raise ModelError(f"Preprocess: {name} has {count} values, but the images have {channels} channels")


def _resized_extent(shape: tuple[int, ...], resize: Extent) -> tuple[int, int]:
    """Return (height, width); a single number is the shorter side's, the longer one is rounded down."""
    if isinstance(resize, tuple):
        return resize
    height, width = shape
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def _resize(image: Image, target: tuple[int, int], interpolation: Interpolation) -> Image:
    """Resize 8-bit images with Pillow, as torchvision does with pictures, others as it does with tensors."""
    import numpy as np

    if image.dtype != np.uint8 or image.shape[0] not in (1, 3):
        import torch
        from torch.nn import functional

        tensor = torch.from_numpy(image.astype(np.float32))[None]
        antialias = interpolation != "nearest"
        resized = functional.interpolate(tensor, target, mode=interpolation, antialias=antialias)[0].numpy()
        if image.dtype == np.uint8:
            return resized.round().clip(0, 255).astype(np.uint8)
        # Bicubic interpolation overshoots at edges.
        clipped: npt.NDArray[np.float32] = resized.clip(0.0, 1.0)
        return clipped
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    method = PillowImage.Resampling[interpolation.upper()]
    pixels = np.asarray(picture.resize((target[1], target[0]), method))
    return pixels[None] if image.shape[0] == 1 else pixels.transpose(2, 0, 1)


def _crop_center(image: Image, crop: Extent) -> Image:
    import numpy as np

    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    missing = (max(height - image.shape[1], 0), max(width - image.shape[2], 0))
    if any(missing):
        padding = [(0, 0), *((both // 2, (both + 1) // 2) for both in missing)]
        image = np.pad(image, padding)
    top = round((image.shape[1] - height) / 2)
    left = round((image.shape[2] - width) / 2)
    return image[:, top : top + height, left : left + width]
