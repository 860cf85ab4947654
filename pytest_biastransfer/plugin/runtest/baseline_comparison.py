"""One bias test and its baseline entry: how the measurement changed, and what would be written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_biastransfer.baseline.comparison import BaselineRecord
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.baseline.entry import Entry, EntryKey
from pytest_biastransfer.baseline.file import damaged_entry, read_baseline
from pytest_biastransfer.baseline.over_time import has_new_images, night_of, over_time
from pytest_biastransfer.baseline.regression import changes, comparable, comparisons_of, newly_flipped
from pytest_biastransfer.baseline.seeds import (
    is_of_another_checkpoint,
    obstacle,
    same_declaration,
    same_images,
    with_seed,
)
from pytest_biastransfer.judgement.degenerate import defects
from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.plugin.collection.baseline_keys import key_of
from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.failures import BiasRegression, NotCompared
from pytest_biastransfer.plugin.node_names import baseline_name, typed_name
from pytest_biastransfer.plugin.pytest_internals import is_expected_to_fail
from pytest_biastransfer.plugin.resources import evaluator_of
from pytest_biastransfer.plugin.runtest.near_ties import near_ties_of
from pytest_biastransfer.plugin.state import BASELINE, COMPARISONS, IMAGE_KEYS, SETTINGS, STATED_IMAGES, UNSETTLED

if TYPE_CHECKING:
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.store import Facts

STOPPED_EARLY: Final = "stopped early"
DEGENERATE: Final = "a degenerate model is not accepted"


def compare_with_baseline(item: pytest.Item, test: MeasuredTest, facts: Facts) -> BaselineRecord | None:
    """Return how a measurement compares with the accepted one, as far as the settings require it.

    Raises `BaselineError` for a file that is damaged.
    """
    settings = item.config.stash[SETTINGS]
    if settings.compare == "off" and settings.update is None:
        return None
    key = key_of(item, test.case)
    accepted: Entry | None = (_baseline(item.config) or {}).get(key)
    stopped_early = not test.is_complete
    if stopped_early or (accepted is None and settings.update in (None, "history")):
        return BaselineRecord(key, STOPPED_EARLY if stopped_early else "")
    entry = measured_entry(test, facts)
    if accepted is None or settings.update == "all":
        if defects(test.case.expectation, test.measurement):
            return BaselineRecord(key, DEGENERATE)
        return _to_be_written(item.config, BaselineRecord(key), test, entry)
    record = None if settings.compare == "off" else _comparison(settings, key, test, accepted, entry)
    if settings.update == "add":
        record = _beside_accepted(item.config, record or BaselineRecord(key), test, accepted, entry)
    elif settings.update == "new" and record is not None and record.missing:
        record = _to_be_written(item.config, record, test, entry)
    return record


def require_comparison(item: pytest.Item, record: BaselineRecord | None) -> None:
    """Fail a test that could not be compared with an accepted measurement, where the settings require that."""
    settings = item.config.stash[SETTINGS]
    # What is written at the end of this session is there for the next one.
    if settings.compare != "require" or record is None or record.entry is not None:
        return
    if not (record.problem or record.missing or not record.changes):
        return
    from pytest_biastransfer.reporting.regression_text import not_compared_text

    here = item.config.invocation_params.dir
    inifile = item.config.getoption("inifilename", None)
    # The node id of a test outside of the root directory has no directory to type.
    test = "::".join([path_from(item.path, here), *item.nodeid.split("::")[1:]])
    raise NotCompared(
        not_compared_text(
            test,
            record,
            path_from(settings.baseline, here),
            exists=_baseline(item.config) is not None,
            command=["pytest", *(["-c", str(inifile)] if inifile else [])],
        ),
        pytrace=False,
    )


def accepted_entry(item: pytest.Item) -> Entry | None:
    """Return what the baseline has of a test; raises `BaselineError` for a file that is not whole."""
    case = case_of(item)
    if case is None or not case.has_baseline:
        return None
    entry: Entry | None = (_baseline(item.config) or {}).get(key_of(item, case))
    return entry


def most_comparisons(session: pytest.Session) -> int:
    """Return how many comparisons with the baseline the session's tests make at most.

    Each worker has collected all of them. Raises `BaselineError` for a file that is not whole.
    """
    if COMPARISONS not in session.config.stash:
        entries = ((case_of(item), accepted_entry(item)) for item in session.items)
        session.config.stash[COMPARISONS] = sum(
            # As many of metrics, and no more of accuracies.
            max(1, comparisons_of(entry, case.expectation.metrics))
            for case, entry in entries
            if case is not None and entry is not None
        )
    return session.config.stash[COMPARISONS]


def fails_on_regression(item: pytest.Item) -> bool:
    """Whether a test fails that is within its limits and worse than the baseline: not if it is expected to fail."""
    return item.config.stash[SETTINGS].fails_on_regression and not is_expected_to_fail(item)


def require_no_regression(item: pytest.Item, record: BaselineRecord | None) -> None:
    """Fail a test that is worse than the baseline whatever the session's other tests are; note one that may be."""
    if record is None or not record.changes or record.is_further_seed or not fails_on_regression(item):
        return
    from pytest_biastransfer.baseline.comparison import compared_alone
    from pytest_biastransfer.reporting.regression_text import regression_text

    test, settings = typed_name(item.config, item.nodeid), item.config.stash[SETTINGS]
    others_count = settings.correction != "none"
    comparisons = most_comparisons(item.session) if others_count else 1
    compared = compared_alone(test, record, settings.alpha, comparisons)
    if compared.meaning == "regression":
        raise BiasRegression(regression_text(compared, baseline_name(item.config)), pytrace=False)
    item.stash[UNSETTLED] = compared.is_unsettled


