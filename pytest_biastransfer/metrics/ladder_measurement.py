"""All figures of one model on one dataset under an intervention at several strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.display.content import Content, PlottedCurve, PlottedCurves, control_text
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.metrics.catalogue import METRICS, metric_named

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


def strength_name(field: str, strength: float) -> str:
    """Return a strength in words, as baselines, limits and charts name it.

    >>> strength_name("sigma", 0.02)
    'sigma 0.02'
    """
    return f"{field} {strength:g}"


def confidence_of_each(confidence: float, strengths: int) -> float:
    """Return the confidence of each of several intervals that hold all at once (Bonferroni).

    >>> round(confidence_of_each(0.95, 5), 6)
    0.99
    """
    return 1 - (1 - confidence) / strengths


@dataclass(frozen=True)
class LadderMeasurement(Displayed):
    """All figures for one (model, dataset, ladder).

    Attributes
    ----------
    declaration
        The ladder, in words.
    field
        The field of the intervention that has the strengths.
    strengths
        The strengths, the weakest first.
    measurements
        The measurement at each strength; None at those that bisection left out. Their intervals hold all at once, with
        the probability `confidence`: each has the confidence ``1 - (1 - confidence) / m`` for m strengths.
    means
        The mean over the strengths of those metrics that it was asked for, with an interval by image.
    confidence
        Coverage of the band of all intervals, and of the interval of a mean.
    """

    declaration: str
    field: str
    strengths: Sequence[float]
    measurements: Sequence[Measurement | None]
    means: Mapping[str, Estimate]
    confidence: float

    def __repr__(self) -> str:
        measurement = self.last
        curve = " ".join("-" if estimate is None else f"{estimate:.3f}" for estimate in self.curve("asr"))
        strengths = " ".join(f"{strength:g}" for strength in self.strengths)
        return (
            f"<{self.declaration} on {measurement.model}, {measurement.n} images of {measurement.dataset}: "
            f"asr {curve} at {self.field} {strengths}>"
        )

    @property
    def measured(self) -> list[int]:
        """The positions of the strengths that were measured."""
        return [position for position, measurement in enumerate(self.measurements) if measurement is not None]

    @property
    def is_complete(self) -> bool:
        """Whether all images were evaluated at all strengths."""
        return all(measurement is not None and measurement.early is None for measurement in self.measurements)

    @property
    def last(self) -> Measurement:
        """The measurement at the strongest measured strength."""
        return self.at(self.strengths[self.measured[-1]])

    def at(self, strength: float) -> Measurement:
        """Return the measurement at a strength.

        Raises
        ------
        BiasTransferError
            If it is none of the strengths, or was not measured.
        """
        if strength not in self.strengths:
            names = [f"{own:g}" for own in self.strengths]
            raise BiasTransferError(f"{self.field}={strength!r} is no strength of the ladder; {nearest('', names)}")
        measurement = self.measurements[list(self.strengths).index(strength)]
        if measurement is None:
            raise BiasTransferError(f"{self.field}={strength:g} was not measured: bisection did not need it")
        return measurement

    def deciding(self, positions: Sequence[int | None], other: Measurement) -> list[Measurement]:
        """Return the measurements at some positions, and another one for a position that is None or not measured."""
        found = (None if position is None else self.measurements[position] for position in positions)
        return [other if measurement is None else measurement for measurement in found]

    def curve(self, metric: str) -> list[Estimate | None]:
        """Return a metric at each strength; None at those that were not measured.

        Raises `BiasTransferError` as `Measurement.estimate` does.
        """
        return [None if measurement is None else measurement.estimate(metric) for measurement in self.measurements]

    def mean(self, metric: str) -> Estimate:
        """Return the mean of a metric over the strengths, with an interval by image.

        Raises
        ------
        BiasTransferError
            If the metric is no mean over images, as `skew` is none; if it is not available; or if a strength was not
            measured on all images.
        """
        if metric in self.means:
            return self.means[metric]
        return mean_over_strengths(self.measurements, metric, self.confidence)

    def _facts(self) -> Row:
        return {"dataset": self.last.dataset, "ladder": self.declaration, "images": self.last.n, "field": self.field}

    def _rows(self) -> list[Row]:
        steps = [
            {"strength": self.strengths[position], **row}
            for position in self.measured
            for row in self.at(self.strengths[position])._rows()
        ]
        means = [
            {
                "strength": None,
                "model": self.last.model,
                "metric": f"mean {metric}",
                **interval_columns(mean),
                "confidence": mean.confidence,
                "n": mean.n,
                "method": mean.method,
            }
            for metric, mean in self.means.items()
        ]
        return [*steps, *means]

    def _content(self) -> Content:
        last = self.last
        means = ", ".join(f"mean {metric} {mean.text()}" for metric, mean in self.means.items())
        return Content(
            title=self.declaration,
            subtitle=f"{last.model} on {last.n:,} images of {last.dataset}",
            sentences=[
                f"At {strength_name(self.field, self.strengths[self.measured[-1]])}: asr {last.asr.text()}; "
                f"{last.highlights()}.",
                f"{means}." if means else "",
                f"The intervals hold all at once, with {self.confidence * 100:g} % confidence.",
            ],
            charts={"asr": self._curves("asr"), "skew": self._curves("skew")},
            album=last.pictures,
        )

    def _curves(self, metric: str) -> PlottedCurves:
        measured = {self.strengths[position]: self.at(self.strengths[position]) for position in self.measured}
        controls = {strength: own.control for strength, own in measured.items() if own.control is not None}
        curves = [PlottedCurve(self.last.model if controls else "", _points(metric, measured))]
        if self.last.control is not None:
            curves.append(PlottedCurve(control_text(self.last.control.model), _points(metric, controls), color=1))
        return PlottedCurves(self.field, metric, curves, floor=0.0)


def _points(metric: str, measurements: Mapping[float, Measurement]) -> dict[object, Estimate]:
    return {strength: measurement.estimate(metric) for strength, measurement in measurements.items()}


def mean_over_strengths(measurements: Sequence[Measurement | None], metric: str, confidence: float) -> Estimate:
    """Return the mean of a metric over measurements of the same images; see `LadderMeasurement.mean`."""
    contributions = metric_named(metric).change.contributions
    if contributions is None or not metric_named(metric).has_mean:
        with_mean = [entry.name for entry in METRICS.values() if entry.has_mean]
        raise BiasTransferError(f"{metric} is no mean over images; {nearest(metric, with_mean)}")
    complete = [measurement for measurement in measurements if measurement is not None and measurement.early is None]
    if len(complete) < len(measurements):
        raise BiasTransferError(f"the mean of {metric} needs all strengths, on all images; measure without early stop")
    import numpy as np

    from pytest_biastransfer.metrics.statistics.image_means import mean_of_images

    images = complete[0].estimate(metric).n
    sums = np.zeros(1 + max((int(one.max()) for one in _image_sets(complete) if len(one)), default=0))
    for measurement in complete:
        # Labels, the target and the predictions without the intervention decide what the base is: none has a strength.
        sets = measurement.outcomes.image_sets
        outside = np.concatenate([np.empty(0, np.int64), *(sets[name] for name in contributions.outside)])
        sums[np.setdiff1d(sets[contributions.plus], outside)] += 1
        if contributions.minus:
            sums[np.setdiff1d(sets[contributions.minus], outside)] -= 1
    is_signed = bool(contributions.minus)
    return mean_of_images(sums[sums != 0] / len(complete), images, confidence, is_signed=is_signed)


def _image_sets(measurements: Sequence[Measurement]) -> list[npt.NDArray[np.int64]]:
    return [images for measurement in measurements for images in measurement.outcomes.image_sets.values()]
