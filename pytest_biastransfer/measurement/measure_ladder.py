"""`measure_ladder`: from a model, a dataset and a ladder to a measurement at each strength, or at a few of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.evaluation.progress_bar import images_shown
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions import Ladder
from pytest_biastransfer.judgement.expectation import require_classes, require_confidence, require_target
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.ladder_measurement import (
    LadderMeasurement,
    confidence_of_each,
    mean_over_strengths,
)
from pytest_biastransfer.metrics.statistics.estimate import Estimate, Parts
from pytest_biastransfer.models import Model, as_model

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.judgement.early_stop import EarlyStop
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.metrics.measurement import Measurement


def measure_ladder(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    ladder: Ladder,
    *,
    control: Model | torch.nn.Module | str | None = None,
    positive: Target | None = None,
    target: Target | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
    progress: bool = False,
) -> LadderMeasurement:
    """Measure how a model's predictions change under an intervention at several strengths.

    Parameters
    ----------
    model, dataset, control, positive, target, device, batch_size, max_images, store, progress
        See `measure`.
    ladder
        The intervention and its strengths, made by `ladder`.
    confidence
        Coverage of the band of the intervals at all strengths, and of the interval of a mean, in (0, 1).

    Raises
    ------
    BiasTransferError
        If the model, the dataset or an intervention cannot be used; the message says what to change.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square, ladder, measure_ladder
    >>> brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> reddish = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 8, 8), 0)] * 10
    >>> measured = measure_ladder(brightest_channel, reddish, ladder(Square(color="blue"), "size", [0.125, 0.5]))
    >>> measured.curve("asr"), measured.mean("asr")
    ([0 [0, 0.355], 1 [0.645, 1]], 0.5 [0.349, 0.651])
    """
    evaluator = evaluator_for(device, store, batch_size=batch_size, max_images=max_images)
    _require_ladder(ladder)
    own, images = as_model(model, "model"), as_images(dataset, "dataset")
    other = None if control is None else as_model(control, "control")
    passes = (1 + len(ladder.steps)) * (1 if other is None else 2)
    with images_shown([evaluator], "measure_ladder", passes * evaluator.count(images), shown=progress):
        return measure_ladder_loaded(
            evaluator,
            own,
            images,
            ladder,
            control=other,
            positive=require_classes("positive", positive),
            target=require_target(target),
            confidence=require_confidence(confidence),
        )


def _require_ladder(ladder: object) -> None:
    if not isinstance(ladder, Ladder):
        raise InterventionError(
            f"ladder: got {ladder!r:.100}, expected an intervention at several strengths, such as "
            f"ladder(Square(), 'size', [0.05, 0.1, 0.2])"
        )


def measure_ladder_loaded(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    ladder: Ladder,
    *,
    control: Model | None = None,
    positive: Sequence[int | str] = (),
    target: Sequence[int | str] = (),
    confidence: float = 0.95,
    stop: EarlyStop | None = None,
    breaks: Callable[[Measurement], bool] | None = None,
    means: Sequence[str] = (),
    descriptions: Sequence[str] | None = None,
) -> LadderMeasurement:
    """Measure with an existing evaluator, and with a loaded model, dataset and ladder.

    Parameters
    ----------
    stop
        When to stop each measurement before all images are evaluated; None to evaluate all.
    breaks
        Whether a strength breaks a limit. If it is given, only those strengths are measured that bisection needs to
        find the smallest one that does: it assumes that all stronger ones do, too.
    means
        The metrics whose mean is asked for.
    descriptions
        The interventions in reports; default: their declarations.
    """
    measurements: list[Measurement | None] = [None] * len(ladder.steps)

    def measured(position: int) -> Measurement:
        measurement = measurements[position] = measure_loaded(
            evaluator,
            model,
            images,
            ladder.steps[position],
            control=control,
            positive=positive,
            target=target,
            confidence=confidence_of_each(confidence, len(ladder.steps)),
            stop=stop,
            description=None if descriptions is None else descriptions[position],
        )
        return measurement

    if breaks is None:
        for position in range(len(ladder.steps)):
            measured(position)
    else:
        bisect_left(range(len(ladder.steps)), True, key=lambda position: breaks(measured(position)))
    return LadderMeasurement(
        declaration=str(ladder),
        field=ladder.field,
        strengths=ladder.strengths,
        measurements=measurements,
        means={metric: _mean(evaluator, measurements, metric, confidence) for metric in means},
        confidence=confidence,
    )


def most_measured(strengths: int) -> int:
    """Return how many strengths bisection measures at most.

    >>> [most_measured(strengths) for strengths in (2, 3, 4, 5, 7, 8)]
    [2, 2, 3, 3, 3, 4]
    """
    return strengths.bit_length()


def _mean(evaluator: Evaluator, measurements: Sequence[Measurement | None], metric: str, confidence: float) -> Estimate:
    """Return a mean, computed once for predictions that the store knows."""
    questions = [measurement.provenance.question for measurement in measurements if measurement is not None]
    if None in questions:
        return mean_over_strengths(measurements, metric, confidence)
    parts = evaluator.store.facts.get_or_compute(
        fingerprint("mean over strengths", questions, metric, confidence),
        lambda: mean_over_strengths(measurements, metric, confidence).to_list(),
        Parts,
    )
    return Estimate.from_list(parts)
