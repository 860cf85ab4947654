"""Every use of what pytest does not declare as public: nothing else in this package imports from ``_pytest``.

Tried on pytest 8.2.0, 8.4.2, 9.0.0 and 9.2.0;
tests/plugin/test_pytest_internals.py says what a new release has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest
from _pytest._code.code import ReprFileLocation
from _pytest.compat import NOTSET
from _pytest.outcomes import Failed
from _pytest.reports import CollectErrorRepr
from _pytest.runner import runtestprotocol
from _pytest.skipping import evaluate_xfail_marks, xfailed_key

__all__ = [
    "Failed",
    "can_reach_fixture",
    "configure",
    "fail_collection",
    "has_same_fixture",
    "ignore_xfail",
    "is_expected_to_fail",
    "lacks_parameters",
    "parameter_ids",
    "reachable_fixtures",
    "run_protocol",
    "shorten_crash",
    "terminal_encoding",
    "terminal_width",
]


def can_reach_fixture(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test function that is being collected can use a fixture."""
    return name in metafunc._arg2fixturedefs


def reachable_fixtures(metafunc: pytest.Metafunc) -> set[str]:
    """Return the names of all fixtures that a test function's module, or any conftest above it, can use."""
    manager: Any = metafunc.definition.session._fixturemanager
    if not hasattr(manager, "_get_all_fixture_defs_for_node"):  # pytest before 9.2
        return set(manager._arg2fixturedefs)
    return {definition.argname for definition in manager._get_all_fixture_defs_for_node(metafunc.definition.parent)}


def fail_collection(report: pytest.CollectReport, message: str) -> None:
    """Make a collection error with a message of what a collector reports.

    pytest's short summary shows the message, too, as it does of a test.
    """
    error: Any = CollectErrorRepr(message)
    error.reprcrash = ReprFileLocation(report.nodeid, 0, message)
    report.outcome, report.result, report.longrepr = "failed", [], error


def parameter_ids(item: Any) -> Sequence[str]:
    """Return the id of each parametrization of a test; the public `item.callspec.id` joins them irreversibly."""
    ids: Sequence[str] = item.callspec._idlist
    return ids


def lacks_parameters(item: Any) -> bool:
    """Whether a test stands for an empty set of parameters."""
    return any(value is NOTSET for value in item.callspec.params.values())


def has_same_fixture(item: Any, other: Any, name: str) -> bool:
    """Whether two collected tests certainly get the same value from a fixture.

    A fixture of function scope may return another value each time; a value of ``parametrize`` is the same object.
    """
    definition, others = (each._fixtureinfo.name2fixturedefs.get(name, (None,))[-1] for each in (item, other))
    parameters = [each.callspec.params if hasattr(each, "callspec") else {} for each in (item, other)]
    if any(name in direct and _is_direct(definition) for direct in parameters):
        return _is_direct(others) and all(name in direct for direct in parameters) and _are_same(parameters, name)
    if definition is None or definition is not others:
        return False
    node = _SCOPE_NODES.get(definition.scope)
    if node is None or item.getparent(node) is not other.getparent(node) or item.getparent(node) is None:
        return False
    return _are_same(parameters, name) and all(
        has_same_fixture(item, other, argument)
        # A fixture that replaces one of a directory above may use it under its own name.
        for argument in definition.argnames
        if argument not in ("request", name)
    )


# A fixture has one value for all tests of the node of its scope; one of function scope has no such node.
_SCOPE_NODES: Final = {
    "session": pytest.Session,
    "package": pytest.Package,
    "module": pytest.Module,
    "class": pytest.Class,
}


def _is_direct(definition: Any) -> bool:
    """Whether a fixture stands for an argument that ``parametrize`` gives values to."""
    return definition is not None and definition.func.__module__ in ("_pytest.python", "_pytest.fixtures")


def _are_same(parameters: Sequence[Mapping[str, Any]], name: str) -> bool:
    first, second = (direct.get(name, NOTSET) for direct in parameters)
    return first is second


def configure(config: pytest.Config) -> None:
    """Configure pytest and its plugins without running a session."""
    config._do_configure()


def shorten_crash(report: pytest.TestReport, message: str) -> None:
    """Have the short summary show a message without the name of its exception, which takes the room of figures."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = message


def is_expected_to_fail(item: pytest.Item) -> bool:
    """Whether an ``xfail`` marker applies to a test, by its condition."""
    return not item.config.option.runxfail and evaluate_xfail_marks(item) is not None


def ignore_xfail(item: pytest.Item) -> None:
    """Have pytest report what a test raises as it is, whatever ``xfail`` marker it has."""
    item.stash[xfailed_key] = None


def run_protocol(item: pytest.Item, nextitem: pytest.Item | None, *, log: Any) -> list[pytest.TestReport]:
    """Run setup, call and teardown of a test; its reports are logged as they are made while `log` is true.

    pytest asks `log` for its truth value after each report.
    """
    return runtestprotocol(item, log=log, nextitem=nextitem)


def terminal_width(reporter: pytest.TerminalReporter) -> int:
    """Return how many columns pytest's terminal has."""
    return reporter._tw.fullwidth


def terminal_encoding(reporter: pytest.TerminalReporter) -> str | None:
    """Return the encoding of the file that pytest writes to."""
    encoding: str | None = getattr(reporter._tw._file, "encoding", None)
    return encoding
