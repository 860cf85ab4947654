"""The value of an option, or of the ini file, checked and converted. An option overrides its ini value."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from pytest_biastransfer.errors import nearest, percent_hint
from pytest_biastransfer.plugin.settings.declaration import flag_of

_UNITS: Final = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def names_of(name: str) -> str:
    """Return the names of an option and its ini value, for an error message."""
    return f"{flag_of(name)} (or bias_{name} in the ini file)"


def value_of(config: pytest.Config, name: str) -> str | None:
    """Return the text of an option or else of its ini value; None if neither is set."""
    option: str | None = config.getoption(f"bias_{name}")
    value: str | None = config.getini(f"bias_{name}") if option is None else option
    return value


def count_of(config: pytest.Config, name: str) -> int | None:
    """Return a whole number above 0; None if it is not set."""
    value = value_of(config, name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) == 0:
        raise pytest.UsageError(f"{names_of(name)}: got {value!r}, expected a whole number above 0")
    return int(value)


def size_of(config: pytest.Config, name: str) -> int | None:
    """Return a size of the ini file in bytes; None if it is not set."""
    value: str = config.getini(f"bias_{name}")
    if not value:
        return None
    number = value.strip().upper()
    unit = next((unit for unit in reversed(_UNITS) if number.endswith(unit)), "")
    digits = number.removesuffix(unit).strip()
    if not digits.isdecimal():
        raise pytest.UsageError(
            f"bias_{name} in the ini file: got {value!r}, expected a size such as 500MB or 4GB, or 0"
        )
    return int(digits) * _UNITS[unit]


def choice_of(origin: str, value: str, choices: Any) -> Any:
    """Return a value of a `Literal`; raise `pytest.UsageError` for another one."""
    if value not in get_args(choices):
        raise pytest.UsageError(f"{origin}: got {value!r}; {nearest(value, get_args(choices))}")
    return value


def probability_of(origin: str, value: str | None) -> float | None:
    """Return a number in (0, 1); None if it is not set. `origin` says in the error where the value comes from."""
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(value) < 1:
            return float(value)
    hint = percent_hint(value)
    raise pytest.UsageError(f"{origin}: got {value!r}, expected a number above 0 and below 1, such as 0.01{hint}")


def path_of(config: pytest.Config, name: str) -> Path | None:
    """Return a path. It is relative to the current directory as an option, to the ini file as an ini value."""
    option: str | None = config.getoption(f"bias_{name}")
    base = config.invocation_params.dir if option is not None else directory_of(config)
    path = value_of(config, name)
    return None if path is None else base / path


def directory_of(config: pytest.Config) -> Path:
    """Return the directory of the ini file; the root directory without one."""
    return config.inipath.parent if config.inipath else config.rootpath
