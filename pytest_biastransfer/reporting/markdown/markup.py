"""The parts of a Markdown document: escaped texts, tables, folded sections, and a limit of its length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pytest_biastransfer.plain_text import in_one_line, shown

# The first line of a document. It is not shown; a job finds the comment to update by it.
MARKER: Final = "<!-- pytest-biastransfer -->"
_MOST_CHARACTERS: Final = 200
# GitHub refuses a comment of more than 65,536 characters; a job adds a line.
_MOST_OF_DOCUMENT: Final = 65_000


def code(text: str) -> str:
    """Return any text as inline code, in one line and without an unescaped ``|``, so that it fits into a table.

    >>> code("test_x[a|b]")
    '`test_x[a\\\\|b]`'
    """
    line = in_one_line(" ".join(text.split()))
    line = line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}".replace("|", "\\|")


def escaped(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return a text of at most `most` characters in one line, with the characters escaped that mean markup.

    >>> escaped("<b>_x_|y</b>")
    '&lt;b&gt;\\\\_x\\\\_\\\\|y&lt;/b&gt;'
    """
    line = in_one_line(" ".join(text.split()))
    line = line if len(line) <= most else f"{line[:most]}…"
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html_escaped(line))


def html_escaped(text: str) -> str:
    """Return a text with the characters escaped that begin HTML tags and entities."""
    # The ampersand comes first: the other two replacements insert ampersands.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a section that is closed at first; `title` is plain text."""
    # The blank lines make Markdown of what is between the tags.
    yield f"<details><summary>{html_escaped(in_one_line(title)[:_MOST_CHARACTERS])}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"


def fenced(text: str, most: int) -> Iterator[str]:
    """Yield a text of several lines as a block of code, of at most `most` characters."""
    # The fence is longer than any run of backticks in the text, so that no line of it closes the fence.
    block = shown(text[:most])
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block)), default=0))
    yield f"{fence}text"
    yield block
    yield fence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; the cells must be escaped."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def in_cell(lines: Iterable[str]) -> str:
    """Return lines as the content of a cell: a row of a table is one line, and the tag is shown as a line break."""
    return "<br>".join(filter(None, lines)) or "–"


def document(lines: Iterable[str], sections: Iterable[Sequence[str]]) -> str:
    """Return a document: the lines, and the first sections that fit into a comment with them."""
    first = "\n".join([*lines, ""])
    fit = fitting(sections, _MOST_OF_DOCUMENT - len(first))
    return first + "".join(f"{line}\n" for section in fit for line in section)


def fitting(sections: Iterable[Sequence[str]], most: int) -> list[Sequence[str]]:
    """Return the first sections, given as lines, that have at most `most` characters together.

    >>> fitting([["ab"], ["c", "d"], ["e"]], 7)
    [['ab'], ['c', 'd']]
    """
    remaining, fit = most, []
    for lines in sections:
        remaining -= sum(len(line) + 1 for line in lines)
        if remaining < 0:
            break
        fit.append(lines)
    return fit
