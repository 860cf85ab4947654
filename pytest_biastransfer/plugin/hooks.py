"""The pytest hooks; each calls one function. Nothing heavy is imported before a bias test needs it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer import names
from pytest_biastransfer.plugin import failures, settings, state
from pytest_biastransfer.plugin.collection import collected_tests, parametrize
from pytest_biastransfer.plugin.runtest import attached_record, fixture_progress
from pytest_biastransfer.plugin.session import baseline_update, report_files, result_gathering, terminal_summary

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytest_biastransfer.plugin.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini values."""
    settings.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Read what a conftest's own declarations need, before they are imported."""
    settings.open_pictures_as_configured(early_config)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    from pytest_biastransfer.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and document the markers."""
    for line in _marker_lines(config):
        config.addinivalue_line("markers", line)
    config.stash[state.SETTINGS] = settings.read_settings(config)
    result_gathering.gather_results(config)
    baseline_update.watch_baseline(config)
    report_files.watch_reports(config)


def _marker_lines(config: pytest.Config) -> Iterable[str]:
    """Return the lines that register the markers, with their declarations where ``--markers`` prints them."""
    if not config.getoption("markers"):
        # The declarations need the catalogue of metrics, which a session without bias tests does not import.
        return names.MARKERS
    from pytest_biastransfer.plugin.collection.marker_help import marker_help

    return marker_help()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Look for no tests among what is kept; there may be thousands of directories."""
    return True if collection_path == config.stash[state.SETTINGS].store else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Shorten tracebacks of users' mistakes in what a module declares, and let no misspelt marker pass."""
    report = yield
    if report.failed:
        from pytest_biastransfer.plugin import tracebacks

        tracebacks.hide_own_frames_of_module(collector, report)
        parametrize.show_refusal(report)
        parametrize.name_nearest_marker(report)
    else:
        parametrize.refuse_misspelt_markers(report)
        collected_tests.note_file(collector, report)
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which bias tests there are, before other plugins take some away."""
    collected_tests.note_item(item)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Any, Any]:
    """Show pytest the fixtures that a function's markers name."""
    with parametrize.requested_fixtures(collector, name, obj):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each marker and intervention."""
    parametrize.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect other tests where that was asked for."""
    if config.stash[state.SETTINGS].only:
        parametrize.keep_bias_tests(config, items)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note that the session does not run all bias tests."""
    collected_tests.note_deselected(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the controller which tests are bias tests, before it is told that they were collected."""
    if not parametrize.bias_tests(session.items):
        return
    if hasattr(session.config, "workerinput"):
        from pytest_biastransfer.plugin.xdist import controller

        controller.tell_bias_tests(session)
    if session.config.stash[state.SETTINGS].device != "cpu":
        from pytest_biastransfer.plugin.runtest.model_users import watch_model_users

        watch_model_users(session)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Count GPUs instead of cores where bias tests were asked for."""
    from pytest_biastransfer.plugin.xdist import controller

    return controller.auto_workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Give each worker a GPU, and watch over their reports."""
    from pytest_biastransfer.plugin.xdist import controller

    controller.set_up_workers(config, specs)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Keep the reports of a test whose outcome depends on the session's other tests."""
    if parametrize.is_bias_test(item):
        from pytest_biastransfer.plugin.session import held_reports

        if held_reports.can_wait(item):
            return held_reports.run_and_hold(item, nextitem)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose marker had no effect; note what takes long to set up."""
    parametrize.require_case(item)
    fixture_progress.note_fixtures(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Say which fixture of a bias test is being made."""
    with fixture_progress.reported_fixture(fixturedef, request.config):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge the limits after the test's own body has passed."""
    result = yield
    if parametrize.is_bias_test(item):
        from pytest_biastransfer.plugin.runtest import bias_test

        bias_test.judge_test(item)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shorten tracebacks of users' mistakes; attach the figures of a bias test to its report."""
    if call.excinfo is not None:
        from pytest_biastransfer.plugin import tracebacks

        tracebacks.hide_own_frames(call.excinfo)
        if parametrize.is_bias_test(item):
            from pytest_biastransfer.plugin.runtest import bias_test

            bias_test.excuse_no_crash(item, call)
    report = yield
    if call.excinfo is not None:
        failures.show_message_alone(report, call.excinfo.value)
    attached_record.attach_record(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the summary of the bias tests."""
    terminal_summary.write_summary(terminalreporter)
