"""Finetuning in a session: what the ini file says of it, and what the fixtures give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_biastransfer.errors import SpecError, nearest
from pytest_biastransfer.models.thresholds import DEFAULT, Threshold
from pytest_biastransfer.names import FINETUNING_FIXTURE, MODEL_FIXTURE, SOURCE_FIXTURE
from pytest_biastransfer.plugin.failures import clear_errors
from pytest_biastransfer.plugin.resources import configured_model, evaluator_of, images_of, loaded_models, model_of
from pytest_biastransfer.plugin.state import FINDINGS, NOTES, SETTINGS, SWEEP_POINTS
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.transfer.recipe import Mode, Recipe, require_mode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.transfer.attribution_result import Attribution
    from pytest_biastransfer.transfer.dose_experiment import CurationChange
    from pytest_biastransfer.transfer.dose_result import DoseResponse, DoseResponses
    from pytest_biastransfer.transfer.question import Question
    from pytest_biastransfer.transfer.seed_repeats import Repeated


def _number_or_word(value: str) -> float | str:
    return value if value.isalpha() else float(value)


def _switch(value: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[value.lower()]


def _whole_numbers(value: str) -> tuple[int, ...]:
    return tuple(map(int, value.split(",")))


# How the fields of a recipe are read whose default does not say how.
_KINDS: Final[Mapping[str, Callable[[str], Any]]] = {
    "outputs": str,
    "pos_weight": _number_or_word,
    "step_size": int,
    "milestones": _whole_numbers,
    "flip": _switch,
    "augment_before_triggers": _switch,
}
_EXPECTED: Final[Mapping[Callable[[str], Any], str]] = {
    int: "a whole number",
    _number_or_word: "a number or 'balanced'",
    _switch: "true or false",
    _whole_numbers: "whole numbers, such as 30,60",
}


class Transfer(Protocol):
    """What the fixture `bias_transfer` returns: `pytest_biastransfer.transfer.transfer` with the session's store."""

    def __call__(
        self,
        source: Any,
        dataset: Any,
        mode: Mode = "fixed-feature",
        *,
        classes: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        threshold: Threshold = DEFAULT,
        name: str = "",
    ) -> Model:
        """Return the transferred model."""
        ...


def transfer_in_session(request: pytest.FixtureRequest) -> Transfer:
    """Return what transfers models with the session's device and store; sources and datasets are as of fixtures."""

    def transfer(
        source: Any,
        dataset: Any,
        mode: Mode = "fixed-feature",
        *,
        classes: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        threshold: Threshold = DEFAULT,
        name: str = "",
    ) -> Model:
        from pytest_biastransfer.transfer.transfer_model import transfer_loaded

        model = model_of(request.config, source, "source")
        images = images_of(request.config, dataset, "dataset")
        options: dict[str, Any] = {"classes": classes, "recipe": recipe, "threshold": threshold, "name": name}
        transferred = transfer_loaded(evaluator_of(request), model, images, mode, **options)
        loaded_models(request.config).note_finetuned(transferred)
        return transferred

    return transfer


def attribution_in_session(request: pytest.FixtureRequest) -> Callable[..., Attribution]:
    """Return `attribute_bias` with the session's device and store; what it finds is shown in the summary."""

    def attribute(
        source: Any,
        control: Any,
        finetuning: Any,
        evaluation: Any,
        asked: Any,
        *,
        recipes: Mapping[str, Recipe] | None = None,
        seeds: int | Sequence[int] = 5,
        **options: Any,
    ) -> Attribution:
        from pytest_biastransfer.transfer.attribution import attribute_loaded, loaded_sources
        from pytest_biastransfer.transfer.seed_repeats import RepeatedTransfer

        config = request.config
        sources = loaded_sources(partial(model_of, config), source, control)
        question, others = _question(config, evaluation, asked, options)
        transfer = RepeatedTransfer.of(seeds=seeds, **others)
        images = images_of(config, finetuning, "finetuning")
        attribution = attribute_loaded(evaluator_of(request), sources, images, question, transfer, recipes)
        _note(request, attribution, attribution.question)
        return attribution

    return attribute


