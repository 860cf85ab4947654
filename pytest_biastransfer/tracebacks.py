"""Tracebacks without this package's own frames, for errors that the user can mend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError

if TYPE_CHECKING:
    import pytest


def hide_own_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leave the frames of this package out, if the error is one of those that the user can mend."""
    if isinstance(excinfo.value, BiasTransferError):
        own = Path(__file__).parent
        excinfo.traceback = excinfo.traceback.filter(lambda entry: not Path(entry.path).is_relative_to(own))
