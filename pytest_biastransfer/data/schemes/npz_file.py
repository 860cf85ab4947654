"""``npz:FILE?image=images&label=labels``: arrays of numpy, never unpickled."""

from __future__ import annotations

import functools
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data.cached_index import CachedIndexImages, DatasetIndex, require_labels
from pytest_biastransfer.data.masks import as_mask
from pytest_biastransfer.errors import DatasetError, nearest
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.label_table import TableTexts
    from pytest_biastransfer.data.masks import Mask

    Arrays = Mapping[str, npt.NDArray[Any]]

KEYS: Final = ("image", "label")
_CLASSES: Final = "classes"
_CHANNELS: Final = (1, 3, 4)
_FLOATS: Final = ("float16", "float32", "float64")

# MemoryError: a damaged header declares an array larger than the memory. RuntimeError: the archive is encrypted, or
# uses a compression that Python does not support.
_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def load(spec: Spec, facts: Facts | None) -> ArrayImages:
    """Return the images in the file that a spec names."""
    return ArrayImages(spec.path(), spec.query.get("image", "images"), spec.query.get("label", "labels"), facts)


class ArrayImages(CachedIndexImages):
    """Images in a file of arrays.

    Parameters
    ----------
    path
        The file.
    image
        The array of the images, uint8 or floats in [0, 1]: [images, height, width], or with 1, 3 or 4 channels
        [images, channels, height, width] or [images, height, width, channels].
    label
        The array of the labels, whole numbers from 0 on: [images] or [images, 1]; or several labels of each image,
        [images, labels], which are 1, 0, or for unknown -1 or NaN. An optional array ``classes`` has the names of the
        classes or of the labels. All other arrays [images] of strings or numbers are attributes, and arrays
        [images, height, width] are masks.
    facts
        The cache of the file's hash and index; default: none.
    """

    reads_in_parallel = True

    def __init__(self, path: Path, image: str, label: str, facts: Facts | None = None) -> None:
        if not path.is_file():
            raise DatasetError(f"npz {path}: no such file")
        if image == label:
            raise DatasetError(f"npz {path}: the images and the labels cannot both be the array {image!r}")
        super().__init__(facts)
        self.name = path.stem
        self._path = path
        self._image_name = image
        self._label_name = label
        self._masks: dict[str, npt.NDArray[Any]] = {}

    def _sources(self) -> list[Path]:
        return [self._path]

    def _cache_key(self) -> tuple[object, ...]:
        return "npz", self._image_name, self._label_name

    def _read_index(self) -> DatasetIndex:
        images, location = self._images, f"npz {self._path}"
        others = dict(_read(self._path, lambda names: set(self._checked(names)) - {self._image_name}))
        array, label_location = others.pop(self._label_name), f"{location}: the array {self._label_name!r}"
        names = others.pop(_CLASSES, None)
        labels, classes, table = [], None, None
        if array.ndim == 2 and array.shape[1] > 1:
            table = _table(array, names, len(images), label_location)
        else:
            labels = _labels(array, len(images), label_location)
            classes = None if names is None else _names(names, labels, location)
        return {
            "labels": labels,
            "table": table,
            "classes": classes,
            "sorted": False,
            "contents": _digest(images),
            "files": None,
            "attributes": {
                name: _strings(array)
                for name, array in others.items()
                if array.shape == (len(images),) and array.dtype.kind in "USbiuf"
            },
            "masks": [name for name, array in others.items() if array.ndim >= 3 and len(array) == len(images)],
        }

    def _masks_of(self, name: str) -> npt.NDArray[Any]:
        if name not in self._masks:
            self._masks[name] = _read(self._path, lambda names: {name} & set(names))[name]
        return self._masks[name]

    def _digest_of_masks(self, name: str) -> str:
        return _digest(self._masks_of(name))

    def _mask(self, name: str, index: int) -> Mask:
        return as_mask(self._masks_of(name)[index], f"npz {self._path}: {name!r} of image {index}")

    @functools.cached_property
    def _images(self) -> npt.NDArray[Any]:
        arrays = _read(self._path, lambda names: {self._image_name} & set(self._checked(names)))
        return _channels_first(arrays[self._image_name], f"npz {self._path}: the array {self._image_name!r}")

    def _checked(self, names: Sequence[str]) -> Sequence[str]:
        """Return the names of the arrays; raise if a required one is missing."""
        for key, name in (("image", self._image_name), ("label", self._label_name)):
            if name not in names:
                raise DatasetError(
                    f"npz {self._path}: there is no array {name!r}; {nearest(name, names)}. Name it with ?{key}="
                )
        return names

    def content_digests(self) -> Sequence[bytes]:
        """Return a hash of each image; the file is read."""
        form = f"{self._images.dtype}{self._images.shape[1:]}".encode()
        return [hashlib.sha256(form + image.tobytes()).digest() for image in self._images]

    def image(self, index: int) -> Image:
        """Return one image, as it is in the array."""
        from pytest_biastransfer.data.picture_decoding import pixels

        return pixels(self._images[index], f"image {index} of {self._path}")


