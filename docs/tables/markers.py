"""The markers and their arguments, from what ``pytest --markers`` prints."""

from __future__ import annotations

import re
import textwrap
from typing import Final

from pytest_biastransfer.plugin.collection.marker_help import marker_help

_WIDTH: Final = 88
_NAMES: Final = re.compile(r"(?<![`\w])(\w+=(?:True|False|'[a-z_]+')?(?=[\s,.;:)])|(?:max|min)_\w+|\w+\(\.\.\.\))(?!`)")


def marker(name: str) -> str:
    """Return the declaration and the description of a marker."""
    return dict(map(_section, marker_help()))[name]


def _section(line: str) -> tuple[str, str]:
    declaration, _, description = line.partition("): ")
    name, _, arguments = declaration.partition("(")
    wrapped = textwrap.fill(arguments, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    sentences = _NAMES.sub(r"`\1`", description[0].upper() + description[1:])
    # The marker's first sentence is printed after a colon.
    return name, f"```text\n{name}(\n{wrapped}\n)\n```\n\n{textwrap.fill(sentences, 120, break_on_hyphens=False)}\n"
