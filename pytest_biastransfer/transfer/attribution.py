"""Attribution of a bias: the same finetuning from the source, from a control source and from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.evaluation.progress_bar import steps_shown
from pytest_biastransfer.fingerprints import NotFingerprintableError
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.transfer.attribution_result import CONTROL, SCRATCH, SOURCE, Attribution
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


def attribute_bias(
    source: Source | Sequence[Source],
    control: Source | Sequence[Source],
    finetuning: Any,
    evaluation: Any,
    asked: Intervention | Gap | str,
    *,
    metric: str | None = None,
    target: Target | None = None,
    positive: Target | None = None,
    performance: Performance | None = None,
    calibration_dataset: Any = None,
    mode: Mode = "fixed-feature",
    recipe: Recipe | None = None,
    threshold: Threshold = DEFAULT,
    recipes: Mapping[str, Recipe] | None = None,
    seeds: int | Sequence[int] = 5,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    store: Path | str | None = None,
    progress: bool = False,
) -> Attribution:
    """Transfer from a source, from a control source and from scratch, and compare the models.

    Parameters
    ----------
    source, control
        The suspected source, and one of the same architecture that is not suspected: a module, a `Model` or a spec
        string each. The source's architecture is also trained from scratch.

        Two sources differ by what chance did in their own training, too, whatever they were trained on. Therefore both
        may be lists: of several sources that were trained alike with other seeds, and of several control sources. With
        several, the figure of each is its mean over the seeds of the finetuning, and the intervals are about other
        sources. If one of the two is single, it is taken to vary as the other ones do. With one of each, the intervals
        are about these two sources alone, and the conclusion as well.
    finetuning, evaluation
        The dataset to train on, and the one to measure on: as for `transfer`.
    asked
        An intervention, the name of a registered one, or a `Gap`.
    metric
        Of an intervention: ``"asr"`` (default), ``"skew"``, ``"targeted_asr"`` with `target`, ``"accuracy_drop"``, ...
    positive
        Of an intervention: the decision that is judged, as in `pytest_biastransfer.measure`. Models that learn several
        labels need it.
    performance
        What is shown beside the accuracy: ``"auc"`` or ``"average_precision"`` of the decision that is judged.
    calibration_dataset
        Of a gap: as in `pytest_biastransfer.measure_gaps`.
    mode, recipe, threshold
        As for `transfer`; the same for all models except for the seed. From scratch, all weights are trained, and
        `freeze` of the recipe does not apply.
    recipes
        Other recipes for some of the models, by where they come from: ``"source"``, ``"control source"``,
        ``"scratch"``. So the papers train with another weight decay from scratch:
        ``recipes={"scratch": Recipe(weight_decay=5e-4)}``.
    seeds
        The number of seeds of each finetuning, or the seeds: at least two.
    confidence
        Coverage of the intervals, which are about other seeds, or other sources, and other images.
    device, store
        As for `transfer`.
    progress
        Whether to show a progress bar, which needs tqdm.

    Raises
    ------
    BiasTransferError
        As `transfer` and `pytest_biastransfer.measure` do.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> from pytest_biastransfer.transfer import Recipe, attribute_bias
    >>> def network():
    ...     return torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    >>> images = [(torch.rand(3, 8, 8), index % 2) for index in range(8)]
    >>> attribution = attribute_bias(network(), network(), images, images, Square(), recipe=Recipe(epochs=1), seeds=2)
    >>> list(attribution.arms)
    ['source', 'control source', 'scratch']
    >>> attribution.is_one_of_each
    True
    """
    evaluator, sources = evaluator_for(device, store), loaded_sources(as_model, source, control)
    question = question_of(
        evaluation,
        asked,
        metric=metric,
        target=target,
        positive=positive,
        performance=performance,
        calibration_dataset=calibration_dataset,
    )
    transfer = RepeatedTransfer.of(mode=mode, recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence)
    models = (1 + sum(map(len, sources.values()))) * len(transfer.seeds)
    with steps_shown(evaluator, "attribute_bias", models, "models", shown=progress) as begin:
        transfer = dataclasses.replace(transfer, begin=begin)
        return attribute_loaded(evaluator, sources, as_images(finetuning, "finetuning"), question, transfer, recipes)


def attribute_loaded(
    evaluator: Evaluator,
    sources: Mapping[str, Sequence[Model]],
    finetuning: LabelledImages,
    question: Question,
    transfer: RepeatedTransfer,
    recipes: Mapping[str, Recipe] | None = None,
) -> Attribution:
    """Attribute with an evaluator, and with models and images that are loaded already."""
    by_start = _recipes(transfer.recipe, recipes or {}, [*sources, SCRATCH])

    def measured(name: str, start: Model, mode: Mode) -> Repeated:
        own = dataclasses.replace(transfer, mode=mode, recipe=by_start[name])
        return own.measure(evaluator, start, finetuning, question)

    found = {name: [measured(name, start, transfer.mode) for start in starts] for name, starts in sources.items()}
    scratch = measured(SCRATCH, sources[SOURCE][0], "scratch")
    options: dict[str, Any] = {"bound": question.bound, "confidence": transfer.confidence, "least": question.least}
    return Attribution.of(str(question), found, scratch, **options)


def loaded_sources(load: Callable[[Any, str], Model], source: Any, control: Any) -> dict[str, list[Model]]:
    """Return the models of the sources and of the control sources; raises `TransferError` for none, or for twins."""
    return {SOURCE: _loaded(load, source, "source"), CONTROL: _loaded(load, control, "control")}


def _loaded(load: Callable[[Any, str], Model], given: Any, name: str) -> list[Model]:
    if not isinstance(given, list | tuple):
        return [load(given, name)]
    if not given:
        raise TransferError(f"{name}={given!r}, expected a model, or a list of models that were trained alike")
    models = [load(own, f"{name}[{place}]") for place, own in enumerate(given)]
    if len(models) > 1:
        _require_different(models, name)
    return models


def _require_different(models: Sequence[Model], name: str) -> None:
    """Raise `TransferError` for a source that is there twice: it would seem that sources hardly vary."""
    places: dict[str, int] = {}
    for place, model in enumerate(models):
        try:
            first = places.setdefault(model.fingerprint, place)
        except NotFingerprintableError:
            continue
        if first != place:
            raise TransferError(
                f"{name}[{first}] and {name}[{place}] are the same model; expected models that were trained with "
                f"different seeds"
            )


def _recipes(shared: Recipe, own: Mapping[str, Recipe], starts: Sequence[str]) -> dict[str, Recipe]:
    """Return the recipe of each start; raise `TransferError` for recipes of others."""
    if not isinstance(own, Mapping) or not all(isinstance(recipe, Recipe) for recipe in own.values()):
        raise TransferError(
            f"recipes={own!r:.100}, expected recipes by start, such as {{'scratch': Recipe(epochs=50)}}"
        )
    for name in own:
        if name not in starts:
            raise TransferError(f"recipes: there is no start {name!r}; {nearest(str(name), starts)}")
    # No block of random weights is worth keeping.
    return {**dict.fromkeys(starts, shared), "scratch": dataclasses.replace(shared, freeze=0), **own}
