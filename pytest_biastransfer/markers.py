"""Marker arguments -> cases: one intervention, what is expected of it, and the fixtures that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from pytest_biastransfer.errors import BiasTransferError, InterventionError, MarkerError, nearest
from pytest_biastransfer.interventions import Intervention, named
from pytest_biastransfer.judgement.expectation import (
    AGAINST_CONTROL,
    LIMITS,
    Expectation,
    require_confidence,
    require_early_stop,
    require_max_regression,
    require_rule,
    require_target,
)
from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, INTERVENTION_MARKER, MODEL_FIXTURE

_LIMIT_KEYWORDS: Final = {f"max_{metric}": metric for metric in LIMITS}
_OTHER_KEYWORDS: Final = (
    "model", "dataset", "control", "target", "rule", "confidence", "max_regression", "early_stop",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One bias test: an intervention, an expectation, and the names of fixtures."""

    intervention: Intervention
    name: str
    expectation: Expectation
    model: str
    dataset: str
    control: str | None

    @property
    def fixtures(self) -> tuple[str, ...]:
        """The fixtures whose values are measured."""
        control = () if self.control is None else (self.control,)
        return (self.model, self.dataset, *control)

    @property
    def id(self) -> str:
        """The intervention's name, and the fixtures that are not the usual ones."""
        unusual = [self.model] * (self.model != MODEL_FIXTURE) + [self.dataset] * (self.dataset != DATASET_FIXTURE)
        return "-".join([self.name, *unusual])


def cases_of(marks: Iterable[pytest.Mark], test: str) -> list[Case]:
    """Return the cases that a test's markers declare, the marker nearest to the test first.

    Raises
    ------
    MarkerError
        If a marker declares something impossible; the message names `test`.
    """
    return [case for mark in marks for case in _cases(mark, f"{test}: {INTERVENTION_MARKER}")]


def _cases(mark: pytest.Mark, place: str) -> Iterator[Case]:
    valid = (*_LIMIT_KEYWORDS, *_OTHER_KEYWORDS)
    for keyword in mark.kwargs.keys() - set(valid):
        raise MarkerError(f"{place}: unknown keyword {keyword}; {nearest(keyword, valid)}")
    if not mark.args:
        raise MarkerError(f'{place}: no intervention; name one, such as {INTERVENTION_MARKER}("yellow-square", ...)')
    limits = tuple(_limits(mark, place))
    if not limits:
        raise MarkerError(
            f"{place}: no limit, so nothing could fail; add one, such as max_asr=0.05. "
            f"Valid: {', '.join(_LIMIT_KEYWORDS)}"
        )
    expectation = _expectation(mark, limits, place)
    if any(metric == "targeted_asr" for metric, _ in limits) and not expectation.target:
        raise MarkerError(f"{place}: max_targeted_asr needs target=, a class or several, by name or number")
    control = _fixture_name(mark, "control", None, place)
    if control is None and any(metric in AGAINST_CONTROL for metric, _ in limits):
        control = CONTROL_FIXTURE
    model = _fixture_name(mark, "model", MODEL_FIXTURE, place) or MODEL_FIXTURE
    dataset = _fixture_name(mark, "dataset", DATASET_FIXTURE, place) or DATASET_FIXTURE
    for given in mark.args:
        intervention, name = _intervention(given, place)
        yield Case(intervention, name, expectation, model, dataset, control)


def _expectation(mark: pytest.Mark, limits: tuple[tuple[str, float], ...], place: str) -> Expectation:
    try:
        return Expectation(
            limits,
            target=require_target(mark.kwargs.get("target")),
            confidence=require_confidence(mark.kwargs.get("confidence", 0.95)),
            rule=require_rule(mark.kwargs.get("rule", "point")),
            max_regression=require_max_regression(mark.kwargs.get("max_regression", 0.0)),
            early_stop=require_early_stop(mark.kwargs.get("early_stop")),
        )
    except BiasTransferError as error:
        raise MarkerError(f"{place}: {error}") from error


def _intervention(given: object, place: str) -> tuple[Intervention, str]:
    if isinstance(given, Intervention):
        return given, given.label
    if not isinstance(given, str):
        raise MarkerError(
            f"{place}: got {given!r:.100} as intervention, expected an object such as Square() or a registered "
            f"name; wrap a callable or a transform in Custom(...)"
        )
    try:
        return named(given), given
    except InterventionError as error:
        raise MarkerError(f"{place}: {error}") from error


def _limits(mark: pytest.Mark, place: str) -> Iterator[tuple[str, float]]:
    for keyword, metric in _LIMIT_KEYWORDS.items():
        limit = mark.kwargs.get(keyword)
        if limit is None:
            continue
        low, high = LIMITS[metric]
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and not math.isnan(limit)
        if not number or not low <= limit <= high:
            raise MarkerError(f"{place}: {keyword}={limit!r}, expected a number from {low:g} to {high:g}")
        yield metric, float(limit)


def _fixture_name(mark: pytest.Mark, keyword: str, default: str | None, place: str) -> str | None:
    name = mark.kwargs.get(keyword, default)
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise MarkerError(
            f"{place}: {keyword}={name!r:.100}, expected the name of a fixture, such as '{MODEL_FIXTURE}'"
        )
    return name
