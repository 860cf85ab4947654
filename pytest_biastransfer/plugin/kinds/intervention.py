"""The kind `bias_intervention`: predictions before and after one intervention."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_biastransfer.baseline.entry import EncodedEvidence, encoded_evidence, evidence_for
from pytest_biastransfer.baseline.regression import newly_flipped
from pytest_biastransfer.data.image_names import image_name
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions.short_labels import short_label
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.plugin.kinds.early_stopping import early_stop_of
from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, ReportExtras, TestInputs
from pytest_biastransfer.plugin.resources import evaluator_of
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.record import record_of

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.near_ties import State
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import Case, InterventionCase
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.reporting.failure_text import NextStep
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind
    from pytest_biastransfer.store import Facts


def measure(inputs: TestInputs, case: InterventionCase) -> MeasuredTest:
    """Measure the intervention of a case."""
    measurement = measure_loaded(
        evaluator_of(inputs.request),
        inputs.model,
        inputs.images,
        case.intervention,
        control=inputs.control,
        positive=case.expectation.positive,
        target=case.expectation.target,
        confidence=case.expectation.confidence,
        stop=early_stop_of(case.expectation, inputs.request.config.stash[SETTINGS]),
        description=case.words,
    )
    return InterventionTest(case, inputs, measurement, case.intervention)


def evidence_of(measurement: Measurement, metrics: Sequence[str], facts: Facts) -> Mapping[str, str]:
    """Return the flipped images and the classes as text; encoded once for predictions that the store knows."""
    names = evidence_for(metrics)
    question = measurement.provenance.question
    if question is None:
        return encoded_evidence(measurement, names)
    evidence: Mapping[str, str] = facts.get_or_compute(
        fingerprint("evidence", question, names), lambda: encoded_evidence(measurement, names), EncodedEvidence
    )
    return evidence


@dataclass(frozen=True)
class InterventionTest(MeasuredTest):
    """A measured intervention."""

    report_kind: ClassVar[Kind] = "intervention"

    case: Case
    inputs: TestInputs
    measurement: Measurement
    intervention: Intervention

    @property
    def predictions(self) -> Measurement:
        """The measurement."""
        return self.measurement

    def record(self, verdict: Verdict | None) -> Record:
        """Return the figures and, where they were judged, the limits."""
        return record_of(self.measurement, verdict)

    @property
    def short_name(self) -> str:
        """The name of what was measured if it has one, or else what a person would call it."""
        name, is_named, _ = self.measurement.intervention.partition(" = ")
        return name if is_named and "(" not in name else short_label(self.intervention)

    @property
    def image_names(self) -> Callable[[int], str]:
        """Takes the index of an image and returns its file."""
        return partial(image_name, self.inputs.images)

    def failure_text(self, test: str, verdict: Verdict, next_steps: Sequence[NextStep]) -> str:
        """Return the limits with their figures, and the observations."""
        from pytest_biastransfer.reporting.failure_text import failure_text

        return failure_text(
            test,
            self.fixtures,
            self.measurement,
            verdict,
            subject="intervention",
            declaration=self.declaration,
            lines=self.observation_lines(),
            phrase_subject=self.short_name,
            next_steps=next_steps,
        )

    def observation_lines(self) -> Iterator[str]:
        """Yield the classes that gained and lost, and the first flipped images."""
        from pytest_biastransfer.reporting.failure_text import flip_lines

        yield from flip_lines(self.measurement, self.image_names)

    def evidence(self, facts: Facts) -> Mapping[str, str]:
        """Return the flipped images and the classes as text."""
        return evidence_of(self.measurement, self.case.expectation.metrics, facts)

    def newly_flipped(self, accepted: Entry, entry: Entry) -> Sequence[str]:
        """Return a line for each of the first images that flip now and did not in the accepted entry."""
        from pytest_biastransfer.reporting.failure_text import MOST_FLIPS, flip_texts

        indices = newly_flipped(accepted, entry)[:MOST_FLIPS]
        flips = {flip.index: flip for flip in self.measurement.flips} if indices else {}
        return flip_texts([flips[index] for index in indices], self.image_names)

    def possible_states(self, indices: Sequence[int], earlier: Computation | None) -> Sequence[Collection[State]]:
        """Return the states that combinations of nearly tied classes give."""
        from pytest_biastransfer.measurement.near_ties import NearlyTied, possible_states

        inputs, expectation = self.inputs, self.case.expectation
        return possible_states(
            evaluator_of(inputs.request),
            [inputs.model] if inputs.control is None else [inputs.model, inputs.control],
            self.intervention,
            NearlyTied(inputs.images, indices, earlier),
            expectation.positive,
            expectation.target,
        )

    def report_details(self, extras: ReportExtras) -> Mapping[str, Any]:
        """Return class shares, moves between classes, and flipped images."""
        from pytest_biastransfer.reporting.report.from_measurement import prediction_details

        return prediction_details(
            self.measurement,
            extras.source,
            extras.newly_flipped,
            extras.pairs,
            counted=extras.counted,
            names=self.image_names,
        )