def measured_entry(test: MeasuredTest, facts: Facts) -> Entry:
    """Return a measurement as the baseline would have it."""
    evaluator = evaluator_of(test.inputs.request)
    return test.entry(facts, Computation(evaluator.computing_device, evaluator.precision, evaluator.compiled))


def flipped_since(
    config: pytest.Config, key: EntryKey, test: MeasuredTest, entry: Entry, images: str = "flipped"
) -> list[int] | None:
    """Return the images that flip now and did not when the baseline was accepted; None where that cannot be told.

    Of a ladder, at the strength that reports show images of. `images` is the name of another set of images.
    """
    settings = config.stash[SETTINGS]
    accepted: Entry | None = None if settings.compare == "off" else (_baseline(config) or {}).get(key)
    if accepted is None or not same_images(accepted, entry):
        return None
    accepted, entry = test.shown_part(accepted), test.shown_part(entry)
    if images not in accepted.evidence or images not in entry.evidence:
        return None
    try:
        return newly_flipped(accepted, entry, images)
    except ValueError as error:
        raise damaged_entry(settings.baseline, key, str(error)) from error


def _comparison(settings: Settings, key: EntryKey, test: MeasuredTest, accepted: Entry, entry: Entry) -> BaselineRecord:
    if accepted.image_keys and not same_images(accepted, entry):
        entry = dataclasses.replace(entry, image_keys=_image_keys(test, entry))
    expectation = test.case.expectation
    problem = "" if same_declaration(accepted, entry) else "the entry is of another intervention"
    # The accuracy does not depend on the intervention, so that it is compared all the same.
    metrics = [] if problem else expectation.metrics
    in_both = comparable(accepted, entry, metrics)
    compared = accepted, entry, in_both, expectation.max_regression, expectation.max_accuracy_regression
    try:
        metric_changes = changes(*compared)
        night = None
        if settings.alpha_over_time is not None and in_both and has_new_images(accepted, entry):
            night = night_of(entry, in_both)
            metric_changes = over_time(metric_changes, accepted, entry, night, settings.alpha_over_time)
        # There are none on new images, of which no earlier state is known: the sentence alone says so.
        near_ties, unchecked = near_ties_of(test, accepted, entry, metric_changes, settings.alpha)
        if near_ties is not None:
            metric_changes = changes(*compared, near_ties)
        got_worse = any(change.is_worse and not change.is_accuracy for change in metric_changes)
        flipped = test.newly_flipped(accepted, entry) if got_worse else ()
    except ValueError as error:
        raise damaged_entry(settings.baseline, key, str(error)) from error
    missing = [metric for metric in metrics if metric not in in_both]
    is_counted = night is not None and not problem and not defects(expectation, test.measurement)
    return BaselineRecord(
        key,
        problem,
        missing=missing,
        changes=metric_changes,
        highlights=test.highlights() if got_worse else "",
        newly_flipped=flipped,
        night=night.to_line() if night is not None and is_counted else "",
        of_another_checkpoint=is_of_another_checkpoint(accepted, entry),
        has_seeds=bool(accepted.seeds),
        unchecked_rounding=unchecked,
    )


def _beside_accepted(
    config: pytest.Config, record: BaselineRecord, test: MeasuredTest, accepted: Entry, entry: Entry
) -> BaselineRecord:
    """Return a record with an entry that is to be written as a further seed, or why it is not."""
    is_degenerate = bool(defects(test.case.expectation, test.measurement))
    reason = DEGENERATE if is_degenerate else obstacle(accepted, entry)
    if reason:
        return dataclasses.replace(record, not_added=reason)
    after = with_seed(accepted, entry)
    if after == accepted:
        return record
    is_further_seed = len(after.seeds) > len(accepted.seeds)
    return _to_be_written(config, dataclasses.replace(record, is_further_seed=is_further_seed), test, entry)


def _to_be_written(config: pytest.Config, record: BaselineRecord, test: MeasuredTest, entry: Entry) -> BaselineRecord:
    """Return a record with an entry that is to be written, and the first time with the keys of the dataset's images."""
    stated, dataset = config.stash.setdefault(STATED_IMAGES, set()), entry.dataset["fingerprint"]
    keys = "" if dataset in stated else entry.image_keys or _image_keys(test, entry)
    stated.add(dataset)
    return dataclasses.replace(record, entry=entry.to_json(), image_keys=keys)


def _image_keys(test: MeasuredTest, entry: Entry) -> str:
    from pytest_biastransfer.data.image_keys import image_keys

    images = test.inputs.images
    dataset = images.fingerprint
    if len(images) != entry.images or dataset != entry.dataset["fingerprint"]:
        return ""
    # Some datasets read all of their pictures for that.
    known = test.inputs.request.config.stash.setdefault(IMAGE_KEYS, {})
    if dataset not in known:
        known[dataset] = image_keys(images)
    return known[dataset]


def _baseline(config: pytest.Config) -> Any:
    if BASELINE not in config.stash:
        config.stash[BASELINE] = read_baseline(config.stash[SETTINGS].baseline)
    return config.stash[BASELINE]
