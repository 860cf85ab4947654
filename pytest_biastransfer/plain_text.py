"""Text as it is shown outside HTML: names of strangers move no cursor, turn no text around and give no commands.

Class names, tests' ids, state-dict keys and names of files are written by whoever made a model, a dataset or a pull
request. What terminals and readers of logs would obey in them is shown escaped.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Control characters, formats such as those that turn the direction, halves of characters, separators of lines.
_OBEYED: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Parts of letters and of emoji.
_JOINERS: Final = "\u200c\u200d"
# GitHub obeys a line that begins so, and `##[` anywhere in one; Azure and TeamCity obey other words there.
_COMMAND: Final = re.compile(r"(?m)^(\s*):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))")


def shown(text: str) -> str:
    r"""Return a text of one or several lines without anything that is obeyed in place of being shown.

    >>> print(shown("a\x1b[2Jb\n::error::c"))
    a\x1b[2Jb
    \x3a:error::c
    """
    if not text.isprintable():
        text = "".join(letter if letter == "\n" or letter.isprintable() else _escaped(letter) for letter in text)
    if "::" in text or "##" in text:
        text = _COMMAND.sub(lambda found: r"\x23" if found[1] is None else rf"{found[1]}\x3a", text)
    return text


def in_one_line(text: str) -> str:
    r"""Return a text without anything that is obeyed, and without the ends of lines.

    >>> print(in_one_line("cat\n::add-mask::b"))
    cat\n::add-mask::b
    """
    return shown(text.replace("\n", r"\n"))


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _OBEYED or letter in _JOINERS:
        return letter
    return letter.encode("unicode_escape", errors="backslashreplace").decode("ascii")
