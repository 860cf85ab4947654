"""The kind `bias_gap`: a metric's difference between groups of images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded
from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, ReportExtras, TestInputs
from pytest_biastransfer.plugin.resources import evaluator_of
from pytest_biastransfer.reporting.record import record_of

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.baseline.near_ties import State
    from pytest_biastransfer.judgement.cases import GapCase
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.measurement.group_errors import GroupError
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.reporting.failure_text import NextStep
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind
    from pytest_biastransfer.store import Facts


def measure(inputs: TestInputs, case: GapCase) -> MeasuredTest:
    """Measure the gap of a case."""
    measurement = measure_gaps_loaded(
        evaluator_of(inputs.request),
        inputs.model,
        inputs.images,
        case.gap,
        calibration=inputs.further_images.get("calibration_dataset"),
        control=inputs.control,
        confidence=case.expectation.confidence,
    )
    return GapTest(case, inputs, measurement)


@dataclass(frozen=True)
class GapTest(MeasuredTest):
    """A measured gap."""

    report_kind: ClassVar[Kind] = "gap"

    case: GapCase
    inputs: TestInputs
    measurement: GapMeasurement
    intervention: None = field(default=None, init=False)

    def record(self, verdict: Verdict | None) -> Record:
        """Return the figures and, where they were judged, the limits; the limit on the gap names the groups."""
        ends = self.measurement.ends
        remarks = {"gap": ends, "ratio": ends, "worst": self.measurement.worst}
        return record_of(self.measurement, verdict, remarks=remarks)

    def failure_text(self, test: str, verdict: Verdict, next_steps: Sequence[NextStep]) -> str:
        """Return the limits with their figures, and the metric of each group."""
        from pytest_biastransfer.reporting.failure_text import failure_text, group_lines

        return failure_text(
            test,
            self.fixtures,
            self.measurement,
            verdict,
            subject="gap",
            declaration=self.declaration,
            lines=group_lines(self.measurement),
            phrase_subject=self.declaration,
            next_steps=next_steps,
        )

    def evidence(self, facts: Facts) -> Mapping[str, str]:
        """Return what the measurement kept of its images."""
        return self.measurement.evidence

    def possible_states(self, indices: Sequence[int], earlier: Computation | None) -> Sequence[Collection[State]]:
        """Return whether images may be misclassified, and count for the rate."""
        from pytest_biastransfer.measurement.near_ties import NearlyTied, possible_gap_states

        inputs = self.inputs
        tied = NearlyTied(inputs.images, indices, earlier)
        return possible_gap_states(evaluator_of(inputs.request), inputs.model, self.case.gap, tied)

    def report_details(self, extras: ReportExtras) -> Mapping[str, Any]:
        """Return the figure of each group."""
        from pytest_biastransfer.reporting.report.from_measurement import group_details

        return group_details(self.measurement, extras.errors)

    def worst_errors(self) -> Sequence[GroupError]:
        """Return the errors in the worst group that the metric counts."""
        from pytest_biastransfer.measurement.group_errors import errors_in_group

        inputs = self.inputs
        return errors_in_group(
            evaluator_of(inputs.request),
            inputs.model,
            inputs.images,
            self.case.gap,
            self.measurement.worst,
            inputs.further_images.get("calibration_dataset"),
        )
