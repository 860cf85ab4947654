"""The result of a search for the worst intervention."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.display.content import Bar, Bars, Content
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.metrics.statistics.limits import is_at_most

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.search.engine import SearchOutcome
    from pytest_biastransfer.search.trials import Trial


@dataclass(frozen=True)
class SearchResult(Displayed):
    """The result of a search.

    Attributes
    ----------
    metric, limit
        The metric, and the limit that the search tried to exceed.
    outcome
        The best trials of the search.
    trial
        The trial that was measured on all images: the simplest one that is above the limit there too, else the worst.
    measurement
        The measurement of that trial on all images.
    images
        The number of images that the search evaluated.
    predictions, computed
        The number of predictions that all measurements used, and how many of them were computed for this search.
    picture
        The file with an image before and after the intervention, if one was written.
    """

    metric: str
    limit: float
    outcome: SearchOutcome
    trial: Trial
    measurement: Measurement
    images: int
    predictions: int
    computed: int
    picture: Path | None = None

    def __repr__(self) -> str:
        return f"<{self._content().heading}: {self._verdict}>"

    @property
    def exceeds(self) -> bool:
        """Whether the measured intervention is above the limit on all images."""
        return not is_at_most(self.measurement.estimate(self.metric), self.limit)

    @property
    def _verdict(self) -> str:
        estimate = self.measurement.estimate(self.metric)
        verdict = "above" if self.exceeds else "not above"
        return f"{self.metric} {estimate.text()}, {verdict} the limit {self.limit:g}"

    @property
    def _trials(self) -> dict[str, Trial]:
        """The best trials of the search by what they are."""
        outcome = self.outcome
        trials = {"first above": outcome.first, "simplest above": outcome.simplest, "worst": outcome.worst}
        return {name: trial for name, trial in trials.items() if trial is not None}

    def _facts(self) -> Row:
        measurement = self.measurement
        return {"model": measurement.model, "dataset": measurement.dataset, "metric": self.metric, "limit": self.limit}

    def _rows(self) -> list[Row]:
        trials = [
            {
                "trial": name,
                "intervention": str(trial.intervention),
                "images": self.images,
                "value": trial.value,
                "low": trial.lower,
                "high": math.nan,
            }
            for name, trial in self._trials.items()
        ]
        measured = {
            "trial": "on all images",
            "intervention": str(self.trial.intervention),
            "images": self.measurement.n,
            **interval_columns(self.measurement.estimate(self.metric)),
        }
        return [*trials, measured]

    def _content(self) -> Content:
        measurement, outcome = self.measurement, self.outcome
        bars = [Bar(name, trial.value) for name, trial in self._trials.items()]
        return Content(
            title=f"Worst intervention: {self.trial.intervention}",
            subtitle=f"{measurement.model} on {measurement.n:,} images of {measurement.dataset}",
            sentences=[
                f"{self._verdict}; {measurement.highlights()}.",
                f"{outcome.searching + outcome.shrinking:,} interventions were evaluated on {self.images:,} images.",
            ],
            charts={
                "search": Bars(
                    f"{self.metric} of the best trials, and on all images",
                    [*bars, Bar.of("on all images", measurement.estimate(self.metric))],
                )
            },
            album=measurement.pictures,
        )
