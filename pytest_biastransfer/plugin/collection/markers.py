"""Parses the arguments of markers into cases."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_biastransfer.errors import BiasTransferError, InterventionError, MarkerError, nearest, percent_hint
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
from pytest_biastransfer.metrics.catalogue import GROUP_METRICS, limitable, metric_named
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups, Metric
from pytest_biastransfer.names import (
    CONTROL_FIXTURE,
    DATASET_FIXTURE,
    GAP_MARKER,
    INTERVENTION_MARKER,
    MODEL_FIXTURE,
    SEARCH_MARKER,
)

if TYPE_CHECKING:
    import pytest

_SHARED_KEYWORDS: Final = ("model", "dataset", "control", "confidence", "allow_degenerate")
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
    return [
        case for mark in marks for own in _by_positive(mark) for case in _cases(own, f"{test}: {own.name}", registry)
    ]


def _by_positive(mark: pytest.Mark) -> Iterator[pytest.Mark]:
    """Yield a marker of each decision that it judges, or the marker itself."""
    positive = mark.kwargs.get("positive")
    if not isinstance(positive, Each):
        yield mark
        return
    import pytest

    for own in positive:
        yield getattr(pytest.mark, mark.name).with_args(*mark.args, **{**mark.kwargs, "positive": own}).mark


def _cases(mark: pytest.Mark, origin: str, registry: Registry) -> Iterator[Case]:
    limited = _limited_metrics(mark.name)
    limit_keywords = _limit_keywords(limited) + _mean_keywords(mark.name)
    valid = (*limit_keywords, *_SHARED_KEYWORDS, *_OTHER_KEYWORDS[mark.name])
    for keyword in mark.kwargs.keys() - set(valid):
        raise MarkerError(f"{origin}: unknown keyword {keyword}; {nearest(keyword, valid)}")
    if mark.name == INTERVENTION_MARKER and not mark.args:
        raise MarkerError(f'{origin}: no intervention; name one, such as {INTERVENTION_MARKER}("yellow-square", ...)')
    limits = _limits(mark, origin)
    if not (limits.highest or limits.lowest or limits.means):
        raise MarkerError(
            f"{origin}: no limit, so nothing could fail; add one, such as {_EXAMPLES.get(mark.name, 'max_asr=0.05')}. "
            f"Valid: {', '.join(limit_keywords)}"
        )
    shared = _shared(mark, limits, origin)
    if mark.name == SEARCH_MARKER:
        yield _search_case(mark, shared, origin)
        return
    if mark.name == GAP_MARKER:
        yield _gap_case(mark, shared, origin)
        return
    for argument in mark.args:
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


def _shared(mark: pytest.Mark, limits: _Limits, origin: str) -> dict[str, Any]:
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


def _expectation(mark: pytest.Mark, limits: _Limits, origin: str) -> Expectation:
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


def _limited_metrics(marker: str) -> list[Metric]:
    """Return the metrics that a marker can limit."""
    return limitable(GapOfGroups if marker == GAP_MARKER else ClassMetric)


class _Limits(NamedTuple):
    """Metric and limit of the highest and of the lowest values, and the metrics whose absolute value is limited.

    `means` has the same of the highest means over the strengths of a ladder.
    """

    highest: tuple[tuple[str, float], ...]
    lowest: tuple[tuple[str, float], ...]
    sizes: tuple[str, ...]
    means: tuple[tuple[str, float], ...] = ()


def _limit_keywords(limited: Sequence[Metric]) -> list[str]:
    """Return the keywords that limit metrics, those of highest values first."""
    of_groups = [metric for metric in limited if isinstance(metric, GapOfGroups)]
    keywords = [
        metric.keyword for metric in limited if not isinstance(metric, GapOfGroups) or len(metric.limit_keywords) > 1
    ]
    return [*keywords, *(metric.minimum_keyword for metric in of_groups)]


def _with_means(marker: str) -> list[Metric]:
    """Return the metrics whose mean over the strengths of a ladder a marker can limit."""
    return [metric for metric in limitable(ClassMetric) if metric.has_mean] if marker == INTERVENTION_MARKER else []


def _mean_keywords(marker: str) -> list[str]:
    return [metric.mean_keyword for metric in _with_means(marker)]


def _limits(mark: pytest.Mark, origin: str) -> _Limits:
    is_signed = mark.kwargs.get("between") is not None
    highest, lowest, sizes = [], [], []
    for metric in _limited_metrics(mark.name):
        assert metric.limits is not None
        has_sign = is_signed and isinstance(metric, GapOfGroups) and metric.limited == "above"
        limit = _limit(mark, metric.keyword, (-1.0, 1.0) if has_sign else metric.limits, origin)
        if limit is not None:
            highest.append((metric.name, limit))
        if not isinstance(metric, GapOfGroups):
            continue
        ends = (-1.0, 1.0) if metric.limited == "above" else metric.limits
        least = _limit(mark, metric.minimum_keyword, ends, origin)
        if least is not None:
            lowest.append((metric.name, least))
        if has_sign and limit is not None and least is None:
            sizes.append(metric.name)
        if metric.limited == "above":
            _require_possible(metric, limit, least, is_signed, origin)
    return _Limits(tuple(highest), tuple(lowest), tuple(sizes), tuple(_limits_on_means(mark, origin)))


def _limits_on_means(mark: pytest.Mark, origin: str) -> Iterator[tuple[str, float]]:
    for metric in _with_means(mark.name):
        assert metric.limits is not None
        limit = _limit(mark, metric.mean_keyword, metric.limits, origin)
        if limit is not None:
            yield metric.name, limit


def _strength(value: object) -> float | None:
    """Return the value of ``min_strength=`` if it is a number; None for None."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
        return value
    raise BiasTransferError(f"min_strength={value!r:.60}, expected a number, one of the ladder's strengths")


def _require_possible(
    metric: GapOfGroups, limit: float | None, least: float | None, is_signed: bool, origin: str
) -> None:
    """Raise `MarkerError` for limits of a gap that no value could meet, or that need a sign."""
    if least is not None and not is_signed:
        raise MarkerError(
            f"{origin}: {metric.minimum_keyword}={least:g} limits a signed difference; name the two groups that are "
            f"compared, such as between=('female', 'male')"
        )
    if limit is None or not is_signed:
        return
    if least is None and limit < 0:
        raise MarkerError(
            f"{origin}: {metric.keyword}={limit:g} alone limits the size of the difference, which is never negative; "
            f"for a signed limit add {metric.minimum_keyword}=, such as -1"
        )
    if least is not None and least > limit:
        raise MarkerError(
            f"{origin}: {metric.minimum_keyword}={least:g} is above {metric.keyword}={limit:g}: no value meets both"
        )


def _limit(mark: pytest.Mark, keyword: str, ends: tuple[float, float], origin: str) -> float | None:
    """Return the limit that a marker has under a keyword, if any."""
    limit, (low, high) = mark.kwargs.get(keyword), ends
    if limit is None:
        return None
    number = isinstance(limit, int | float) and not isinstance(limit, bool) and not math.isnan(limit)
    if not number or not low <= limit <= high:
        raise MarkerError(
            f"{origin}: {keyword}={limit!r}, expected a number from {low:g} to {high:g}{percent_hint(limit)}"
        )
    return float(limit)


def _fixture_name(mark: pytest.Mark, keyword: str, default: str | None, origin: str) -> str | None:
    name = mark.kwargs.get(keyword, default)
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise MarkerError(
            f"{origin}: {keyword}={name!r:.100}, expected the name of a fixture, such as '{MODEL_FIXTURE}'"
        )
    return name
