"""``webdataset:DIR_OR_GLOB?image=jpg;png&label=cls``: samples in tar files, as WebDataset writes them."""

from __future__ import annotations

import functools
import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pytest_biastransfer._version import __version__
from pytest_biastransfer.data.cached_index import CachedIndexImages, DatasetIndex
from pytest_biastransfer.data.class_folders import SUFFIXES
from pytest_biastransfer.data.gray_values import DECLARE, declared_window, windowed_digests
from pytest_biastransfer.data.gray_values import KEYS as WINDOW_KEYS
from pytest_biastransfer.data.label_texts import WHOLE, numbered
from pytest_biastransfer.data.tar_samples import Extent, Sample, read_extent, samples_in
from pytest_biastransfer.errors import DatasetError, SpecError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

if TYPE_CHECKING:
    from pytest_biastransfer.data.arrays import Image

KEYS: Final = ("image", "label", *WINDOW_KEYS)
_PICTURES: Final = ("gif", *(suffix.removeprefix(".") for suffix in SUFFIXES))
_NUMBERS: Final = "cls"
_OBJECT: Final = "json"
# WebDataset unpickles these, which runs code.
_PICKLES: Final = ("pyd", "pickle", "pkl", "pth", "pt")
_MOST_LABEL_BYTES: Final = 2**20


class _Located(NamedTuple):
    """An image: the number of its shard, where its bytes are, its file's name, its label and its attributes."""

    shard: int
    offset: int
    size: int
    name: str
    label: str
    attributes: dict[str, str]


# As JSON holds it.
_Table = list[tuple[int, int, int, str, str, dict[str, str]]]


def load(spec: Spec, facts: Facts | None) -> ShardImages:
    """Return the images in the tar files that a spec names."""
    return ShardImages(_shards(spec), spec, facts)


class ShardImages(CachedIndexImages):
    """The samples of tar files: by the names of the shards, and in each by position.

    An index of the shards is made once. It has the place of each picture, so that they can be read in any order.
    """

    reads_in_parallel = True

    def __init__(self, shards: Sequence[Path], spec: Spec, facts: Facts | None = None) -> None:
        super().__init__(facts)
        self.name = Path(spec.rest).stem if spec.path().is_file() else _directory_name(spec)
        self._shards = shards
        self._pictures = tuple(spec.query.get("image", ";".join(_PICTURES)).lower().split(";"))
        self._label, _, self._field = spec.query.get("label", _NUMBERS).partition(":")
        self._window = declared_window(spec)
        self._require_readable(spec)

    def _require_readable(self, spec: Spec) -> None:
        for suffix in (*self._pictures, self._label):
            if suffix in _PICKLES:
                raise SpecError(
                    f"spec {spec.text!r}: .{suffix} files are pickles, which could run code, and are not read"
                )
        if (self._label == _OBJECT) != bool(self._field):
            raise SpecError(
                f"spec {spec.text!r}: label={spec.query['label']!r}, expected a suffix such as cls or txt, or a "
                f"field of the .json files, such as json:label"
            )

    def _sources(self) -> Sequence[Path]:
        return self._shards

    def _cache_key(self) -> tuple[object, ...]:
        return "webdataset", self._pictures, self._label, self._field, repr(self._window)

    @functools.cached_property
    def _located(self) -> list[_Located]:
        """All images in order; the headers and labels of the shards are read once."""
        key = fingerprint("samples in shards", __version__, *self._cache_key())
        form = Annotated[_Table, self._are_located]
        try:
            rows = self._facts.of_files(self._shards, key, lambda: [list(row) for row in self._locate()], form)
        except OSError as error:
            raise DatasetError(f"{error.filename or self.name}: cannot be read ({error})") from error
        return [_Located(*row) for row in rows]

    def _are_located(self, rows: list[list[Any]]) -> bool:
        """Whether rows from a file of the store, which anything may have written, can be used."""
        return len(rows) > 0 and all(0 <= row[0] < len(self._shards) and min(row[1:3]) >= 0 for row in rows)

    def _locate(self) -> Iterator[_Located]:
        count = 0
        for number, shard in enumerate(self._shards):
            for sample in samples_in(shard):
                count += 1
                yield self._located_sample(number, sample)
        if count == 0:
            raise DatasetError(
                f"webdataset {self._shards[0]}: has no samples; expected files such as 0001.jpg and 0001.cls"
            )

    def _located_sample(self, number: int, sample: Sample) -> _Located:
        shard = self._shards[number]
        location = f"webdataset {shard}: sample {sample.key!r}"
        picture = next((suffix for suffix in self._pictures if suffix in sample.files), None)
        if picture is None:
            raise DatasetError(
                f"{location}: has no picture, only {_suffixes(sample)}; name its suffix with image=, such as "
                f"image=jpg;png"
            )
        extent = sample.files[picture]
        if self._label not in sample.files:
            raise DatasetError(
                f"{location}: has no .{self._label}, only {_suffixes(sample)}; name the suffix of the labels with "
                f"label="
            )
        described = sample.files.get(_OBJECT)
        fields = {} if described is None else _fields(shard, described, location)
        if self._label == _OBJECT:
            label = _field_label(fields, self._field, location)
        else:
            label = _text(shard, sample.files[self._label], f"{location}, .{self._label}")
        if self._label == _NUMBERS and not WHOLE.fullmatch(label):
            raise DatasetError(f"{location}: its .cls is {label!r:.50}, expected a whole number; label=txt reads names")
        attributes = {
            name: _shown(value) for name, value in fields.items() if _is_scalar(value) and name != self._field
        }
        return _Located(number, extent.offset, extent.size, extent.name, label, attributes)

    def _read_index(self) -> DatasetIndex:
        rows = self._located
        classes, labels = numbered([row.label for row in rows], self._location)
        shared = set.intersection(*(set(row.attributes) for row in rows))
        digest = hashlib.sha256(f"{self._window or ''}".encode())
        for index in range(len(rows)):
            digest.update(hashlib.sha256(self._encoded(index)).digest())
        return {
            "labels": labels,
            "table": None,
            "classes": None if classes is None else list(classes),
            "sorted": classes is not None,
            "contents": digest.hexdigest(),
            "files": [f"{self._shards[row.shard].name}/{row.name}" for row in rows],
            "attributes": {name: [row.attributes[name] for row in rows] for name in sorted(shared)},
            "masks": [],
        }

    def _encoded(self, index: int) -> bytes:
        row = self._located[index]
        try:
            return read_extent(self._shards[row.shard], row.offset, row.size)
        except (OSError, EOFError) as error:
            raise DatasetError(f"{self._location(index)}: cannot be read ({error})") from error

    def content_digests(self) -> Sequence[bytes]:
        """Return a hash of each picture's bytes; all are read, and none is decoded."""
        digests = [hashlib.sha256(self._encoded(index)).digest() for index in range(len(self))]
        return windowed_digests(digests, self._window)

    def image(self, index: int) -> Image:
        """Return one decoded picture, RGB: uint8, or float32 for gray values of more than 8 bits."""
        from pytest_biastransfer.data.picture_decoding import DeepGray, read_bytes

        return read_bytes(self._encoded(index), self._location(index), DeepGray(self._window, DECLARE))

    def _location(self, index: int) -> str:
        row = self._located[index]
        return f"webdataset {self._shards[row.shard]}: {row.name!r} at byte {row.offset:,}"


