"""Dose response: the same finetuning with data that is changed to several levels."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.judgement.verdict import holds
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.names import Bound, Rule
from pytest_biastransfer.transfer.question import Performance, Question, question_of
from pytest_biastransfer.transfer.recipe import Mode, Recipe
from pytest_biastransfer.transfer.result_plot import save_plot
from pytest_biastransfer.transfer.result_table import result_table
from pytest_biastransfer.transfer.seed_repeats import Repeated, RepeatedTransfer, worse_by
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

# By the means over the seeds, and by the whole intervals.
_RULES: Final[tuple[Rule, Rule]] = ("point", "certain")

# Makes the data to train on from the finetuning data and a level.
CurationChange = Callable[[Any, float], Any]


@dataclass(frozen=True)
class DoseResponse:
    """A figure, and the performance, at each level of a change of the finetuning data.

    Attributes
    ----------
    question
        The name of the figure.
    levels
        The figures and accuracies by level, ascending.
    limit
        The limit of the figure, if there is one.
    bound
        What it limits: the value from above or from below, or the size of a signed gap.
    """

    question: str
    levels: Mapping[float, Repeated]
    limit: float | None = None
    bound: Bound = "at most"

    @property
    def smallest_level(self) -> float:
        """The smallest level at which the mean over the seeds meets the limit; infinity if none does."""
        return self._smallest("point")

    @property
    def smallest_certain_level(self) -> float:
        """The smallest level at which the whole interval meets the limit; infinity if none does."""
        return self._smallest("certain")

    def _smallest(self, rule: Rule) -> float:
        if self.limit is None:
            return next(iter(self.levels))
        limit, bound = self.limit, self.bound
        return next(
            (level for level, found in self.levels.items() if holds(rule, found.figure, limit, bound)), math.inf
        )

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence; empty without a limit."""
        if self.limit is None:
            return ""
        if math.isinf(self.smallest_level):
            return f"None of these levels brings it to {self.limit:g}."
        figure = self.levels[self.smallest_level].figure
        certainty = "" if self.smallest_certain_level == self.smallest_level else ", not beyond doubt"
        return f"{self.smallest_level:g} is enough for {self.limit:g}{certainty}: {figure.text()}."

    def __str__(self) -> str:
        rows = [([f"{level:g}"], found) for level, found in self.levels.items()]
        lines = [f"{self.question}, by level", *_indented(result_table(["level"], rows, self.bound))]
        return "\n".join([*lines, f"  {self.sentence}"] if self.sentence else lines)

    def to_json(self) -> dict[str, Any]:
        """Return the dose response as plain data for JSON."""
        return {
            "question": self.question,
            "limit": self.limit,
            "smallest_level": None if math.isinf(self.smallest_level) else self.smallest_level,
            "levels": [{"level": level, **found.to_json()} for level, found in self.levels.items()],
        }

    def save(self, path: Path | str) -> None:
        """Write it as JSON, or for ``.png``, ``.svg`` and ``.pdf`` as a plot, which needs matplotlib."""
        path = Path(path)
        if path.suffix == ".json":
            _write_json(path, self.to_json())
        else:
            save_plot(path, self.question, "level", {"": self.levels}, bound=self.bound, limit=self.limit)