def _read(path: Path, choose: Callable[[Sequence[str]], set[str]]) -> Arrays:
    """Return the arrays whose names `choose` selects from those in the file."""
    import numpy as np

    try:
        # Opened here, because numpy leaves an incomplete file open.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DatasetError(f"npz {path}: is a single array; expected a file that numpy.savez wrote")
            arrays = {name: file[name] for name in sorted(choose(file.files))}
    except _DAMAGE as error:
        raise DatasetError(
            f"npz {path}: cannot be read ({error}); expected a complete file of numpy.savez, without Python objects"
        ) from error
    return {
        name: array.astype(array.dtype.newbyteorder("="), copy=False)
        for name, array in arrays.items()
        if isinstance(array, np.ndarray)
    }


def _channels_first(array: npt.NDArray[Any], location: str) -> npt.NDArray[Any]:
    """Return images as [images, channels, height, width]."""
    if array.dtype != "uint8" and array.dtype.name not in _FLOATS:
        raise DatasetError(f"{location} is of {array.dtype}, expected uint8, or floats in [0, 1]")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DatasetError(
            f"{location} is {list(array.shape)}, expected [images, height, width], [images, channels, height, width] "
            f"or [images, height, width, channels]"
        )
    if array.ndim == 3:
        return array[:, None]
    first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
    if first == last:
        problem = "the channels may be first or last" if first else "no channels are to be seen"
        raise DatasetError(
            f"{location} is {list(array.shape)}, where {problem}; expected 1, 3 or 4 channels and other heights and "
            f"widths"
        )
    return array if first else array.transpose(0, 3, 1, 2)


def _labels(array: npt.NDArray[Any], images: int, location: str) -> list[int]:
    if array.dtype.kind not in "iu" or array.shape not in ((images,), (images, 1)):
        raise DatasetError(
            f"{location} is {array.dtype} {list(array.shape)}, expected whole numbers [{images}], one for each image"
        )
    labels: list[int] = array.reshape(-1).tolist()
    require_labels(labels, f"{location} has")
    return labels


def _table(array: npt.NDArray[Any], names: npt.NDArray[Any] | None, images: int, location: str) -> TableTexts:
    """Return several labels of each image, [images, labels]."""
    from pytest_biastransfer.data.label_table import LabelTable, row_of

    if array.dtype.kind not in "biuf" or len(array) != images:
        raise DatasetError(f"{location} is {array.dtype} {list(array.shape)}, expected numbers [{images}, labels]")
    rows = [row_of(row, f"{location}, image {index}") for index, row in enumerate(array)]
    declared = None if names is None else _strings(names)
    return LabelTable.of_rows(rows, lambda index: f"{location}, image {index}", declared).to_texts()


def _names(array: npt.NDArray[Any], labels: list[int], location: str) -> list[str]:
    if array.dtype.kind not in "US" or array.ndim != 1 or len(array) <= max(labels):
        raise DatasetError(
            f"{location}: the array {_CLASSES!r} is {array.dtype} {list(array.shape)}, expected names of at least "
            f"{max(labels) + 1} classes, as many as the labels number"
        )
    return _strings(array)


def _strings(array: npt.NDArray[Any]) -> list[str]:
    return [cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell) for cell in array.tolist()]


def _digest(images: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{images.dtype}{images.shape}".encode())
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()
