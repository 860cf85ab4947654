"""Which page has which generated parts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs import gallery
from docs.tables.commands import commands
from docs.tables.errors import errors
from docs.tables.fixtures import fixtures
from docs.tables.markers import marker
from docs.tables.markup import replaced
from docs.tables.metrics import changes, groups, intervals, limits
from docs.tables.options import options
from pytest_biastransfer.names import MARKERS

DOCS: Final = Path(__file__).parents[1]
PAGES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "options.md": {"options": options},
    "markers.md": {name: functools.partial(marker, name) for name in MARKERS},
    "fixtures.md": {"fixtures": fixtures},
    "cli.md": {"commands": commands},
    "errors.md": {"errors": errors},
    "metrics.md": {"limits": limits},
    "statistics.md": {"intervals": intervals, "changes": changes},
    "finetuning.md": {"groups": groups},
    "interventions.md": {
        **{name: functools.partial(gallery.section, name) for name in gallery.SECTIONS},
        "names": gallery.named,
    },
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
