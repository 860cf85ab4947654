"""Repeats one finetuning with several seeds: the mean of a figure of the models, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.display.displayed import interval_columns, plain, plain_number
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.judgement.expectation import require_confidence
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.seed_intervals import difference_over_seeds, mean_on_images, mean_over_seeds
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer.question import ACCURACY, Question
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode, require_recipe
from pytest_biastransfer.transfer.transfer_model import transfer_loaded

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class OverSeeds:
    """One figure of models that differ by the seed of their training, or by their source.

    Attributes
    ----------
    values
        One for each seed or source, with its interval about the images; NaN where it could not be measured.
    mean
        Their mean, with an interval about others and about other images; see `mean_over_seeds`.
    """

    values: tuple[Estimate, ...]
    mean: Estimate

    @classmethod
    def of(cls, values: Sequence[Estimate], confidence: float = 0.95, least: float = 0.0) -> OverSeeds:
        """Return values with their mean; the interval ends at `least`, of which Student's interval knows nothing."""
        return cls(tuple(values), mean_over_seeds(values, confidence, least=least))

    @property
    def on_images(self) -> Estimate:
        """The mean with an interval about other images alone."""
        return mean_on_images(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the figure as plain data for JSON, None for NaN."""
        return {
            "values": [plain_number(float(value)) for value in self.values],
            "intervals": [[plain_number(value.low), plain_number(value.high)] for value in self.values],
            **estimate_to_json(self.mean),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> OverSeeds:
        """Return what `to_json` returned as plain data."""
        value, low, high = (_number(plain[name]) for name in ("value", "low", "high"))
        values = [
            Estimate(_number(own), low=_number(own_low), high=_number(own_high))
            for own, (own_low, own_high) in zip(plain["values"], plain["intervals"], strict=True)
        ]
        return cls(tuple(values), Estimate(value, low=low, high=high))


@dataclass(frozen=True)
class Repeated:
    """The figures of models that differ by the seed of their training, or by their source.

    Attributes
    ----------
    bias
        The figure that was asked for.
    performances
        How well the models perform, by the name of the measure: ``"accuracy"`` first.
    """

    bias: OverSeeds
    performances: Mapping[str, OverSeeds]

    @property
    def figure(self) -> Estimate:
        """The mean of the figure that was asked for, with its interval."""
        return self.bias.mean

    @property
    def values(self) -> tuple[Estimate, ...]:
        """That figure for each seed or source, with its interval about the images."""
        return self.bias.values

    @property
    def accuracy(self) -> Estimate:
        """The mean accuracy, with its interval."""
        return self.performances[ACCURACY].mean

    @classmethod
    def over_sources(cls, repeats: Sequence[Repeated], confidence: float = 0.95, least: float = 0.0) -> Repeated:
        """Return the figures of several sources, one for each: its mean over the seeds.

        Seeds of one source are no other sources, and what they share does not become surer with their number.
        """
        bias = OverSeeds.of([repeated.bias.on_images for repeated in repeats], confidence, least)
        performances = {
            measure: OverSeeds.of([repeated.performances[measure].on_images for repeated in repeats], confidence)
            for measure in repeats[0].performances
        }
        return cls(bias, performances)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return {
            "figure": self.bias.to_json(),
            "performances": {name: performance.to_json() for name, performance in self.performances.items()},
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Repeated:
        """Return what `to_json` returned as plain data."""
        performances = {name: OverSeeds.from_json(performance) for name, performance in plain["performances"].items()}
        return cls(OverSeeds.from_json(plain["figure"]), performances)


def _unnoticed(_name: str) -> None:
    """Do nothing: nobody watches the training."""


@dataclass(frozen=True)
class RepeatedTransfer:
    """How models are transferred that differ by their seed.

    Attributes
    ----------
    mode, recipe, threshold
        As for `transfer`; the seed of the recipe is replaced.
    seeds
        At least two.
    confidence
        Coverage of the intervals.
    begin
        Called with the name of each model before it is trained.
    """

    mode: Mode
    recipe: Recipe
    threshold: Threshold
    seeds: tuple[int, ...]
    confidence: float
    begin: Callable[[str], None] = field(default=_unnoticed, compare=False)

    @classmethod
    def of(
        cls,
        *,
        seeds: int | Sequence[int],
        mode: Mode = "fixed-feature",
        recipe: Recipe | None = None,
        threshold: Threshold = DEFAULT,
        confidence: float = 0.95,
    ) -> RepeatedTransfer:
        """Return it of a caller's arguments; raises `BiasTransferError` for invalid ones."""
        return cls(
            require_mode(mode),
            require_recipe(recipe),
            threshold,
            _require_seeds(seeds),
            require_confidence(confidence),
        )

    def measure(self, evaluator: Evaluator, source: Model, finetuning: LabelledImages, question: Question) -> Repeated:
        """Transfer once with each seed, and measure each model."""
        values, performances = [], []
        for seed in self.seeds:
            self.begin(f"{source.name}, seed {seed}")
            recipe = self.recipe.with_seed(seed)
            model = transfer_loaded(evaluator, source, finetuning, self.mode, recipe=recipe, threshold=self.threshold)
            values.append(question.figure(evaluator, model, self.confidence))
            performances.append(question.performances(evaluator, model, self.confidence))
        by_measure = {
            measure: OverSeeds.of([performance[measure] for performance in performances], self.confidence)
            for measure in performances[0]
        }
        return Repeated(OverSeeds.of(values, self.confidence, question.least), by_measure)


def worse_by(first: Sequence[Estimate], second: Sequence[Estimate], bound: Bound, confidence: float) -> Estimate:
    """Return by how much the first figures are worse than the second ones, with its interval.

    `bound` says from which side the figure is limited. Of a signed gap, the sizes are compared: those of the means, so
    that values around 0 do not add up to a gap.
    """
    return difference_over_seeds(_oriented(first, bound), _oriented(second, bound), confidence)


def _oriented(figures: Sequence[Estimate], bound: Bound) -> list[Estimate]:
    """Return figures with such a sign that higher ones are worse."""
    is_reversed = bound == "at least" or (bound == "size at most" and fmean(figures) < 0)
    return [figure.mirrored() if is_reversed else figure for figure in figures]


def _require_seeds(seeds: object) -> tuple[int, ...]:
    """Return seeds from a number of them or from a list; raises `TransferError` for fewer than two."""
    listed = tuple(range(seeds)) if type(seeds) is int else seeds
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not all(type(seed) is int for seed in listed):
        raise TransferError(f"seeds={seeds!r:.60}, expected a number of seeds, or a list of whole numbers")
    if len(set(listed)) < 2:
        raise TransferError(f"seeds={seeds!r:.60}: expected at least two, to see how much training depends on chance")
    return tuple(listed)


def estimate_to_json(estimate: Estimate) -> dict[str, float | None]:
    """Return a figure and its interval as plain data for JSON, None for NaN."""
    return plain(interval_columns(estimate))


def _number(plain: float | None) -> float:
    return math.nan if plain is None else plain
