"""How markers become tests: one parametrized test a case, with the fixtures that it needs."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.names import BIAS_FIXTURE, GAP_MARKER, INTERVENTION_MARKER, MARKERS
from pytest_biastransfer.plugin.pytest_internals import can_reach_fixture, fail_collection, reachable_fixtures

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import Case


class MarkerRefused(pytest.Collector.CollectError):
    """A marker of a test function cannot become tests; the message says why."""


@contextmanager
def requested_fixtures(collector: pytest.Module | pytest.Class, name: str, function: Any) -> Iterator[None]:
    """Let pytest see, while it collects a test function, the fixtures that its markers name.

    Only fixtures that pytest knows of at collection can be parametrized or replaced nearer to the test.
    The function's own marks are put back afterwards: one function may be a method of several classes.
    """
    if not collector.istestfunction(function, name):
        yield
        return
    target = getattr(function, "__func__", function)
    own = list(getattr(target, "pytestmark", []))
    named_fixtures = [
        fixture for case in _declared_cases(collector, name, own) for fixture in (BIAS_FIXTURE, *case.fixtures)
    ]
    if not named_fixtures:
        yield
        return
    target.pytestmark = [*own, pytest.mark.usefixtures(*dict.fromkeys(named_fixtures)).mark]
    try:
        yield
    finally:
        target.pytestmark = own


def _declared_cases(collector: pytest.Collector, name: str, own: list[Any]) -> list[Case]:
    marks = [mark for mark in own if getattr(mark, "name", None) in MARKERS]
    marks += _bias_marks(collector)
    return _cases(marks, f"{collector.nodeid}::{name}", collector)


def _bias_marks(node: pytest.Collector | pytest.Item) -> list[pytest.Mark]:
    return [mark for mark in node.iter_markers() if mark.name in MARKERS]


def _cases(marks: list[pytest.Mark], test: str, node: pytest.Collector | pytest.Item) -> list[Case]:
    if not marks:
        return []
    from pytest_biastransfer.errors import InterventionError, MarkerError
    from pytest_biastransfer.plugin.collection.intervention_registry import registry_of
    from pytest_biastransfer.plugin.collection.markers import cases_of

    try:
        return cases_of(marks, test, registry_of(node))
    except (MarkerError, InterventionError) as error:
        raise MarkerRefused(str(error)) from error


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Make one test of each case that the markers of a test function declare."""
    marks = _bias_marks(metafunc.definition)
    cases = _cases(marks, metafunc.definition.nodeid, metafunc.definition)
    if not cases:
        return
    for case in cases:
        _require_fixtures(metafunc, case)
    metafunc.parametrize(BIAS_FIXTURE, cases, indirect=True, ids=[case.id for case in cases])


def _require_fixtures(metafunc: pytest.Metafunc, case: Case) -> None:
    from pytest_biastransfer.errors import nearest

    for keyword, fixture in case.fixtures_by_keyword.items():
        if not can_reach_fixture(metafunc, fixture) and not _is_parametrized(metafunc, fixture):
            raise MarkerRefused(
                f"{metafunc.definition.nodeid}: {case.marker}: {keyword}={fixture!r} is not a fixture that "
                f"this test can reach; {nearest(fixture, reachable_fixtures(metafunc))}"
            )


