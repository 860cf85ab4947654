"""From a model, images and a space of interventions to the measurement of the worst one that was found."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.search.engine import Found, search
from pytest_biastransfer.search.trials import Trial, Trials

# On so many images is looked how much an intervention changes.
_LOOKED_AT: Final = 4

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.database import ExampleDatabase
    from PIL import Image

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.preview import Canvas
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import SearchCase
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class SearchResult:
    """What became of a search.

    Attributes
    ----------
    found
        Its trials.
    trial
        The one that was measured on all images: the plainest that is above the limit there too, else the worst.
    measurement
        The measurement of that one, on all images.
    images
        On how many images was searched.
    predictions, computed
        How many predictions all measurements rest on, and how many of them were computed for it.
    picture
        Where an image is drawn before and after, if that was done.
    """

    found: Found
    trial: Trial
    measurement: Measurement
    images: int
    predictions: int
    computed: int
    picture: Path | None = None


@dataclass
class Search:
    """Measures interventions on some images to find the worst one, and that one on all images.

    Attributes
    ----------
    some, all_images
        Evaluators for some and for all images.
    model, images, control
        What is measured.
    case
        What is searched.
    """

    some: Evaluator
    all_images: Evaluator
    model: Model
    images: LabelledImages
    control: Model | None
    case: SearchCase
    _predictions: int = field(init=False, default=0)
    _computed: int = field(init=False, default=0)

    def run(self, database: ExampleDatabase | None, key: bytes) -> SearchResult:
        """Search; `database` has under `key` what was found before.

        Raises
        ------
        BiasTransferError
            If what the space draws cannot be measured.
        """
        case = self.case
        trials = Trials(self._evaluated, self._area)
        found = search(
            case.space, trials, limit=case.limit, budget=case.budget, seed=case.seed, database=database, key=key
        )
        trial, measurement = self._confirmed(found)
        looked_at = min(self.some.max_images or case.images, len(self.images))
        return SearchResult(found, trial, measurement, looked_at, self._predictions, self._computed)

    def _area(self, intervention: Intervention) -> float:
        return self._canvas.changed_share(intervention)

    @functools.cached_property
    def _canvas(self) -> Canvas:
        """The images that are looked at to see how much an intervention changes; only where that is asked for."""
        from pytest_biastransfer.evaluation.preview import Canvas

        return Canvas(self.images, self.model.preprocess, range(min(_LOOKED_AT, len(self.images))))

    def picture(self, searched: SearchResult) -> Image.Image:
        """Return an image before and after the intervention that was found: the first one that flips, if any does."""
        from pytest_biastransfer.evaluation.preview import Canvas
        from pytest_biastransfer.evaluation.side_by_side import beside

        flips = searched.measurement.flips
        canvas = Canvas(self.images, self.model.preprocess, [flips[0].index if flips else 0])
        return beside(canvas.pixels, canvas.changed(searched.trial.intervention))

    def _confirmed(self, found: Found) -> tuple[Trial, Measurement]:
        """Return the plainest trial that is above the limit on all images too, or else the worst, on all images."""
        metric, limit = self.case.metric, self.case.limit
        measured: list[tuple[Trial, Measurement]] = []
        # Some images may show too much or too little; then what was stronger on them has its turn.
        for trial in (found.plainest, found.first, found.worst):
            if trial is not None and all(trial != known for known, _ in measured):
                measured.append((trial, self._measured(self.all_images, trial.intervention)))
                if measured[-1][1].estimate(metric) > limit:
                    break
        return max(measured, key=lambda one: float(one[1].estimate(metric)))

    def _evaluated(self, intervention: Intervention) -> tuple[float, float]:
        metric = self.case.metric
        estimate = self._measured(self.some, intervention).estimate(metric)
        if math.isnan(estimate):
            raise BiasTransferError(
                f"{metric} of {intervention} is undefined: it could be measured on none of the images that are "
                f"searched; search more images, or limit another metric"
            )
        return float(estimate), estimate.low

    def _measured(self, evaluator: Evaluator, intervention: Intervention) -> Measurement:
        expectation = self.case.expectation
        measurement = measure_loaded(
            evaluator,
            self.model,
            self.images,
            intervention,
            control=self.control,
            target=expectation.target,
            confidence=expectation.confidence,
        )
        self._predictions += measurement.predictions
        self._computed += measurement.computed
        return measurement
