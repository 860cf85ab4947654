"""Masks of a dataset's images, which mark the pixels that belong to the object."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data.file_hashes import contents_of
from pytest_biastransfer.errors import DatasetError, nearest
from pytest_biastransfer.store import Facts, StoreDirectory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.float32]


class Masks(ABC):
    """One mask for each image of a dataset."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of all masks, in order."""

    @abstractmethod
    def mask(self, index: int) -> Mask:
        """Return one mask, float32 [1, height, width] in [0, 1], of the size of its image.

        Raises `DatasetError` if the mask cannot be read or has another shape.
        """


class MasksByIndex(Masks):
    """Masks that a function returns by index, with their fingerprint."""

    def __init__(self, read: Callable[[int], Mask], fingerprint: str) -> None:
        self._read = read
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """Hash of all masks."""
        return self._fingerprint

    def mask(self, index: int) -> Mask:
        """Return one mask."""
        return self._read(index)


class MaskFiles(Masks):
    """Masks in picture files: white is the object, gray a soft edge.

    Parameters
    ----------
    directory, files
        For each image, the file of its mask, relative to the directory.
    location
        Returns where an image's mask is named, for error messages.
    facts
        The cache of the files' hashes; default: none.
    """

    def __init__(
        self, directory: Path, files: Sequence[str], location_of: Callable[[int], str], facts: Facts | None = None
    ) -> None:
        self._paths = [str(directory / file) for file in files]
        self._location_of = location_of
        self._facts = facts or Facts(StoreDirectory(None))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the files' content."""
        return contents_of(self._paths, self._facts, lambda index: f"{self._location_of(index or 0)}: the mask")

    def mask(self, index: int) -> Mask:
        """Return the mask in one file."""
        from pytest_biastransfer.data.picture_decoding import read_picture

        location = f"{self._location_of(index)}: the mask {self._paths[index]}"
        return mask_of_pixels(read_picture(Path(self._paths[index]), location), location)


def as_mask(mask_like: Any, location: str) -> Mask:
    """Return a mask of any accepted kind as float32 [1, height, width] in [0, 1].

    Accepted are a picture, of which the brightest channel counts, and an array [height, width] or [1, height, width]
    of booleans, bytes, or floats in [0, 1]. In an array of bytes the object is 255, or 1 if no value is larger.
    `location` names the mask in error messages.
    """
    import numpy as np

    if hasattr(mask_like, "convert"):
        from pytest_biastransfer.data.picture_decoding import pixels

        return mask_of_pixels(pixels(mask_like, location), location)
    array = np.asarray(mask_like.detach().cpu().float() if hasattr(mask_like, "detach") else mask_like)
    array = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "bufi" or array.size == 0:
        raise DatasetError(f"{location} is {array.dtype} {list(array.shape)}, expected [height, width] of numbers")
    low, high = float(array.min()), float(array.max())
    mask: Mask = array.astype(np.float32)[None]
    if 128 <= high <= 255 and low >= 0 and high == int(high):
        return mask / np.float32(255)
    if not (low >= 0 and high <= 1):
        raise DatasetError(
            f"{location} has values from {low:g} to {high:g}; expected values in [0, 1], or bytes, of which 255 is the "
            f"object"
        )
    return mask


def mask_of_pixels(pixels: npt.NDArray[np.uint8 | np.float32], location: str) -> Mask:
    """Return a decoded picture [channels, height, width] as a mask; see `as_mask`."""
    return as_mask(pixels.max(axis=0), location)


def no_masks(name: str, dataset: str, others: Collection[str]) -> DatasetError:
    """Return the error for a dataset without masks of that name; `others` are the names of the masks that it has."""
    valid = f"; {nearest(name, others)}" if others else ", nor any others"
    return DatasetError(
        f"{dataset} has no masks {name!r}{valid}. Masks are arrays [height, width] or pictures in an item's third "
        f"element, (image, label, {{{name!r}: mask}}), or a column of files in the table of csv: or attributes=, "
        f"or arrays of npz: or pictures of hf:"
    )
