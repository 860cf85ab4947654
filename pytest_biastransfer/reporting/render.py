"""Report formats: which suffixes a report file may have, and what renders each.

A new format costs one module, with a function from `Report` to text, and its entry in `RENDERERS`. The plugin's option,
its help text and the command ``biastransfer report`` read the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import ReportError

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report


# Each renderer imports its format when it is called: the options are declared in every session, and most write no
# report.
def _html(report: Report) -> str:
    from pytest_biastransfer.reporting.html import render_html

    return render_html(report)


def _json(report: Report) -> str:
    from pytest_biastransfer.reporting.report import to_json

    return to_json(report)


def _markdown(report: Report) -> str:
    from pytest_biastransfer.reporting.markdown import render_markdown

    return render_markdown(report)


RENDERERS: Final[Mapping[str, Callable[[Report], str]]] = {".html": _html, ".json": _json, ".md": _markdown}


def expected_suffix() -> str:
    """Return the half sentence that says which files are expected.

    >>> expected_suffix()
    'expected a file that ends in one of .html, .json, .md'
    """
    return f"expected a file that ends in one of {', '.join(RENDERERS)}"


def render(report: Report, path: Path) -> str:
    """Return a report in the format of the file `path`.

    Raises
    ------
    ReportError
        If no format has the suffix of `path`.

    Examples
    --------
    >>> from pytest_biastransfer.reporting.report import Report
    >>> render(Report([]), Path("bias.txt"))
    Traceback (most recent call last):
        ...
    pytest_biastransfer.errors.ReportError: bias.txt: expected a file that ends in one of .html, .json, .md
    """
    if path.suffix not in RENDERERS:
        raise ReportError(f"{path}: {expected_suffix()}")
    return RENDERERS[path.suffix](report)


def save(text: str, path: Path) -> None:
    """Write a rendered report, and the directories that lead to it; raises `ReportError` if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # File names may hold lone surrogates, which UTF-8 cannot encode. As escapes they are valid JSON too.
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from error
