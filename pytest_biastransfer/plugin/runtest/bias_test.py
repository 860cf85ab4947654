"""The life of one bias test: it is measured, its limits are judged, and its record is attached to its report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.judgement.cases import Case
from pytest_biastransfer.judgement.degenerate import require_working_models
from pytest_biastransfer.judgement.rare_decisions import rare_decision
from pytest_biastransfer.names import BIAS_FIXTURE
from pytest_biastransfer.plugin import kinds
from pytest_biastransfer.plugin.failures import LimitExceeded, MeasurementFailed, clear_errors
from pytest_biastransfer.plugin.kinds.protocol import TestInputs
from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.pytest_internals import ignore_xfail
from pytest_biastransfer.plugin.resources import images_of, model_of, preprocessing_remark, session_store
from pytest_biastransfer.plugin.runtest.baseline_comparison import (
    compare_with_baseline,
    require_comparison,
    require_no_regression,
)
from pytest_biastransfer.plugin.runtest.verification import begin_verification, note_stale
from pytest_biastransfer.plugin.session import finish_hook
from pytest_biastransfer.plugin.state import (
    BODY_PASSED,
    MEASURED,
    MEASURING,
    RECORD,
    REMARKS,
    SETTINGS,
    STALE,
    UNSETTLED,
    VERDICT,
)
from pytest_biastransfer.plugin.xdist.worker_progress import watcher
from pytest_biastransfer.progress.activities import listening
from pytest_biastransfer.reporting.record import Record

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement


def measure_test(request: pytest.FixtureRequest) -> Measurement | GapMeasurement | LadderMeasurement:
    """Measure what the running test's marker declares."""
    case, stash = getattr(request, "param", None), request.node.stash
    with clear_errors(request.node.nodeid):
        if not isinstance(case, Case):
            raise BiasTransferError(
                f"the fixture {BIAS_FIXTURE} needs a marker, such as "
                f'@pytest.mark.bias_intervention("yellow-square", max_asr=0.05)'
            )
    with listening(watcher(request.config)):
        inputs = _inputs(request, case)
        begin_verification(request.node, case)
        with clear_errors(request.node.nodeid), _stale_noted(request.node), _measuring(inputs):
            test = stash[MEASURED] = kinds.measure(inputs, case)
    stash[BODY_PASSED] = False
    stash[REMARKS] = list(_remarks(inputs, case))
    return test.fixture_value


def _inputs(request: pytest.FixtureRequest, case: Case) -> TestInputs:
    values = {name: request.getfixturevalue(name) for name in case.fixtures}
    with clear_errors(request.node.nodeid):
        return TestInputs(
            request,
            model_of(request.config, values[case.model], f"fixture {case.model}"),
            images_of(request.config, values[case.dataset], f"fixture {case.dataset}"),
            model_of(request.config, values[case.control], f"fixture {case.control}") if case.control else None,
            {
                keyword: images_of(request.config, values[name], f"fixture {name}")
                for keyword, name in case.further_fixtures.items()
            },
        )


def _remarks(inputs: TestInputs, case: Case) -> Iterator[str]:
    for model, fixture in ((inputs.model, case.model), (inputs.control, case.control)):
        remark = preprocessing_remark(model, fixture) if model is not None and fixture is not None else ""
        if remark:
            yield remark


@contextlib.contextmanager
def _measuring(inputs: TestInputs) -> Iterator[None]:
    stash = inputs.request.config.stash
    stash[MEASURING] = inputs
    try:
        yield
    finally:
        del stash[MEASURING]


@contextlib.contextmanager
def _stale_noted(item: pytest.Item) -> Iterator[None]:
    try:
        yield
    finally:
        note_stale(item)


def judge_test(item: pytest.Item) -> None:
    """Judge the limits of a bias test, and fail it if one is exceeded, or if nothing was measured."""
    with clear_errors(item.nodeid):
        if MEASURED not in item.stash:
            raise BiasTransferError(
                f"the limits of the marker could not be judged: nothing was measured. Either a fixture of "
                f"the test's own is called {BIAS_FIXTURE}, then rename it; or the marker was added while the test ran"
            )
        item.stash[BODY_PASSED] = True
        test = item.stash[MEASURED]
        verdict = item.stash[VERDICT] = test.verdict()
        item.stash[REMARKS].extend(filter(None, map(rare_decision, verdict.limits)))
        record = item.stash[RECORD] = _judged_record(item)
        require_working_models(test.case.expectation, test.measurement, verdict)
    if not verdict.holds:
        from pytest_biastransfer.plugin.runtest.next_steps import next_steps

        steps = next_steps(item, test, verdict)
        raise LimitExceeded(test.failure_text(typed_name(item.config, item.nodeid), verdict, steps), pytrace=False)
    require_no_regression(item, record.baseline)
    require_comparison(item, record.baseline)


def _judged_record(item: pytest.Item) -> Record:
    """Return the record of a test whose limits are judged, with what reports show if any is written."""
    test = item.stash[MEASURED]
    record = test.record(item.stash[VERDICT])
    if test.case.has_baseline:
        comparison = compare_with_baseline(item, test, session_store(item.config).facts)
        record = replace(record, baseline=comparison)
    if not _wants_details(item.config):
        return record
    from pytest_biastransfer.plugin.runtest.report_details import with_details

    return with_details(item, test, record)


def _wants_details(config: pytest.Config) -> bool:
    """Return whether something that the session writes or calls shows more of a test than its verdict."""
    return config.stash[SETTINGS].wants_details or finish_hook.is_implemented(config)


def record_of_test(item: pytest.Item) -> Record:
    """Return the record of a test, whether it came to its end or failed on the way."""
    record = item.stash.get(RECORD, None)
    if record is None:
        record = _unfinished_record(item)
    stale = item.stash.get(STALE, ())
    return replace(record, stale=[str(finding) for finding in stale], dropped=[finding.basis for finding in stale])


def _unfinished_record(item: pytest.Item) -> Record:
    """Return what there is of a test whose own body failed, or that could not be compared with the baseline."""
    if MEASURED not in item.stash:
        return Record()
    test = item.stash[MEASURED]
    record = test.record(item.stash.get(VERDICT, None))
    if not _wants_details(item.config):
        return record
    from pytest_biastransfer.plugin.runtest.report_details import with_plain_details

    return with_plain_details(test, record)


def excuse_no_crash(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Have pytest see no `xfail` of a test where that would excuse a failed measurement.

    Called before pytest makes the report: some plugins take the outcome from there.
    """
    if call.excinfo is not None and _is_no_verdict(call.excinfo.value, item, call.when):
        ignore_xfail(item)


def note_outcome(item: pytest.Item, report: pytest.TestReport) -> Record | None:
    """Return the record that a test's report has to carry; None for a phase that passed before or after the call."""
    if report.when != "call" and report.passed:
        return None
    if report.when == "call" and not report.passed:
        item.stash[UNSETTLED] = False
    record = record_of_test(item)
    # Other plugins' reports show these sections.
    report.sections.extend(("stale predictions", finding) for finding in record.stale)
    return record


def _is_no_verdict(error: BaseException, item: pytest.Item, when: str) -> bool:
    """Whether an `xfail` would excuse a crash, which would then look green.

    It may excuse an exceeded limit, and what the test's own body raises.
    """
    if isinstance(error, MeasurementFailed):
        return True
    if when == "setup":
        return not isinstance(error, pytest.xfail.Exception)
    return when == "call" and item.stash.get(BODY_PASSED, False) and not isinstance(error, LimitExceeded)
