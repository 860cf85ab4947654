"""The options of pytest and the keys of the ini file, from what the plugin declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from docs.tables.markup import code, table
from pytest_biastransfer.plugin.settings import add_options

_KINDS: Final = {"args": "words", "bool": "`true` or `false`", "linelist": "one per line"}


class DeclaredOptions:
    """What a plugin declares: it has the methods of `pytest.Parser` that are used for that."""

    def __init__(self) -> None:
        self.options: dict[str, tuple[str, str]] = {}
        self.ini: dict[str, tuple[str, str | None]] = {}

    def getgroup(self, name: str, description: str = "") -> DeclaredOptions:
        """Return the group of the options, which is this object."""
        return self

    def addoption(self, flag: str, **settings: Any) -> None:
        """Note an option: its key, how it is typed, and its help."""
        metavar, optional = settings.get("metavar"), settings.get("nargs") == "?"
        value = f"[={metavar}]" if optional else f"={metavar}" if metavar else ""
        self.options[settings["dest"]] = (f"{flag}{value}", settings["help"])

    def addini(self, name: str, text: str, type: str | None = None, default: object = None) -> None:
        """Note a key of the ini file."""
        self.ini[name] = (text, type)


def declared() -> DeclaredOptions:
    """Return the options and keys of the plugin."""
    parser = DeclaredOptions()
    add_options(parser)  # type: ignore[arg-type]
    return parser


def options() -> str:
    """Return the table of all options and keys."""
    return table(["option, and key of the ini file", "meaning"], _rows(declared()))


def _rows(parser: DeclaredOptions) -> Iterator[tuple[str, str]]:
    for key, (flag, text) in parser.options.items():
        names = [flag, key] if key in parser.ini else [flag]
        yield "<br>".join(map(code, names)), text
    for key, (text, kind) in parser.ini.items():
        if key not in parser.options:
            yield code(key), f"{text} ({_KINDS[kind]})" if kind else text
