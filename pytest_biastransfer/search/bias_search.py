"""Searches a space for the worst intervention on a model and images, and measures it on all images."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.progress.activities import report
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.search.engine import SearchOutcome, search
from pytest_biastransfer.search.search_result import SearchResult
from pytest_biastransfer.search.trials import Trial, Trials

# Images on which the changed share of the pixels is computed.
_AREA_IMAGES: Final = 4

if TYPE_CHECKING:
    from hypothesis.database import ExampleDatabase
    from PIL import Image

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.preview import Preview
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import SearchCase
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model


@dataclass
class Search:
    """Measures interventions on a sample of the images to find the worst one, and measures that one on all images.

    Attributes
    ----------
    sample, all_images
        Evaluators for the sample and for all images.
    model, images, control
        The model under test, the dataset, and the control model if there is one.
    case
        The space and the limit.
    """

    sample: Evaluator
    all_images: Evaluator
    model: Model
    images: LabelledImages
    control: Model | None
    case: SearchCase
    _predictions: int = field(init=False, default=0)
    _computed: int = field(init=False, default=0)

    def run(self, database: ExampleDatabase | None, key: bytes) -> SearchResult:
        """Search; `database` has the results of earlier searches under `key`.

        Raises
        ------
        BiasTransferError
            If an intervention of the space cannot be measured.
        """
        case = self.case
        trials = Trials(self._evaluated, self._area, _progress_reporter(2 * case.budget))
        outcome = search(
            case.space, trials, limit=case.limit, budget=case.budget, seed=case.seed, database=database, key=key
        )
        trial, measurement = self._confirmed(outcome)
        return SearchResult(
            case.metric,
            case.limit,
            outcome,
            trial,
            measurement,
            self.sample.count(self.images),
            self._predictions,
            self._computed,
        )

    def _area(self, intervention: Intervention) -> float:
        return self._preview.changed_share(intervention)

    @functools.cached_property
    def _preview(self) -> Preview:
        """The images on which the changed area is computed; decoded when the first area is needed."""
        from pytest_biastransfer.evaluation.preview import Preview

        return Preview(self.images, self.model.preprocess, range(min(_AREA_IMAGES, len(self.images))))

    def picture(self, result: SearchResult) -> Image.Image:
        """Return an image before and after the worst intervention: the first one that flips, if any does."""
        from pytest_biastransfer.evaluation.preview import Preview
        from pytest_biastransfer.evaluation.side_by_side import draw_pair

        flips = result.measurement.flips
        preview = Preview(self.images, self.model.preprocess, [flips[0].index if flips else 0])
        return draw_pair(preview.pixels, preview.changed(result.trial.intervention))

    def _confirmed(self, outcome: SearchOutcome) -> tuple[Trial, Measurement]:
        """Return the simplest trial that is above the limit on all images too, or else the worst on all images."""
        metric, limit = self.case.metric, self.case.limit
        measured: list[tuple[Trial, Measurement]] = []
        # From the simplest to the strongest: a sample of the images may overestimate a trial, and then the next one may
        # still be above the limit.
        for trial in (outcome.simplest, outcome.first, outcome.worst):
            if trial is not None and all(trial != other for other, _ in measured):
                measured.append((trial, self._measured(self.all_images, trial.intervention)))
                if not is_at_most(measured[-1][1].estimate(metric), limit):
                    break
        return max(measured, key=lambda pair: float(pair[1].estimate(metric)))

    def _evaluated(self, intervention: Intervention) -> tuple[float, float]:
        metric = self.case.metric
        estimate = self._measured(self.sample, intervention).estimate(metric)
        if math.isnan(estimate):
            raise BiasTransferError(
                f"{metric} of {intervention} is undefined on the images of the search; "
                f"search more images, or limit another metric"
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
            positive=expectation.positive,
            target=expectation.target,
            confidence=expectation.confidence,
        )
        self._predictions += measurement.predictions
        self._computed += measurement.computed
        return measurement


def _progress_reporter(most: int) -> Callable[[int], None]:
    """Return a function that reports how many trials of at most `most` were made."""
    start = time.monotonic()

    def report_trial(done: int) -> None:
        report(Progress("search", done, most, done, time.monotonic() - start, "searching", "interventions"))

    return report_trial
