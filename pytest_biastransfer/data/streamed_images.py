"""The first examples of a dataset of Hugging Face's ``datasets``, read from a stream once, and then from the store."""

from __future__ import annotations

import functools
import itertools
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.data.arrow_datasets import (
    CARDS,
    is_saved,
    named_errors,
    open_hub_stream,
    open_split,
    open_stream,
)
from pytest_biastransfer.data.encoded_pictures import encoded_picture, name_in
from pytest_biastransfer.data.hub_images import EXTRA, HubImages, files_in, is_scalar, is_sequence
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs.hub import Snapshot, snapshot
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts
from pytest_biastransfer.store.facts import Digest

# The columns of pictures, and the modes that they declare.
_MODES: Final = "modes-of-pictures.json"


class StreamedImages(HubImages):
    """The first `count` examples of one split, in the order of its files.

    They are written to the store at the first use, and read from there as a dataset that was saved by the library.
    Where the library cannot stream, because the dataset is saved already, they are copied.
    """

    def __init__(self, source: Path, name: str, spec: Spec, count: int, facts: Facts | None = None) -> None:
        super().__init__(source, name, spec, facts)
        self._count = count

    @functools.cached_property
    def _directory(self) -> Path:
        """The directory with the examples, in the store."""
        kept = self._kept_directory("streamed")
        kept.mkdir(parents=True, exist_ok=True)
        directory = kept / self._token()
        if not directory.is_dir():
            self._write(directory)
        return directory

    def _token(self) -> str:
        """Return the name of the directory: the same as long as the files of the source look the same."""
        query = self._spec.query
        question = fingerprint("streamed", self._version(), self._count, query.get("split"), query.get("config"))
        token: str = self._facts.of_files(files_in(self._source), question, lambda: secrets.token_hex(16), Digest)
        return token

    def _write(self, directory: Path) -> None:
        library = need("datasets", EXTRA, self._location)
        # Written elsewhere first: whoever finds the directory may read it.
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix="unfinished-") as unfinished:
            with named_errors(library, str(self._source), self._location):
                examples, modes = self._first_examples(library, Path(unfinished, "cache"))
                examples.save_to_disk(f"{unfinished}/saved")
            Path(unfinished, "saved", _MODES).write_text(json.dumps(modes), encoding="utf-8")
            try:
                os.replace(f"{unfinished}/saved", directory)  # noqa: PTH105 - both are texts
            except OSError:
                # Another process was faster, and has written the same.
                if not directory.is_dir():
                    raise

    def _open(self) -> Any:
        library, dataset = need("datasets", EXTRA, self._location), super()._open()
        try:
            modes = json.loads((self._directory / _MODES).read_text(encoding="utf-8"))
            for name, mode in modes.items():
                dataset = dataset.cast_column(name, library.Image(mode=mode))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise DatasetError(
                f"{self._location}: {self._directory} in the store is damaged ({error}); remove this directory"
            ) from error
        return dataset

    def _first_examples(self, library: Any, cache: Path) -> tuple[Any, dict[str, str | None]]:
        """Return the examples as a table in memory, and the modes that its columns of pictures declare.

        The pictures are structures of bytes and file names: of a column of pictures, the library would drop the folders
        in the names.
        """
        rows, split = self._rows(library, cache)
        # The library may know the columns of a stream only after it has read some rows.
        rows = rows if rows.features is not None else rows._resolve_features()
        pictures = [name for name, feature in rows.features.items() if isinstance(feature, library.Image)]
        columns = [name for name, feature in rows.features.items() if name in pictures or _is_used(feature)]
        features = library.Features({name: rows.features[name] for name in columns})
        modes = {name: getattr(features[name], "mode", None) for name in pictures}
        rows = rows.select_columns(columns)
        for name, mode in modes.items():
            rows = rows.cast_column(name, library.Image(mode=mode, decode=False))
            features[name] = {"bytes": library.Value("binary"), "path": library.Value("string")}
        examples = [
            self._with_bytes(row, pictures, index) for index, row in enumerate(itertools.islice(rows, self._count))
        ]
        if not examples:
            raise DatasetError(f"{self._location}: is empty, expected at least one image")
        own_split = self._spec.query.get("split", split)
        named = None if own_split is None else library.NamedSplit(str(own_split))
        return library.Dataset.from_list(examples, features=features, split=named), modes

    def _rows(self, library: Any, cache: Path) -> tuple[Any, str | None]:
        """Return the rows of the source from the first on, and the name of their split."""
        query = self._spec.query
        arguments = (library, self._source, query.get("split"), query.get("config"), cache, self._location)
        if not is_saved(self._source):
            return open_stream(*arguments)
        rows = open_split(*arguments)
        return rows.select(range(min(self._count, len(rows)))), rows.split

    def _with_bytes(self, row: dict[str, Any], pictures: list[str], index: int) -> dict[str, Any]:
        filled = dict(row)
        for name in pictures:
            content, path = encoded_picture(row[name], self._source, f"{self._location}: {name} {index}")
            filled[name] = {"bytes": content, "path": path and name_in(path, self._source)}
        return filled


def _is_used(feature: Any) -> bool:
    return is_scalar(feature) or is_sequence(feature)


class StreamedRepository(StreamedImages):
    """The first `count` examples of a commit of a repository on the hub; the hub is asked only at the first use.

    Only tables are streamed, which have the bytes of their pictures: single pictures, the library would decode itself.
    """

    def __init__(self, commit: str, spec: Spec, count: int, facts: Facts | None = None) -> None:
        # The source is a directory that has no file, so that a table cannot name one.
        super().__init__(Path(os.devnull), f"{spec.rest}{Snapshot(Path(), commit).revision}", spec, count, facts)
        self._commit = commit

    def _token(self) -> str:
        query = self._spec.query
        wanted = (self._spec.rest, self._commit, self._count, query.get("split"), query.get("config"))
        return fingerprint("streamed repository", self._version(), *wanted)

    def _rows(self, library: Any, cache: Path) -> tuple[Any, str | None]:
        query = self._spec.query
        card = snapshot(self._spec, extra=EXTRA, patterns=CARDS, kind="dataset").directory
        return open_hub_stream(
            library, self._spec.rest, self._commit, card, query.get("split"), query.get("config"), cache, self._location
        )
