"""Parses the arguments of markers into cases."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError, InterventionError, MarkerError, nearest
from pytest_biastransfer.interventions import Intervention, Ladder, Registry
from pytest_biastransfer.judgement.cases import Case, GapCase, InterventionCase, LadderCase, SearchCase
from pytest_biastransfer.judgement.expectation import (
    Each,
    Expectation,
    require_allow_degenerate,
    require_classes,
    require_confidence,
    require_early_stop,
    require_max_regression,
    require_rule,
    require_target,
)
from pytest_biastransfer.judgement.gap import Gap, require_calibration
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.names import (
    CONTROL_FIXTURE,
    DATASET_FIXTURE,
    GAP_MARKER,
    INTERVENTION_MARKER,
    MODEL_FIXTURE,
    SEARCH_MARKER,
)
from pytest_biastransfer.plugin.collection.marker_limits import Limits, limit_keywords, limits_of
from pytest_biastransfer.plugin.collection.test_ids import declared_ids, require_as_many, with_ids

if TYPE_CHECKING:
    import pytest

_SHARED_KEYWORDS: Final = ("id", "model", "dataset", "control", "confidence", "allow_degenerate")
_GAP_KEYWORDS: Final = (
    "metric",
    "positive",
    "operating_point",
    "negatives",
    "min_group_size",
    "between",
    "bins",
    "unjudged",
)
_OTHER_KEYWORDS: Final = {
    INTERVENTION_MARKER: (
        "positive",
        "target",
        "rule",
        "max_regression",
        "max_accuracy_regression",
        "early_stop",
        "min_strength",
    ),
    SEARCH_MARKER: ("positive", "target", "budget", "images", "seed"),
    GAP_MARKER: ("rule", "max_regression", "max_accuracy_regression", "calibration_dataset", *_GAP_KEYWORDS),
}
_EXAMPLES: Final = {GAP_MARKER: "max_gap=0.1"}
_BUDGET: Final = 200
_IMAGES: Final = 512


def cases_of(marks: Iterable[pytest.Mark], test: str, registry: Registry) -> list[Case]:
    """Return the cases that a test's markers declare, the marker nearest to the test first.

    `registry` has the interventions that they may name.

    Raises
    ------
    MarkerError
        If a marker declares something impossible; the message names `test`.
    """
    declared = (own for mark in marks for own in _by_positive(mark, f"{test}: {mark.name}"))
    return with_ids([case for own in declared for case in _cases(own, f"{test}: {own.name}", registry)])


def _by_positive(mark: pytest.Mark, origin: str) -> Iterator[pytest.Mark]:
    """Yield a marker of each decision that it judges, or the marker itself."""
    positive = mark.kwargs.get("positive")
    if not isinstance(positive, Each):
        yield mark
        return
    import pytest

    ids = declared_ids(mark, origin)
    for own in positive:
        keywords = {**mark.kwargs, "positive": own, "id": ids and [f"{one}-{own}" for one in ids]}
        yield getattr(pytest.mark, mark.name).with_args(*mark.args, **keywords).mark


def _cases(mark: pytest.Mark, origin: str, registry: Registry) -> Iterator[Case]:
    limiting = limit_keywords(mark.name)
    valid = (*limiting, *_SHARED_KEYWORDS, *_OTHER_KEYWORDS[mark.name])
    for keyword in mark.kwargs.keys() - set(valid):
        raise MarkerError(f"{origin}: unknown keyword {keyword}; {nearest(keyword, valid)}")
    if mark.name == INTERVENTION_MARKER and not mark.args:
        raise MarkerError(f'{origin}: no intervention; name one, such as {INTERVENTION_MARKER}("yellow-square", ...)')
    limits = limits_of(mark, origin)
    if not (limits.highest or limits.lowest or limits.means):
        raise MarkerError(
            f"{origin}: no limit, so nothing could fail; add one, such as {_EXAMPLES.get(mark.name, 'max_asr=0.05')}. "
            f"Valid: {', '.join(limiting)}"
        )
    shared = _shared(mark, limits, origin)
    ids = declared_ids(mark, origin)
    require_as_many(ids, len(mark.args) if mark.name == INTERVENTION_MARKER else 1, origin)
    if mark.name == SEARCH_MARKER:
        yield _search_case(mark, {**shared, "id": ids[0] if ids else ""}, origin)
        return
    if mark.name == GAP_MARKER:
        yield _gap_case(mark, {**shared, "id": ids[0] if ids else ""}, origin)
        return
    for number, argument in enumerate(mark.args):
        shared["id"] = ids[number] if ids else ""
        if isinstance(argument, Ladder):
            yield _ladder_case(argument, shared, origin, registry)
            continue
        _require_no_strengths(shared["expectation"], argument, origin)
        intervention, name = _intervention(argument, origin, registry)
        yield InterventionCase(
            name=_with_positive(name, shared["expectation"]),
            intervention=intervention,
            words=registry.described(intervention),
            **shared,
        )


def _ladder_case(ladder: Ladder, shared: dict[str, Any], origin: str, registry: Registry) -> LadderCase:
    expectation: Expectation = shared["expectation"]
    weakest = expectation.min_strength
    if weakest is not None and weakest not in ladder.strengths[1:]:
        stronger = ", ".join(f"{strength:g}" for strength in ladder.strengths[1:])
        raise MarkerError(
            f"{origin}: min_strength={weakest:g}, expected a strength of the ladder after its weakest one: {stronger}. "
            f"The limits have to hold at all weaker ones; without min_strength, at all"
        )
    if weakest is not None and not expectation.limits:
        raise MarkerError(f"{origin}: min_strength={weakest:g} needs a limit at each strength, such as max_asr=0.05")
    return LadderCase(
        name=_with_positive(ladder.label, expectation),
        ladder=ladder,
        words=tuple(map(registry.described, ladder.steps)),
        **shared,
    )


def _require_no_strengths(expectation: Expectation, argument: object, origin: str) -> None:
    """Raise `MarkerError` for what only a ladder can meet."""
    keywords = [metric_named(metric).mean_keyword for metric, _ in expectation.means]
    for keyword in [*keywords, *(["min_strength"] if expectation.min_strength is not None else [])]:
        raise MarkerError(
            f"{origin}: {keyword}= is for strengths, and {argument!r:.60} has one; write "
            f'ladder(Blur(), "sigma", [0.01, 0.02, 0.04])'
        )


def _with_positive(name: str, expectation: Expectation) -> str:
    return "-".join([name, *map(str, expectation.positive)])


def _shared(mark: pytest.Mark, limits: Limits, origin: str) -> dict[str, Any]:
    """Return what the cases of a marker have in common."""
    expectation = _expectation(mark, limits, origin)
    needing_target = [name for name in expectation.metrics if "target" in metric_named(name).needs]
    if needing_target and not (expectation.target or expectation.positive):
        metric = metric_named(needing_target[0])
        keyword = metric.keyword if metric.name in dict(limits.highest) else metric.mean_keyword
        raise MarkerError(f"{origin}: {keyword} needs target=, a class or several, by name or number")
    if expectation.target and expectation.positive:
        raise MarkerError(f"{origin}: target= and positive=: the target of a decision is the positive; remove target=")
    control = _fixture_name(mark, "control", None, origin)
    if control is None and expectation.needs_control:
        control = CONTROL_FIXTURE
    model = _fixture_name(mark, "model", MODEL_FIXTURE, origin) or MODEL_FIXTURE
    dataset = _fixture_name(mark, "dataset", DATASET_FIXTURE, origin) or DATASET_FIXTURE
    return {"expectation": expectation, "model": model, "dataset": dataset, "control": control}


def _gap_case(mark: pytest.Mark, shared: dict[str, Any], origin: str) -> GapCase:
    options = {keyword: mark.kwargs[keyword] for keyword in _GAP_KEYWORDS if keyword in mark.kwargs}
    if not 1 <= len(mark.args) <= 2 or (len(mark.args) == 2 and "metric" in options):
        raise MarkerError(
            f"{origin}: got {len(mark.args)} arguments without a keyword, expected an attribute of the dataset and "
            f'perhaps a metric, such as {GAP_MARKER}("background", "fpr", positive="bird", max_gap=0.1)'
        )
    try:
        gap = Gap(*mark.args, **options)
        calibration = _fixture_name(mark, "calibration_dataset", None, origin)
        if calibration is not None:
            require_calibration(gap)
        _require_defined(gap, shared["expectation"])
    except MarkerError:
        raise
    except BiasTransferError as error:
        raise MarkerError(f"{origin}: {error}") from error
    return GapCase(name=gap.label, gap=gap, calibration=calibration, **shared)


def _require_defined(gap: Gap, expectation: Expectation) -> None:
    """Raise `BiasTransferError` for a limit on something that the group metric does not have, or on its other side."""
    metric = GROUP_METRICS[gap.metric]
    for name, limit, bound in expectation.bounds:
        side = "max" if bound == "at most" else "min"
        if name in ("ratio", "worst") and gap.metric == "equalized_odds":
            raise BiasTransferError(f"{side}_{name}={limit:g}: {gap.metric} is of two rates; name one, as metric='tpr'")
        if name == "ratio" and not metric.is_rate:
            raise BiasTransferError(f"min_ratio={limit:g} is for rates; {gap.metric} is none")
        if name == "worst" and (side == "max") != (metric.worst == "highest"):
            other = "max" if side == "min" else "min"
            raise BiasTransferError(
                f"{side}_worst={limit:g}: the worst group is the one with the {metric.worst} {gap.metric}; "
                f"write {other}_worst={limit:g}"
            )


def _search_case(mark: pytest.Mark, shared: dict[str, Any], origin: str) -> SearchCase:
    limits = shared["expectation"].limits
    if len(limits) != 1:
        names = ", ".join(f"max_{metric}" for metric, _ in limits)
        raise MarkerError(f"{origin}: {names}: a search needs one limit, which it tries to break; use several markers")
    strategies = sys.modules.get("hypothesis.strategies")
    if len(mark.args) != 1 or strategies is None or not isinstance(mark.args[0], strategies.SearchStrategy):
        arguments = ", ".join(f"{argument!r:.60}" for argument in mark.args) or "nothing"
        raise MarkerError(
            f"{origin}: got {arguments} to search in, expected one strategy for interventions, such as patches() from "
            f"pytest_biastransfer.strategies"
        )
    return SearchCase(
        name=_with_positive(f"search-{limits[0][0]}", shared["expectation"]),
        space=mark.args[0],
        budget=_whole_number(mark, "budget", _BUDGET, 1, origin),
        images=_whole_number(mark, "images", _IMAGES, 1, origin),
        seed=_whole_number(mark, "seed", 0, 0, origin),
        **shared,
    )


def _whole_number(mark: pytest.Mark, keyword: str, default: int, least: int, origin: str) -> int:
    value = mark.kwargs.get(keyword, default)
    if type(value) is not int or value < least:
        raise MarkerError(f"{origin}: {keyword}={value!r:.60}, expected a whole number from {least} on")
    return value


def _expectation(mark: pytest.Mark, limits: Limits, origin: str) -> Expectation:
    try:
        return Expectation(
            limits.highest,
            minimums=limits.lowest,
            sizes=limits.sizes,
            means=limits.means,
            min_strength=_strength(mark.kwargs.get("min_strength")),
            # That of a gap is a part of what is measured.
            positive=() if mark.name == GAP_MARKER else require_classes("positive", mark.kwargs.get("positive")),
            target=require_target(mark.kwargs.get("target")),
            confidence=require_confidence(mark.kwargs.get("confidence", 0.95)),
            rule=require_rule(mark.kwargs.get("rule", "point")),
            max_regression=require_max_regression(mark.kwargs.get("max_regression", 0.0)),
            early_stop=require_early_stop(mark.kwargs.get("early_stop")),
            max_accuracy_regression=require_max_regression(
                mark.kwargs.get("max_accuracy_regression", 0.0), "max_accuracy_regression"
            ),
            allow_degenerate=require_allow_degenerate(mark.kwargs.get("allow_degenerate", False)),
        )
    except BiasTransferError as error:
        raise MarkerError(f"{origin}: {error}") from error


def _intervention(argument: object, origin: str, registry: Registry) -> tuple[Intervention, str]:
    if isinstance(argument, Intervention):
        return argument, argument.label
    if not isinstance(argument, str):
        raise MarkerError(
            f"{origin}: got {argument!r:.100} as intervention, expected an object such as Square() or a registered "
            f"name; wrap a callable or a transform in Custom(...)"
        )
    try:
        return registry.named(argument), argument
    except InterventionError as error:
        raise MarkerError(f"{origin}: {error}") from error


def _strength(value: object) -> float | None:
    """Return the value of ``min_strength=`` if it is a number; None for None."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
        return value
    raise BiasTransferError(f"min_strength={value!r:.60}, expected a number, one of the ladder's strengths")


def _fixture_name(mark: pytest.Mark, keyword: str, default: str | None, origin: str) -> str | None:
    name = mark.kwargs.get(keyword, default)
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise MarkerError(
            f"{origin}: {keyword}={name!r:.100}, expected the name of a fixture, such as '{MODEL_FIXTURE}'"
        )
    return name