@dataclass(frozen=True)
class DoseResponses:
    """The dose responses of several sources: one table, one plot, and from which level on one is no worse than another.

    Attributes
    ----------
    responses
        The dose response of each source, by its name; all have the same question, levels, limit and seeds.
    confidence
        Coverage of the intervals.
    """

    responses: Mapping[str, DoseResponse]
    confidence: float = 0.95

    def __getitem__(self, source: str) -> DoseResponse:
        """Return the dose response of a source; raises `TransferError` for a name that no source has."""
        if source not in self.responses:
            raise TransferError(f"there is no source {source!r:.60}; {nearest(str(source), self.responses)}")
        return self.responses[source]

    def worse_by(self, source: str, than: str, *, at: float | None = None) -> Mapping[float, Estimate]:
        """Return by how much a source's figure is worse than another's, by level, with Welch's intervals.

        Of a signed gap, the sizes are compared. With `at`, each level is compared with the other's figure at this
        level, such as that of a control source whose finetuning data are not changed.
        """
        first, second = self[source], self[than]
        if at is not None and at not in second.levels:
            raise TransferError(f"at={at!r:.60}; the levels are {', '.join(f'{level:g}' for level in second.levels)}")
        return {
            level: worse_by(
                found.values, second.levels[level if at is None else at].values, first.bound, self.confidence
            )
            for level, found in first.levels.items()
        }

    def smallest_level(self, source: str, than: str, *, at: float | None = None, margin: float = 0.0) -> float:
        """Return the smallest level at which a source is no worse than another, by more than a margin.

        By the means over the seeds; infinity if there is none. `at` is as in `worse_by`.
        """
        return self._smallest("point", source, than, at, margin)

    def smallest_certain_level(self, source: str, than: str, *, at: float | None = None, margin: float = 0.0) -> float:
        """Return the smallest level at which the whole interval of the difference is within the margin.

        So it is found with hardly any seed if the margin is 0 and both sources are equally good.
        """
        return self._smallest("certain", source, than, at, margin)

    def _smallest(self, rule: Rule, source: str, than: str, at: float | None, margin: float) -> float:
        differences = self.worse_by(source, than, at=at)
        return next((level for level, worse in differences.items() if holds(rule, worse, margin)), math.inf)

    @property
    def sentence(self) -> str:
        """At which levels the first source is no worse than each of the others."""
        first, *others = self.responses
        return " ".join(self._comparison(first, other) for other in others)

    def _comparison(self, source: str, other: str) -> str:
        differences = self.worse_by(source, other)
        levels, certain_levels = (
            [f"{level:g}" for level, worse in differences.items() if holds(rule, worse, 0.0)] for rule in _RULES
        )
        if not levels:
            return f"{source} is worse than {other} at all levels."
        certainty = f"beyond doubt at {', '.join(certain_levels)}" if certain_levels else "nowhere beyond doubt"
        return f"{source} is no worse than {other} at {', '.join(levels)}, {certainty}."

    def __str__(self) -> str:
        first = next(iter(self.responses.values()))
        rows = [
            ([source, f"{level:g}"], found)
            for source, response in self.responses.items()
            for level, found in response.levels.items()
        ]
        lines = [f"{first.question}, by source and level"]
        lines += _indented(result_table(["source", "level"], rows, first.bound))
        if first.limit is not None:
            lines += [f"  {source}: {response.sentence}" for source, response in self.responses.items()]
        return "\n".join([*lines, f"  {self.sentence}"] if self.sentence else lines)

    def to_json(self) -> dict[str, Any]:
        """Return the dose responses as plain data for JSON."""
        return {"sources": {source: response.to_json() for source, response in self.responses.items()}}

    def save(self, path: Path | str) -> None:
        """Write them as JSON, or for ``.png``, ``.svg`` and ``.pdf`` as one plot, which needs matplotlib."""
        path, first = Path(path), next(iter(self.responses.values()))
        if path.suffix == ".json":
            _write_json(path, self.to_json())
            return
        curves = {source: response.levels for source, response in self.responses.items()}
        save_plot(path, first.question, "level", curves, bound=first.bound, limit=first.limit)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _write_json(path: Path, plain: Any) -> None:
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


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
) -> DoseResponse | DoseResponses:
    """Transfer with the finetuning data changed to each of several levels, and measure the models.

    Parameters
    ----------
    source
        A source, as for `attribute_bias`; or several by name, whose dose responses are shown together:
        ``{"our source": module, "control source": "torchvision:resnet18"}``.
    finetuning, evaluation, asked, metric, target, positive, performance, calibration_dataset
        As for `attribute_bias`.
    mode, recipe, threshold, seeds, confidence, device, store
        As for `attribute_bias`.
    change
        Takes the finetuning data and a level, and returns the data to train on, such as
        ``lambda images, level: plant(images, Square(), level)``.
    levels
        Numbers, in any order.
    limit
        The limit of the figure, for `DoseResponse.smallest_level`; of the absolute value of a signed gap.

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
    found = dose_responses_loaded(
        evaluator_for(device, store),
        {name: as_model(own, name) for name, own in require_sources(source).items()},
        as_images(finetuning, "finetuning"),
        question,
        RepeatedTransfer.of(mode=mode, recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence),
        change=change,
        levels=levels,
        limit=limit,
    )
    return found if isinstance(source, Mapping) else of_one(found)


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
    found: dict[str, dict[float, Repeated]] = {name: {} for name in sources}
    for level in sorted(_require_levels(levels)):
        images = as_images(change(finetuning, level), "change")
        for name, source in sources.items():
            found[name][level] = transfer.measure(evaluator, source, images, question)
    responses = {name: DoseResponse(str(question), by_level, limit, question.bound) for name, by_level in found.items()}
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
