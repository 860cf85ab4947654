"""Hugging Face's image processors as a `Preprocess`: the one that gives the same pixels."""

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

# Pillow's numbers of its filters.
_FILTERS: Final = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
# Below this, ConvNeXT's processor crops; from it on it squeezes the image.
_CROPPED_BELOW: Final = 384
_LEVIT_RATIO: Final = 256 / 224
# Libraries round by a step of 255 or two differently; a row too many or another filter is far more, in noise.
_TOLERANCE: Final = 2.5 / 255
# (height, width): one is shrunk, one enlarged; rows and columns are left over, an odd number of them too.
_EXTENTS: Final = ((301, 450), (75, 52))


def preprocess_of(processor: Any, place: str) -> Preprocess:
    """Return the preprocessing that gives the pixels of an image processor, found by trying it on pictures.

    Processors have options with the same names and different meanings; the pixels decide. Raises `ModelError` where
    a processor does something that a `Preprocess` cannot.
    """
    pairs = [(picture, _processed(processor, picture)) for picture in map(_picture, _EXTENTS)]
    differences = [
        (max(_difference(candidate, picture, wanted) for picture, wanted in pairs), candidate)
        for candidate in _candidates(processor)
    ]
    least, nearest = min(differences, key=lambda pair: pair[0])
    if least > _TOLERANCE:
        raise ModelError(
            f"{place}: its {type(processor).__name__} does something that cannot be expressed; declare the "
            f"preprocessing in the spec (&size=224&mean=0.5&std=0.5, ...), or write a fixture that returns "
            f"Model(module, Preprocess(...))"
        )
    return nearest


def channels_are_flipped(processor: Any) -> bool:
    """Whether the processor gives blue, green, red."""
    return bool(getattr(processor, "do_flip_channel_order", False))


def _candidates(processor: Any) -> Iterator[Preprocess]:
    interpolation: Any = _FILTERS[int(processor.resample)] if _does(processor, "resize") else "bilinear"
    crop = _extent(_plain(processor.crop_size)) if _does(processor, "center_crop") else None
    mean, std = _normalization(processor)
    roundings: tuple[CropRounding, ...] = ("down", "nearest")
    # Of two that give the same pixels here, the first is taken: the one that the processor says it uses.
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
    # Before version 5 of transformers, only the name tells.
    return getattr(processor, "backend", None) == "torchvision" or type(processor).__name__.endswith("Fast")


def _sizes(processor: Any) -> Iterator[tuple[Extent | None, Extent | None]]:
    """Yield what may be resized to, and cropped to after that."""
    if not _does(processor, "resize"):
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
    """Return mean and standard deviation of pixels in [0, 1] that do in one step what the processor does in several."""
    # Of pixels in [0, 1] it makes scale * pixel + shift.
    scale = 255 * processor.rescale_factor if _does(processor, "rescale") else 255.0
    shift = -1.0 if getattr(processor, "rescale_offset", False) else 0.0
    means, stds = [0.0] * 3, [1.0] * 3
    if _does(processor, "normalize"):
        means, stds = _of_channels(processor.image_mean), _of_channels(processor.image_std)
    # EfficientNet's divides once more, for the head it was trained with.
    again = _of_channels(processor.image_std) if getattr(processor, "include_top", False) else [1.0] * 3
    mean = [(one - shift) / scale for one in means]
    return mean, [std * more / scale for std, more in zip(stds, again, strict=True)]


def _of_channels(value: float | Sequence[float]) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [value] * 3


def _does(processor: Any, what: str) -> bool:
    return bool(getattr(processor, f"do_{what}", False))


def _plain(size: Any) -> dict[str, int]:
    """Return a size, a dictionary or an object with its names, as a dictionary of what is set."""
    pairs = size.items() if isinstance(size, Mapping) else vars(size).items()
    return {name: value for name, value in pairs if value is not None}


def _extent(size: Mapping[str, int]) -> Extent | None:
    return (size["height"], size["width"]) if "height" in size else size.get("shortest_edge")


def _picture(extent: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture, uint8 [3, height, width], of noise, in which no place looks like another."""
    rows, columns = np.mgrid[: extent[0], : extent[1]].astype(np.uint64)
    # No generator: it has to be the same picture with any version of numpy.
    mixed = (rows * np.uint64(7919) + columns * np.uint64(104729)) * np.uint64(0x9E3779B97F4A7C15)
    return np.stack([(mixed >> np.uint64(shift)).astype(np.uint8) for shift in (33, 41, 49)])


def _processed(processor: Any, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    from PIL import Image

    found = processor(Image.fromarray(picture.transpose(1, 2, 0)), return_tensors="np")["pixel_values"]
    pixels: npt.NDArray[np.float32] = np.asarray(found)[0]
    return pixels[::-1] if channels_are_flipped(processor) else pixels


def _difference(preprocess: Preprocess, picture: npt.NDArray[np.uint8], wanted: npt.NDArray[np.float32]) -> float:
    """Return the largest difference, in units of pixels in [0, 1]."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(preprocess.resize_and_crop(picture))).float() / 255
    found = preprocess.normalize(pixels[None])[0].numpy()
    if found.shape != wanted.shape:
        return np.inf
    return float((np.abs(found - wanted) * np.reshape(preprocess.std or 1.0, (-1, 1, 1))).max())
