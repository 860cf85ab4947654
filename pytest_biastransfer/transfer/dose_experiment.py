"""Dose response: the same finetuning with data that is changed to several levels."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.judgement.verdict import holds
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.names import Bound
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
        """The smallest level whose mean meets the limit; infinity if none does.

        This is what was seen, and promises nothing: of several levels that are not enough, some mean often meets the
        limit by chance.
        """
        return _smallest_seen(self._figures, self.limit, self.bound)

    @property
    def smallest_certain_level(self) -> float:
        """The smallest level that is certainly enough; infinity if none is.

        From the largest level down, each is enough whose whole interval meets the limit, until one does not. In this
        order no level needs a correction for the others: a level is called enough wrongly no more often than the
        interval of a single one misses the truth on that side (fixed-sequence testing; Maurer, Hothorn and Lehmacher
        1995, "Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses").
        """
        return _smallest_certain(self._figures, self.limit, self.bound)

    @property
    def _figures(self) -> Mapping[float, Estimate]:
        return {level: found.figure for level, found in self.levels.items()}

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure at each level, by the name of the level."""
        return {f"level {level:g}": figure for level, figure in self._figures.items()}

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence; empty without a limit."""
        if self.limit is None:
            return ""
        level = self.smallest_certain_level
        if math.isinf(level):
            return f"None of these levels is certainly enough for {self.limit:g}."
        sign = "+" if self.bound == "size at most" else ""
        return f"{level:g} is enough for {self.limit:g}: {self.levels[level].figure.text(sign)}."

    def __str__(self) -> str:
        rows = [([f"{level:g}"], found) for level, found in self.levels.items()]
        lines = [f"{self.question}, by level", *_indented(result_table(["level"], rows, self.bound))]
        return "\n".join([*lines, f"  {self.sentence}"] if self.sentence else lines)

    def to_json(self) -> dict[str, Any]:
        """Return the dose response as plain data for JSON."""
        return {
            "question": self.question,
            "limit": self.limit,
            "smallest_level": _plain(self.smallest_level),
            "smallest_certain_level": _plain(self.smallest_certain_level),
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
        """Return the smallest level at which the means of a source are worse than another's by no more than a margin.

        Infinity if there is none. This is what was seen, and promises nothing. `at` is as in `worse_by`.
        """
        return _smallest_seen(self.worse_by(source, than, at=at), margin)

    def smallest_certain_level(self, source: str, than: str, *, at: float | None = None, margin: float = 0.0) -> float:
        """Return the smallest level at which a source is certainly no worse than another by more than a margin.

        From the largest level down, as `DoseResponse.smallest_certain_level`: the whole interval of the difference has
        to be within the margin. So hardly any is found if the margin is 0 and both sources are equally good.
        """
        return _smallest_certain(self.worse_by(source, than, at=at), margin)

    @property
    def question(self) -> str:
        """The name of the figure."""
        return next(iter(self.responses.values())).question

    @property
    def limit(self) -> float | None:
        """The limit of the figure, if there is one."""
        return next(iter(self.responses.values())).limit

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure at each level of each source, by the name of both."""
        return {
            f"{source}, {level}": figure
            for source, response in self.responses.items()
            for level, figure in response.cases.items()
        }

    @property
    def sentence(self) -> str:
        """From which level on the first source is certainly no worse than each of the others."""
        first, *others = self.responses
        return " ".join(self._comparison(first, other) for other in others)

    def _comparison(self, source: str, other: str) -> str:
        level = self.smallest_certain_level(source, other)
        if math.isinf(level):
            return f"That {source} is no worse than {other} is certain at none of these levels."
        return f"{source} is no worse than {other} from {level:g} on."

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


def _smallest_seen(figures: Mapping[float, Estimate], limit: float | None, bound: Bound = "at most") -> float:
    """Return the smallest level whose value meets a limit, if there is one; `figures` ascend by level."""
    met = (level for level, figure in figures.items() if limit is None or holds("point", figure, limit, bound))
    return next(met, math.inf)


def _smallest_certain(figures: Mapping[float, Estimate], limit: float | None, bound: Bound = "at most") -> float:
    """Return the last level from the largest one down until the interval of one does not meet a limit."""

    def is_certain(level: float) -> bool:
        return limit is None or holds("certain", figures[level], limit, bound)

    return min(itertools.takewhile(is_certain, sorted(figures, reverse=True)), default=math.inf)


def _plain(level: float) -> float | None:
    """Return a level for JSON, None for infinity."""
    return None if math.isinf(level) else level


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _write_json(path: Path, plain: Any) -> None:
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8", newline="\n")


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
