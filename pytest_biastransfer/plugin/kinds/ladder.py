"""The kind of test that `bias_intervention` makes of a ladder: predictions before and after, at several strengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pytest_biastransfer.baseline.entry import entry_of
from pytest_biastransfer.baseline.regression import newly_flipped
from pytest_biastransfer.baseline.strengths import at_strength, entry_of_strengths
from pytest_biastransfer.interventions.short_labels import short_label
from pytest_biastransfer.judgement.ladder_verdict import LadderVerdict, breaks_a_limit, judge_ladder, shown_position
from pytest_biastransfer.measurement.measure_ladder import measure_ladder_loaded, most_measured
from pytest_biastransfer.metrics.ladder_measurement import confidence_of_each, strength_name
from pytest_biastransfer.plugin.kinds.early_stopping import early_stop_of
from pytest_biastransfer.plugin.kinds.intervention import InterventionTest, evidence_of
from pytest_biastransfer.plugin.resources import evaluator_of
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.curves import curves_of
from pytest_biastransfer.reporting.record import record_of_ladder

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.judgement.cases import LadderCase
    from pytest_biastransfer.judgement.early_stop import EarlyStop
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.reporting.curves import Curves
    from pytest_biastransfer.reporting.failure_text import NextStep
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind
    from pytest_biastransfer.store import Facts


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
    shown = ladder.strengths[position]
    return LadderTest(case, inputs, ladder.at(shown), case.ladder.steps[position], ladder, shown)


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
    """A measured ladder; `measurement` and `intervention` are of the strength that reports show images of, `shown`."""

    report_kind: ClassVar[Kind] = "ladder"

    case: LadderCase
    ladder: LadderMeasurement
    shown: float

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

    @property
    def short_name(self) -> str:
        """The name of the intervention without its strength."""
        return short_label(self.case.ladder.base)

    def failure_text(self, test: str, verdict: Verdict, next_steps: Sequence[NextStep]) -> str:
        """Return the limits with their figures, the curves, and the first flipped images of one strength."""
        from pytest_biastransfer.reporting.failure_text import curve_lines, failure_text, flip_lines

        assert isinstance(verdict, LadderVerdict)
        curves = self._curves(verdict)
        flips = flip_lines(self.measurement, self.image_names, self._named(self.shown))
        return failure_text(
            test,
            self.fixtures,
            self.measurement,
            verdict,
            subject="ladder",
            declaration=self.declaration,
            lines=[*curve_lines(curves), *flips],
            phrase_subject=self.short_name,
            next_steps=next_steps,
            observed_on=self.ladder.deciding(verdict.positions, self.measurement),
        )

    def entry(self, facts: Facts, computation: Computation) -> Entry:
        """Return the measurements at all strengths as one entry."""
        metrics = self.case.expectation.metrics
        entries = {
            self._named(strength): entry_of(measurement, evidence_of(measurement, metrics, facts), computation)
            for strength, measurement in zip(self.ladder.strengths, self.ladder.measurements, strict=True)
            if measurement is not None
        }
        return entry_of_strengths(entries, self.declaration)

    def highlights(self) -> str:
        """Return what stands out at the strength that reports show images of."""
        return f"at {self._named(self.shown)}, {self.measurement.highlights()}"

    def newly_flipped(self, accepted: Entry, entry: Entry) -> Sequence[str]:
        """Return a line for each of the first images that flip now and did not, at the smallest strength with any."""
        from pytest_biastransfer.reporting.failure_text import MOST_FLIPS, flip_texts

        for strength in self.ladder.strengths:
            name = self._named(strength)
            indices = newly_flipped(at_strength(accepted, name), at_strength(entry, name))[:MOST_FLIPS]
            if indices:
                flips = {flip.index: flip for flip in self.ladder.at(strength).flips}
                texts = flip_texts([flips[index] for index in indices], self.image_names)
                return [f"{text}, at {name}" for text in texts]
        return ()

    def shown_part(self, entry: Entry) -> Entry:
        """Return what an entry says of the strength that reports show images of."""
        return at_strength(entry, self._named(self.shown))

    def _named(self, strength: float) -> str:
        return strength_name(self.ladder.field, strength)

    def _curves(self, verdict: LadderVerdict) -> Curves:
        return curves_of(self.ladder, self.case.expectation, verdict, self.shown)
