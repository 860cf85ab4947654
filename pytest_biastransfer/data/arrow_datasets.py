"""Opens a directory with the ``datasets`` library, without running its code or writing outside the cache directory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import DatasetError, first_line
from pytest_biastransfer.optional_dependencies import need

# What `Dataset.save_to_disk` and `DatasetDict.save_to_disk` write.
_STATE: Final = "state.json"
_SPLITS: Final = "dataset_dict.json"
_AGAIN: Final = "save the dataset again with save_to_disk"
# A name that stays in its directory on every system.
_PLAIN_NAME: Final = re.compile(r"(?!\.{1,2}$)[^/\\:\0\n]+")
# The files in which a repository may name its data files.
CARDS: Final = ("README.md", ".huggingface.yaml")
# Tables that have the bytes of their pictures.
_STREAMED: Final = ("parquet", "arrow")
# The suffixes of tables and of pictures.
SUFFIXES: Final = (
    *("parquet", "arrow", "csv", "json", "jsonl"),
    *("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"),
)


def open_split(
    library: Any, directory: Path, split: str | None, config: str | None, cache_directory: Path, location: str
) -> Any:
    """Return one split of the dataset in a directory.

    Parameters
    ----------
    library
        The module ``datasets``.
    directory
        The output of ``save_to_disk``, or the files of a repository of the hub: Parquet, Arrow or pictures.
    split, config
        The name of each; None if there is only one.
    cache_directory
        Where the library writes its own form of the files. It must exist as long as the dataset is used.
    location
        Names the dataset in error messages.

    Raises
    ------
    DatasetError
        If the directory is no dataset or is damaged, or if loading it would read files elsewhere or run code.
    """
    with named_errors(library, str(directory), location):
        if is_saved(directory):
            dataset = _open_saved(library, directory, split, location)
        else:
            builder, name = _checked_builder(library, directory, split, config, cache_directory, location)
            builder.download_and_prepare()
            dataset = builder.as_dataset(split=name)
    if len(dataset) == 0:
        raise DatasetError(f"{location}: is empty, expected at least one image")
    return dataset.with_format(None)


def open_stream(
    library: Any, directory: Path, split: str | None, config: str | None, cache_directory: Path, location: str
) -> tuple[Any, str]:
    """Return the rows of one split as they are read from the files of a directory, and the split's name.

    The files are those of `open_split`, besides the output of ``save_to_disk``, and so are the errors. Nothing is
    prepared: only what is iterated over is read.
    """
    builder, name = _checked_builder(library, directory, split, config, cache_directory, location)
    return builder.as_streaming_dataset(split=name), name


def open_hub_stream(
    library: Any,
    repo: str,
    commit: str,
    card: Path,
    split: str | None,
    config: str | None,
    cache_directory: Path,
    location: str,
) -> tuple[Any, str]:
    """Return the rows of one split of a repository's tables, as they are downloaded, and the split's name.

    `card` is the directory with the files `CARDS` of this commit. Raises `DatasetError` for a repository that has a
    loading script, names files elsewhere, or has other files than tables.
    """
    _require_no_address(card, location)
    names = [
        file.rfilename
        for file in need("huggingface_hub", "hf", location).HfApi().dataset_info(repo, revision=commit).siblings
    ]
    script = f"{repo.rpartition('/')[2]}.py"
    if script in names:
        raise _scripted(f"{script} of {repo}", location)
    builder = library.load_dataset_builder(repo, revision=commit, name=config, cache_dir=str(cache_directory))
    address, splits = f"hf://datasets/{repo}@{commit}/", builder.config.data_files or {}
    for file in (file for files in splits.values() for file in files):
        if not str(file).startswith(address) or ".." in str(file).split("/"):
            raise DatasetError(f"{location}: {repo} refers to {file}, which is not in there")
        if Path(file).suffix.lower().lstrip(".") not in _STREAMED:
            raise DatasetError(
                f"{location}: cannot stream {file}, expected Parquet or Arrow; remove streaming=1, to download all "
                f"files"
            )
    name = _split_name(split, splits, location)
    return builder.as_streaming_dataset(split=name), name


def is_saved(directory: Path) -> bool:
    """Whether a directory is the output of ``save_to_disk``."""
    return any((directory / name).is_file() for name in (_STATE, _SPLITS))


@contextlib.contextmanager
def named_errors(library: Any, source: str, location: str) -> Iterator[None]:
    """Turn errors of the library about damaged files into `DatasetError`; it shows no progress bars meanwhile."""
    yaml_error = need("yaml", "hf", location).YAMLError
    broken = (library.exceptions.DatasetsError, yaml_error, OSError, ValueError, LookupError, TypeError, RecursionError)
    with _without_progress_bars(library):
        try:
            yield
        except broken as error:
            cause = error.__cause__ or error
            raise DatasetError(f"{location}: {source} cannot be read ({first_line(cause)})") from error


def _open_saved(library: Any, directory: Path, split: str | None, location: str) -> Any:
    _require_own_tables(directory, location)
    saved = library.load_from_disk(str(directory))
    if isinstance(saved, library.DatasetDict):
        return saved[_split_name(split, saved, location)]
    saved_split = None if saved.split is None else str(saved.split)
    if split is not None and split != saved_split:
        raise DatasetError(
            f"{location}: split={split!r}, but one split was saved there, {saved_split!r}; remove split="
        )
    return saved


def _require_own_tables(directory: Path, location: str) -> None:
    """Raise for a split or a table outside the directory: the library would read any path that the files name."""
    folders, splits = [directory], directory / _SPLITS
    if splits.is_file():
        folders += [directory / _plain_name(name, splits, location) for name in _list_in(splits, "splits", location)]
    for state in (folder / _STATE for folder in folders):
        # Only the names are checked here; for a missing file the library's own error is clear.
        for table in _list_in(state, "_data_files", location) if state.is_file() else ():
            _plain_name(table.get("filename") if isinstance(table, dict) else table, state, location)


def _list_in(file: Path, key: str, location: str) -> list[Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{location}: {file} is not JSON ({error}); {_AGAIN}") from error
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DatasetError(f"{location}: {file} has no list {key!r}; {_AGAIN}")
    return entries


def _plain_name(name: object, file: Path, location: str) -> str:
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise DatasetError(
            f"{location}: {file} refers to {reprlib.repr(name)}, expected a name without a directory; {_AGAIN}"
        )
    return name


def _checked_builder(
    library: Any, directory: Path, split: str | None, config: str | None, cache_directory: Path, location: str
) -> tuple[Any, str]:
    """Return the library's builder for a directory, which refers to nothing elsewhere, and the name of the split."""
    _require_no_script(directory, location)
    _require_no_address(directory, location)
    builder = library.load_dataset_builder(str(directory), name=config, cache_dir=str(cache_directory))
    splits = builder.config.data_files
    _require_own_files((file for files in splits.values() for file in files), directory, location)
    return builder, _split_name(split, splits, location)


