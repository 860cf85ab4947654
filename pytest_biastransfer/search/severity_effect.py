"""How a model does under the severities of a corruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.statistics.limits import is_at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class SeverityEffect:
    """The effect of a corruption.

    Attributes
    ----------
    name
        The corruption.
    field, strengths
        The field of the intervention, and its value for each severity.
    asr
        The asr at each severity.
    metric, mean
        What a limit would be on, the asr or its excess over the control model's, and its mean over the severities.
    """

    name: str
    field: str
    strengths: Sequence[float]
    asr: Sequence[float]
    metric: str
    mean: Estimate

    @classmethod
    def of(cls, name: str, ladder: LadderMeasurement) -> SeverityEffect:
        """Return the effect of a ladder that was measured with the mean of one metric."""
        [(metric, mean)] = ladder.means.items()
        asr = [float(ladder.at(strength).asr) for strength in ladder.strengths]
        return cls(name, ladder.field, ladder.strengths, asr, metric, mean)

    def first_above(self, limit: float) -> int | None:
        """Return the smallest severity, counted from 1, whose asr is above a limit; None if there is none."""
        return next((number for number, asr in enumerate(self.asr, start=1) if not is_at_most(asr, limit)), None)
