"""Files that results are written to: plots, and plain data as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.optional_dependencies import need

# The endings of plots.
PLOTS: Final = (".svg", ".png", ".pdf")


def is_plot(path: Path) -> bool:
    """Return whether a file of this name is written as a plot."""
    return path.suffix.lower() in PLOTS


def write_json(data: Mapping[str, Any], path: Path) -> None:
    """Write plain data as JSON."""
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8", newline="\n")


def require_files(save: Any) -> list[str]:
    """Return the files of an argument ``save``; raises `ReportError` unless they can be written as what they name.

    Better before hours of training than after.
    """
    listed = [save] if isinstance(save, str | Path) else save
    if not isinstance(listed, Sequence) or not all(isinstance(path, str | Path) for path in listed):
        raise ReportError(f"save={save!r:.100}, expected a file or a list of files, such as 'sweep.svg'")
    for path in map(Path, listed):
        require_ending(path)
        if is_plot(path):
            need("matplotlib", "report", str(path))
    return list(map(str, listed))


def require_ending(path: Path) -> None:
    """Raise `ReportError` for a file that is neither a plot nor JSON."""
    if not is_plot(path) and path.suffix != ".json":
        raise ReportError(f"{path}: expected a file with the ending {', '.join(PLOTS)} or .json")
