"""The judgement of an expectation on a ladder: of each strength, of the smallest one that breaks a limit, of means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict, holds, judge, require_enough_images
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.ladder_measurement import strength_name

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement


@dataclass(frozen=True)
class LadderVerdict(Verdict):
    """The verdicts on all limits of one expectation on a ladder.

    Attributes
    ----------
    positions
        For each of the limits, the position of the strength at which it was observed; None for that of a mean.
    breaking
        For each limit on the strengths, the position of the smallest strength that breaks it; None if none does.
    """

    positions: tuple[int | None, ...]
    breaking: tuple[int | None, ...]


def breaks_a_limit(expectation: Expectation, measurement: Measurement) -> bool:
    """Return whether one strength breaks a limit; one that was stopped early tells by its early verdicts."""
    if measurement.early is not None:
        return not all(measurement.early.values())
    rule = expectation.rule
    return not all(holds(rule, measurement.estimate(metric), limit) for metric, limit in expectation.limits)


def shown_position(expectation: Expectation, ladder: LadderMeasurement) -> int:
    """Return the position of the strength whose images are shown: the smallest that breaks a limit, or the last."""
    positions = ladder.measured
    breaking = (position for position in positions if breaks_a_limit(expectation, _measurement(ladder, position)))
    return next(breaking, positions[-1])


def judge_ladder(expectation: Expectation, ladder: LadderMeasurement) -> LadderVerdict:
    """Judge every limit of the expectation.

    A limit has to hold at each strength, or with `Expectation.min_strength` at each weaker one. Its verdict is of the
    first strength at which it has to hold and does not, or else of that with the largest value.

    Raises `BiasTransferError` for a limit that so few images could never be certain of.
    """
    required = required_strengths(expectation, ladder.strengths)
    verdicts = {position: judge(expectation, _measurement(ladder, position)).limits for position in ladder.measured}
    limits, positions, breaking = [], [], []
    for number in range(len(expectation.limits)):
        own = {position: verdict[number] for position, verdict in verdicts.items()}
        # Not `not holds`: where a limit was not decided, because another one is broken, it is not known to be broken.
        broken = [position for position, limit in own.items() if limit.holds is False]
        breaking.append(min(broken, default=None))
        position = _decisive(own, broken, required)
        positions.append(position)
        limits.append(replace(own[position], at=strength_name(ladder.field, ladder.strengths[position])))
    means = [_mean_verdict(expectation, metric, limit, ladder) for metric, limit in expectation.means]
    return LadderVerdict((*limits, *means), (*positions, *[None] * len(means)), tuple(breaking))


def required_strengths(expectation: Expectation, strengths: Sequence[float]) -> int:
    """Return at how many strengths, the weakest first, the limits have to hold."""
    if expectation.min_strength is None:
        return len(strengths)
    return list(strengths).index(expectation.min_strength)


def _decisive(own: dict[int, LimitVerdict], broken: list[int], required: int) -> int:
    """Return the position of the strength that decides about a limit."""
    if broken and min(broken) < required:
        return min(broken)
    undecided = [position for position, limit in own.items() if limit.holds is None and position < required]
    holding = [position for position, limit in own.items() if limit.holds]
    # Bisection may have measured none of the required ones: that a stronger one holds the limit decides about them.
    among = undecided or [position for position in holding if position < required] or holding
    return max(among or own, key=lambda position: (own[position].observed, position))


def _mean_verdict(expectation: Expectation, metric: str, limit: float, ladder: LadderMeasurement) -> LimitVerdict:
    observed, keyword = ladder.mean(metric), metric_named(metric).mean_keyword
    if expectation.rule == "certain":
        require_enough_images(keyword, metric, limit, observed)
    is_met = holds(expectation.rule, observed, limit)
    return LimitVerdict(keyword.removeprefix("max_"), limit, expectation.rule, observed, is_met)


def _measurement(ladder: LadderMeasurement, position: int) -> Measurement:
    measurement = ladder.measurements[position]
    assert measurement is not None
    return measurement
