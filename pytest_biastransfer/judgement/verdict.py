"""The judgement of an expectation on a measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.limits import is_at_most

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.names import Bound, Rule


@dataclass(frozen=True)
class LimitVerdict:
    """One limit and what was observed.

    Attributes
    ----------
    metric, limit, rule
        What was demanded.
    observed
        The estimate.
    holds
        The verdict; None where the measurement was stopped before, because of another limit.
    bound
        What is limited.
    at
        At which strength of a ladder it was observed, in words; empty if there is no ladder.
    """

    metric: str
    limit: float
    rule: Rule
    observed: Estimate
    holds: bool | None
    bound: Bound = "at most"
    at: str = ""

    @property
    def note(self) -> str:
        """What to add to the verdict: how sure it is that the value is on its side of the limit; empty where it is."""
        if self.holds is None:
            return "not decided"
        observed, limit = _as_maximum(self.observed, self.limit, self.bound)
        # An undefined value is outside, too.
        if not observed.low <= limit < observed.high:
            return ""
        if not is_at_most(observed, limit):
            return "not significant"
        return "within noise" if self.holds else "not certain"


@dataclass(frozen=True)
class Verdict:
    """The verdicts on all limits of one expectation."""

    limits: tuple[LimitVerdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every limit holds."""
        return all(limit.holds for limit in self.limits)


def judge(expectation: Expectation, measurement: Measurement | GapMeasurement) -> Verdict:
    """Judge every limit of the expectation.

    Raises `BiasTransferError` for a limit that so few images could never be certain of.
    """
    if measurement.early is not None:
        return Verdict(tuple(_early_verdicts(expectation, measurement)))
    return Verdict(tuple(_verdict(expectation, *bound, measurement) for bound in expectation.bounds))


def holds(rule: Rule, observed: Estimate, limit: float, bound: Bound = "at most") -> bool:
    """Return whether an estimate meets a limit; an undefined value (NaN) never does."""
    if math.isnan(observed):
        return False
    observed, limit = _as_maximum(observed, limit, bound)
    judged = {"point": float(observed), "certain": observed.high, "significant": observed.low}[rule]
    return bool(is_at_most(judged, limit))


def _as_maximum(observed: Estimate, limit: float, bound: Bound) -> tuple[Estimate, float]:
    """Return the estimate, mirrored or folded at 0, whose value must be at most the returned limit."""
    if bound == "at least":
        return observed.mirrored(), -limit
    if bound == "size at most":
        low, high, confidence, n = observed.low, observed.high, observed.confidence, observed.n
        # An interval that contains 0 does not exclude a size of 0.
        least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        most = max(abs(low), abs(high))
        return Estimate(abs(observed), low=least, high=most, confidence=confidence, n=n, method=observed.method), limit
    return observed, limit


def images_to_be_certain(limit: float, confidence: float) -> float:
    """Return how many images it takes for the interval of a share of 0 to end below the limit.

    Infinitely many for a limit of 0.

    >>> images_to_be_certain(0.05, 0.95)
    72
    """
    if not 0 < limit < 1:
        return 0 if limit == 1 else math.inf
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-limit))


def _verdict(
    expectation: Expectation, metric: str, limit: float, bound: Bound, measurement: Measurement | GapMeasurement
) -> LimitVerdict:
    observed, rule = measurement.estimate(metric), expectation.rule
    if rule == "certain":
        require_enough_images(f"max_{metric}", metric, limit, observed)
    return LimitVerdict(metric, limit, rule, observed, holds(rule, observed, limit, bound), bound)


def _early_verdicts(expectation: Expectation, measurement: Measurement) -> list[LimitVerdict]:
    assert measurement.early is not None
    return [
        LimitVerdict(metric, limit, expectation.rule, measurement.estimate(metric), measurement.early.get(metric))
        for metric, limit in expectation.limits
    ]


def require_enough_images(keyword: str, metric: str, limit: float, observed: Estimate) -> None:
    """Raise `BiasTransferError` if no outcome on so many images would be certain; `keyword` has the limit."""
    needed = images_to_be_certain(limit, observed.confidence)
    if not metric_named(metric).is_above_zero or math.isnan(observed) or observed.n >= needed:
        return
    enough = "no number of images is enough" if needed == math.inf else f"at least {needed:,} images are needed"
    raise BiasTransferError(
        f"{keyword}={limit:g} can never pass with rule='certain' and n = {observed.n:,}: even at an observed 0, "
        f"the {observed.confidence * 100:g} % interval would end above the limit. Here {enough}; add images, raise "
        f"the limit, or use rule='point'"
    )
