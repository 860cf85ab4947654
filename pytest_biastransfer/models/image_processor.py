"""Finds the `Preprocess` that gives the same pixels as an image processor of Hugging Face."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.resizing import CropRounding, Extent, ResizeBackend

if TYPE_CHECKING:
    import numpy.typing as npt

# The names of Pillow's filters, in the order of Pillow's numbers.
_FILTERS: Final = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
# ConvNeXT's processor crops to sizes below this one. From this size on it resizes without keeping the ratio.
_CROPPED_BELOW: Final = 384
_LEVIT_RATIO: Final = 256 / 224
# Libraries differ by up to two steps of 255 in their rounding. A wrong row or filter differs far more, in noise.
_TOLERANCE: Final = 2.5 / 255
# (height, width) of the test pictures: one is shrunk, one is enlarged, and both even and odd margins are cropped.
_EXTENTS: Final = ((301, 450), (75, 52))


def preprocess_of(processor: Any, location: str) -> Preprocess:
    """Return the preprocessing that gives the pixels of an image processor, found by applying both to test pictures.

    Options of different processors have the same names and different meanings, so only the pixels are compared. Raises
    `ModelError` where a processor does something that a `Preprocess` cannot express.
    """
    pairs = [(picture, _processed(processor, picture)) for picture in map(_picture, _EXTENTS)]
    differences = [
        (max(_difference(candidate, picture, expected) for picture, expected in pairs), candidate)
        for candidate in _candidates(processor)
    ]
    least, nearest = min(differences, key=lambda pair: pair[0])
    if least > _TOLERANCE:
        raise ModelError(
            f"{location}: its {type(processor).__name__} does something that cannot be expressed; declare the "
            f"preprocessing in the spec (&size=224&mean=0.5&std=0.5, ...), or write a fixture that returns "
            f"Model(module, Preprocess(...))"
        )
    return nearest


def channels_are_flipped(processor: Any) -> bool:
    """Whether the processor returns the channels in the order blue, green, red."""
    return bool(getattr(processor, "do_flip_channel_order", False))


def _candidates(processor: Any) -> Iterator[Preprocess]:
    interpolation: Any = _FILTERS[int(processor.resample)] if _has_step(processor, "resize") else "bilinear"
    crop = _extent(_plain(processor.crop_size)) if _has_step(processor, "center_crop") else None
    mean, std = _normalization(processor)
    roundings: tuple[CropRounding, ...] = ("down", "nearest")
    # Where both backends give the same pixels, the first wins: the one that the processor declares.
    backends: list[ResizeBackend] = ["torch", "pillow"] if _uses_torch(processor) else ["pillow", "torch"]
    for (resize, own_crop), rounding, backend in itertools.product(_sizes(processor), roundings, backends):
        yield Preprocess(
            resize=resize,
            crop=crop or own_crop,
            crop_rounding=rounding,
            interpolation=interpolation,
            resize_backend=backend,
            mean=mean,
            std=std,
        )


def _uses_torch(processor: Any) -> bool:
    # transformers before version 5 have no such attribute; the class name shows the backend.
    return getattr(processor, "backend", None) == "torchvision" or type(processor).__name__.endswith("Fast")


def _sizes(processor: Any) -> Iterator[tuple[Extent | None, Extent | None]]:
    """Yield candidate sizes: the size to resize to, and the size of the crop."""
    if not _has_step(processor, "resize"):
        yield None, None
        return
    size, share = _plain(processor.size), getattr(processor, "crop_pct", None)
    shortest = size.get("shortest_edge")
    if shortest is None:
        yield _extent(size), None
        shortest = size["height"]
    elif not share:
        yield shortest, None
        yield int(_LEVIT_RATIO * shortest), None
    if share:
        squeezed = (shortest, shortest)
        yield (squeezed, None) if shortest >= _CROPPED_BELOW else (int(shortest / share), squeezed)
        yield int(shortest / share), None


def _normalization(processor: Any) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation, for pixels in [0, 1], that combine all scaling steps of the processor."""
    # The processor's first steps map a pixel in [0, 1] to scale * pixel + shift.
    scale = 255 * processor.rescale_factor if _has_step(processor, "rescale") else 255.0
    shift = -1.0 if getattr(processor, "rescale_offset", False) else 0.0
    means, stds = [0.0] * 3, [1.0] * 3
    if _has_step(processor, "normalize"):
        means, stds = _of_channels(processor.image_mean), _of_channels(processor.image_std)
    # EfficientNet's processor divides a second time, as its head was trained that way.
    second_std = _of_channels(processor.image_std) if getattr(processor, "include_top", False) else [1.0] * 3
    mean = [(channel_mean - shift) / scale for channel_mean in means]
    return mean, [std * divisor / scale for std, divisor in zip(stds, second_std, strict=True)]


def _of_channels(value: float | Sequence[float]) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [value] * 3


def _has_step(processor: Any, step: str) -> bool:
    return bool(getattr(processor, f"do_{step}", False))


def _plain(size: Any) -> dict[str, int]:
    """Return a size, which is a dictionary or an object, as a dictionary of the values that are set."""
    pairs = size.items() if isinstance(size, Mapping) else vars(size).items()
    return {name: value for name, value in pairs if value is not None}


def _extent(size: Mapping[str, int]) -> Extent | None:
    return (size["height"], size["width"]) if "height" in size else size.get("shortest_edge")


def _picture(extent: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture of noise, uint8 [3, height, width], so that any shift or other filter changes its pixels."""
    rows, columns = np.mgrid[: extent[0], : extent[1]].astype(np.uint64)
    # Hashed by hand: numpy's generators do not promise the same numbers in all versions.
    mixed = (rows * np.uint64(7919) + columns * np.uint64(104729)) * np.uint64(0x9E3779B97F4A7C15)
    return np.stack([(mixed >> np.uint64(shift)).astype(np.uint8) for shift in (33, 41, 49)])


def _processed(processor: Any, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    from PIL import Image

    batch = processor(Image.fromarray(picture.transpose(1, 2, 0)), return_tensors="np")["pixel_values"]
    pixels: npt.NDArray[np.float32] = np.asarray(batch)[0]
    return pixels[::-1] if channels_are_flipped(processor) else pixels


def _difference(preprocess: Preprocess, picture: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> float:
    """Return the largest difference between both results, in units of pixels in [0, 1]."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(preprocess.resize_and_crop(picture))).float() / 255
    actual = preprocess.normalize(pixels[None])[0].numpy()
    if actual.shape != expected.shape:
        return np.inf
    return float((np.abs(actual - expected) * np.reshape(preprocess.std or 1.0, (-1, 1, 1))).max())
