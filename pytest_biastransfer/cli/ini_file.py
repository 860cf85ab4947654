"""Lines of pytest's configuration, in the syntax of ``pytest.ini``, ``setup.cfg`` or ``pyproject.toml``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import SpecError

NEW_NAME: Final = "pytest.ini"
_TOML: Final = ".toml"
_TABLE: Final = "tool.pytest.ini_options"
# If the plugin is not loaded, pytest stops because of the first, and rejects its markers because of the second.
PROTECTION: Final = {"required_plugins": "pytest-biastransfer", "addopts": "--strict-markers"}


def section_of(path: Path) -> str:
    """Return the header of the section that pytest reads in a file.

    >>> section_of(Path("setup.cfg")), section_of(Path("tox.ini"))
    ('[tool:pytest]', '[pytest]')
    """
    if path.name == "pyproject.toml":
        table = _pytest_table(path)
        return f"[{_TABLE}]" if "ini_options" in table or not table else "[tool.pytest]"
    return "[tool:pytest]" if path.suffix == ".cfg" else "[pytest]"


def lines_of(values: Mapping[str, str], path: Path, comments: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines that set these values in a file. A comment stands above its line.

    >>> lines_of({"bias_dataset": "imagefolder:data/val"}, Path("pytest.ini"))
    ['bias_dataset = imagefolder:data/val']
    >>> lines_of({"bias_dataset": "imagefolder:data/val"}, Path("pyproject.toml"))
    ['bias_dataset = "imagefolder:data/val"']
    """
    lines = []
    for name, value in values.items():
        lines += [f"# {comments[name]}"] if comments and name in comments else []
        lines.append(f"{name} = {_in_file(name, value, path)}")
    return lines


def with_protection(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values together with those that prevent a pass without the plugin."""
    return {**values, **PROTECTION}


def lacking_protection(name: str, present: Sequence[str]) -> bool:
    """Whether the ini value `name`, split into words, does not prevent a pass without the plugin.

    >>> lacking_protection("required_plugins", ["pytest-biastransfer>=0.1"]), lacking_protection("addopts", ["-ra"])
    (False, True)
    """
    if name == "addopts":
        return not {"--strict-markers", "--strict"} & set(present)
    return not any(
        re.match(rf"{PROTECTION[name]}($|[^\w-])", word.replace("_", "-"), re.IGNORECASE) for word in present
    )


def _in_file(name: str, value: str, path: Path) -> str:
    if path.suffix != _TOML:
        return value
    # Without control characters, a JSON string is a TOML string.
    takes_lists = name in PROTECTION and section_of(path) in ("[tool.pytest]", "[pytest]")
    return json.dumps([value] if takes_lists else value, ensure_ascii=False)


def require_one_line(spec: str, option: str) -> None:
    """Raise `SpecError` for a spec that pytest would not read back from one line unchanged."""
    if not spec.isprintable() or spec != spec.strip():
        raise SpecError(f"{option}: got {spec!r}, expected one line without control characters or spaces around it")


def new_file(values: Mapping[str, str], comments: Mapping[str, str] | None = None) -> str:
    """Return the text of a new ``pytest.ini``."""
    return "\n".join(["[pytest]", *lines_of(values, Path(NEW_NAME), comments)]) + "\n"


def has_room(path: Path) -> bool:
    """Whether a file is a ``pyproject.toml`` without pytest's table, so that one can be appended."""
    return path.name == "pyproject.toml" and not _pytest_table(path)


def with_table(text: str, values: Mapping[str, str], comments: Mapping[str, str] | None = None) -> str | None:
    """Return the text of a ``pyproject.toml`` with pytest's table appended; None if that changes its other content."""
    end = "\r\n" if "\r\n" in text else "\n"
    added = ["", f"[{_TABLE}]", *lines_of(values, Path("pyproject.toml"), comments)]
    changed = text + end * (not text.endswith("\n")) + "".join(f"{line}{end}" for line in added)
    expected = tomllib.loads(text)
    expected.setdefault("tool", {})["pytest"] = {"ini_options": dict(values)}
    try:
        return changed if tomllib.loads(changed) == expected else None
    except tomllib.TOMLDecodeError:
        # An inline table ``tool = {...}`` cannot be extended.
        return None


def _pytest_table(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("pytest", {})
    return table
