"""A running test's record with all that a report says of it: its details, its pictures, its entry for a baseline."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError, StoreWarning
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.judgement.cases import GapCase, InterventionCase, SearchCase
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.measurement import Measurement
from pytest_biastransfer.names import SOURCE_FIXTURE
from pytest_biastransfer.plugin.failures import MeasurementFailed
from pytest_biastransfer.plugin.resources import model_of, session_store
from pytest_biastransfer.plugin.runtest.baseline_comparison import flipped_since, key_of, measured_entry
from pytest_biastransfer.plugin.state import SEARCHED, SETTINGS

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Details, Kind
    from pytest_biastransfer.reporting.tile_sheet import TileSheet

_KINDS: Final[dict[type, Kind]] = {InterventionCase: "intervention", SearchCase: "search", GapCase: "gap"}
# Grows when sheets are drawn differently.
_SHEETS: Final = 1


@dataclass(frozen=True)
class TestInputs:
    """What a running test was measured with."""

    request: pytest.FixtureRequest
    evaluator: Evaluator
    model: Model
    images: LabelledImages


def described(
    item: pytest.Item, given: TestInputs, case: Case, found: Measurement | GapMeasurement, record: Record
) -> Record:
    """Return the record of a test with all that a report says of it.

    Whoever looks at a test that got worse wants to see where that comes from: then the source model is measured too,
    if the test has one.
    """
    from pytest_biastransfer.reporting.details import shown_images

    if not record.limits:
        # The test's own body has yet to run, and may fail.
        return dataclasses.replace(record, details=dataclasses.asdict(_details(given, case, found)))
    settings = item.config.stash[SETTINGS]
    worse = any(limit.holds is False for limit in record.limits) or _is_worse(record, settings.alpha)
    entry = None if found.early is not None else measured_entry(case, found, session_store(item.config).facts)
    key = key_of(item, case)
    newly = None if entry is None else flipped_since(item.config, key, entry)
    source = sheet = None
    if isinstance(found, Measurement):
        source = _source_measurement(item, given, case, found) if worse else None
        if settings.images != "none":
            places = shown_images(found, newly) if worse or settings.images == "all" else []
            sheet = _sheet(item, given, case, found, places)
    return dataclasses.replace(
        record,
        key=key,
        entry=None if entry is None else entry.to_json(),
        max_regression=case.expectation.max_regression,
        max_accuracy_regression=case.expectation.max_accuracy_regression,
        details=dataclasses.asdict(_details(given, case, found, source=source, newly=newly, sheet=sheet)),
        images=record.images + (source.predictions if source else 0),
        computed=record.computed + (source.computed if source else 0),
    )


def _details(given: TestInputs, case: Case, found: Measurement | GapMeasurement, **more: Any) -> Details:
    from pytest_biastransfer.reporting.details import details_of

    # Which of several GPUs it was makes no difference.
    device = given.evaluator.device.partition(":")[0]
    return details_of(found, _KINDS[type(case)], case.fixtures, device, **more)


def _is_worse(record: Record, alpha: float) -> bool:
    changes = record.baseline.changes if record.baseline else ()
    return any(change.is_worse and not change.is_accuracy and change.p <= alpha for change in changes)


def _source_measurement(item: pytest.Item, given: TestInputs, case: Case, found: Measurement) -> Measurement | None:
    """Return the same measurement of the source; None where the test has none, or one that cannot be measured."""
    if SOURCE_FIXTURE in case.fixtures or found.n < found.total:
        return None
    spec = item.config.stash[SETTINGS].specs.get(SOURCE_FIXTURE)
    if SOURCE_FIXTURE in given.request.fixturenames:
        # Another of its fixtures asked for it, so it is there.
        fixture = given.request.getfixturevalue(SOURCE_FIXTURE)
    elif spec is not None:
        fixture = spec
    else:
        return None
    try:
        source = model_of(item.config, fixture, f"fixture {SOURCE_FIXTURE}")
        return measure_loaded(given.evaluator, source, given.images, _intervention(item, case))
    except (BiasTransferError, MeasurementFailed) as error:
        # The verdict is known without it.
        warnings.warn(f"the report of {item.nodeid} is without the source model: {error}", StoreWarning, stacklevel=2)
        return None


def _intervention(item: pytest.Item, case: Case) -> Intervention:
    if isinstance(case, SearchCase):
        return item.stash[SEARCHED].trial.intervention
    assert isinstance(case, InterventionCase)
    return case.intervention


def _sheet(
    item: pytest.Item, given: TestInputs, case: Case, found: Measurement, places: Sequence[int]
) -> TileSheet | None:
    """Return the pictures of images of a test, or of the first one as an example; unchanged ones are drawn once.

    None where they cannot be drawn: the verdict does not need them.
    """
    from pytest_biastransfer.reporting.report import Shown
    from pytest_biastransfer.reporting.tile_sheet import SheetForm, draw, sheet_from_plain

    intervention = _intervention(item, case)

    def drawn() -> dict[str, Any]:
        sheet = draw(given.evaluator, given.model, given.images, intervention, places or [0], ask=bool(places))
        return dataclasses.asdict(sheet)

    question = found.provenance.question
    try:
        if question is None:
            content = drawn()
        else:
            key = fingerprint("sheet", _SHEETS, question, places)
            content = session_store(item.config).facts.get_or_compute(key, drawn, SheetForm)
    except (BiasTransferError, OSError) as error:
        warnings.warn(f"no pictures of {item.nodeid}: {error}", StoreWarning, stacklevel=2)
        return None
    sheet = sheet_from_plain(content)
    if places or sheet.pictures is None:
        return sheet
    label = int(given.images.labels[0])
    name = given.images.classes[label] if given.images.classes else str(label)
    return dataclasses.replace(sheet, example=Shown(index=0, label=name, before="", after="", tile=0))
