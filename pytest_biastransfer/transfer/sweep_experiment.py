"""Sweeps: the same question of models that differ by their source, their recipe, or their finetuning data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.evaluation.progress_bar import steps_shown
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.transfer.curation.combination import subset
from pytest_biastransfer.transfer.dose_experiment import CurationChange, require_sources
from pytest_biastransfer.transfer.question import Performance, Question, question_of
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode
from pytest_biastransfer.transfer.seed_repeats import RepeatedTransfer
from pytest_biastransfer.transfer.sweep_result import FIELDS, Setting, Sweep, SweepPoint, plain_setting
from pytest_biastransfer.transfer.transfer_model import evaluator_for

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model

_SETTINGS: Final = (*FIELDS, "size", "level", "mode")


def sweep(
    source: Model | torch.nn.Module | str | Mapping[str, Model | torch.nn.Module | str],
    finetuning: Any,
    evaluation: Any,
    asked: Intervention | Gap | str,
    *,
    over: Mapping[str, Sequence[Any]],
    change: CurationChange | None = None,
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
) -> Sweep:
    """Transfer with each combination of some settings, and measure the models.

    In a test session, the fixture `bias_sweep` measures one combination a test, and the tests of a function are shown
    as one sweep.

    Parameters
    ----------
    source
        As for `dose_response`: one, or several by name, which are swept too.
    over
        The values of each setting: of fields of the recipe, such as ``"weight_decay"``; of ``"size"``, the number of
        images to finetune on (`subset` of what `change` returns, the same ones for all seeds); of ``"level"``, that of
        `change`; and of ``"mode"``.
    change
        As for `dose_response`.
    finetuning, evaluation, asked, metric, target, positive, performance, calibration_dataset
        As for `attribute_bias`.
    mode, recipe, threshold, seeds, confidence, device, store, progress
        As for `attribute_bias`.

    Raises
    ------
    BiasTransferError
        As `transfer` and `pytest_biastransfer.measure` do.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> from pytest_biastransfer.transfer import Recipe, sweep
    >>> network = torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    >>> images = [(torch.rand(3, 8, 8), index % 2) for index in range(8)]
    >>> over = {"weight_decay": [0, 0.01], "size": [4, 8]}
    >>> study = sweep(network, images, images, Square(), over=over, recipe=Recipe(epochs=1), seeds=2)
    >>> study.axes == over, len(study.points)
    (True, 4)
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
    images, evaluator = as_images(finetuning, "finetuning"), evaluator_for(device, store)
    sources = {name: as_model(own, name) for name, own in require_sources(source).items()}
    transfer = RepeatedTransfer.of(mode=mode, recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence)
    # All are looked at before the first one is trained: a mistake in the last one shall not cost hours.
    arms = [
        Arm.of((name, model), images, transfer, change=change, **settings)
        for name, model in sources.items()
        for settings in _combinations(over)
    ]
    models = len(arms) * len(transfer.seeds)
    with steps_shown(evaluator, "sweep", models, "models", shown=progress) as begin:
        return Sweep([arm.reported(begin).measure(evaluator, question) for arm in arms])


@dataclass(frozen=True)
class Arm:
    """One combination of settings, before it is measured.

    Attributes
    ----------
    source, images, transfer
        What is transferred, on which images, and how.
    settings
        As of a `SweepPoint`.
    """

    source: Model
    images: LabelledImages
    transfer: RepeatedTransfer
    settings: Mapping[str, Setting]

    @classmethod
    def of(
        cls,
        source: tuple[str, Model],
        finetuning: LabelledImages,
        transfer: RepeatedTransfer,
        *,
        mode: Mode | None = None,
        level: float | None = None,
        change: CurationChange | None = None,
        size: int | None = None,
        **fields: Any,
    ) -> Arm:
        """Return the arm of a source, which is named, and of settings, which replace those of the transfer.

        Raises `TransferError` for settings that do not exist or do not go together.
        """
        for field in fields:
            if field not in FIELDS:
                hint = "seeds= repeats each model" if field == "seed" else nearest(field, _SETTINGS)
                raise TransferError(f"{field!r} is not a setting of a sweep; {hint}")
        if (level is None) != (change is None):
            raise TransferError("level= and change= go together: change(images, level) returns the images to train on")
        recipe: Recipe = dataclasses.replace(transfer.recipe, **fields)
        own = dataclasses.replace(transfer, recipe=recipe, mode=require_mode(mode or transfer.mode))
        images = finetuning
        if change is not None and level is not None:
            images = as_images(change(images, level), "change")
        if size is not None:
            images = subset(images, size)
        name, model = source
        settings = {"source": name, "mode": own.mode, "level": level, "size": size}
        settings = {key: plain_setting(value) for key, value in settings.items() if value is not None}
        for field in FIELDS:
            value = plain_setting(getattr(recipe, field))
            if field in fields or value != plain_setting(getattr(Recipe, field)):
                settings[field] = value
        return cls(model, images, own, settings)

    def reported(self, begin: Callable[[str], None]) -> Arm:
        """Return the arm with a function that is called before each model is trained."""
        return dataclasses.replace(self, transfer=dataclasses.replace(self.transfer, begin=begin))

    def measure(self, evaluator: Evaluator, question: Question) -> SweepPoint:
        """Transfer with each seed, and measure the models."""
        found = self.transfer.measure(evaluator, self.source, self.images, question)
        return SweepPoint(str(question), question.bound, self.settings, found)


def _combinations(over: Any) -> list[dict[str, Any]]:
    if not isinstance(over, Mapping) or not over:
        raise TransferError(f"over={over!r:.100}, expected values by setting, such as {{'weight_decay': [0, 0.01]}}")
    for name, values in over.items():
        if name not in _SETTINGS:
            raise TransferError(f"over: {name!r:.60} is not a setting; {nearest(str(name), _SETTINGS)}")
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise TransferError(f"over: {name}={values!r:.60}, expected a list of values")
    return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
