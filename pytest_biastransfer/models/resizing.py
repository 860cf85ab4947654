"""Resizing and cropping single images to the pixel as torchvision, timm and Hugging Face's processors do it."""

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

# Those that torch has too.
_OF_TENSORS: Final = ("nearest", "bilinear", "bicubic")


def resized_extent(shape: Sequence[int], resize: Extent, mode: ResizeMode) -> tuple[int, int]:
    """Return (height, width) of an image of `shape` (height, width) after resizing.

    One number for the shorter side rounds the longer one down, as torchvision does; in all other cases
    that keep the ratio both are rounded to the nearest, as timm does.
    """
    height, width = shape
    if mode == "shortest" and isinstance(resize, int):
        return (resize, int(resize * width / height)) if height <= width else (int(resize * height / width), resize)
    target = resize if isinstance(resize, tuple) else (resize, resize)
    if mode == "exact":
        return target
    ratios = height / target[0], width / target[1]
    ratio = min(ratios) if mode == "shortest" else max(ratios)
    # A line of pixels stays one.
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def resized(
    image: Image,
    target: tuple[int, int],
    interpolation: Interpolation,
    antialias: bool = True,
    backend: ResizeBackend = "pillow",
) -> Image:
    """Return an image [channels, height, width], uint8 or float32 in [0, 1], resized to `target`.

    Images of 8 bits with 1 or 3 channels are resized by the `backend`: Pillow, as torchvision and timm do with
    pictures, or torch, as Hugging Face's processors do. All others by torch, as torchvision does with tensors.
    """
    of_8_bits = image.dtype == "uint8" and image.shape[0] in (1, 3)
    if interpolation not in _OF_TENSORS or (of_8_bits and antialias and backend == "pillow"):
        return _by_pillow(image, target, interpolation)
    return _by_torch(image, target, interpolation, antialias, of_8_bits and backend == "torch")


def cropped(image: Image, crop: Extent, rounding: CropRounding = "nearest", fill: Sequence[float] = (0.0,)) -> Image:
    """Return the centre of an image [channels, height, width]; one that is too small is padded with `fill`, in [0, 1].

    Where as much cannot be taken from both sides, `rounding` decides: torchvision and timm take the nearest even
    number of pixels from the top and the left, Hugging Face's processors the smaller one.
    """
    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    image = _padded(image, (height, width), fill)
    spare = image.shape[1] - height, image.shape[2] - width
    top, left = (both // 2 if rounding == "down" else round(both / 2) for both in spare)
    return image[:, top : top + height, left : left + width]


def _padded(image: Image, least: tuple[int, int], fill: Sequence[float]) -> Image:
    import numpy as np

    missing = [max(wanted - there, 0) for wanted, there in zip(least, image.shape[1:], strict=True)]
    if not any(missing):
        return image
    extent = [there + more for there, more in zip(image.shape[1:], missing, strict=True)]
    top, left = (more // 2 for more in missing)
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
    # Of 8 bits, torch has the kernels of Pillow, but for their last steps.
    mode = "nearest-exact" if of_8_bits and interpolation == "nearest" else interpolation
    given = image if of_8_bits else image.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(given))[None]
    found = functional.interpolate(tensor, target, mode=mode, antialias=smooth)[0].numpy()
    return _in_range(found, image)


def _by_pillow(image: Image, target: tuple[int, int], interpolation: Interpolation) -> Image:
    import numpy as np
    from PIL import Image as PillowImage

    method = PillowImage.Resampling[interpolation.upper()]
    extent = target[1], target[0]
    if image.dtype == np.uint8 and image.shape[0] == 3:
        picture = PillowImage.fromarray(image.transpose(1, 2, 0))
        return np.asarray(picture.resize(extent, method)).transpose(2, 0, 1)
    # Numbers of 8 bits, or of 32: Pillow tells by the type of the array.
    channels = [np.asarray(PillowImage.fromarray(channel).resize(extent, method)) for channel in image]
    return _in_range(np.stack(channels), image)


def _in_range(found: npt.NDArray[Any], image: Image) -> Image:
    """Return what was resized as `image` is: of its type, and clipped, as some interpolations overshoot at edges."""
    import numpy as np

    if image.dtype == np.uint8:
        return found.round().clip(0, 255).astype(np.uint8)
    clipped: npt.NDArray[np.float32] = found.clip(0.0, 1.0)
    return clipped
