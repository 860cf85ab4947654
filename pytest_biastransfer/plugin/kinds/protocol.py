"""What the plugin asks of a measured bias test without knowing of which kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_biastransfer.baseline.entry import entry_of
from pytest_biastransfer.judgement.verdict import judge

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.near_ties import State
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.measurement.group_errors import GroupError
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.reporting.failure_text import NextStep
    from pytest_biastransfer.reporting.image_pairs import ImagePairs
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Kind, Shown
    from pytest_biastransfer.store import Facts


@dataclass(frozen=True)
class TestInputs:
    """What a bias test is measured with: the values of its fixtures.

    Attributes
    ----------
    request
        Of the test, for the session's evaluator and further fixtures.
    model, images, control
        The model, the dataset, and the control model if the case names one.
    further_images
        Other datasets, by the keyword of the marker that names them.
    """

    request: pytest.FixtureRequest
    model: Model
    images: LabelledImages
    control: Model | None
    further_images: Mapping[str, LabelledImages] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportExtras:
    """What a report shows of an intervention besides the measurement, where that was computed.

    Attributes
    ----------
    source
        The same measurement of the source model.
    counted
        The name of the set of images that are shown: those that count for the metric that got worse.
    newly_flipped
        Indices of its images that were not in it when the baseline was accepted; None where that is unknown.
    pairs
        Pictures of images before and after the intervention.
    errors
        Of a gap, images that the model is wrong on in the worst group.
    """

    source: Measurement | None = None
    counted: str = "flipped"
    newly_flipped: Sequence[int] | None = None
    pairs: ImagePairs | None = None
    errors: Sequence[Shown] = ()


class MeasuredTest(ABC):
    """A bias test that was measured: what is reported of it and compared with the baseline.

    A kind of test is one module of `pytest_biastransfer.plugin.kinds` with a subclass and a function
    ``measure(inputs, case)`` that returns it.
    """

    # The word that the JSON report has for the kind.
    report_kind: ClassVar[Kind]

    # What the marker declared, and what was measured.
    case: Case
    inputs: TestInputs
    # The figures; of a search those of the worst intervention, of a ladder those of one strength.
    measurement: Measurement | GapMeasurement
    # The intervention that the measurement is of; None if there is none.
    intervention: Intervention | None

    @property
    def fixture_value(self) -> Measurement | GapMeasurement | LadderMeasurement:
        """What the fixture `bias` is in the test's body."""
        return self.measurement

    @property
    def declaration(self) -> str:
        """What was measured, in words."""
        return self.measurement.declaration

    @property
    def is_complete(self) -> bool:
        """Whether all that the marker declares was measured on all images, as a baseline needs it."""
        return self.measurement.early is None

    def verdict(self) -> Verdict:
        """Judge the limits; raises `BiasTransferError` for one that so few images could never be certain of."""
        return judge(self.case.expectation, self.measurement)

    @property
    def predictions(self) -> Measurement | None:
        """The measurement, where it compares predictions before and after an intervention; otherwise None."""
        return None

    @property
    def fixtures(self) -> str:
        """The names of the fixtures that model, dataset and control come from."""
        return ", ".join(self.case.fixtures)

    @abstractmethod
    def record(self, verdict: Verdict | None) -> Record:
        """Return what the process of the test tells the controller; `verdict` is None if no limit was judged."""

    @abstractmethod
    def failure_text(self, test: str, verdict: Verdict, next_steps: Sequence[NextStep]) -> str:
        """Return the message of the failed test, which is called `test`; `next_steps` say what to do about it."""

    @abstractmethod
    def evidence(self, facts: Facts) -> Mapping[str, str]:
        """Return the images and classes that the baseline keeps, as text by name."""

    def entry(self, facts: Facts, computation: Computation) -> Entry:
        """Return the measurement as the baseline has it; `computation` is what computed the predictions."""
        return entry_of(self.measurement, self.evidence(facts), computation)

    def shown_part(self, entry: Entry) -> Entry:
        """Return what an entry of the test says of the images that reports show."""
        return entry

    def highlights(self) -> str:
        """Return in words what stands out."""
        return self.measurement.highlights()

    @abstractmethod
    def report_details(self, extras: ReportExtras) -> Mapping[str, Any]:
        """Return the fields of the report's `Details` that this kind has."""

    def worst_errors(self) -> Sequence[GroupError]:
        """Return the images of the worst group that the model is wrong on; none of a kind without groups."""
        return ()

    def newly_flipped(self, accepted: Entry, entry: Entry) -> Sequence[str]:
        """Return a line for each image that flips now and did not in the accepted entry, at most five."""
        return ()

    @abstractmethod
    def possible_states(self, indices: Sequence[int], earlier: Computation | None) -> Sequence[Collection[State]]:
        """Return all states that each of some images may have by rounding alone; the model is evaluated for that.

        `indices` are the images' in the dataset; `earlier` is what computed the states that these are compared with.
        """
