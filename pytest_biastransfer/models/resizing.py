"""Resizes and crops single images with exactly the pixels of torchvision, timm and Hugging Face's processors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8 | np.float32]

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
ResizeMode = Literal["shortest", "longest", "exact"]
ResizeBackend = Literal["pillow", "torch"]
CropRounding = Literal["nearest", "down"]
Extent = int | tuple[int, int]

# The interpolations that torch has too.
_OF_TENSORS: Final = ("nearest", "bilinear", "bicubic")


def resized_extent(shape: Sequence[int], resize: Extent, mode: ResizeMode) -> tuple[int, int]:
    """Return (height, width) of an image of `shape` (height, width) after resizing.

    With one number for the shorter side, the longer side is rounded down, as in torchvision. In all other cases that
    keep the ratio, both sides are rounded to the nearest number, as in timm.
    """
    height, width = shape
    if mode == "shortest" and isinstance(resize, int):
        return (resize, int(resize * width / height)) if height <= width else (int(resize * height / width), resize)
    target = resize if isinstance(resize, tuple) else (resize, resize)
    if mode == "exact":
        return target
    ratios = height / target[0], width / target[1]
    ratio = min(ratios) if mode == "shortest" else max(ratios)
    # A very thin image keeps at least one row or column of pixels.
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def resized(
    image: Image,
    target: tuple[int, int],
    interpolation: Interpolation,
    antialias: bool = True,
    backend: ResizeBackend = "pillow",
) -> Image:
    """Return an image [channels, height, width], uint8 or float32 in [0, 1], resized to `target`.

    8-bit images with 1 or 3 channels are resized by the `backend`: Pillow as in torchvision and timm for pictures, or
    torch as in Hugging Face's processors. All other images are resized by torch, as in torchvision for tensors.
    """
    of_8_bits = image.dtype == "uint8" and image.shape[0] in (1, 3)
    if interpolation not in _OF_TENSORS or (of_8_bits and antialias and backend == "pillow"):
        return _by_pillow(image, target, interpolation)
    return _by_torch(image, target, interpolation, antialias, of_8_bits and backend == "torch")


def cropped(image: Image, crop: Extent, rounding: CropRounding = "nearest", fill: Sequence[float] = (0.0,)) -> Image:
    """Return the centre of an image [channels, height, width]; an image that is too small is padded with `fill`.

    `fill` is in [0, 1]. Where an odd number of rows or columns is cropped, `rounding` decides: torchvision and timm
    round half of it to the nearest even number at the top and the left, Hugging Face's processors round it down.
    """
    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    image = _padded(image, (height, width), fill)
    spare_rows_columns = image.shape[1] - height, image.shape[2] - width
    top, left = (surplus // 2 if rounding == "down" else round(surplus / 2) for surplus in spare_rows_columns)
    return image[:, top : top + height, left : left + width]


def _padded(image: Image, least_extent: tuple[int, int], fill: Sequence[float]) -> Image:
    import numpy as np

    missing = [max(least_side - side, 0) for least_side, side in zip(least_extent, image.shape[1:], strict=True)]
    if not any(missing):
        return image
    extent = [side + added for side, added in zip(image.shape[1:], missing, strict=True)]
    top, left = (added // 2 for added in missing)
    color = np.array(fill).reshape(-1, 1, 1)
    if image.dtype == np.uint8:
        color = (color * 255).round()
    framed = np.empty((image.shape[0], *extent), dtype=image.dtype)
    framed[:] = color
    framed[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    return framed


def _by_torch(
    image: Image, target: tuple[int, int], interpolation: Interpolation, antialias: bool, of_8_bits: bool
) -> Image:
    import numpy as np
    import torch
    from torch.nn import functional

    smooth = antialias and interpolation != "nearest"
    # For 8-bit images, torch's kernels follow Pillow's up to the last rounding steps.
    mode = "nearest-exact" if of_8_bits and interpolation == "nearest" else interpolation
    source = image if of_8_bits else image.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(source))[None]
    resized_image = functional.interpolate(tensor, target, mode=mode, antialias=smooth)[0].numpy()
    return _in_range(resized_image, image)


def _by_pillow(image: Image, target: tuple[int, int], interpolation: Interpolation) -> Image:
    import numpy as np
    from PIL import Image as PillowImage

    method = PillowImage.Resampling[interpolation.upper()]
    extent = target[1], target[0]
    if image.dtype == np.uint8 and image.shape[0] == 3:
        picture = PillowImage.fromarray(image.transpose(1, 2, 0))
        return np.asarray(picture.resize(extent, method)).transpose(2, 0, 1)
    # Pillow resizes single channels of uint8 or float32, and recognizes them by the dtype.
    channels = [np.asarray(PillowImage.fromarray(channel).resize(extent, method)) for channel in image]
    return _in_range(np.stack(channels), image)


def _in_range(pixels: npt.NDArray[Any], image: Image) -> Image:
    """Return resized pixels with the dtype of `image`, clipped to its range: some interpolations overshoot at edges."""
    import numpy as np

    if image.dtype == np.uint8:
        return pixels.round().clip(0, 255).astype(np.uint8)
    clipped: npt.NDArray[np.float32] = pixels.clip(0.0, 1.0)
    return clipped
