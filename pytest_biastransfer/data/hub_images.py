"""The images of a dataset of Hugging Face's ``datasets``, by the columns of the images and of the labels."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import reprlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data.arrow_datasets import open_split
from pytest_biastransfer.data.cached_index import CachedIndexImages, DatasetIndex, require_labels
from pytest_biastransfer.data.encoded_pictures import encoded_picture, name_in
from pytest_biastransfer.data.gray_values import DECLARE, declared_window
from pytest_biastransfer.data.masks import mask_of_pixels
from pytest_biastransfer.errors import DatasetError, nearest
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs.class_names import composed
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

if TYPE_CHECKING:
    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.label_table import TableTexts
    from pytest_biastransfer.data.masks import Mask

EXTRA: Final = "hf"


def files_in(directory: Path) -> list[str]:
    """Return all files in a directory and its folders, absolute and sorted."""
    walk = sorted(os.walk(directory, followlinks=True))
    return [f"{parent}/{name}" for parent, _, names in walk for name in sorted(names)]


class HubImages(CachedIndexImages):
    """The images of one split, by the columns of the images and of the labels."""

    reads_in_parallel = True

    def __init__(self, directory: Path, name: str, spec: Spec, facts: Facts | None = None) -> None:
        super().__init__(facts)
        self.name = name
        self._source = directory
        self._spec = spec
        self._location = f"spec {spec.text!r}"
        self._columns: dict[str, Any] = {}
        self._window = declared_window(spec)

    @property
    def _directory(self) -> Path:
        """The directory that is read."""
        return self._source

    def _sources(self) -> list[str]:
        return files_in(self._directory)

    def _cache_key(self) -> tuple[object, ...]:
        query = self._spec.query
        return (
            "hf, decoded as the library does",
            self._version(),
            *(query.get(key) for key in ("split", "config", "image", "label")),
            repr(self._window),
        )

    def _version(self) -> str:
        """Return the version of the library, which the index depends on, without the slow import where possible."""
        try:
            return importlib.metadata.version("datasets")
        except importlib.metadata.PackageNotFoundError:
            return str(need("datasets", EXTRA, self._location).__version__)

    @functools.cached_property
    def _dataset(self) -> Any:
        return self._open()

    def _open(self) -> Any:
        """Return the split, as the library opens it."""
        library = need("datasets", EXTRA, self._location)
        query, cache_directory = self._spec.query, self._kept_directory("datasets")
        return open_split(
            library, self._directory, query.get("split"), query.get("config"), cache_directory, self._location
        )

    def _kept_directory(self, name: str) -> Path:
        """Return a directory of the store; without a store, one that goes with this object."""
        directory = self._facts.directory(name)
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="biastransfer-"))
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        return directory

    @functools.cached_property
    def _pictures(self) -> Any:
        """The column of the images."""
        library = need("datasets", EXTRA, self._location)
        return self._undecoded(self._column("image", lambda feature: isinstance(feature, library.Image), "pictures"))

    def _undecoded(self, column: str) -> Any:
        """Return a column of encoded pictures: this package decodes them, and names the picture if that fails."""
        if column not in self._columns:
            library = need("datasets", EXTRA, self._location)
            own = self._dataset.select_columns([column])
            self._columns[column] = own.cast_column(column, library.Image(decode=False))
        return self._columns[column]

    def _read_index(self) -> DatasetIndex:
        library = need("datasets", EXTRA, self._location)
        image = self._pictures.column_names[0]
        columns = self._label_columns()
        labels: list[int] = []
        classes, table, is_sorted = None, None, False
        if len(columns) > 1 or is_sequence(self._dataset.features[columns[0]]):
            table = self._table(columns)
        else:
            cells = self._cells(columns[0])
            feature = self._dataset.features[columns[0]]
            labels, classes = _numbered(cells, feature, f"{self._location}: {columns[0]!r}")
            is_sorted = isinstance(cells[0], str)
        contents, files = self._contents_and_files(self._pictures)
        others = [name for name in self._dataset.column_names if name not in (image, *columns)]
        features = self._dataset.features
        return {
            "labels": labels,
            "table": table,
            "classes": classes,
            "sorted": is_sorted,
            "contents": contents,
            "files": files,
            "attributes": {
                name: _strings(self._cells(name), features[name]) for name in others if is_scalar(features[name])
            },
            "masks": [name for name in others if isinstance(features[name], library.Image)],
        }

    def _label_columns(self) -> list[str]:
        """Return the column of the labels, or several that the spec names."""
        library, requested = need("datasets", EXTRA, self._location), self._spec.query.get("label", "")
        if "," in requested:
            columns = requested.split(",")
        else:
            columns = [self._column("label", lambda feature: isinstance(feature, library.ClassLabel), "labels")]
        for column in columns:
            # Checked before the cells are read: the library would decode a column of pictures in its own way.
            feature = self._dataset.features.get(column)
            if feature is None:
                valid = nearest(column, self._dataset.features)
                raise DatasetError(f"{self._location}: there is no column {column!r}; {valid}")
            if not (is_scalar(feature) or (len(columns) == 1 and is_sequence(feature))):
                raise DatasetError(
                    f"{self._location}: the column {column!r} has {reprlib.repr(feature)}, expected whole numbers or "
                    f"names; name the column of the labels with label="
                )
        return columns

    def _table(self, columns: Sequence[str]) -> TableTexts:
        """Return several labels of each image: those of one column of sequences, or one of each column."""
        from pytest_biastransfer.data.label_table import LabelTable, row_of

        def location(index: int) -> str:
            return f"{self._location}: {','.join(columns)!r} of image {index}"

        if len(columns) > 1:
            cells = zip(*map(self._cells, columns), strict=True)
            rows = [
                row_of(dict(zip(columns, states, strict=True)), location(index)) for index, states in enumerate(cells)
            ]
            return LabelTable.of_rows(rows, location).to_texts()
        rows = [row_of(cell or (), location(index)) for index, cell in enumerate(self._cells(columns[0]))]
        names = getattr(self._dataset.features[columns[0]].feature, "names", None)
        return LabelTable.of_rows(rows, location, names).to_texts()

    def _column(self, key: str, fits: Any, kind: str) -> str:
        """Return the column that the spec names; else the only one that fits, or the one with the usual name."""
        features = self._dataset.features
        fitting = [name for name, feature in features.items() if fits(feature)]
        requested = self._spec.query.get(key)
        if requested is not None:
            if requested not in features:
                raise DatasetError(
                    f"{self._location}: there is no column {requested!r}; {nearest(requested, features)}"
                )
            if key == "image" and requested not in fitting:
                raise DatasetError(
                    f"{self._location}: the column {requested!r} has {features[requested]}, expected {kind}"
                )
            return requested
        usual = [key] if key in (fitting if key == "image" else features) else []
        for candidates in (fitting, usual):
            if len(candidates) == 1:
                return candidates[0]
        raise DatasetError(
            f"{self._location}: cannot tell which column has the {kind}; add &{key}= with one of {', '.join(features)}"
        )

    def _cells(self, column: str) -> list[Any]:
        return list(self._dataset.select_columns([column])[:][column])

    def _contents_and_files(self, pictures: Any) -> tuple[str, list[str] | None]:
        """Return a hash of the bytes of a column of pictures, and the names of their files if all have one."""
        digest, files = hashlib.sha256(self._form(pictures.column_names[0])), []
        for index in range(len(pictures)):
            content, path = self._encoded(pictures, index)
            digest.update(hashlib.sha256(content).digest())
            files.append(path)
        return digest.hexdigest(), [name_in(path, self._directory) for path in files if path] if all(files) else None

    def _encoded(self, pictures: Any, index: int) -> tuple[bytes, str | None]:
        """Return the bytes of a picture's file, and the file's name where the dataset has it."""
        column = pictures.column_names[0]
        return encoded_picture(pictures[index][column], self._directory, f"{self._location}: {column} {index}")

    def content_digests(self) -> Sequence[bytes]:
        """Return a hash of each picture's bytes; all are read, and none is decoded."""
        form = self._form(self._pictures.column_names[0])
        return [hashlib.sha256(form + self._encoded(self._pictures, index)[0]).digest() for index in range(len(self))]

    def image(self, index: int) -> Image:
        """Return one decoded picture, RGB: uint8, or float32 for gray values of more than 8 bits."""
        from pytest_biastransfer.data.picture_decoding import DeepGray, read_encoded

        content, path = self._encoded(self._pictures, index)
        location = f"{self._location}: image {index}" + (f" ({path})" if path else "")
        depth = DeepGray(self._window, DECLARE)
        return read_encoded(content, location, self._mode(self._pictures.column_names[0]), depth)

    def _form(self, column: str) -> bytes:
        """Return what the pixels of a column depend on besides the bytes: its mode and the window."""
        return f"{self._mode(column)}{'' if self._window is None else self._window}".encode()

    def _mode(self, column: str) -> str | None:
        """Return the mode that a column of pictures declares."""
        mode: str | None = getattr(self._dataset.features[column], "mode", None)
        return mode

    def _digest_of_masks(self, name: str) -> str:
        return self._contents_and_files(self._undecoded(name))[0]

    def _mask(self, name: str, index: int) -> Mask:
        from pytest_biastransfer.data.picture_decoding import read_encoded

        content, _ = self._encoded(self._undecoded(name), index)
        location = f"{self._location}: {name} {index}"
        return mask_of_pixels(read_encoded(content, location, self._mode(name)), location)


