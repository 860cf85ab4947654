"""A ranking of interventions: those that a model is most sensitive to come first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_biastransfer.display.content import Bar, Bars, Content, control_text
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.errors import BiasTransferError, nearest

if TYPE_CHECKING:
    from pytest_biastransfer.measurement.clean_measurement import CleanMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate

RankedMetric = Literal["asr", "asr_excess"]


@dataclass(frozen=True)
class Ranked:
    """An intervention with the figures of its measurement.

    Attributes
    ----------
    name
        Its registered name.
    asr, skew
        The model's figures.
    gained
        The class whose share of the predictions grew most, and by how much; ``-`` where no class gained.
    control_asr, excess
        With a control model: the control's `asr`, and the model's minus the control's.
    """

    name: str
    asr: Estimate
    skew: Estimate
    gained: str
    control_asr: Estimate | None = None
    excess: Estimate | None = None

    @classmethod
    def of(cls, name: str, measurement: Measurement) -> Ranked:
        """Return the entry of a measured intervention."""
        control, gained = measurement.control, measurement.most_gained
        return cls(
            name,
            measurement.asr,
            measurement.skew,
            str(gained) if gained.shift > 0 else "-",
            None if control is None else control.asr,
            None if control is None else measurement.asr_excess,
        )

    @property
    def figures(self) -> Mapping[str, Estimate]:
        """All figures by metric; ``control_asr`` is that of the control model."""
        figures = {"asr": self.asr, "skew": self.skew, "control_asr": self.control_asr, "asr_excess": self.excess}
        return {metric: figure for metric, figure in figures.items() if figure is not None}

    @property
    def metric(self) -> RankedMetric:
        """The name of the metric that interventions are ranked by: with a control model, the excess."""
        return "asr" if self.excess is None else "asr_excess"

    @property
    def figure(self) -> Estimate:
        """The value of that metric."""
        return self.asr if self.excess is None else self.excess


def worst_first(measured: Iterable[Ranked]) -> list[Ranked]:
    """Return the interventions by falling figure; those with the same figure by name."""
    return sorted(measured, key=lambda ranked: (-ranked.figure, ranked.name))


@dataclass(frozen=True)
class Ranking(Displayed):
    """Interventions by their effect on a model, the worst one first.

    Attributes
    ----------
    entries
        The figures of each intervention, the worst one first; with a control model ranked by `asr_excess`.
    measurements
        The measurement of each of them, by name.
    performances
        How the model, and the control model, do on the unchanged images.
    skipped
        Why interventions could not be measured, by their names.
    """

    entries: Sequence[Ranked]
    measurements: Mapping[str, Measurement]
    performances: Sequence[CleanMeasurement]
    skipped: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<{self._content().heading}: {self._worst_text}>"

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Measurement:
        """Return the measurement of an intervention; raises `BiasTransferError` for a name that was not measured."""
        if name not in self.measurements:
            reason = self.skipped.get(name) or nearest(str(name), self.measurements)
            raise BiasTransferError(f"{name!r:.60} was not measured: {reason}")
        return self.measurements[name]

    @property
    def worst(self) -> Measurement:
        """The measurement of the worst intervention; raises `BiasTransferError` if none could be measured."""
        if not self.entries:
            raise BiasTransferError(f"none of the interventions could be measured: {dict(self.skipped)}")
        return self.measurements[self.entries[0].name]

    @property
    def _worst_text(self) -> str:
        if not self.entries:
            return "none could be measured"
        worst = self.entries[0]
        if worst.figure <= 0:
            effect = "none has an effect" if worst.excess is None else "none has a larger effect than on the control"
            return f"{effect}, {worst.metric} is at most {worst.figure.text()}"
        return f"{worst.name} is the worst, {worst.metric} {worst.figure.text()}"

    def _facts(self) -> Row:
        model = self.performances[0]
        return {"model": model.model, "dataset": model.dataset, "images": model.clean.images}

    def _rows(self) -> list[Row]:
        return [
            {"rank": rank, "intervention": ranked.name, "metric": metric, **interval_columns(figure)}
            for rank, ranked in enumerate(self.entries, 1)
            for metric, figure in ranked.figures.items()
        ]

    def _content(self) -> Content:
        model = self.performances[0]
        bars = [Bar.of(ranked.name, ranked.figure, ranked.gained.strip("-")) for ranked in self.entries]
        images = f"{model.clean.images:,} of " if model.clean.images < model.total else ""
        control = f", beside the {control_text(self.performances[1].model)}" if len(self.performances) > 1 else ""
        return Content(
            title="Interventions by their effect",
            subtitle=f"{model.model} on {images}{model.total:,} images of {model.dataset}{control}",
            sentences=[
                f"{self._worst_text}.{' Beside each name is the class that gained most.' if self.entries else ''}",
                *(f"Unchanged images, {performance.model}: {performance.clean}." for performance in self.performances),
                *(f"Not measured: {name}: {reason}" for name, reason in self.skipped.items()),
            ],
            charts={"ranking": Bars(self._axis, bars)},
            **({"album": self.worst.pictures} if self.entries else {}),
        )

    @property
    def _axis(self) -> str:
        if any(ranked.excess is not None for ranked in self.entries):
            return "asr minus the control's asr"
        return "asr: share of images whose predicted class changes"
