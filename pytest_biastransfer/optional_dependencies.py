"""Optional dependencies: libraries that only some specs or reports need, installed with an extra of this package."""

from __future__ import annotations

import importlib
import types

from pytest_biastransfer.errors import SpecError


def need(module: str, extra: str, origin: str) -> types.ModuleType:
    """Import a module of an optional library.

    Parameters
    ----------
    module
        The name that the module is imported by.
    extra
        The extra of this package that installs the library.
    origin
        What needs the library, such as ``spec 'timm:resnet18'``: the beginning of the error message.

    Raises
    ------
    SpecError
        If the library is not installed; the message says what to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # An installed library that lacks one of its own dependencies is not ours to explain: its own error says more.
        if error.name != module.partition(".")[0]:
            raise
        raise SpecError(
            f"{origin}: needs {error.name}, which is not installed; type: pip install 'pytest-biastransfer[{extra}]'"
        ) from error