def _numbered(cells: Sequence[Any], feature: Any, location: str) -> tuple[list[int], list[str] | None]:
    """Return the labels as numbers, and the names of the classes in their order."""
    for index, cell in enumerate(cells):
        # Test sets without labels have the label -1.
        if isinstance(cell, bool) or not isinstance(cell, int | str) or cell in (-1, ""):
            raise DatasetError(f"{location}: the label of image {index} is {cell!r}, expected a whole number or a name")
    if all(isinstance(cell, int) for cell in cells):
        names: list[str] | None = getattr(feature, "names", None)
        require_labels(cells, f"{location}: has")
        return list(cells), names
    names_of_cells = [composed(str(cell)) for cell in cells]
    sorted_names = sorted(set(names_of_cells))
    numbers = {name: number for number, name in enumerate(sorted_names)}
    return [numbers[name] for name in names_of_cells], sorted_names


def is_sequence(feature: Any) -> bool:
    """Whether a column has lists of numbers or texts."""
    return is_scalar(getattr(feature, "feature", None))


def is_scalar(feature: Any) -> bool:
    """Whether a column has numbers, texts or classes."""
    return hasattr(feature, "names") or str(getattr(feature, "dtype", "")).startswith(
        ("string", "large_string", "bool", "int", "uint", "float")
    )


def _strings(cells: Sequence[Any], feature: Any) -> list[str]:
    names: Mapping[int, str] = dict(enumerate(getattr(feature, "names", None) or ()))
    return ["" if cell is None else names.get(cell, str(cell)) for cell in cells]
