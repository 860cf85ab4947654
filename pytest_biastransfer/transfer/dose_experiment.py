"""Dose response: the same finetuning with data that is changed to several levels."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.judgement.expectation import require_confidence
from pytest_biastransfer.models import as_model
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode
from pytest_biastransfer.transfer.seed_repeats import Question, Repeated, repeat, require_seeds
from pytest_biastransfer.transfer.transfer_model import evaluator_for

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model

# Makes the data to train on from the finetuning data and a level.
CurationChange = Callable[[Any, float], Any]


@dataclass(frozen=True)
class DoseResponse:
    """A figure, and the accuracy, at each level of a change of the finetuning data.

    Attributes
    ----------
    question
        The name of the figure.
    levels
        The figures and accuracies by level, ascending.
    limit
        The limit of the figure, if there is one.
    is_of_size
        Whether that is the limit of its absolute value, as of a signed gap.
    """

    question: str
    levels: Mapping[float, Repeated]
    limit: float | None
    is_of_size: bool = False

    @property
    def smallest_level(self) -> float:
        """The smallest level at which the mean over the seeds meets the limit; infinity if none does."""
        return next((level for level, repeated in self.levels.items() if self._is_met(repeated.figure)), math.inf)

    @property
    def smallest_certain_level(self) -> float:
        """The smallest level at which the whole interval meets the limit; infinity if none does."""
        return next(
            (
                level
                for level, repeated in self.levels.items()
                if self._is_met(repeated.figure.low) and self._is_met(repeated.figure.high)
            ),
            math.inf,
        )

    def _is_met(self, figure: float) -> bool:
        return (abs(figure) if self.is_of_size else figure) <= (math.inf if self.limit is None else self.limit)

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
        rows = [("level", "figure", "accuracy")]
        rows += [
            (f"{level:g}", repeated.figure.text(), repeated.accuracy.text()) for level, repeated in self.levels.items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines = [f"{self.question}, by level", *table, f"  {self.sentence}"]
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def to_json(self) -> dict[str, Any]:
        """Return the dose response as plain data for JSON."""
        return {
            "question": self.question,
            "limit": self.limit,
            "smallest_level": None if math.isinf(self.smallest_level) else self.smallest_level,
            "levels": [{"level": level, **repeated.to_json()} for level, repeated in self.levels.items()],
        }

    def save(self, path: Path | str) -> None:
        """Write it as JSON, or for ``.png``, ``.svg`` and ``.pdf`` as a plot, which needs matplotlib."""
        path = Path(path)
        if path.suffix == ".json":
            path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        else:
            self._plot(path)

    @property
    def _least_plotted(self) -> float:
        """The lower end of the axis: 0, unless a signed figure or its interval is below."""
        ends = [end for repeated in self.levels.values() for end in (repeated.figure, repeated.figure.low)]
        return min(0.0, *(end for end in ends if not math.isnan(end))) if self.is_of_size else 0.0

    def _plot(self, path: Path) -> None:
        figure = need("matplotlib.figure", "report", str(path)).Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xlabel="level", ylim=(self._least_plotted - 0.02, 1.02))
        levels = list(self.levels)
        for label, estimates in (
            (self.question, [repeated.figure for repeated in self.levels.values()]),
            ("accuracy", [repeated.accuracy for repeated in self.levels.values()]),
        ):
            lower = [estimate - estimate.low for estimate in estimates]
            upper = [estimate.high - estimate for estimate in estimates]
            axes.errorbar(levels, list(map(float, estimates)), [lower, upper], capsize=3, marker="o", label=label)
        if self.limit is not None:
            axes.axhline(self.limit, linestyle="--", color="gray", label=f"limit {self.limit:g}")
            if self.is_of_size:
                axes.axhline(-self.limit, linestyle="--", color="gray")
        axes.legend()
        figure.savefig(path)


def dose_response(
    source: Model | torch.nn.Module | str,
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
    mode: Mode = "fixed-feature",
    recipe: Recipe | None = None,
    seeds: int | Sequence[int] = 3,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    store: Path | str | None = None,
) -> DoseResponse:
    """Transfer with the finetuning data changed to each of several levels, and measure the models.

    Parameters
    ----------
    source, finetuning, evaluation, asked, metric, target, positive, mode, recipe, seeds, confidence, device, store
        As for `attribute_bias`.
    change
        Takes the finetuning data and a level, and returns the data to train on, such as
        ``lambda images, level: plant(images, Square(), level)``.
    levels
        Numbers, in any order.
    limit
        The limit of the figure, for `DoseResponse.smallest_level`; of the absolute value of a signed gap.

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
    return dose_response_loaded(
        evaluator_for(device, store),
        as_model(source, "source"),
        as_images(finetuning, "finetuning"),
        Question.of(as_images(evaluation, "evaluation"), asked, metric, target, positive),
        change=change,
        levels=levels,
        limit=limit,
        mode=mode,
        recipe=recipe,
        seeds=seeds,
        confidence=confidence,
    )


def dose_response_loaded(
    evaluator: Evaluator,
    source: Model,
    finetuning: LabelledImages,
    question: Question,
    *,
    change: CurationChange,
    levels: Sequence[float],
    limit: float | None = None,
    mode: Mode = "fixed-feature",
    recipe: Recipe | None = None,
    seeds: int | Sequence[int] = 3,
    confidence: float = 0.95,
) -> DoseResponse:
    """Measure with an evaluator, and with a model and images that are loaded already."""
    shared: dict[str, Any] = {
        "mode": require_mode(mode),
        "recipe": recipe or Recipe(),
        "seeds": require_seeds(seeds),
        "confidence": require_confidence(confidence),
    }
    by_level = {
        level: repeat(evaluator, source, as_images(change(finetuning, level), "change"), question, **shared)
        for level in sorted(_require_levels(levels))
    }
    return DoseResponse(str(question), by_level, limit, is_of_size=question.is_signed_gap)


def _require_levels(levels: object) -> Sequence[float]:
    is_list = isinstance(levels, Sequence) and not isinstance(levels, str) and len(levels) > 0
    if not isinstance(levels, Sequence) or not is_list or not all(map(_is_number, levels)):
        raise TransferError(f"levels={levels!r:.60}, expected numbers, such as [0, 0.01, 0.05, 0.1]")
    return levels


def _is_number(level: object) -> bool:
    return isinstance(level, int | float) and not isinstance(level, bool) and math.isfinite(level)