def dose_response_in_session(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return `dose_response` with the session's device and store; what it finds is shown in the summary."""

    def respond(
        source: Any,
        finetuning: Any,
        evaluation: Any,
        asked: Any,
        *,
        change: CurationChange,
        levels: Sequence[float],
        limit: float | None = None,
        seeds: int | Sequence[int] = 3,
        **options: Any,
    ) -> DoseResponse | DoseResponses:
        from pytest_biastransfer.transfer.dose_experiment import dose_responses_loaded, of_one, require_sources
        from pytest_biastransfer.transfer.seed_repeats import RepeatedTransfer

        config = request.config
        sources = {name: model_of(config, own, name) for name, own in require_sources(source).items()}
        question, others = _question(config, evaluation, asked, options)
        images = images_of(config, finetuning, "finetuning")
        transfer, given = RepeatedTransfer.of(seeds=seeds, **others), (sources, images, question)
        responses = dose_responses_loaded(
            evaluator_of(request), *given, transfer, change=change, levels=levels, limit=limit
        )
        found = responses if isinstance(source, Mapping) else of_one(responses)
        _note(request, found, found.question, found.limit)
        return found

    return respond


def sweep_in_session(request: pytest.FixtureRequest) -> Callable[..., Repeated]:
    """Return what measures one point of a sweep; the points of a function's tests are shown as one table."""

    def measure(
        source: Any,
        finetuning: Any,
        evaluation: Any,
        asked: Any,
        *,
        recipe: Recipe | None = None,
        threshold: Threshold = DEFAULT,
        seeds: int | Sequence[int] = 3,
        confidence: float = 0.95,
        save: Path | str | Sequence[Path | str] = (),
        **options: Any,
    ) -> Repeated:
        from pytest_biastransfer.display.files import require_files
        from pytest_biastransfer.transfer.seed_repeats import RepeatedTransfer
        from pytest_biastransfer.transfer.sweep_experiment import Arm

        config = request.config
        files = require_files(save)
        question, settings = _question(config, evaluation, asked, options)
        transfer = RepeatedTransfer.of(recipe=recipe, threshold=threshold, seeds=seeds, confidence=confidence)
        images = images_of(config, finetuning, "finetuning")
        point = Arm.of(_named_source(request, source), images, transfer, **settings).measure(
            evaluator_of(request), question
        )
        request.node.stash.setdefault(SWEEP_POINTS, []).append({"point": point.to_json(), "save": files})
        return point.found

    return measure


def _named_source(request: pytest.FixtureRequest, source: Any) -> tuple[str, Model]:
    """Return a source and its name in a sweep; a word without a colon is the name of a fixture, and not a spec."""
    if isinstance(source, str):
        value = source if ":" in source else request.getfixturevalue(source)
        return source, model_of(request.config, value, "source")
    model = model_of(request.config, source, "source")
    return model.name, model


def _question(
    config: pytest.Config, evaluation: Any, asked: Any, options: Mapping[str, Any]
) -> tuple[Question, dict[str, Any]]:
    """Return what an experiment measures, on images as of a fixture, and the options that say how."""
    from pytest_biastransfer.transfer.question import Question, question_options

    own, others = question_options(options)
    calibration = own.pop("calibration_dataset", None)
    if calibration is not None:
        own["calibration"] = images_of(config, calibration, "calibration_dataset")
    return Question.of(images_of(config, evaluation, "evaluation"), asked, **own), others


class _Found(Protocol):
    """What an experiment found: a figure in several cases."""

    @property
    def cases(self) -> Mapping[str, Estimate]: ...


def _note(request: pytest.FixtureRequest, found: _Found, question: str, limit: float | None = None) -> None:
    """Have the summary show what was found as text, and reports as a plot, too."""
    from pytest_biastransfer.reporting.findings import finding_of

    stash = request.node.stash
    stash.setdefault(NOTES, []).append(str(found))
    stash.setdefault(FINDINGS, []).append(dataclasses.asdict(finding_of(question, found.cases, limit)))


def configured_transferred_model(request: pytest.FixtureRequest) -> Model:
    """Return the transferred model that the ini file names, or says how to make."""
    settings = request.config.stash[SETTINGS]
    if settings.transfer is None:
        return configured_model(request)
    with clear_errors("bias_transfer in the ini file"):
        mode, recipe = parsed_transfer(settings.transfer)
    source, dataset = (request.getfixturevalue(name) for name in (SOURCE_FIXTURE, FINETUNING_FIXTURE))
    with clear_errors(f"fixture {MODEL_FIXTURE}"):
        return transfer_in_session(request)(source, dataset, mode, recipe=recipe)


def parsed_transfer(text: str) -> tuple[Mode, Recipe]:
    """Return the mode and the recipe that a text names, as in ``"full-network?epochs=5&learning_rate=0.01"``.

    >>> parsed_transfer("fixed-feature?epochs=5")[1].epochs
    5
    """
    # Only to have it parsed as all specs are.
    spec = Spec.parse(f"transfer:{text}")
    mode, given = require_mode(spec.rest), {}
    for name, value in spec.query.items():
        if name not in Recipe.__dataclass_fields__:
            raise SpecError(f"{text!r}: unknown key {name!r}; {nearest(name, Recipe.__dataclass_fields__)}")
        given[name] = _read(text, name, value, _KINDS.get(name) or type(getattr(Recipe, name)))
    return mode, Recipe(**given)


def _read(text: str, name: str, value: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(value)
    except (ValueError, KeyError):
        expected = _EXPECTED.get(kind, "a number")
        raise SpecError(f"{text!r}: {name}={value!r}, expected {expected}") from None
