"""What happens to one bias test: it is measured, judged and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.comparing import beside_baseline
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.failures import LimitExceeded, MeasurementFailed, clear_errors
from pytest_biastransfer.given import given_images, given_model, session_store
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import EARLY_STOP_ALPHA, Expectation
from pytest_biastransfer.judgement.verdict import judge
from pytest_biastransfer.markers import Case
from pytest_biastransfer.measuring import take_measurement
from pytest_biastransfer.names import BIAS_FIXTURE, DEVICE_FIXTURE, INTERVENTION_MARKER, typed_name
from pytest_biastransfer.reporting.record import Record, record_of
from pytest_biastransfer.settings import Settings
from pytest_biastransfer.stash import (
    BODY_PASSED,
    CASE,
    EVALUATORS,
    MEASUREMENT,
    RECORD,
    SETTINGS,
)
from pytest_biastransfer.workers.controller import watcher
from pytest_biastransfer.workers.sharing import divide_threads

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.measurement import Measurement


def measure_test(request: pytest.FixtureRequest) -> Measurement:
    """Measure what the running test's marker declares; its record is there even if the test fails later."""
    case = getattr(request, "param", None)
    with clear_errors(request.node.nodeid):
        if not isinstance(case, Case):
            raise BiasTransferError(
                f"the fixture {BIAS_FIXTURE} needs a marker, such as "
                f'@pytest.mark.bias_intervention("yellow-square", max_asr=0.05)'
            )
    model, images = request.getfixturevalue(case.model), request.getfixturevalue(case.dataset)
    control = None if case.control is None else request.getfixturevalue(case.control)
    evaluator = _evaluator(request.config, str(request.getfixturevalue(DEVICE_FIXTURE)))
    with clear_errors(request.node.nodeid):
        measurement = take_measurement(
            evaluator,
            given_model(request.config, model, f"fixture {case.model}"),
            given_images(request.config, images, f"fixture {case.dataset}"),
            case.intervention,
            control=None if control is None else given_model(request.config, control, f"fixture {case.control}"),
            target=case.expectation.target,
            confidence=case.expectation.confidence,
            stop=_early_stop(case.expectation, request.config.stash[SETTINGS]),
        )
    stash = request.node.stash
    stash[BODY_PASSED] = False
    stash[CASE], stash[MEASUREMENT], stash[RECORD] = case, measurement, record_of(measurement, None)
    return measurement


def _early_stop(expectation: Expectation, settings: Settings) -> EarlyStop | None:
    """Return when the verdict on a test is known early; the marker decides, else the option."""
    asked = settings.early_stop if expectation.early_stop is None else expectation.early_stop
    # What becomes a baseline rests on all images.
    if not asked or settings.update is not None:
        return None
    return EarlyStop.of(expectation, settings.early_stop or EARLY_STOP_ALPHA if asked is True else asked)


def _evaluator(config: pytest.Config, device: str) -> Evaluator:
    """Return the session's evaluator for a device: all tests share what it has computed."""
    settings = config.stash[SETTINGS]
    known = config.stash.setdefault(EVALUATORS, {})
    if device not in known:
        known[device] = Evaluator(
            device,
            session_store(config),
            batch_size=settings.batch_size,
            max_images=settings.max_images,
            precision=settings.precision,
            pixel_cache=settings.pixel_cache,
            prepare=divide_threads,
            on_progress=watcher(config),
        )
    return known[device]


def judge_test(item: pytest.Item) -> None:
    """Judge the limits of a bias test, and fail it if one is exceeded, or if nothing was measured."""
    __tracebackhide__ = True
    with clear_errors(item.nodeid):
        if MEASUREMENT not in item.stash:
            raise BiasTransferError(
                f"the limits of {INTERVENTION_MARKER} could not be judged: nothing was measured. Either a fixture of "
                f"the test's own is called {BIAS_FIXTURE}, then rename it; or the marker was added while the test ran"
            )
        item.stash[BODY_PASSED] = True
        case, measurement = item.stash[CASE], item.stash[MEASUREMENT]
        verdict = judge(case.expectation, measurement)
        item.stash[RECORD] = record_of(measurement, verdict)
        beside = beside_baseline(item, case, measurement, session_store(item.config).facts)
    item.stash[RECORD] = record_of(measurement, verdict, beside)
    if not verdict.holds:
        from pytest_biastransfer.reporting.failure import failure_text

        test = typed_name(item.config, item.nodeid)
        raise LimitExceeded(failure_text(test, ", ".join(case.fixtures), measurement, verdict), pytrace=False)


def attach_record(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Attach the figures to a test's report, and undo an `xfail` that excused a failed measurement."""
    if report.when != "call" and report.passed:
        return
    if call.excinfo is not None and _is_no_verdict(call.excinfo.value, item, report):
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)
    report.bias_record = item.stash.get(RECORD, Record()).to_json()  # type: ignore[attr-defined]


def _is_no_verdict(error: BaseException, item: pytest.Item, report: pytest.TestReport) -> bool:
    """Whether an `xfail` would excuse a crash, which would then look green.

    It may excuse an exceeded limit, and what the test's own body raises.
    """
    if isinstance(error, MeasurementFailed):
        return True
    if report.when == "setup":
        return hasattr(report, "wasxfail") and not isinstance(error, pytest.xfail.Exception)
    return report.when == "call" and item.stash.get(BODY_PASSED, False) and not isinstance(error, LimitExceeded)
