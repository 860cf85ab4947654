"""Makes the batches that a model gets before normalization: images are decoded, resized, cropped and stacked."""

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

# Below this, decoding an image is mostly Python code, which threads cannot run in parallel.
_SLOW_SECONDS: Final = 1e-3

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
    """Return the images at `indices` as [batch, channels, height, width], with all changes of the dataset.

    The result is uint8 where that is exact, else float32 in [0, 1]. `change` is applied to each image before it is
    resized and cropped. Up to `threads` threads decode where the dataset allows reading in parallel.
    """

    def decode_at(index: int) -> Image:
        return _decode_image(images, index, preprocess, change)

    start = time.perf_counter()
    stack = [decode_at(indices[0])]
    is_slow = time.perf_counter() - start > _SLOW_SECONDS
    if threads > 1 and is_slow and images.reads_in_parallel:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            stack += pool.map(decode_at, indices[1:])
    else:
        stack += map(decode_at, indices[1:])
    # Not in the threads: a user's own intervention need not be thread-safe.
    stack = [images.after_cropping(image, index, preprocess) for index, image in zip(indices, stack, strict=True)]
    _require_same_shape(images, indices, stack)
    if any(image.dtype != np.uint8 for image in stack):
        stack = [as_float(image) for image in stack]
    # One memory layout for all sources: kernels for another layout round differently.
    return as_8_bit(np.ascontiguousarray(np.stack(stack)))


def decode_all_masks(
    images: LabelledImages, names: Sequence[str], indices: Sequence[int], preprocess: Preprocess
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the masks of several names, resized and cropped as `preprocess` treats the images; see `decode_masks`."""
    return {name: decode_masks(images, name, indices, preprocess.for_masks) for name in names}


def decode_masks(
    images: LabelledImages, name: str, indices: Sequence[int], preprocess: Preprocess
) -> npt.NDArray[np.float32]:
    """Return the masks of the images at `indices`, float32 [batch, 1, height, width] in [0, 1]."""
    masks = images.masks(name)
    decoded = [mask_of(masks, index, images.image(index), f"the mask {name!r} of {images.name}") for index in indices]
    return np.stack(list(map(preprocess.resize_and_crop, decoded))).astype(np.float32, copy=False).clip(0, 1)


def mask_of(masks: Masks, index: int, image: Image, location: str) -> Mask:
    """Return the mask of one image; raise `DatasetError` if its size differs. The message begins with `location`."""
    mask = masks.mask(index)
    if mask.shape[1:] != image.shape[1:]:
        raise DatasetError(
            f"{location}: that of image {index} is {_extent(mask)} pixels, the image {_extent(image)}; expected the "
            f"same"
        )
    return mask


def _decode_image(images: LabelledImages, index: int, preprocess: Preprocess, change: SourceChange | None) -> Image:
    image = images.image(index)
    location = f"image {index} of {images.name}"
    if preprocess.normalized_input:
        if image.dtype == np.uint8:
            raise DatasetError(
                f"{location}: is a picture of 8 bits, but the model declares Preprocess(normalized_input=True); "
                f"remove that, or normalize in the dataset"
            )
        image = as_8_bit(preprocess.undo_normalization(image))
    require_unit_range(image, location)
    image = preprocess.with_declared_channels(image)
    image = images.before_resizing(image, index)
    if change is not None:
        image = in_depth_of(change(image, index), image)
    return preprocess.resize_and_crop(image)


def _require_same_shape(images: LabelledImages, indices: Sequence[int], stack: Sequence[Image]) -> None:
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
