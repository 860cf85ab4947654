"""Libraries that only some specs need, and that the user installs with an extra of this package."""

from __future__ import annotations

import importlib
import types

from pytest_biastransfer.errors import SpecError


def need(module: str, extra: str, place: str) -> types.ModuleType:
    """Import a module of an optional library; `place` says what asked for it, for the error message.

    Raises `SpecError` with what to type where the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A library that is there and lacks one of its own dependencies says so itself.
        if error.name != module.partition(".")[0]:
            raise
        raise SpecError(
            f"{place}: needs {error.name}, which is not installed; type: pip install 'pytest-biastransfer[{extra}]'"
        ) from error
