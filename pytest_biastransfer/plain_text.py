"""Escapes text for terminals and logs, so that names written by others cannot control them.

Class names, test ids, state-dict keys and file names come from whoever made a model, a dataset or a pull request. They
may contain escape sequences, characters that reverse the text direction, or commands that a CI system reads from its
log. HTML has its own escaping.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Unicode categories: controls, formats (such as those that reverse the direction), surrogates, line separators.
_CONTROLS: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Format characters that belong to the spelling of words and emoji.
_JOINERS: Final = "\u200c\u200d"
# GitHub runs a log line that begins with `::`, and `##[` anywhere; Azure and TeamCity have other words after `##`.
_COMMAND: Final = re.compile(r"(?m)^(\s*):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))")


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


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _CONTROLS or letter in _JOINERS:
        return letter
    return letter.encode("unicode_escape", errors="backslashreplace").decode("ascii")
