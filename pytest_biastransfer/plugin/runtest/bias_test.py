"""What happens to one bias test: it is measured, judged and recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from _pytest.skipping import xfailed_key

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.judgement.cases import Case, GapCase, InterventionCase, SearchCase
from pytest_biastransfer.judgement.degenerate import require_working_models
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import EARLY_STOP_ALPHA, Expectation
from pytest_biastransfer.judgement.verdict import judge
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.names import BIAS_FIXTURE, DEVICE_FIXTURE, typed_name
from pytest_biastransfer.plugin.failures import LimitExceeded, MeasurementFailed, clear_errors
from pytest_biastransfer.plugin.resources import images_of, model_of, preprocessing_remark, session_store
from pytest_biastransfer.plugin.runtest.baseline_comparison import (
    beside_baseline,
    require_compared,
    require_no_regression,
)
from pytest_biastransfer.plugin.runtest.verification import begin_verifying, note_stale, session_canary
from pytest_biastransfer.plugin.settings import Settings
from pytest_biastransfer.plugin.state import (
    BODY_PASSED,
    CASE,
    EVALUATORS,
    GIVEN,
    MEASUREMENT,
    RECORD,
    REMARKS,
    SEARCHED,
    SETTINGS,
    STALE,
    UNSETTLED,
)
from pytest_biastransfer.plugin.xdist.controller import watcher
from pytest_biastransfer.plugin.xdist.resource_sharing import divide_threads
from pytest_biastransfer.reporting.record import Record, of_search, record_of

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model


def measure_test(request: pytest.FixtureRequest) -> Measurement | GapMeasurement:
    """Measure what the running test's marker declares; its record is there even if the test fails later."""
    case, stash = getattr(request, "param", None), request.node.stash
    with clear_errors(request.node.nodeid):
        if not isinstance(case, Case):
            raise BiasTransferError(
                f"the fixture {BIAS_FIXTURE} needs a marker, such as "
                f'@pytest.mark.bias_intervention("yellow-square", max_asr=0.05)'
            )
    given = _given(request, case)
    measurement: Measurement | GapMeasurement
    begin_verifying(request.node, case)
    with clear_errors(request.node.nodeid), _stale_noted(request.node):
        if isinstance(case, SearchCase):
            from pytest_biastransfer.plugin.runtest.search_test import searched

            found = searched(request, case, *given)
            stash[SEARCHED], measurement = found, found.measurement
        else:
            measurement = _measured(request, case, *given)
    stash[BODY_PASSED] = False
    models = [(given[0], case.model), *([(given[2], case.control)] if given[2] and case.control else [])]
    stash[REMARKS] = [remark for model, fixture in models if (remark := preprocessing_remark(model, fixture))]
    if request.config.stash[SETTINGS].wants_details:
        from pytest_biastransfer.plugin.runtest.report_details import TestInputs

        stash[GIVEN] = TestInputs(request, evaluator_of(request), *given[:2])
    stash[CASE], stash[MEASUREMENT], stash[RECORD] = case, measurement, _record(request.node, measurement, None)
    _describe(request.node)
    return measurement


@contextlib.contextmanager
def _stale_noted(item: pytest.Item) -> Iterator[None]:
    try:
        yield
    finally:
        note_stale(item)


def _measured(
    request: pytest.FixtureRequest, case: Case, model: Model, images: LabelledImages, control: Model | None
) -> Measurement | GapMeasurement:
    evaluator, confidence = evaluator_of(request), case.expectation.confidence
    if isinstance(case, GapCase):
        from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded

        return measure_gaps_loaded(evaluator, model, images, case.gap, control=control, confidence=confidence)
    assert isinstance(case, InterventionCase)
    return measure_loaded(
        evaluator,
        model,
        images,
        case.intervention,
        control=control,
        target=case.expectation.target,
        confidence=confidence,
        stop=_early_stop(case.expectation, request.config.stash[SETTINGS]),
        description=case.words,
    )


def _given(request: pytest.FixtureRequest, case: Case) -> tuple[Model, LabelledImages, Model | None]:
    """Return what the fixtures of a case returned: the model, the images, and the control model if there is one."""
    found = [request.getfixturevalue(name) for name in case.fixtures]
    with clear_errors(request.node.nodeid):
        model = model_of(request.config, found[0], f"fixture {case.model}")
        images = images_of(request.config, found[1], f"fixture {case.dataset}")
        control = model_of(request.config, found[2], f"fixture {case.control}") if case.control else None
    return model, images, control


def _early_stop(expectation: Expectation, settings: Settings) -> EarlyStop | None:
    """Return when the verdict on a test is known early; the marker decides, else the option."""
    asked = settings.early_stop if expectation.early_stop is None else expectation.early_stop
    # What becomes a baseline, or has to be compared with it, depends on all images.
    if not asked or settings.update is not None or settings.compare == "require":
        return None
    return EarlyStop.of(expectation, settings.early_stop or EARLY_STOP_ALPHA if asked is True else asked)


