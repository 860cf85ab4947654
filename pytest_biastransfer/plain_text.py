"""Text for terminals, logs and shells: names written by others cannot control them, and each system shows the same.

Class names, test ids, state-dict keys and file names come from whoever made a model, a dataset or a pull request. They
may contain escape sequences, characters that reverse the text direction, or commands that a CI system reads from its
log. HTML has its own escaping. Commands and paths are written so that they can be typed on each operating system.
"""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# Unicode categories: controls, formats (such as those that reverse the direction), surrogates, line separators.
_CONTROLS: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Format characters that belong to the spelling of words and emoji.
_JOINERS: Final = "\u200c\u200d"
# GitHub runs a log line that begins with `::`, and `##[` anywhere; Azure and TeamCity have other words after `##`.
_COMMAND: Final = re.compile(r"(?m)^(\s*):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))")

# Words that need no quotes.
_BARE: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# What a shell replaces between double quotes. A backslash is literal unless it is before one of these, or at the end.
_REPLACED: Final = re.compile(r'["$`!]|\\(?:\\|$)')


def shown(text: str) -> str:
    r"""Return a text of one or several lines with everything escaped that a terminal or a log would execute.

    >>> print(shown("a\x1b[2Jb\n::error::c"))
    a\x1b[2Jb
    \x3a:error::c
    """
    if not text.isprintable():
        text = "".join(letter if letter == "\n" or letter.isprintable() else _escaped(letter) for letter in text)
    if "::" in text or "##" in text:
        text = _COMMAND.sub(lambda match: r"\x23" if match[1] is None else rf"{match[1]}\x3a", text)
    return text


def in_one_line(text: str) -> str:
    r"""Return a text as `shown` does, in one line: its line ends are escaped too.

    >>> print(in_one_line("cat\n::add-mask::b"))
    cat\n::add-mask::b
    """
    return shown(text.replace("\n", r"\n"))


# The most tests that a command to type names.
NAMED: Final = 3


def command_line(words: Iterable[str]) -> str:
    """Return a command to type: in double quotes where they are needed, which the shells of POSIX and Windows share.

    Words that a shell would change between them are quoted for the shells of POSIX, and for PowerShell.

    >>> print(command_line(["pytest", "test_pets.py::test_bias[yellow-square]"]))
    pytest "test_pets.py::test_bias[yellow-square]"
    """
    return " ".join(map(_quoted, words))


def path_from(path: Path | str, directory: Path | str) -> str:
    """Return a path relative to a directory, with slashes on each system; absolute if it is on another drive.

    >>> path_from("/data/val/cat.png", "/data/models")
    '../val/cat.png'
    """
    try:
        relative = os.path.relpath(path, directory)
    # Windows has no way from one drive to another.
    except ValueError:
        relative = os.path.abspath(path)  # noqa: PTH100 - links are no other place
    return Path(relative).as_posix()


def _quoted(word: str) -> str:
    if _BARE.fullmatch(word):
        return word
    return shlex.quote(word) if _REPLACED.search(word) else f'"{word}"'


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _CONTROLS or letter in _JOINERS:
        return letter
    return letter.encode("unicode_escape", errors="backslashreplace").decode("ascii")