def _split_name(split: str | None, splits: Iterable[Any], location: str) -> str:
    names = [str(name) for name in splits]
    if split is None and len(names) == 1:
        return names[0]
    if split not in names:
        problem = "there are several splits" if split is None else f"there is no split {split!r}"
        raise DatasetError(f"{location}: {problem}; add or change split=, to one of {', '.join(names)}")
    return split


def _require_no_script(directory: Path, location: str) -> None:
    # Versions of the library before 4 run such a script.
    script = directory / f"{directory.name}.py"
    if script.exists():
        raise _scripted(str(script), location)


def _scripted(script: str, location: str) -> DatasetError:
    return DatasetError(
        f"{location}: {script} would be run to load the dataset, and is not; save the dataset as Parquet, or with "
        f"save_to_disk, or load it with your own python:package.module:factory"
    )


def _require_no_address(directory: Path, location: str) -> None:
    # The card may name files at any address, and the library would download them.
    configs: list[Any] = []
    card, plain = (directory / name for name in CARDS)
    if card.is_file():
        content = need("huggingface_hub", "hf", location).DatasetCard.load(card)
        configs.append(content.data.to_dict().get("configs"))
    if plain.is_file():
        configs.append(need("yaml", "hf", location).safe_load(plain.read_text(encoding="utf-8")))
    if "://" in repr(configs):
        raise DatasetError(f"{location}: {directory} refers to files elsewhere, which are not downloaded")


def _require_own_files(files: Iterable[str], directory: Path, location: str) -> None:
    """Raise for a file outside the directory, and for an archive, which the library would unpack."""
    root = directory.resolve()
    for file in files:
        if not Path(os.path.normpath(root / file)).is_relative_to(root):
            raise DatasetError(f"{location}: {directory} refers to {file}, which is not in there")
        if Path(file).suffix.lower().lstrip(".") not in SUFFIXES:
            raise DatasetError(f"{location}: cannot use {file}; expected Parquet, Arrow or pictures")


@contextlib.contextmanager
def _without_progress_bars(library: Any) -> Iterator[None]:
    disabled = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            library.enable_progress_bars()
