"""What happens to one bias test: its models are loaded, it is measured, judged and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from _pytest.outcomes import Failed

from pytest_biastransfer.comparing import beside_baseline
from pytest_biastransfer.data import as_images, load_dataset
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import EARLY_STOP_ALPHA, Expectation
from pytest_biastransfer.judgement.verdict import judge
from pytest_biastransfer.markers import Case
from pytest_biastransfer.measuring import take_measurement
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.known import model_of_spec
from pytest_biastransfer.names import BIAS_FIXTURE, DATASET_FIXTURE, DEVICE_FIXTURE, INTERVENTION_MARKER, typed_name
from pytest_biastransfer.reporting.record import Record, record_of
from pytest_biastransfer.settings import Settings, cached_store, ini_of
from pytest_biastransfer.stash import (
    BODY_PASSED,
    CASE,
    DATASETS,
    EVALUATORS,
    MEASUREMENT,
    RECORD,
    SETTINGS,
    STORE,
)
from pytest_biastransfer.store import Store
from pytest_biastransfer.workers.controller import watcher
from pytest_biastransfer.workers.sharing import divide_threads

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model


class MeasurementFailed(Failed):
    """Nothing could be measured: an error of what the test was given, which no ``xfail`` excuses."""

    # As pytest has it for its own outcomes: the short summary then has room for the message.
    __module__ = "builtins"


class LimitExceeded(Failed):
    """The verdict on a test whose own body passed: what an ``xfail`` may excuse."""

    __module__ = "builtins"


@contextmanager
def _clear_errors(place: str) -> Iterator[None]:
    """Show errors that the user can mend by their message alone."""
    try:
        yield
    except BiasTransferError as error:
        raise MeasurementFailed(f"{error}\nin {place}", pytrace=False) from None


def configured_model(request: pytest.FixtureRequest) -> Model:
    """Return the model that the ini file names for the requested fixture."""
    with _clear_errors(f"fixture {request.fixturename}"):
        config = request.config
        return model_of_spec(_configured_spec(request), config.stash[SETTINGS].directory, _store(config).facts)


def configured_dataset(request: pytest.FixtureRequest) -> LabelledImages:
    """Return the dataset that the ini file names for the requested fixture."""
    with _clear_errors(f"fixture {request.fixturename}"):
        config = request.config
        directory = config.stash[SETTINGS].directory
        return load_dataset(_configured_spec(request), directory=directory, facts=_store(config).facts)


def _configured_spec(request: pytest.FixtureRequest) -> str:
    name = str(request.fixturename)
    spec = request.config.stash[SETTINGS].specs.get(name)
    if spec is not None:
        return spec
    ini, example = (
        ini_of(name),
        "imagefolder:data/val" if name == DATASET_FIXTURE else "checkpoint:model.pt?arch=...",
    )
    raise BiasTransferError(
        f"not configured. Write a fixture of that name in conftest.py:\n"
        f'    @pytest.fixture(scope="session")\n    def {name}(): ...\n'
        f"or a line in the pytest section of the ini file:\n    {ini} = {example}"
    )


def configured_device(request: pytest.FixtureRequest) -> str:
    """Return the device that the settings name."""
    with _clear_errors("--bias-device"):
        return resolve_device(request.config.stash[SETTINGS].device, _store(request.config).facts)


def measure_test(request: pytest.FixtureRequest) -> Measurement:
    """Measure what the running test's marker declares; its record is there even if the test fails later."""
    case = getattr(request, "param", None)
    with _clear_errors(request.node.nodeid):
        if not isinstance(case, Case):
            raise BiasTransferError(
                f"the fixture {BIAS_FIXTURE} needs a marker, such as "
                f'@pytest.mark.bias_intervention("yellow-square", max_asr=0.05)'
            )
    model, images = request.getfixturevalue(case.model), request.getfixturevalue(case.dataset)
    control = None if case.control is None else request.getfixturevalue(case.control)
    evaluator = _evaluator(request.config, str(request.getfixturevalue(DEVICE_FIXTURE)))
    with _clear_errors(request.node.nodeid):
        measurement = take_measurement(
            evaluator,
            as_model(model, f"fixture {case.model}"),
            _images(request.config, images, f"fixture {case.dataset}"),
            case.intervention,
            control=None if control is None else as_model(control, f"fixture {case.control}"),
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


def _store(config: pytest.Config) -> Store:
    """Return the session's store."""
    if STORE not in config.stash:
        config.stash[STORE] = Store(config.stash[SETTINGS].store or cached_store(config))
    return config.stash[STORE]


def _evaluator(config: pytest.Config, device: str) -> Evaluator:
    """Return the session's evaluator for a device: all tests share what it has computed."""
    settings = config.stash[SETTINGS]
    known = config.stash.setdefault(EVALUATORS, {})
    if device not in known:
        known[device] = Evaluator(
            device,
            _store(config),
            batch_size=settings.batch_size,
            max_images=settings.max_images,
            precision=settings.precision,
            pixel_cache=settings.pixel_cache,
            prepare=divide_threads,
            on_progress=watcher(config),
        )
    return known[device]


def _images(config: pytest.Config, found: object, place: str) -> LabelledImages:
    """Return a fixture's dataset as images, the same ones each time: their fingerprint costs a pass.

    A fixture with parameters may return the same object with other images in it.
    """
    known = config.stash.setdefault(DATASETS, {})
    if id(found) not in known or not known[id(found)][1].looks_unchanged():
        known[id(found)] = (found, as_images(found, place))
    return known[id(found)][1]


def judge_test(item: pytest.Item) -> None:
    """Judge the limits of a bias test, and fail it if one is exceeded, or if nothing was measured."""
    __tracebackhide__ = True
    with _clear_errors(item.nodeid):
        if MEASUREMENT not in item.stash:
            raise BiasTransferError(
                f"the limits of {INTERVENTION_MARKER} could not be judged: nothing was measured. Either a fixture of "
                f"the test's own is called {BIAS_FIXTURE}, then rename it; or the marker was added while the test ran"
            )
        item.stash[BODY_PASSED] = True
        case, measurement = item.stash[CASE], item.stash[MEASUREMENT]
        verdict = judge(case.expectation, measurement)
        item.stash[RECORD] = record_of(measurement, verdict)
        beside = beside_baseline(item, case, measurement, _store(item.config).facts)
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
