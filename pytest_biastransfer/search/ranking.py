"""A ranking of interventions: those that a model is most sensitive to come first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
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