def _is_parametrized(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether the test's own ``parametrize`` gives values to a fixture instead of the fixture itself."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if name in (names.replace(" ", "").split(",") if isinstance(names, str) else names):
            return True
    return False


def is_bias_test(item: pytest.Item) -> bool:
    """Whether a test carries a bias marker; a doctest in a marked module does not take part."""
    return isinstance(item, pytest.Function) and any(map(item.get_closest_marker, MARKERS))


def bias_tests(items: list[pytest.Item]) -> list[str]:
    """Return the node ids of the bias tests among the collected tests."""
    return [item.nodeid for item in items if is_bias_test(item)]


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that a test was made of; None for a test that no marker had an effect on."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(BIAS_FIXTURE) if is_bias_test(item) and callspec is not None else None


def require_case(item: pytest.Item) -> None:
    """Fail a test that carries the marker but was not parametrized by it: its limits would never be judged.

    Or one that carries a marker which looks like it, as a hook may have added.
    """
    for problem in misspelt_markers(item):
        pytest.fail(problem, pytrace=False)
    if is_bias_test(item) and case_of(item) is None:
        pytest.fail(
            f"{' and '.join(_marker_names(item))} has no effect on {item.nodeid}. Write it above a test function or "
            f"class, or in a module's pytestmark; not in pytest.param(marks=...), not on a unittest.TestCase, and do "
            f"not add it in a hook",
            pytrace=False,
        )


def refuse_misspelt_markers(report: pytest.CollectReport) -> None:
    """Make an error of what was collected if a marker looks like one of ours under another name.

    Its limits would never be judged, and the test would pass by its empty body.
    """
    items = [node for node in report.result or () if isinstance(node, pytest.Item)]
    problems = dict.fromkeys(problem for item in items for problem in misspelt_markers(item))
    if problems:
        fail_collection(report, "\n".join(problems))


def show_refusal(report: pytest.CollectReport) -> None:
    """Have pytest's short summary say why a marker is refused."""
    error = report.call.excinfo.value
    if isinstance(error, MarkerRefused):
        fail_collection(report, str(error))


def name_nearest_marker(report: pytest.CollectReport) -> None:
    """Say which marker was meant where ``--strict-markers`` refuses the one that was written."""
    text = str(report.longrepr)
    for name in dict.fromkeys(re.findall(r"'(\w+)' not found in `markers` configuration option", text)):
        meant = _similar_marker(name, has_arguments=True)
        if meant is not None:
            fail_collection(report, f"{text}; did you mean {meant}?")


def misspelt_markers(item: pytest.Item) -> Iterator[str]:
    """Yield what is wrong with the markers of a test that look like bias markers and are none."""
    for mark in item.iter_markers():
        meant = None if mark.name in MARKERS else _meant_marker(mark, item.config)
        if meant is not None:
            test = item.nodeid.partition("[")[0]
            yield f"{test}: unknown marker {mark.name!r}, which nobody would judge; did you mean {meant}?"


def _meant_marker(mark: pytest.Mark, config: pytest.Config) -> str | None:
    similar = _similar_marker(mark.name, has_arguments=bool(mark.args or mark.kwargs))
    limited = any(keyword.startswith(("max_", "min_")) for keyword in mark.kwargs) and _marker_with_limits(mark)
    if not (similar or limited):
        return None
    registered = {re.split("[(:]", line, maxsplit=1)[0].strip() for line in config.getini("markers")}
    # A marker of somebody else's may look alike, or have such a keyword; both together are no coincidence.
    if mark.name in registered and not (similar and limited):
        return None
    return similar or limited or None


@functools.cache
def _similar_marker(name: str, *, has_arguments: bool) -> str | None:
    """Return the bias marker that a name looks like; without arguments, which all of them need, it has to be closer.

    >>> _similar_marker("bias_interventions", has_arguments=True), _similar_marker("slow", has_arguments=True)
    ('bias_intervention', None)
    """
    import difflib

    words = re.findall("[a-z0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())
    spellings = {"".join(words), "".join(reversed(words))}
    ratios = {
        marker: max(difflib.SequenceMatcher(None, text, marker.replace("_", "")).ratio() for text in spellings)
        for marker in MARKERS
    }
    nearest = max(MARKERS, key=ratios.__getitem__)
    return nearest if ratios[nearest] >= (0.8 if has_arguments else 0.9) else None


def _marker_with_limits(mark: pytest.Mark) -> str | None:
    """Return the bias marker that a limit among the keywords belongs to."""
    from pytest_biastransfer.metrics.catalogue import limitable, metrics_of
    from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups

    for marker, kind in ((INTERVENTION_MARKER, ClassMetric), (GAP_MARKER, GapOfGroups)):
        if any({metric.keyword, metric.mean_keyword} & mark.kwargs.keys() for metric in limitable(kind)):
            return marker
    # Other plugins may have a `min_ratio`.
    if any(metric.minimum_keyword in mark.kwargs for metric in metrics_of(GapOfGroups) if metric.limited == "above"):
        return GAP_MARKER
    return None


def _marker_names(item: pytest.Item) -> list[str]:
    return [name for name in MARKERS if item.get_closest_marker(name)]


def keep_bias_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect all tests but the bias tests."""
    others = [item for item in items if not is_bias_test(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if is_bias_test(item)]
