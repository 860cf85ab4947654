"""Which page has which generated parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.tables.commands import commands
from docs.tables.errors import errors
from docs.tables.fixtures import fixtures
from docs.tables.markers import markers
from docs.tables.markup import replaced
from docs.tables.options import options
from pytest_biastransfer.names import MARKERS

DOCS: Final = Path(__file__).parents[1]
PAGES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "options.md": {"options": options},
    "markers.md": {name: lambda name=name: markers()[name] for name in MARKERS},  # type: ignore[misc]
    "fixtures.md": {"fixtures": fixtures},
    "cli.md": {"commands": commands},
    "errors.md": {"errors": errors},
}


def page(name: str, text: str) -> str:
    """Return the text of a page with its generated parts as they should be."""
    for part, content in PAGES[name].items():
        text = replaced(name, text, part, content())
    return text


def write() -> None:
    """Write all pages."""
    for name in PAGES:
        path = DOCS / name
        path.write_text(page(name, path.read_text(encoding="utf-8")), encoding="utf-8")
