"""The kind of test that `bias_intervention` makes of a ladder: predictions before and after, at several strengths."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pytest_biastransfer.judgement.ladder_verdict import LadderVerdict, breaks_a_limit, judge_ladder, shown_position
from pytest_biastransfer.measurement.measure_ladder import measure_ladder_loaded, most_measured
from pytest_biastransfer.metrics.ladder_measurement import confidence_of_each
from pytest_biastransfer.plugin.kinds.early_stopping import early_stop_of
from pytest_biastransfer.plugin.kinds.intervention import InterventionTest
from pytest_biastransfer.plugin.resources import evaluator_of
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.curves import curves_of
from pytest_biastransfer.reporting.record import record_of_ladder

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import LadderCase
    from pytest_biastransfer.judgement.early_stop import EarlyStop
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.reporting.curves import Curves
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind


def measure(inputs: TestInputs, case: LadderCase) -> MeasuredTest:
    """Measure the ladder of a case: all strengths, or with early stopping those that bisection needs."""
    expectation = case.expectation
    stop = _early_stop(case, inputs.request.config.stash[SETTINGS])
    ladder = measure_ladder_loaded(
        evaluator_of(inputs.request),
        inputs.model,
        inputs.images,
        case.ladder,
        control=inputs.control,
        positive=expectation.positive,
        target=expectation.target,
        confidence=expectation.confidence,
        stop=stop,
        breaks=None if stop is None else partial(breaks_a_limit, expectation),
        means=[metric for metric, _ in expectation.means],
        descriptions=case.words,
    )
    position = shown_position(expectation, ladder)
    measurement = ladder.at(ladder.strengths[position])
    return LadderTest(case, inputs, measurement, case.ladder.steps[position], ladder)


def _early_stop(case: LadderCase, settings: Settings) -> EarlyStop | None:
    stop = early_stop_of(case.expectation, settings)
    if stop is None:
        return None
    strengths = len(case.ladder.steps)
    # An early verdict is wrong first at one of the strengths that a bisection without errors measures.
    alpha = stop.alpha / most_measured(strengths)
    return dataclasses.replace(stop, alpha=alpha, confidence=confidence_of_each(stop.confidence, strengths))


@dataclass(frozen=True)
class LadderTest(InterventionTest):
    """A measured ladder; `measurement` and `intervention` are those of the strength that reports show images of."""

    report_kind: ClassVar[Kind] = "ladder"

    case: LadderCase
    ladder: LadderMeasurement

    @property
    def fixture_value(self) -> LadderMeasurement:
        """The measurements at all strengths."""
        return self.ladder

    @property
    def is_complete(self) -> bool:
        """Whether all images were evaluated at all strengths."""
        return self.ladder.is_complete

    @property
    def declaration(self) -> str:
        """The ladder, in words."""
        return self.ladder.declaration

    def verdict(self) -> LadderVerdict:
        """Judge the limits at all strengths, and those on means."""
        return judge_ladder(self.case.expectation, self.ladder)

    def record(self, verdict: Verdict | None) -> Record:
        """Return the figures of the shown strength, the limits at the strengths that decide them, and the curves."""
        assert verdict is None or isinstance(verdict, LadderVerdict)
        curves = None if verdict is None else self._curves(verdict)
        return record_of_ladder(self.ladder, self.measurement, verdict, curves)

    def failure_text(self, test: str, verdict: Verdict) -> str:
        """Return the limits with their figures, the curves, and the first flipped images of one strength."""
        from pytest_biastransfer.reporting.failure_text import curve_lines, failure_text, flip_lines

        assert isinstance(verdict, LadderVerdict)
        curves = self._curves(verdict)
        lines = [*curve_lines(curves), *flip_lines(self.measurement, f"at {self.ladder.field} {curves.shown:g}, ")]
        return failure_text(
            test,
            self.fixtures,
            self.measurement,
            verdict,
            subject="ladder",
            declaration=self.declaration,
            lines=lines,
        )

    def _curves(self, verdict: LadderVerdict) -> Curves:
        shown = self.ladder.strengths[shown_position(self.case.expectation, self.ladder)]
        return curves_of(self.ladder, self.case.expectation, verdict, shown)
