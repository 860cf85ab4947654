"""The curves of a ladder as plain data and as text: a metric at each strength, and where it breaks its limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.reporting.figures import Interval, interval_of

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.judgement.ladder_verdict import LadderVerdict
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement


@dataclass(frozen=True)
class Curve:
    """A metric at the strengths of a ladder.

    Attributes
    ----------
    metric, limit
        The metric, and its limit at each strength; None if the mean alone is limited.
    observed
        The metric at each strength, null where it was not measured. The intervals hold all at once.
    breaks
        The smallest strength that breaks the limit; None if none does.
    """

    metric: str
    limit: float | None
    observed: Sequence[Interval | None]
    breaks: float | None


@dataclass(frozen=True)
class Curves:
    """The curves of the limited metrics.

    Attributes
    ----------
    field, strengths
        The field of the intervention, and its values, the weakest strength first.
    min_strength
        The weakest strength at which a limit may be broken; None if none may break it.
    curves
        One for each metric.
    shown
        The strength that reports show images of: the smallest one that breaks a limit, or else the strongest measured.
    """

    field: str
    strengths: Sequence[float]
    min_strength: float | None
    curves: Sequence[Curve]
    shown: float

    def texts(self) -> Iterator[str]:
        """Yield each curve in one line.

        >>> points = [Interval(value, None, None, None, 300) for value in (0.01, 0.3)]
        >>> print(*Curves("sigma", [0.01, 0.02], 0.02, [Curve("asr", 0.1, points, 0.02)], 0.02).texts())
        asr 0.010 0.300 at sigma 0.01 0.02; breaks 0.1 at 0.02, min_strength 0.02
        """
        strengths = " ".join(f"{strength:g}" for strength in self.strengths)
        for curve in self.curves:
            values = " ".join(map(_value, curve.observed))
            yield f"{curve.metric} {values} at {self.field} {strengths}{self.breaking_text(curve)}"

    def breaking_text(self, curve: Curve) -> str:
        """Return at which strength a curve breaks its limit, and which strengths were measured; empty without both."""
        text = ""
        if curve.limit is not None:
            text = f"; breaks {curve.limit:g} at {curve.breaks:g}" if curve.breaks is not None else ""
            text = text or f"; never breaks {curve.limit:g}"
            text += "" if self.min_strength is None else f", min_strength {self.min_strength:g}"
        measured = [interval for interval in curve.observed if interval is not None]
        if len(measured) < len(curve.observed):
            text += f"; {len(measured)} of {len(curve.observed)} strengths measured"
        return text


def curves_of(ladder: LadderMeasurement, expectation: Expectation, verdict: LadderVerdict, shown: float) -> Curves:
    """Return the curves of the limited metrics; `shown` is the strength that reports show images of."""
    limits = dict(expectation.limits)
    breaking = dict(zip(limits, verdict.breaking, strict=True))
    curves = []
    for metric in expectation.metrics:
        position = breaking.get(metric)
        curves.append(
            Curve(
                metric=metric,
                limit=limits.get(metric),
                observed=[None if estimate is None else interval_of(estimate) for estimate in ladder.curve(metric)],
                breaks=None if position is None else ladder.strengths[position],
            )
        )
    return Curves(ladder.field, ladder.strengths, expectation.min_strength, curves, shown)


def _value(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return "undefined" if interval.value is None else f"{interval.value:.3f}"
