"""What reports show of a running test besides its verdict: details, pictures, the source model, a baseline entry."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.baseline.regression import maybe_worse
from pytest_biastransfer.data.image_names import image_name
from pytest_biastransfer.errors import BiasTransferError, StoreWarning
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.names import SOURCE_FIXTURE
from pytest_biastransfer.plugin.collection.baseline_keys import key_of
from pytest_biastransfer.plugin.failures import MeasurementFailed
from pytest_biastransfer.plugin.kinds.protocol import ReportExtras
from pytest_biastransfer.plugin.resources import evaluator_of, model_of, session_store
from pytest_biastransfer.plugin.runtest.baseline_comparison import flipped_since, measured_entry
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.report.from_measurement import details_of
from pytest_biastransfer.reporting.report.image_choice import MOST_IMAGES, choice_of, shown_images

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest
    from pytest_biastransfer.reporting.image_pairs import ImagePair, ImagePairs
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.report import Details, Shown

# Grows when pictures are drawn differently.
_PAIRS: Final = 1


def with_details(item: pytest.Item, test: MeasuredTest, record: Record) -> Record:
    """Return the record of a judged test with all that a report shows of it.

    The source model is measured too if the test got worse and has one: it tells where that comes from.
    """
    settings, expectation = item.config.stash[SETTINGS], test.case.expectation
    worse = _worse_metrics(record, settings.alpha)
    got_worse = bool(worse) or any(limit.holds is False for limit in record.limits)
    entry = measured_entry(test, session_store(item.config).facts) if test.is_complete else None
    key = key_of(item, test.case)
    counted = _counted(test, record, worse)
    newly_flipped = None if entry is None else flipped_since(item.config, key, test, entry, counted)
    draws = settings.images != "none"
    draws_flips = draws and (got_worse or settings.images == "all")
    source = pairs = None
    errors: Sequence[Shown] = ()
    if test.predictions is not None and test.intervention is not None:
        if got_worse:
            source = _source_measurement(test, test.predictions, test.intervention)
        if draws:
            indices = shown_images(test.predictions, newly_flipped, counted) if draws_flips else []
            pairs = _pairs(test, test.intervention, indices, salient=settings.saliency and got_worse)
    elif draws_flips:
        errors = _errors(test)
    details = _details(test, ReportExtras(source, counted, newly_flipped, pairs, errors))
    return dataclasses.replace(
        record,
        key=key,
        entry=None if entry is None else entry.to_json(),
        max_regression=expectation.max_regression,
        max_accuracy_regression=expectation.max_accuracy_regression,
        details=dataclasses.asdict(details),
        images=record.images + (source.predictions if source else 0),
        computed=record.computed + (source.computed if source else 0),
    )


def with_plain_details(test: MeasuredTest, record: Record) -> Record:
    """Return the record of a test that was not judged to its end with what its measurement alone tells."""
    return dataclasses.replace(record, details=dataclasses.asdict(_details(test, ReportExtras())))


def _details(test: MeasuredTest, extras: ReportExtras) -> Details:
    # Which of several GPUs computed it makes no difference.
    device = evaluator_of(test.inputs.request).predicts_on.partition(":")[0]
    return details_of(
        test.measurement,
        test.report_kind,
        test.declaration,
        test.case.fixtures,
        device,
        test.report_details(extras),
    )


def _worse_metrics(record: Record, alpha: float) -> list[str]:
    changes = record.baseline.changes if record.baseline else ()
    return [metric for metric in maybe_worse(changes, alpha) if metric != ACCURACY]


def _counted(test: MeasuredTest, record: Record, worse: Sequence[str]) -> str:
    """Return the name of the images that reports show: those that count for the metric that got worse.

    That is the first of the metrics that are worse than accepted, then of those above their limits, then of all limited
    ones. It is ``"flipped"`` for a metric that counts no images of its own.
    """
    broken = [limit.metric for limit in record.limits if limit.holds is False]
    measured = {} if test.predictions is None else test.predictions.outcomes.image_sets
    for metric in [*worse, *broken, *test.case.expectation.metrics][:1]:
        for images in METRICS[metric].change.image_sets[:1]:
            if images.name in measured:
                return images.name
    return "flipped"


def _source_measurement(test: MeasuredTest, measurement: Measurement, intervention: Intervention) -> Measurement | None:
    """Return the same measurement of the source model; None where the test has none, or it cannot be measured."""
    if SOURCE_FIXTURE in test.case.fixtures or measurement.n < measurement.total:
        return None
    request, images = test.inputs.request, test.inputs.images
    fixture_value: Any = request.config.stash[SETTINGS].specs.get(SOURCE_FIXTURE)
    if SOURCE_FIXTURE in request.fixturenames:
        # Another fixture of the test requested it, so it is loaded already.
        fixture_value = request.getfixturevalue(SOURCE_FIXTURE)
    if fixture_value is None:
        return None
    try:
        source = model_of(request.config, fixture_value, f"fixture {SOURCE_FIXTURE}")
        return measure_loaded(
            evaluator_of(request), source, images, intervention, positive=test.case.expectation.positive
        )
    except (BiasTransferError, MeasurementFailed) as error:
        # The verdict does not depend on it.
        message = f"the report of {request.node.nodeid} is without the source model: {error}"
        warnings.warn(message, StoreWarning, stacklevel=2)
        return None


def _pairs(
    test: MeasuredTest, intervention: Intervention, indices: Sequence[int], *, salient: bool
) -> ImagePairs | None:
    """Return the pictures of images of a test, or of the first image as an example; unchanged ones are drawn once.

    None where they cannot be drawn: the verdict does not depend on them.
    """
    from pytest_biastransfer.reporting.image_pairs import ImagePairs
    from pytest_biastransfer.reporting.report import Shown

    pairs = _drawn(test, intervention, indices or [0], ask=bool(indices), salient=salient and bool(indices))
    if indices or pairs is None:
        return None if pairs is None else ImagePairs(pairs)
    images = test.inputs.images
    label, file = images.label_text(0), image_name(images, 0)
    pair = pairs[0]
    shown = Shown(0, label, "", "", file=file, clean=pair.clean, changed=pair.changed, middle=pair.middle)
    return ImagePairs(example=None if shown.clean is None else shown)


def _errors(test: MeasuredTest) -> Sequence[Shown]:
    """Return some of the errors in the worst group of a gap, with pictures; none where they cannot be drawn."""
    from pytest_biastransfer.reporting.report import Shown

    images = test.inputs.images
    try:
        errors = {error.index: error for error in test.worst_errors()}
    except (BiasTransferError, OSError) as error:
        warnings.warn(f"no pictures of {test.inputs.request.node.nodeid}: {error}", StoreWarning, stacklevel=2)
        return ()
    indices = choice_of(list(errors), MOST_IMAGES)
    pairs = _drawn(test, None, indices, ask=False, salient=False) if indices else None
    return [
        Shown(index, errors[index].label, errors[index].predicted, "", file=image_name(images, index), clean=pair.clean)
        for index, pair in zip(indices, pairs or (), strict=False)
    ]


def _drawn(
    test: MeasuredTest, intervention: Intervention | None, indices: Sequence[int], *, ask: bool, salient: bool
) -> Sequence[ImagePair] | None:
    """Return the pairs of some images from the store, or drawn; None, with a warning, where they cannot be drawn."""
    from pytest_biastransfer.reporting.image_pairs import SALIENT, PairsForm, draw, pairs_from_plain

    request, model, images = test.inputs.request, test.inputs.model, test.inputs.images

    def drawn_pairs() -> list[dict[str, Any]]:
        pairs = draw(
            evaluator_of(request),
            model,
            images,
            intervention,
            indices,
            ask=ask,
            salient=SALIENT if salient else 0,
            positive=test.case.expectation.positive if intervention is not None else (),
        )
        return [dataclasses.asdict(pair) for pair in pairs]

    question = test.measurement.provenance.question
    try:
        if question is None:
            return pairs_from_plain(drawn_pairs())
        key = fingerprint("image pairs", _PAIRS, question, indices, salient)
        pairs = pairs_from_plain(session_store(request.config).facts.get_or_compute(key, drawn_pairs, PairsForm))
        # A file of the store may have the pairs of other images.
        return pairs if len(pairs) == len(indices) else pairs_from_plain(drawn_pairs())
    except (BiasTransferError, OSError) as error:
        warnings.warn(f"no pictures of {request.node.nodeid}: {error}", StoreWarning, stacklevel=2)
        return None
