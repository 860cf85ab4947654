"""Lines for the file that pytest reads its configuration from, in the form and the section that it wants there."""

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
# Without the plugin, the first stops pytest, and the second makes an error of its markers.
PROTECTION: Final = {"required_plugins": "pytest-biastransfer", "addopts": "--strict-markers"}


def section_of(path: Path) -> str:
    """Return the head of the section where pytest looks in a file of that name.

    >>> section_of(Path("setup.cfg")), section_of(Path("tox.ini"))
    ('[tool:pytest]', '[pytest]')
    """
    if path.name == "pyproject.toml":
        own = _pytest_table(path)
        return f"[{_TABLE}]" if "ini_options" in own or not own else "[tool.pytest]"
    return "[tool:pytest]" if path.suffix == ".cfg" else "[pytest]"


def lines_of(values: Mapping[str, str], path: Path, comments: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines that give these values in a file of that name, each below its comment if it has one.

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
    """Return the values with those that keep a bias test from passing where this plugin is not loaded."""
    return {**values, **PROTECTION}


def lacking_protection(name: str, present: Sequence[str]) -> bool:
    """Whether the ini value `name`, which has these words, does not protect.

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
    # A string of JSON is one of TOML, as long as no control characters are in it.
    takes_lists = name in PROTECTION and section_of(path) in ("[tool.pytest]", "[pytest]")
    return json.dumps([value] if takes_lists else value, ensure_ascii=False)


def require_one_line(spec: str, place: str) -> None:
    """Raise `SpecError` for what would not come back from a line as it is."""
    if not spec.isprintable() or spec != spec.strip():
        raise SpecError(f"{place}: got {spec!r}, expected one line without control characters or spaces around it")


def new_file(values: Mapping[str, str], comments: Mapping[str, str] | None = None) -> str:
    """Return the text of a new ``pytest.ini``."""
    return "\n".join(["[pytest]", *lines_of(values, Path(NEW_NAME), comments)]) + "\n"


def has_room(path: Path) -> bool:
    """Whether a file is a pyproject.toml that says nothing of pytest yet, so that a table can be added at its end."""
    return path.name == "pyproject.toml" and not _pytest_table(path)


def with_table(text: str, values: Mapping[str, str], comments: Mapping[str, str] | None = None) -> str | None:
    """Return a pyproject.toml with pytest's table at its end; None where that would change what else it says."""
    end = "\r\n" if "\r\n" in text else "\n"
    added = ["", f"[{_TABLE}]", *lines_of(values, Path("pyproject.toml"), comments)]
    changed = text + end * (not text.endswith("\n")) + "".join(f"{line}{end}" for line in added)
    expected = tomllib.loads(text)
    expected.setdefault("tool", {})["pytest"] = {"ini_options": dict(values)}
    try:
        return changed if tomllib.loads(changed) == expected else None
    except tomllib.TOMLDecodeError:
        # ``tool = {...}`` in one line cannot be added to.
        return None


def _pytest_table(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("pytest", {})
    return found
