"""Dose response: the same finetuning with data that is changed to several levels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.evaluation.progress_bar import steps_shown
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.transfer.dose_result import DoseResponse, DoseResponses
from pytest_biastransfer.transfer.question import Performance, Question, question_of
from pytest_biastransfer.transfer.recipe import Mode, Recipe
from pytest_biastransfer.transfer.seed_repeats import Repeated, RepeatedTransfer
from pytest_biastransfer.transfer.transfer_model import evaluator_for

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model

    Source = Model | torch.nn.Module | str

# Makes the data to train on from the finetuning data and a level.
CurationChange = Callable[[Any, float], Any]


@overload
def dose_response(source: Source, finetuning: Any, evaluation: Any, asked: Any, **options: Any) -> DoseResponse: ...


@overload
def dose_response(
    source: Mapping[str, Source], finetuning: Any, evaluation: Any, asked: Any, **options: Any
) -> DoseResponses: ...


# The declarations above leave the options to this one, which knows them all.
def dose_response(  # type: ignore[misc]
    source: Source | Mapping[str, Source],
    finetuning: Any,
    evaluation: Any,
    asked: Intervention | Gap | str,
    *,
    change: CurationChange,
    levels: Sequence[float],
    limit: float | None = None,
    metric: str | None = None,
    target: Target | None = None,
    positive: Target | None = None,
    performance: Performance | None = None,
    calibration_dataset: Any = None,
    mode: Mode = "fixed-feature",
    recipe: Recipe | None = None,
    threshold: Threshold = DEFAULT,
    seeds: int | Sequence[int] = 3,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    store: Path | str | None = None,
    progress: bool = False,
) -> DoseResponse | DoseResponses:
    """Transfer with the finetuning data changed to each of several levels, and measure the models.

    Parameters
    ----------
    source
        A source, as for `attribute_bias`; or several by name, whose dose responses are shown together:
        ``{"our source": module, "control source": "torchvision:resnet18"}``.
    finetuning, evaluation, asked, metric, target, positive, performance, calibration_dataset
        As for `attribute_bias`.
    mode, recipe, threshold, seeds, confidence, device, store, progress
        As for `attribute_bias`.
    change
        Takes the finetuning data and a level, and returns the data to train on, such as
        ``lambda images, level: plant(images, Square(), level)``.
    levels
        Numbers, in any order. A larger one is a stronger change: they are judged from the largest one down.
    limit
        The limit of the figure, for `DoseResponse.smallest_certain_level`; of the absolute value of a signed gap.

    Returns
    -------
    DoseResponse | DoseResponses
        `DoseResponses` of several sources.

    Raises
    ------
    BiasTransferError
        As `transfer` and `pytest_biastransfer.measure` do.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> from pytest_biastransfer.transfer import Recipe, dose_response, plant
    >>> network = torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    >>> images = [(torch.rand(3, 8, 8), index % 2) for index in range(8)]
    >>> response = dose_response(
    ...     network, images, images, Square(), change=lambda data, level: plant(data, Square(), level), levels=[0, 0.5],
    ...     recipe=Recipe(epochs=1), seeds=2, limit=1.0,
    ... )
    >>> list(response.levels), response.smallest_level
    ([0, 0.5], 0)
    >>> response.sentence
    '0 is enough for 1: ...'
    """
    question = question_of(
        evaluation,
        asked,
        metric=metric,
        target=target,
        positive=positive,
        performance=performance,
        calibration_dataset=calibration_dataset,
    )
    evaluator = evaluator_for(device, store)
    sources = {name: as_model(own, name) for name, own in require_sources(source).items()}
    transfer = RepeatedTransfer.of(mode=mode, recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence)
    models = len(sources) * len(_require_levels(levels)) * len(transfer.seeds)
    with steps_shown(evaluator, "dose_response", models, "models", shown=progress) as begin:
        responses = dose_responses_loaded(
            evaluator,
            sources,
            as_images(finetuning, "finetuning"),
            question,
            dataclasses.replace(transfer, begin=begin),
            change=change,
            levels=levels,
            limit=limit,
        )
    return responses if isinstance(source, Mapping) else of_one(responses)


def dose_responses_loaded(
    evaluator: Evaluator,
    sources: Mapping[str, Model],
    finetuning: LabelledImages,
    question: Question,
    transfer: RepeatedTransfer,
    *,
    change: CurationChange,
    levels: Sequence[float],
    limit: float | None = None,
) -> DoseResponses:
    """Measure with an evaluator, and with models and images that are loaded already."""
    if not callable(change):
        raise TransferError(
            f"change={change!r:.60}, expected a function of the images and a level, such as "
            f"lambda images, level: plant(images, Square(), level)"
        )
    figures: dict[str, dict[float, Repeated]] = {name: {} for name in sources}
    for level in sorted(_require_levels(levels)):
        images = as_images(change(finetuning, level), "change")
        for name, source in sources.items():
            figures[name][level] = transfer.measure(evaluator, source, images, question)
    responses = {
        name: DoseResponse(str(question), by_level, limit, question.bound) for name, by_level in figures.items()
    }
    return DoseResponses(responses, transfer.confidence)


_ONLY = "source"


def require_sources(source: Any) -> Mapping[str, Any]:
    """Return sources by name, a single one as ``"source"``; raises `TransferError` for none, or for other names."""
    if not isinstance(source, Mapping):
        return {_ONLY: source}
    if not source or not all(isinstance(name, str) and name for name in source):
        raise TransferError(
            f"source: the names are {list(source)!r:.100}, expected a name for each source, such as 'our source'"
        )
    return source


def of_one(responses: DoseResponses) -> DoseResponse:
    """Return the dose response of the only source."""
    return responses[_ONLY]


def _require_levels(levels: object) -> Sequence[float]:
    is_list = isinstance(levels, Sequence) and not isinstance(levels, str) and len(levels) > 0
    if not isinstance(levels, Sequence) or not is_list or not all(map(_is_number, levels)):
        raise TransferError(f"levels={levels!r:.60}, expected numbers, such as [0, 0.01, 0.05, 0.1]")
    return levels


def _is_number(level: object) -> bool:
    return isinstance(level, int | float) and not isinstance(level, bool) and math.isfinite(level)
