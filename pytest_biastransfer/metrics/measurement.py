"""All figures of one model on one dataset under one intervention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.display.content import Album, Bar, Bars, Content, largest_first
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.clean_performance import ClassShare
from pytest_biastransfer.metrics.statistics.estimate import Estimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.metrics.image_outcomes import Outcomes


@dataclass(frozen=True)
class ClassShift:
    """How much a class gained: the change of its share of the predictions, in [-1, 1]."""

    index: int
    name: str
    shift: float

    def __str__(self) -> str:
        return f"{self.name} {self.shift:+.3f}"


@dataclass(frozen=True)
class Flip:
    """An image whose prediction changed; `label`, `before` and `after` are class names."""

    index: int
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Provenance:
    """What a measurement rests on, by its content: the same on any machine.

    Attributes
    ----------
    model
        Fingerprint of the model; None where its content cannot be told.
    dataset
        Fingerprint of the images and labels.
    question
        Fingerprint of all that was asked; None where it means nothing in other sessions.
    bases
        What its predictions were kept under, of the model and of the control; see `evaluation.evaluator.Key`.
    """

    model: str | None
    dataset: str
    question: str | None = None
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement(Displayed):
    """All figures for one (model, dataset, intervention).

    Attributes
    ----------
    model, dataset, intervention
        What was measured, in words.
    n
        The number of images that were looked at.
    total
        How many there are; more than `n` if the measurement was stopped early.
    estimates
        Every available metric by its name. What needs labels, a target or a control model is there
        only where these are; the property of that name tells what is missing.
    clean
        How well the model does without the intervention.
    clean_shares
        Each class' share of the predictions without the intervention, float64 of shape [classes].
    class_shift
        The change of each class' share of the predictions, float64 of shape [classes].
    class_names
        The classes' names, or their numbers as text.
    flips
        The images whose prediction changed, in the dataset's order.
    control
        The measurement of the control model, if there is one.
    computed
        How many forward passes of images it took; the other predictions came from the store.
    early
        Where it was stopped early, the limited metrics whose verdict on all images is known: whether it holds.
    provenance
        What it rests on.
    outcomes
        What happened to which image.
    unlabelled
        Why the labels are not known, and what to type; empty where they are.
    album
        Draws flipped images before and after the intervention; None where the images are not at hand.
    """

    model: str
    dataset: str
    intervention: str
    n: int
    total: int
    estimates: Mapping[str, Estimate]
    clean: CleanPerformance
    clean_shares: npt.NDArray[np.float64]
    class_shift: npt.NDArray[np.float64]
    class_names: Sequence[str]
    flips: Sequence[Flip]
    control: Measurement | None
    computed: int
    early: Mapping[str, bool] | None
    provenance: Provenance
    outcomes: Outcomes
    unlabelled: str = ""
    album: Callable[[Sequence[Flip]], Album] | None = field(default=None, compare=False)

    @property
    def declaration(self) -> str:
        """What was measured, in words: the intervention."""
        return self.intervention

    def highlights(self) -> str:
        """Return in words what stands out."""
        changed = self.changed(3)
        if changed:
            return f"class shares changed: {', '.join(map(str, changed))}"
        return "no class share changed" if self.asr > 0 else "no prediction changed"

    @property
    def predictions(self) -> int:
        """The number of predictions that it rests on."""
        return 2 * self.n * (1 if self.control is None else 2)

    def __repr__(self) -> str:
        figures = ", ".join(f"{metric}={estimate!r}" for metric, estimate in self.estimates.items())
        return f"<{self.intervention} on {self.model}, {self.n} images of {self.dataset}: {figures}; {self.clean}>"

    @property
    def asr(self) -> Estimate:
        """Attack success rate: share of images whose prediction changes, in [0, 1]."""
        return self.estimate("asr")

    @property
    def conditional_asr(self) -> Estimate:
        """The same among the images that were classified correctly."""
        return self.estimate("conditional_asr")

    @property
    def targeted_asr(self) -> Estimate:
        """Share of the images of other classes that are classified as a target class, with the intervention."""
        return self.estimate("targeted_asr")

    @property
    def clean_target_rate(self) -> Estimate:
        """The same without the intervention."""
        return self.estimate("clean_target_rate")

    @property
    def targeted_excess(self) -> Estimate:
        """`targeted_asr` minus `clean_target_rate`, in [-1, 1]."""
        return self.estimate("targeted_excess")

    @property
    def skew(self) -> Estimate:
        """Total variation distance between the distributions of the predicted classes, in [0, 1]."""
        return self.estimate("skew")

    @property
    def corrected_skew(self) -> Estimate:
        """`skew` less what chance adds to it, in [0, 1]."""
        return self.estimate("corrected_skew")

    @property
    def accuracy(self) -> Estimate:
        """Share of correctly classified images, without the intervention."""
        return self.estimate("accuracy")

    @property
    def intervened_accuracy(self) -> Estimate:
        """Share of correctly classified images, with the intervention."""
        return self.estimate("intervened_accuracy")

    @property
    def accuracy_drop(self) -> Estimate:
        """`accuracy` minus `intervened_accuracy`, in [-1, 1]."""
        return self.estimate("accuracy_drop")

    @property
    def asr_excess(self) -> Estimate:
        """`asr` minus the control model's, in [-1, 1]."""
        return self.estimate("asr_excess")

    @property
    def skew_excess(self) -> Estimate:
        """`skew` minus the control model's, in [-1, 1]."""
        return self.estimate("skew_excess")

    @property
    def most_gained(self) -> ClassShift:
        """The class whose share of the predictions grew most."""
        return self.gained(1)[0]

    def gained(self, count: int) -> list[ClassShift]:
        """Return the `count` classes that gained most, the first one most."""
        order = (-self.class_shift).argsort(kind="stable")[:count].tolist()
        return [ClassShift(c, self.class_names[c], float(self.class_shift[c])) for c in order]

    def changed(self, count: int) -> list[ClassShift]:
        """Return the `count` classes whose share changed most, less those that did not: what gained most is first."""
        shifts = self.class_shift
        order = (-abs(shifts)).argsort(kind="stable")[:count].tolist()
        changed = [ClassShift(c, self.class_names[c], float(shifts[c])) for c in order]
        return sorted((one for one in changed if f"{one.shift:.3f}" not in _ZERO), key=lambda one: -one.shift)

    def estimate(self, metric: str) -> Estimate:
        """Return the estimate of a metric of the catalogue, by its name.

        Raises
        ------
        BiasTransferError
            If there is no such metric, or if it is not available; the message says what it needs.
        """
        if metric in self.estimates:
            return self.estimates[metric]
        needs = metric_named(metric).needs
        reason = _CONTROL
        if "control" not in needs:
            reason = self.unlabelled or (_TARGET if "target" in needs else _LABELS)
        raise BiasTransferError(f"{metric} of {self.model} on {self.dataset} is not available: {reason}")

    def _facts(self) -> Row:
        return {"dataset": self.dataset, "intervention": self.intervention, "images": self.n}

    def _rows(self) -> list[Row]:
        own: list[Row] = [
            {
                "model": self.model,
                "metric": metric,
                **interval_columns(estimate),
                "confidence": estimate.confidence,
                "n": estimate.n,
                "method": estimate.method,
            }
            for metric, estimate in self.estimates.items()
        ]
        return own if self.control is None else [*own, *self.control._rows()]

    def _content(self) -> Content:
        images = f"{self.n:,} of {self.total:,}" if self.n < self.total else f"{self.n:,}"
        return Content(
            title=self.intervention,
            subtitle=f"{self.model} on {images} images of {self.dataset}",
            sentences=[
                self._summary,
                f"Unchanged images: {self.clean}.",
                f"Degenerate model: {self.clean.defect}." if self.clean.defect else "",
            ],
            charts={"metrics": self._metric_bars(), "classes": self._class_bars()},
            album=self.pictures,
        )

    @property
    def _summary(self) -> str:
        """How many predictions flip, and what stands out, as a sentence."""
        if self.asr > 0:
            return f"{ClassShare('', self.asr).percent} of the predictions flip; {self.highlights()}."
        return f"{self.highlights().capitalize()}."

    def _metric_bars(self) -> Bars:
        bars = [Bar.of(metric, estimate) for metric, estimate in self.estimates.items()]
        if self.control is not None:
            bars += [Bar.of(f"{metric} of control", self.control.estimate(metric)) for metric in ("asr", "skew")]
        return Bars("metrics with their intervals", bars)

    def _class_bars(self) -> Bars:
        shifts = zip(self.class_names, self.class_shift.tolist(), strict=True)
        bars, others = largest_first([Bar(name, shift) for name, shift in shifts if shift], _MOST_CLASSES)
        return Bars("change of each class's share of the predictions", bars, signed=True, left_out=others)

    def pictures(self) -> Album:
        """Return pictures of some flipped images, from all over the dataset; empty where the images are not at hand."""
        if self.album is None or not self.flips:
            return Album()
        count = min(_MOST_PICTURES, len(self.flips))
        return self.album([self.flips[number * len(self.flips) // count] for number in range(count)])


# Shares that no text shows.
_ZERO: Final = ("0.000", "-0.000")
# The most classes and pictures of a card.
_MOST_CLASSES: Final = 10
_MOST_PICTURES: Final = 6
_LABELS: Final = "it needs labels of the model's classes, which class names tell"
_TARGET: Final = "it needs a target class (target=...)"
_CONTROL: Final = "it needs a control model (control=...)"
