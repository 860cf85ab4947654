"""Opens a directory with the ``datasets`` library, which runs no code of the directory and writes only where it may."""

from __future__ import annotations

import contextlib
import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.optional_dependencies import need

# What `Dataset.save_to_disk` and `DatasetDict.save_to_disk` write.
_STATE: Final = "state.json"
_SPLITS: Final = "dataset_dict.json"
_AGAIN: Final = "save the dataset again with save_to_disk"
# On no system does it lead anywhere else.
_PLAIN_NAME: Final = re.compile(r"(?!\.{1,2}$)[^/\\:\0\n]+")
# Tables, and pictures with the tables that describe them.
SUFFIXES: Final = (
    *("parquet", "arrow", "csv", "json", "jsonl"),
    *("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"),
)


def opened(library: Any, directory: Path, split: str | None, config: str | None, kept: Path, place: str) -> Any:
    """Return one split of the dataset in a directory.

    Parameters
    ----------
    library
        ``datasets``.
    directory
        What ``save_to_disk`` wrote, or files as they are in a repository of the hub: Parquet, Arrow or pictures.
    split, config
        Which one; None if there is only one.
    kept
        Where the library may keep what it makes of the files, which has to stay as long as the dataset.
    place
        Names the dataset in error messages.

    Raises
    ------
    DatasetError
        If it is something else, or damaged, or would have the library read elsewhere or run code.
    """
    yaml_error = need("yaml", "hf", place).YAMLError
    broken = (library.exceptions.DatasetsError, yaml_error, OSError, ValueError, LookupError, TypeError, RecursionError)
    with _without_progress_bars(library):
        try:
            if any((directory / name).is_file() for name in (_STATE, _SPLITS)):
                found = _saved(library, directory, split, place)
            else:
                found = _prepared(library, directory, split, config, kept, place)
        except broken as error:
            cause = error.__cause__ or error
            raise DatasetError(f"{place}: {directory} cannot be read ({_first_line(cause)})") from error
    if len(found) == 0:
        raise DatasetError(f"{place}: is empty, expected at least one image")
    return found.with_format(None)


def _saved(library: Any, directory: Path, split: str | None, place: str) -> Any:
    _require_own_tables(directory, place)
    found = library.load_from_disk(str(directory))
    if isinstance(found, library.DatasetDict):
        return found[_chosen(split, found, place)]
    own = None if found.split is None else str(found.split)
    if split is not None and split != own:
        raise DatasetError(f"{place}: split={split!r}, but one split was saved there, {own!r}; remove split=")
    return found


def _require_own_tables(directory: Path, place: str) -> None:
    """Raise for a split or a table that is not right in the directory: the library would read it wherever it is."""
    parts, splits = [directory], directory / _SPLITS
    if splits.is_file():
        parts += [directory / _plain(name, splits, place) for name in _listed(splits, "splits", place)]
    for state in (part / _STATE for part in parts):
        # The library says which one is missing.
        for table in _listed(state, "_data_files", place) if state.is_file() else ():
            _plain(table.get("filename") if isinstance(table, dict) else table, state, place)


def _listed(file: Path, key: str, place: str) -> list[Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{place}: {file} is not JSON ({error}); {_AGAIN}") from error
    found = told.get(key) if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise DatasetError(f"{place}: {file} has no list {key!r}; {_AGAIN}")
    return found


def _plain(name: object, file: Path, place: str) -> str:
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise DatasetError(
            f"{place}: {file} refers to {reprlib.repr(name)}, expected a name without a directory; {_AGAIN}"
        )
    return name


def _prepared(library: Any, directory: Path, split: str | None, config: str | None, kept: Path, place: str) -> Any:
    _require_no_script(directory, place)
    _require_no_address(directory, place)
    builder = library.load_dataset_builder(str(directory), name=config, cache_dir=str(kept))
    splits = builder.config.data_files
    _require_own_files((file for files in splits.values() for file in files), directory, place)
    chosen = _chosen(split, splits, place)
    builder.download_and_prepare()
    return builder.as_dataset(split=chosen)


def _chosen(split: str | None, splits: Iterable[Any], place: str) -> str:
    names = [str(name) for name in splits]
    if split is None and len(names) == 1:
        return names[0]
    if split not in names:
        found = "there are several splits" if split is None else f"there is no split {split!r}"
        raise DatasetError(f"{place}: {found}; add or change split=, to one of {', '.join(names)}")
    return split


def _require_no_script(directory: Path, place: str) -> None:
    # Versions before 4 of the library run it.
    script = directory / f"{directory.name}.py"
    if script.exists():
        raise DatasetError(
            f"{place}: {script} would be run to load the dataset, and is not; save the dataset as Parquet, or with "
            f"save_to_disk, or load it with your own python:package.module:factory"
        )


def _require_no_address(directory: Path, place: str) -> None:
    # A dataset's card may name any files, and the library would fetch them.
    told: list[Any] = []
    card, plain = directory / "README.md", directory / ".huggingface.yaml"
    if card.is_file():
        read = need("huggingface_hub", "hf", place).DatasetCard.load(card)
        told.append(read.data.to_dict().get("configs"))
    if plain.is_file():
        told.append(need("yaml", "hf", place).safe_load(plain.read_text(encoding="utf-8")))
    if "://" in repr(told):
        raise DatasetError(f"{place}: {directory} refers to files elsewhere, which are not downloaded")


def _require_own_files(files: Iterable[str], directory: Path, place: str) -> None:
    """Raise for a file that is not in the directory, or that the library would unpack."""
    inside = directory.resolve()
    for file in files:
        if not Path(os.path.normpath(inside / file)).is_relative_to(inside):
            raise DatasetError(f"{place}: {directory} refers to {file}, which is not in there")
        if Path(file).suffix.lower().lstrip(".") not in SUFFIXES:
            raise DatasetError(f"{place}: cannot use {file}; expected Parquet, Arrow or pictures")


@contextlib.contextmanager
def _without_progress_bars(library: Any) -> Iterator[None]:
    disabled = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            library.enable_progress_bars()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
