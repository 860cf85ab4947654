"""What becomes of the baseline in a session: read before the tests, judged and written after them, by one process."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.plugin.collection.parametrize import is_bias_test
from pytest_biastransfer.plugin.node_names import baseline_name, typed_name
from pytest_biastransfer.plugin.repeated_command import session_words
from pytest_biastransfer.plugin.state import BASELINE, BASELINE_LINES, COMPARED, HELD, RECORDS, SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison, BaselineRecord
    from pytest_biastransfer.baseline.file import Entries
    from pytest_biastransfer.plugin.collection.collected_tests import CollectedTests
    from pytest_biastransfer.plugin.session.held_test import HeldTest
    from pytest_biastransfer.reporting.summary_table import Line


def watch_baseline(config: pytest.Config) -> None:
    """Have this process look after the baseline, unless it is a worker."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    if config.stash[SETTINGS].prune:
        _require_full_run(config)
    config.pluginmanager.register(BaselineWatch(config), "biastransfer-baseline")


class BaselineWatch:
    """Gathers what the tests' reports say, from whichever process they come."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._settings = config.stash[SETTINGS]
        self._reader = config.stash[RECORDS]
        self._records: dict[str, BaselineRecord] = {}
        # By the fingerprint of the dataset.
        self._image_keys: dict[str, str] = {}
        self._passed: set[str] = set()
        self._not_collected = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note that there may be tests which nobody has seen."""
        self._not_collected |= not report.passed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a bias test's report says."""
        if self._reader.read(report).bias is None:
            return
        self._note(report)
        if report.when == "call":
            # The last report counts: subtests, and runs that are repeated, have earlier ones.
            is_green = report.passed and not hasattr(report, "wasxfail")
            (self._passed.add if is_green else self._passed.discard)(report.nodeid)

    def _note(self, report: pytest.TestReport) -> None:
        record = self._reader.read(report).bias
        if record is not None and record.baseline is not None:
            self._records[report.nodeid] = record.baseline
            if record.baseline.image_keys and record.baseline.entry is not None:
                self._image_keys[record.baseline.entry["dataset"]["fingerprint"]] = record.baseline.image_keys

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Find out that the file is damaged before the tests run, and which of them got worse when they have."""
        self._require_whole(session)
        try:
            result = yield
        except BaseException:
            self._judge(was_stopped=True)
            raise
        self._judge()
        self._require_red(session)
        return result

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file."""
        if not (self._settings.update and self._records) and not self._settings.prune:
            return
        from pytest_biastransfer.errors import BaselineError
        from pytest_biastransfer.reporting.summary_table import Line

        try:
            text = self._write(session)
        except BaselineError as error:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._say([Line(str(error), color="red")])
        else:
            self._say([Line(text), *self._not_added()])

    def _require_whole(self, session: pytest.Session) -> None:
        asked = self._settings.compare != "off" or self._settings.update or self._settings.prune
        if not asked or not (self._has_workers() or any(map(is_bias_test, session.items))):
            return
        if self._settings.baseline.exists():
            from pytest_biastransfer.baseline.file import read_baseline
            from pytest_biastransfer.errors import BaselineError

            try:
                self._config.stash[BASELINE] = read_baseline(self._settings.baseline)
            except BaselineError as error:
                raise pytest.UsageError(str(error)) from error

    def _has_workers(self) -> bool:
        return self._config.pluginmanager.hasplugin("dsession")

    def _judge(self, *, was_stopped: bool = False) -> None:
        """Judge the changes of all tests together, and give those an outcome that waited for that."""
        from pytest_biastransfer.reporting.regression_text import baseline_lines

        held = self._held()
        for test in held:
            self._note(test.call)
        if not self._records:
            return
        # What was not compared might have been worse, or not: that it is missing is no reason to be less strict.
        unmade = max((test.comparisons for test in held), default=0) if was_stopped else 0
        found = self._config.stash[COMPARED] = self._compared(unmade)
        for test in held:
            self._settle(test, found[test.call.nodeid])
        if self._settings.update is None or any(one.record.changes for one in found.values()):
            exists = self._settings.baseline.exists()
            command = session_words(self._config)
            self._say(list(baseline_lines(list(found.values()), baseline_name(self._config), exists, command)))

    def _held(self) -> list[HeldTest]:
        if not self._has_workers():
            return self._config.stash.get(HELD, [])
        controller: Any = self._config.pluginmanager.getplugin("biastransfer-controller")
        return list(controller.held_tests())

    def _compared(self, comparisons: int) -> dict[str, BaselineComparison]:
        from pytest_biastransfer.baseline.comparison import compared_together

        named = [(typed_name(self._config, nodeid), record) for nodeid, record in self._records.items()]
        together = compared_together(named, self._settings.alpha, comparisons, self._settings.correction)
        return dict(zip(self._records, together, strict=True))

    def _settle(self, test: HeldTest, found: BaselineComparison) -> None:
        from pytest_biastransfer.plugin.session.third_party_reports import settle
        from pytest_biastransfer.reporting.regression_text import regression_text

        is_worse = found.meaning == "regression"
        test.log(regression_text(found, baseline_name(self._config)) if is_worse else "")
        self._passed.discard(test.call.nodeid)
        if test.allure is not None:
            settle(self._config, test.allure, test.call)

    def _require_red(self, session: pytest.Session) -> None:
        """Fail the session if another plugin ran a test and reported it as passed that is worse among all."""
        if not self._settings.fails_on_regression:
            return
        for nodeid, one in self._config.stash.get(COMPARED, {}).items():
            if one.meaning == "regression" and nodeid in self._passed and not one.record.is_further_seed:
                session.shouldfail = (
                    f"{one.test} is worse than the baseline, see below: it was reported as passed by another plugin, "
                    f"which ran it before that was known"
                )
                raise session.Failed(session.shouldfail)

    def _write(self, session: pytest.Session) -> str:
        """Write what the session measured into what the file has by now; return what became of it."""
        from pytest_biastransfer.baseline.entry import Entry, EntryKey
        from pytest_biastransfer.baseline.file import read_baseline, write_baseline
        from pytest_biastransfer.baseline.seeds import updated

        before = read_baseline(self._settings.baseline) or {}
        after, remark = dict(before), ""
        if self._settings.update == "history":
            from pytest_biastransfer.plugin.session.history_update import with_run

            after, sentence = with_run(before, self._records.values())
            remark = f"; {sentence}"
        for record in self._records.values():
            if record.entry is not None:
                key, entry = EntryKey(*record.key), Entry.from_json(record.entry)
                entry = replace(entry, image_keys=self._image_keys.get(entry.dataset["fingerprint"], ""))
                after[key] = updated(after.get(key), entry, self._settings.update)
        if self._settings.prune:
            after, problem = self._pruned(session, after)
            remark += problem
        if after != before:
            write_baseline(self._settings.baseline, after)
        added, removed = len(after.keys() - before.keys()), len(before.keys() - after.keys())
        in_both = before.keys() & after.keys()
        changed = sum(before[key] != after[key] for key in in_both)
        further = sum(len(before[key].seeds) < len(after[key].seeds) for key in in_both)
        of_these = f" ({further} by a further seed)" if further else ""
        counts = f"{added} added, {changed} changed{of_these}, {removed} removed, {len(after)} in all"
        return f"{baseline_name(self._config)}: {counts}{remark}"

    def _not_added(self) -> Iterator[Line]:
        """Yield a line for each measurement that was to be a further seed and is none."""
        from pytest_biastransfer.plugin.runtest.baseline_comparison import DEGENERATE
        from pytest_biastransfer.reporting.seed_text import not_added_line

        for nodeid, record in self._records.items():
            if record.not_added:
                test = typed_name(self._config, nodeid)
                yield not_added_line(test, record.not_added, can_replace=record.not_added != DEGENERATE)

    def _pruned(self, session: pytest.Session, entries: Entries) -> tuple[Entries, str]:
        """Return the entries without those of tests that are gone, and in words what could not be removed."""
        from pytest_biastransfer.baseline.file import pruned
        from pytest_biastransfer.baseline.pruning import remaining

        existing = self._collected(session)
        if existing is None or not existing.tests:
            return entries, "; nothing removed: not all tests were collected"
        rest = remaining(entries, existing.tests, existing.files, self._settings.baseline.parent)
        unseen = len(rest - existing.tests)
        problem = f"; {unseen} of them of tests that were not collected, in files that are there" if unseen else ""
        return pruned(entries, rest), problem

    def _collected(self, session: pytest.Session) -> CollectedTests | None:
        """Return which bias tests there are; None if some, or all, may not have been collected."""
        from pytest_biastransfer.plugin.collection.collected_tests import collected_tests

        if self._not_collected:
            return None
        if not self._has_workers():
            return collected_tests(session)
        controller: Any = self._config.pluginmanager.getplugin("biastransfer-controller")
        return controller.collected()  # type: ignore[no-any-return]

    def _say(self, lines: Sequence[Line]) -> None:
        self._config.stash.setdefault(BASELINE_LINES, []).extend(lines)


def _require_full_run(config: pytest.Config) -> None:
    """Raise if it is clear that not all tests will be collected."""
    sources, here = pytest.Config.ArgsSource, config.invocation_params.dir
    partial = {
        "paths or tests are named": config.args_source is sources.ARGS,
        f"{here} is not the root directory": config.args_source is sources.INVOCATION_DIR and here != config.rootpath,
        "--lf is given": config.getoption("lf", False),
        "--ignore is given": config.getoption("ignore", None) or config.getoption("ignore_glob", None),
    }
    for reason, found in partial.items():
        if found:
            raise pytest.UsageError(
                f"--bias-prune removes the entries of all tests that are not collected, so it needs a full run, but "
                f"{reason}. Run it without, from {config.rootpath}: pytest --bias-prune"
            )
