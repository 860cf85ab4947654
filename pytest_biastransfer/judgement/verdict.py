"""The judgement of an expectation on a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.metrics.estimate import Estimate
    from pytest_biastransfer.metrics.measurement import Measurement


@dataclass(frozen=True)
class LimitVerdict:
    """One limit and what was observed."""

    metric: str
    limit: float
    observed: Estimate

    @property
    def holds(self) -> bool:
        """Whether the observed value is at most the limit; an undefined value (NaN) never is."""
        return bool(self.observed <= self.limit)


@dataclass(frozen=True)
class Verdict:
    """The verdicts on all limits of one expectation."""

    limits: tuple[LimitVerdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every limit holds."""
        return all(limit.holds for limit in self.limits)


def judge(expectation: Expectation, measurement: Measurement) -> Verdict:
    """Judge every limit of the expectation."""
    return Verdict(
        tuple(LimitVerdict(metric, limit, measurement.estimate(metric)) for metric, limit in expectation.limits)
    )
