"""The masks that a dataset has of its images: which pixels belong to the object."""

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

        Raises `DatasetError` for one that cannot be read or is of another form.
        """


class MasksByIndex(Masks):
    """Masks that something returns by index, and whose fingerprint is known."""

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
        The file of each image's mask, relative to the directory.
    place
        Returns where an image's mask is named, for error messages.
    facts
        Where is kept what took long to find out about files.
    """

    def __init__(
        self, directory: Path, files: Sequence[str], place: Callable[[int], str], facts: Facts | None = None
    ) -> None:
        self._paths = [str(directory / file) for file in files]
        self._place = place
        self._facts = facts or Facts(StoreDirectory(None))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the files' content."""
        return contents_of(self._paths, self._facts, lambda index: f"{self._place(index or 0)}: the mask")

    def mask(self, index: int) -> Mask:
        """Return the mask in one file."""
        from pytest_biastransfer.data.picture_decoding import read_picture

        place = f"{self._place(index)}: the mask {self._paths[index]}"
        return mask_of_pixels(read_picture(Path(self._paths[index]), place), place)


def as_mask(found: Any, place: str) -> Mask:
    """Return a mask of any accepted kind as float32 [1, height, width].

    A picture, of which the brightest channel counts, or an array [height, width] or [1, height, width] of truth
    values, of bytes, or of floats in [0, 1]. Of bytes, 255 is the object, or 1 where there is nothing above.
    `place` names it in error messages.
    """
    import numpy as np

    if hasattr(found, "convert"):
        from pytest_biastransfer.data.picture_decoding import pixels

        return mask_of_pixels(pixels(found, place), place)
    array = np.asarray(found.detach().cpu().float() if hasattr(found, "detach") else found)
    array = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "bufi" or array.size == 0:
        raise DatasetError(f"{place} is {array.dtype} {list(array.shape)}, expected [height, width] of numbers")
    low, high = float(array.min()), float(array.max())
    mask: Mask = array.astype(np.float32)[None]
    if 128 <= high <= 255 and low >= 0 and high == int(high):
        return mask / np.float32(255)
    if not (low >= 0 and high <= 1):
        raise DatasetError(
            f"{place} has values from {low:g} to {high:g}; expected values in [0, 1], or bytes, of which 255 is the "
            f"object"
        )
    return mask


def mask_of_pixels(pixels: npt.NDArray[np.uint8 | np.float32], place: str) -> Mask:
    """Return the mask that a decoded picture [channels, height, width] is; see `as_mask`."""
    return as_mask(pixels.max(axis=0), place)


def no_masks(name: str, dataset: str, others: Collection[str]) -> DatasetError:
    """Return the error that a dataset has no masks of that name; `others` are those that it has."""
    valid = f"; {nearest(name, others)}" if others else ", nor any others"
    return DatasetError(
        f"{dataset} has no masks {name!r}{valid}. Masks are arrays [height, width] or pictures in an item's third "
        f"element, (image, label, {{{name!r}: mask}}), or a column of files in the table of csv: or attributes=, "
        f"or arrays of npz: or pictures of hf:"
    )
