"""Tracebacks without this package's own frames, for errors that the user can mend."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest_biastransfer
from pytest_biastransfer.errors import BiasTransferError

if TYPE_CHECKING:
    import pytest

# Where dataclasses say that the functions are which they make.
_MADE: Final = "<string>"
_PACKAGE: Final = Path(pytest_biastransfer.__path__[0])


def hide_own_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leave the frames of this package out, if the error is one of those that the user can mend."""
    if isinstance(excinfo.value, BiasTransferError):
        excinfo.traceback = _shown(excinfo.value).traceback


def hide_own_frames_of_module(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Do so with the report of what could not be collected, and leave out what the error was caused by."""
    error = report.call.excinfo.value
    if isinstance(error, BiasTransferError):
        # Its message tells of the cause.
        error.__cause__, error.__suppress_context__ = None, True
        report.longrepr = collector.repr_failure(_shown(error))


def _shown(error: BiasTransferError) -> pytest.ExceptionInfo[BaseException]:
    """Return an error without the frames of this package.

    In a new chain of frames: pytest goes along the chain itself from the test's own frame on.
    """
    import pytest

    shown = None
    for frame in reversed(list(_frames(error.__traceback__))):
        if not _is_own(frame.tb_frame.f_code.co_filename):
            shown = types.TracebackType(shown, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return pytest.ExceptionInfo.from_exception(error.with_traceback(shown))


def _is_own(file: str) -> bool:
    return file == _MADE or Path(file).is_relative_to(_PACKAGE)


def _frames(first: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while first is not None:
        yield first
        first = first.tb_next
