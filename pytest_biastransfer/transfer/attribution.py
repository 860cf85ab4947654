"""Attribution of a bias: the same finetuning from the source, from a control source and from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.fingerprints import NotFingerprintableError
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

    Source = Model | torch.nn.Module | str

# Where the models come from.
_SOURCE, _CONTROL, _SCRATCH = "source", "control source", "scratch"


@dataclass(frozen=True)
class Attribution:
    """Figures of models from the source, from a control source and from scratch.

    Attributes
    ----------
    question
        The name of the figure.
    sources
        The figures of the models from each ``"source"`` and from each ``"control source"``, in their order.
    arms
        The figures of the models from the ``"source"``, from the ``"control source"`` and from ``"scratch"``. Of
        several sources, there is one figure for each: its mean over the seeds.
    differences
        The figure from the source minus those from the other two, with their intervals. With several sources, or
        several control sources, they are about other sources, and otherwise about other seeds of the finetuning.
    bound
        What a limit of the figure is: of the value, or of the size of a signed gap.
    """

    question: str
    sources: Mapping[str, Sequence[Repeated]]
    arms: Mapping[str, Repeated]
    differences: Mapping[str, Estimate]
    bound: Bound = "at most"

    @classmethod
    def of(
        cls,
        question: str,
        sources: Mapping[str, Sequence[Repeated]],
        scratch: Repeated,
        *,
        bound: Bound = "at most",
        confidence: float = 0.95,
        least: float = 0.0,
    ) -> Attribution:
        """Return the attribution of what was measured; `least` is the lowest value of the figure."""
        arms = {
            name: repeats[0] if len(repeats) == 1 else Repeated.over_sources(repeats, confidence, least)
            for name, repeats in sources.items()
        }
        # Welch's interval: the arms are independent, and their variances need not be the same.
        differences = {
            _CONTROL: difference_over_seeds(*_compared(sources), confidence),
            _SCRATCH: difference_over_seeds(arms[_SOURCE].values, scratch.values, confidence),
        }
        return cls(question, sources, {**arms, _SCRATCH: scratch}, differences, bound)

    @property
    def from_source(self) -> Estimate:
        """The figure from the source minus that from the control source."""
        return self.differences[_CONTROL]

    @property
    def is_one_of_each(self) -> bool:
        """Whether there is one source and one control source, which says nothing about others of their kind."""
        return _is_one_of_each(self.sources)

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence.

        One source and one control source may differ by what chance did in their own training. So it is said only of
        several that the source passes it on.
        """
        difference = self.from_source
        interval = f"{difference.confidence * 100:g} % interval {difference.low:+.3f} to {difference.high:+.3f}"
        figures = f"({difference:+.3f}, {interval}, over {self._repeats})"
        if not self.is_one_of_each:
            return f"{self._conclusion} {figures}."
        if difference.low <= 0 <= difference.high:
            return f"That these two sources differ cannot be told {figures}."
        return f"These two sources differ{self._two_compared} {figures}. Two sources of one kind may differ as much."

    @property
    def _repeats(self) -> str:
        seeds = len(self.sources[_SOURCE][0].values)
        if self.is_one_of_each:
            return f"{seeds} seeds each"
        counts = (f"{len(repeats)} {name}{'s' if len(repeats) > 1 else ''}" for name, repeats in self.sources.items())
        return f"{' and '.join(counts)}, {seeds} seeds each"

    @property
    def _worse(self) -> Estimate:
        """By how much the source is worse than the control source."""
        return worse_by(*_compared(self.sources), self.bound, self.from_source.confidence)

    @property
    def _two_compared(self) -> str:
        if self._worse.low > 0:
            return ": the bias is larger from this one"
        if self._worse.high < 0:
            return ": the bias is smaller from this one"
        return ", but which of the two is farther from 0 cannot be told"

    @property
    def _conclusion(self) -> str:
        is_one = len(self.sources[_SOURCE]) == 1
        if self.from_source.low <= 0 <= self.from_source.high:
            return f"That it comes from the source{'' if is_one else 's'} cannot be told"
        if self._worse.low > 0:
            return "The source passes it on" if is_one else "The sources pass it on"
        if self._worse.high < 0:
            control = _CONTROL if len(self.sources[_CONTROL]) == 1 else f"{_CONTROL}s"
            return f"The bias is less than from the {control}"
        # Signed gaps may differ without one being larger.
        shift = "The source shifts it" if is_one else "The sources shift it"
        return f"{shift}, but which of the two is farther from 0 cannot be told"

    def __str__(self) -> str:
        rows = [row for name, arm in self.arms.items() for row in ((name, arm), *self._rows_of_each(name))]
        width, sign = max(len(name) for name, _ in rows), "+" if self.bound == "size at most" else ""
        lines = [f"{self.question}, by where the model comes from"]
        for name, arm in rows:
            performances = "  ".join(f"{measure} {own.mean.text()}" for measure, own in arm.performances.items())
            lines.append(f"  {name:{width}}  {arm.figure.text(sign)}  {performances}")
        for name, difference in self.differences.items():
            lines.append(f"  source - {name}: {difference.text('+')}")
        return "\n".join([*lines, f"  {self.sentence}"])

    def _rows_of_each(self, name: str) -> Sequence[tuple[str, Repeated]]:
        """Return a row for each of several sources."""
        repeats = self.sources.get(name, ())
        return [(f"  {place}", own) for place, own in enumerate(repeats, 1)] if len(repeats) > 1 else []

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure of the models from each source, and the differences, by their names."""
        arms = {name: arm.figure for name, arm in self.arms.items()}
        return {**arms, **{f"source - {name}": difference for name, difference in self.differences.items()}}

    def to_json(self) -> dict[str, Any]:
        """Return the attribution as plain data for JSON."""
        return {
            "question": self.question,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "sources": {name: [own.to_json() for own in repeats] for name, repeats in self.sources.items()},
            "differences": {name: estimate_to_json(difference) for name, difference in self.differences.items()},
            "sentence": self.sentence,
        }


def _is_one_of_each(sources: Mapping[str, Sequence[Repeated]]) -> bool:
    return all(len(repeats) == 1 for repeats in sources.values())


def _compared(sources: Mapping[str, Sequence[Repeated]]) -> tuple[Sequence[Estimate], Sequence[Estimate]]:
    """Return the figures whose means are compared: of each seed of two sources, otherwise one of each source."""
    if _is_one_of_each(sources):
        return sources[_SOURCE][0].values, sources[_CONTROL][0].values
    source, control = ([own.bias.on_images for own in sources[name]] for name in (_SOURCE, _CONTROL))
    return source, control


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
    return attribute_loaded(
        evaluator_for(device, store),
        loaded_sources(as_model, source, control),
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
    sources: Mapping[str, Sequence[Model]],
    finetuning: LabelledImages,
    question: Question,
    transfer: RepeatedTransfer,
    recipes: Mapping[str, Recipe] | None = None,
) -> Attribution:
    """Attribute with an evaluator, and with models and images that are loaded already."""
    by_start = _recipes(transfer.recipe, recipes or {}, [*sources, _SCRATCH])

    def measured(name: str, start: Model, mode: Mode) -> Repeated:
        own = dataclasses.replace(transfer, mode=mode, recipe=by_start[name])
        return own.measure(evaluator, start, finetuning, question)

    found = {name: [measured(name, start, transfer.mode) for start in starts] for name, starts in sources.items()}
    scratch = measured(_SCRATCH, sources[_SOURCE][0], "scratch")
    options: dict[str, Any] = {"bound": question.bound, "confidence": transfer.confidence, "least": question.least}
    return Attribution.of(str(question), found, scratch, **options)


def loaded_sources(load: Callable[[Any, str], Model], source: Any, control: Any) -> dict[str, list[Model]]:
    """Return the models of the sources and of the control sources; raises `TransferError` for none, or for twins."""
    return {_SOURCE: _loaded(load, source, "source"), _CONTROL: _loaded(load, control, "control")}


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