def evaluator_of(request: pytest.FixtureRequest, images: int | None = None) -> Evaluator:
    """Return the session's evaluator, for all images or the first so many: all tests share what it has computed."""
    config, device = request.config, str(request.getfixturevalue(DEVICE_FIXTURE))
    settings = config.stash[SETTINGS]
    most = min((count for count in (images, settings.max_images) if count is not None), default=None)
    known = config.stash.setdefault(EVALUATORS, {})
    if (device, most) not in known:
        known[device, most] = Evaluator(
            device,
            session_store(config),
            batch_size=settings.batch_size,
            max_images=most,
            precision=settings.precision,
            pixel_cache=settings.pixel_cache,
            prepare=divide_threads,
            on_progress=watcher(config),
            canary=session_canary(config),
        )
    return known[device, most]


def judge_test(item: pytest.Item) -> None:
    """Judge the limits of a bias test, and fail it if one is exceeded, or if nothing was measured."""
    with clear_errors(item.nodeid):
        if MEASUREMENT not in item.stash:
            raise BiasTransferError(
                f"the limits of the marker could not be judged: nothing was measured. Either a fixture of "
                f"the test's own is called {BIAS_FIXTURE}, then rename it; or the marker was added while the test ran"
            )
        item.stash[BODY_PASSED] = True
        case, measurement = item.stash[CASE], item.stash[MEASUREMENT]
        verdict = judge(case.expectation, measurement)
        item.stash[RECORD] = _record(item, measurement, verdict)
        if not isinstance(case, SearchCase):
            beside = beside_baseline(item, case, measurement, session_store(item.config).facts)
            item.stash[RECORD] = record_of(measurement, verdict, beside)
        _describe(item)
        require_working_models(case.expectation, measurement, verdict)
    if not verdict.holds:
        raise LimitExceeded(_failure(item, case, measurement, verdict), pytrace=False)
    require_no_regression(item, item.stash[RECORD].baseline)
    require_compared(item, item.stash[RECORD].baseline)


def _describe(item: pytest.Item) -> None:
    """Add to a test's record what reports say of it, where somebody reads them."""
    if GIVEN in item.stash:
        from pytest_biastransfer.plugin.runtest.report_details import described

        stash = item.stash
        stash[RECORD] = described(item, stash[GIVEN], stash[CASE], stash[MEASUREMENT], stash[RECORD])


def _record(item: pytest.Item, measurement: Measurement | GapMeasurement, verdict: Verdict | None) -> Record:
    record = record_of(measurement, verdict)
    return of_search(record, item.stash[SEARCHED]) if SEARCHED in item.stash else record


def _failure(item: pytest.Item, case: Case, measurement: Measurement | GapMeasurement, verdict: Verdict) -> str:
    from pytest_biastransfer.reporting.failure_text import failure_text

    test = typed_name(item.config, item.nodeid)
    text = failure_text(test, ", ".join(case.fixtures), measurement, verdict)
    if not isinstance(case, SearchCase):
        return text
    from pytest_biastransfer.reporting.search_text import search_text

    return f"{text}\n\n{search_text(item.stash[SEARCHED], case)}"


def excuse_no_crash(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Have pytest see no `xfail` of a test where that would excuse a failed measurement.

    Called before pytest makes the report: some plugins take the outcome from there.
    """
    if call.excinfo is not None and _is_no_verdict(call.excinfo.value, item, call.when):
        item.stash[xfailed_key] = None


def attach_record(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach the figures to a test's report."""
    if report.when != "call" and report.passed:
        return
    if report.when == "call" and not report.passed:
        item.stash[UNSETTLED] = False
    stale = item.stash.get(STALE, [])
    if stale:
        record = item.stash.get(RECORD, Record())
        item.stash[RECORD] = replace(record, stale=list(map(str, stale)), dropped=[one.basis for one in stale])
        # Other plugins' reports show what else a test has said.
        report.sections.extend(("stale predictions", str(one)) for one in stale)
        report.bias_stale = True  # type: ignore[attr-defined]
    report.bias_record = item.stash.get(RECORD, Record()).to_json()  # type: ignore[attr-defined]


def _is_no_verdict(error: BaseException, item: pytest.Item, when: str) -> bool:
    """Whether an `xfail` would excuse a crash, which would then look green.

    It may excuse an exceeded limit, and what the test's own body raises.
    """
    if isinstance(error, MeasurementFailed):
        return True
    if when == "setup":
        return not isinstance(error, pytest.xfail.Exception)
    return when == "call" and item.stash.get(BODY_PASSED, False) and not isinstance(error, LimitExceeded)
