"""Markdown of the generated parts, and their location in a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

COMMAND: Final = "python -m docs.tables"
_END: Final = "<!-- end of table -->"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; vertical bars in cells are escaped.

    >>> print(table(["a", "b"], [["x|y", "z"]]), end="")
    | a | b |
    | --- | --- |
    | x\\|y | z |
    """
    lines = [heading, ["---"] * len(heading), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def code(text: str) -> str:
    """Return a text as a code span, whatever backticks it has.

    >>> code("max_asr"), code("the fixture `bias`")
    ('`max_asr`', '``the fixture `bias` ``')
    """
    if "`" not in text:
        return f"`{text}`"
    longest = max(len(run) for run in re.findall("`+", text))
    fence = "`" * (longest + 1)
    left, right = (" " if text.startswith("`") else ""), (" " if text.endswith("`") else "")
    return f"{fence}{left}{text}{right}{fence}"


def replaced(page: str, text: str, name: str, content: str) -> str:
    """Return the text of a page in which a generated part has new content.

    Raises ValueError if the page has no place for it, or several.
    """
    begin = f"<!-- table {name}: {COMMAND} -->\n"
    if text.count(begin) != 1:
        raise ValueError(f"{page}: expected one line {begin.strip()}, found {text.count(begin)}")
    before, _, rest = text.partition(begin)
    if _END not in rest:
        raise ValueError(f"{page}: expected {_END} after the table {name}, found none")
    return f"{before}{begin}\n{content}\n{_END}{rest.partition(_END)[2]}"
