"""What a test of change is: the evidence that the baseline keeps for it, and its result.

Two measurements are *paired* if they are of the same images in the same order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from pytest_biastransfer.metrics.image_sets import ImageSet
from pytest_biastransfer.metrics.statistics.tally import Tally

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.components import Components
    from pytest_biastransfer.metrics.statistics.transitions import Transitions


class AcceptedMeasurement(Protocol):
    """One measurement as the baseline keeps it; its methods raise ValueError for evidence that cannot be decoded."""

    @property
    def images(self) -> int:
        """The number of images."""

    @property
    def evidence(self) -> Mapping[str, str]:
        """The evidence by name, encoded."""

    def value(self, metric: str) -> float:
        """Return the value of a metric."""

    def share(self, metric: str) -> tuple[int, int]:
        """Return how many images count for a metric that is a share, and among how many."""

    def image_set(self, name: str) -> Sequence[int]:
        """Return a set of images as ascending indices in the dataset."""

    def transitions(self, prefix: str) -> Transitions:
        """Return the images that change their class; `prefix` says of which model."""

    def group_hits(self) -> Sequence[tuple[int, Sequence[int]]]:
        """Return the size of each group, and which of its images count."""

    def components(self) -> Components:
        """Return what each image adds to the figures of the groups."""

    def numbers(self, name: str, count: int) -> Sequence[float]:
        """Return so many numbers."""


class ChangeResult(NamedTuple):
    """The result of a test.

    Attributes
    ----------
    p
        The probability of such a change, or a larger one, by chance.
    newly, no_longer
        How many images count now and did not before, and the other way round; None if the test does not compare these.
    loss
        By how much the metric became worse on the images that were compared, where a test is by image.
    least
        The smallest p-value that as many changed images could have had; 0 where that is unknown.
    """

    p: float
    newly: int | None = None
    no_longer: int | None = None
    loss: float = 0.0
    least: float = 0.0


class Contributions(NamedTuple):
    """Which images a metric is a mean over, and which of them add to it, by the names of sets of images.

    Attributes
    ----------
    plus, minus
        The images that add 1 to the mean's sum, and those that subtract 1; "" where none does.
    outside
        The images that do not belong to its base.
    """

    plus: str
    minus: str = ""
    outside: tuple[str, ...] = ()


class ChangeTest(ABC):
    """A test of change, and the evidence that it needs."""

    on_same_images: ClassVar[str]
    on_other_images: ClassVar[str]
    # Whether the evidence says of each image what it does; tests of these are of metrics that are bad if large.
    knows_images: ClassVar[bool] = False

    @property
    @abstractmethod
    def evidence(self) -> tuple[str, ...]:
        """The names of the evidence that the baseline keeps for the test."""

    @property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """Those parts of the evidence that are sets of images of this metric."""
        return ()

    @property
    def contributions(self) -> Contributions | None:
        """What each image adds to the metric; None if the metric is no mean over images."""
        return None

    def is_possible(self, measurement: AcceptedMeasurement) -> bool:
        """Whether a measurement has all the evidence."""
        return measurement.evidence.keys() >= set(self.evidence)

    def is_by_image(self, before: AcceptedMeasurement, now: AcceptedMeasurement) -> bool:
        """Whether the evidence is of single images of the dataset, so that some of them can be compared."""
        names = set(self.evidence)
        return self.knows_images and names <= before.evidence.keys() and names <= now.evidence.keys()

    def compare(
        self,
        metric: str,
        before: AcceptedMeasurement,
        now: AcceptedMeasurement,
        *,
        paired: bool,
        margin: float = 0.0,
    ) -> ChangeResult:
        """Test whether a metric changed, or by more than a margin, which has the sign of the change."""
        if paired and not margin and self._is_same_evidence(before, now):
            # Nothing to decode and nothing to import: most sessions change nothing.
            return ChangeResult(1.0, 0, 0, least=1.0)
        return self._test(metric, before, now, paired=paired, margin=margin)

    def tally(self, metric: str, measurement: AcceptedMeasurement) -> Tally | None:
        """Return the counted images, for a test over time; None of a metric that is neither a share nor a mean."""
        return None

    @abstractmethod
    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        """Test measurements whose evidence differs, or that are of different images."""

    def _is_same_evidence(self, before: AcceptedMeasurement, now: AcceptedMeasurement) -> bool:
        # Without evidence, equal figures do not say that the same images count.
        names = self.evidence
        return bool(names) and all(
            name in before.evidence and before.evidence[name] == now.evidence.get(name) for name in names
        )
