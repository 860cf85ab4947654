"""Which file has the accepted measurements, where no setting names one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

FILE_NAME: Final = "bias-baseline.json"


def default_baseline(root: Path, tests: Sequence[Path], here: Path) -> Path:
    """Return the file in the root directory, or the nearest one upwards from the tests.

    With ``pytest -c ci/pytest.ini`` the root directory is ``ci``, while the file is committed beside the tests. No
    directory above all of `root`, `tests` and `here` is looked into: a file there belongs to another project.

    Parameters
    ----------
    root
        pytest's root directory.
    tests
        The files and directories that tests are collected from.
    here
        The current directory.

    Returns
    -------
    Path
        An existing file, or where a new one belongs: in the root directory, or, where that is not above the tests,
        in the current directory if that is, or beside the tests.
    """
    directory = _common_directory(tests) or here
    highest = _common_directory([root, directory, here])
    candidates: list[Path] = [root, *(_upwards(directory, highest) if highest else ())]
    above_tests: list[Path] = [parent for parent in (root, here) if directory.is_relative_to(parent)]
    new = (above_tests or [directory])[0]
    return next((parent for parent in candidates if (parent / FILE_NAME).is_file()), new) / FILE_NAME


def _upwards(directory: Path, highest: Path) -> Iterator[Path]:
    yield from (parent for parent in (directory, *directory.parents) if parent.is_relative_to(highest))


def _common_directory(paths: Iterable[Path]) -> Path | None:
    """Return the directory that all of the paths are in; None for no paths, or for several drives."""
    directories = [path if path.is_dir() else path.parent for path in paths]
    try:
        return Path(os.path.commonpath(directories))
    except ValueError:
        return None
