"""Attribution of a bias: the same finetuning from the source, from a control source and from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.seed_intervals import difference_over_seeds
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer.question import Performance, Question, question_of
from pytest_biastransfer.transfer.recipe import Mode, Recipe
from pytest_biastransfer.transfer.seed_repeats import Repeated, RepeatedTransfer, estimate_to_json, worse_by
from pytest_biastransfer.transfer.transfer_model import evaluator_for

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class Attribution:
    """Figures of models from the source, from a control source and from scratch.

    Attributes
    ----------
    question
        The name of the figure.
    arms
        The figures of the models from the ``"source"``, from the ``"control source"`` and from ``"scratch"``.
    differences
        The figure from the source minus those from the other two, with their intervals.
    bound
        What a limit of the figure is: of the value, or of the size of a signed gap.
    """

    question: str
    arms: Mapping[str, Repeated]
    differences: Mapping[str, Estimate]
    bound: Bound = "at most"

    @property
    def from_source(self) -> Estimate:
        """The figure from the source minus that from the control source."""
        return self.differences["control source"]

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence."""
        difference, seeds = self.from_source, len(self.arms["source"].values)
        interval = f"{difference.confidence * 100:g} % interval {difference.low:+.3f} to {difference.high:+.3f}"
        return f"{self._conclusion} ({difference:+.3f}, {interval}, over {seeds} seeds each)."

    @property
    def _conclusion(self) -> str:
        difference = self.from_source
        if difference.low <= 0 <= difference.high:
            return "That it comes from the source cannot be told"
        worse = worse_by(self.arms["source"], self.arms["control source"], self.bound, difference.confidence)
        if worse.low > 0:
            return "The source passes it on"
        if worse.high < 0:
            return "The bias is less than from the control source"
        # Signed gaps may differ without one being larger.
        return "The source shifts it, but which of the two is farther from 0 cannot be told"

    def __str__(self) -> str:
        lines = [f"{self.question}, by where the model comes from"]
        width, sign = max(map(len, self.arms)), "+" if self.bound == "size at most" else ""
        for name, arm in self.arms.items():
            performances = "  ".join(f"{measure} {own.mean.text()}" for measure, own in arm.performances.items())
            lines.append(f"  {name:{width}}  {arm.figure.text(sign)}  {performances}")
        for name, difference in self.differences.items():
            lines.append(f"  source - {name}: {difference.text('+')}")
        return "\n".join([*lines, f"  {self.sentence}"])

    def to_json(self) -> dict[str, Any]:
        """Return the attribution as plain data for JSON."""
        return {
            "question": self.question,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "differences": {name: estimate_to_json(difference) for name, difference in self.differences.items()},
            "sentence": self.sentence,
        }


def attribute_bias(
    source: Model | torch.nn.Module | str,
    control: Model | torch.nn.Module | str,
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
) -> Attribution:
    """Transfer from a source, from a control source and from scratch, and compare the models.

    Parameters
    ----------
    source, control
        The suspected source, and one of the same architecture that is not suspected: a module, a `Model` or a spec
        string each. The source's architecture is also trained from scratch.
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
        The number of seeds, or the seeds: at least two.
    confidence
        Coverage of the intervals, which are about other seeds and other images.
    device, store
        As for `transfer`.

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
    """
    return attribute_loaded(
        evaluator_for(device, store),
        (as_model(source, "source"), as_model(control, "control")),
        as_images(finetuning, "finetuning"),
        question_of(
            evaluation,
            asked,
            metric=metric,
            target=target,
            positive=positive,
            performance=performance,
            calibration_dataset=calibration_dataset,
        ),
        RepeatedTransfer.of(mode=mode, recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence),
        recipes,
    )


def attribute_loaded(
    evaluator: Evaluator,
    sources: tuple[Model, Model],
    finetuning: LabelledImages,
    question: Question,
    transfer: RepeatedTransfer,
    recipes: Mapping[str, Recipe] | None = None,
) -> Attribution:
    """Attribute with an evaluator, and with models and images that are loaded already."""
    source, control = sources
    starts: list[tuple[str, Model, Mode]] = [
        ("source", source, transfer.mode),
        ("control source", control, transfer.mode),
        ("scratch", source, "scratch"),
    ]
    by_start = _recipes(transfer.recipe, recipes or {}, [name for name, _, _ in starts])
    arms = {}
    for name, start, mode in starts:
        own = dataclasses.replace(transfer, mode=mode, recipe=by_start[name])
        arms[name] = own.measure(evaluator, start, finetuning, question)
    # Welch's interval: the three arms are independent, and their variances over the seeds need not be the same.
    from_source = arms["source"].values
    differences = {
        name: difference_over_seeds(from_source, arm.values, transfer.confidence)
        for name, arm in arms.items()
        if name != "source"
    }
    return Attribution(str(question), arms, differences, question.bound)


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
