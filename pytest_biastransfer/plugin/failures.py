"""How a bias test fails: over a limit, or because it could not be measured at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.plain_text import shown
from pytest_biastransfer.plugin.pytest_internals import Failed, shorten_crash

if TYPE_CHECKING:
    import pytest


class _Shown(Failed):
    """An outcome whose message, which names of strangers are a part of, is shown and not obeyed."""

    def __init__(self, message: str, *, pytrace: bool = True) -> None:
        super().__init__(shown(message), pytrace=pytrace)

    @property
    def headline(self) -> str:
        """What pytest's short summary shows, of which it takes the first line."""
        return str(self)


class MeasurementFailed(_Shown):
    """Nothing could be measured: an error of what the test was given, which no ``xfail`` excuses."""

    # As pytest has it for its own outcomes: the short summary then has room for the message.
    __module__ = "builtins"


class LimitExceeded(_Shown):
    """The verdict on a test whose own body passed: what an ``xfail`` may excuse."""

    __module__ = "builtins"

    @property
    def headline(self) -> str:
        """All exceeded limits in one line: the message has a line for each, before its first blank line."""
        limits, _, _ = str(self).partition("\n\n")
        return "; ".join(map(str.strip, limits.splitlines()))


class NotCompared(_Shown):
    """A test within its limits that had to be compared with a baseline and could not be; no ``xfail`` excuses that."""

    __module__ = "builtins"


class BiasRegression(_Shown):
    """A test within its limits that is worse than what was accepted."""

    __module__ = "builtins"


def show_message_alone(report: pytest.TestReport, error: BaseException) -> None:
    """Have pytest's short summary begin with the message of a verdict, which has the figures."""
    if isinstance(error, _Shown):
        shorten_crash(report, error.headline)


@contextmanager
def clear_errors(place: str) -> Iterator[None]:
    """Show errors that the user can mend by their message alone."""
    try:
        yield
    except BiasTransferError as error:
        raise MeasurementFailed(f"{error}\nin {place}", pytrace=False) from None
