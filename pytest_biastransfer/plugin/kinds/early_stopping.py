"""Whether a bias test may stop early: its marker decides, or the session's option."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import EARLY_STOP_ALPHA, Expectation

if TYPE_CHECKING:
    from pytest_biastransfer.plugin.settings import Settings


def early_stop_of(expectation: Expectation, settings: Settings) -> EarlyStop | None:
    """Return when the verdict of a test is certain early; the marker decides, otherwise the option."""
    requested = settings.early_stop if expectation.early_stop is None else expectation.early_stop
    # What becomes a baseline, or has to be compared with it, depends on all images; a mean over strengths does, too.
    if not requested or expectation.means or settings.update is not None or settings.compare == "require":
        return None
    return EarlyStop.of(expectation, settings.early_stop or EARLY_STOP_ALPHA if requested is True else requested)
