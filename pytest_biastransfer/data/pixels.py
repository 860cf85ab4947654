"""The pixels that a model sees before normalization: decoded, resized, cropped, stacked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer.data.arrays import as_8_bit, as_float, in_depth_of, require_unit_range
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.labelled_images import LabelledImages
    from pytest_biastransfer.data.masks import Mask, Masks
    from pytest_biastransfer.models.preprocess import Preprocess

# Of small pictures, most of the time is Python's, which threads cannot share.
_LONG_SECONDS: Final = 1e-3

# Changes an image [channels, height, width], given its index, before it is resized.
SourceChange = Callable[["Image", int], "Image"]


def decode(
    images: LabelledImages,
    indices: Sequence[int],
    preprocess: Preprocess,
    change: SourceChange | None = None,
    *,
    threads: int = 1,
) -> Image:
    """Return the images at `indices` as [batch, channels, height, width], with all that the dataset makes of them.

    uint8 where that is exact, float32 in [0, 1] otherwise. `change` is applied to each image before
    it is resized and cropped. Several `threads` are used where the images can be read in parallel.
    """

    def decode_one(index: int) -> Image:
        return _decode_one(images, index, preprocess, change)

    start = time.perf_counter()
    stack = [decode_one(indices[0])]
    long = time.perf_counter() - start > _LONG_SECONDS
    if threads > 1 and long and images.reads_in_parallel:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            stack += pool.map(decode_one, indices[1:])
    else:
        stack += map(decode_one, indices[1:])
    # Not in the threads: a user's own intervention may not be made for several at once.
    stack = [images.finished(image, index, preprocess) for index, image in zip(indices, stack, strict=True)]
    _require_one_shape(images, indices, stack)
    if any(image.dtype != np.uint8 for image in stack):
        stack = [as_float(image) for image in stack]
    # One layout whatever the source's: kernels for another one round otherwise.
    return as_8_bit(np.ascontiguousarray(np.stack(stack)))


def decode_all_masks(
    images: LabelledImages, names: Sequence[str], indices: Sequence[int], preprocess: Preprocess
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the masks of several names, resized and cropped as `preprocess` does it with the images."""
    return {name: decode_masks(images, name, indices, preprocess.for_masks) for name in names}


def decode_masks(
    images: LabelledImages, name: str, indices: Sequence[int], preprocess: Preprocess
) -> npt.NDArray[np.float32]:
    """Return the masks of the images at `indices`, float32 [batch, 1, height, width] in [0, 1]."""
    masks = images.masks(name)
    found = [mask_of(masks, index, images.image(index), f"the mask {name!r} of {images.name}") for index in indices]
    return np.stack(list(map(preprocess.resize_and_crop, found))).astype(np.float32, copy=False).clip(0, 1)


def mask_of(masks: Masks, index: int, image: Image, place: str) -> Mask:
    """Return the mask of one image; raises `DatasetError`, which begins with `place`, if it is of another size."""
    mask = masks.mask(index)
    if mask.shape[1:] != image.shape[1:]:
        raise DatasetError(
            f"{place}: that of image {index} is {_extent(mask)} pixels, the image {_extent(image)}; expected the same"
        )
    return mask


def _decode_one(images: LabelledImages, index: int, preprocess: Preprocess, change: SourceChange | None) -> Image:
    image = images.image(index)
    place = f"image {index} of {images.name}"
    if preprocess.normalized_input:
        if image.dtype == np.uint8:
            raise DatasetError(
                f"{place}: is a picture of 8 bits, but the model declares Preprocess(normalized_input=True); "
                f"remove that, or normalize in the dataset"
            )
        image = as_8_bit(preprocess.undo_normalization(image))
    require_unit_range(image, place)
    image = preprocess.with_declared_channels(image)
    image = images.started(image, index)
    if change is not None:
        image = in_depth_of(change(image, index), image)
    return preprocess.resize_and_crop(image)


def _require_one_shape(images: LabelledImages, indices: Sequence[int], stack: Sequence[Image]) -> None:
    for index, image in zip(indices, stack, strict=True):
        if image.shape[0] != stack[0].shape[0]:
            raise DatasetError(
                f"image {index} of {images.name} has {image.shape[0]} channels, image {indices[0]} has "
                f"{stack[0].shape[0]}; expected the same of all"
            )
        if image.shape != stack[0].shape:
            raise DatasetError(
                f"image {index} of {images.name} is {_extent(image)} pixels, image {indices[0]} is "
                f"{_extent(stack[0])}; declare one size with the model: Preprocess(size=...)"
            )


def _extent(image: Image) -> str:
    return f"{image.shape[1]}×{image.shape[2]}"