def _shards(spec: Spec) -> list[Path]:
    """Return the tar files of a directory, a pattern, or a path, sorted by name."""
    path = spec.path()
    if path.is_file():
        return [path]
    pattern = Path(spec.rest).expanduser()
    names = glob.glob(str(pattern), root_dir=spec.directory)  # noqa: PTH207 - Path.glob takes no absolute patterns
    shards = sorted(path.glob("*.tar")) if path.is_dir() else sorted(spec.directory / name for name in names)
    if not shards:
        kind = "a directory without .tar files" if path.is_dir() else "neither a directory nor the pattern of a file"
        raise DatasetError(
            f"webdataset {path}: is {kind}; expected uncompressed shards, such as webdataset:data or "
            f"webdataset:data/val-*.tar"
        )
    return shards


def _directory_name(spec: Spec) -> str:
    path = spec.path()
    return (path if path.is_dir() else path.parent).resolve().name


def _suffixes(sample: Sample) -> str:
    return ", ".join(f".{suffix}" for suffix in sample.files)


def _text(shard: Path, extent: Extent, location: str) -> str:
    if extent.size > _MOST_LABEL_BYTES:
        raise DatasetError(f"{location}: has {extent.size:,} bytes, expected at most {_MOST_LABEL_BYTES:,}")
    try:
        return read_extent(shard, extent.offset, extent.size).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{location}: is not a text in UTF-8 ({error.reason} at byte {error.start})") from error


def _fields(shard: Path, extent: Extent, location: str) -> dict[str, Any]:
    try:
        content = json.loads(_text(shard, extent, f"{location}, .{_OBJECT}"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{location}: its .json is not JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def _field_label(fields: dict[str, Any], name: str, location: str) -> str:
    label = fields.get(name)
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise DatasetError(
            f"{location}: the field {name!r} of its .json is {label!r:.50}, expected a whole number or a name; the "
            f"fields are {', '.join(fields)}"
        )
    return str(label).strip()


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _shown(value: object) -> str:
    return "" if value is None else str(value)
