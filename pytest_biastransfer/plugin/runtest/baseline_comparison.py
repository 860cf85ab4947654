"""One bias test beside the baseline: where its entry is, how it changed, what would be written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from _pytest.skipping import evaluate_xfail_marks

from pytest_biastransfer.baseline.comparison import BaselineRecord
from pytest_biastransfer.baseline.entry import (
    EncodedEvidence,
    Entry,
    EntryKey,
    encoded_evidence,
    entry_of,
    evidence_for,
)
from pytest_biastransfer.baseline.file import damaged_entry, read_baseline
from pytest_biastransfer.baseline.regression import (
    changes,
    comparable,
    newly_flipped,
    same_declaration,
    same_images,
)
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.judgement.cases import SearchCase
from pytest_biastransfer.judgement.degenerate import defects
from pytest_biastransfer.metrics.catalogue import ACCURACY
from pytest_biastransfer.metrics.measurement import Measurement
from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, MODEL_FIXTURE, typed_name
from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.failures import BiasRegression, NotCompared
from pytest_biastransfer.plugin.session.baseline_update import baseline_name
from pytest_biastransfer.plugin.state import BASELINE, COMPARISONS, SETTINGS, UNSETTLED
from pytest_biastransfer.reporting.failure_text import SHOWN, flip_texts

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.store import Facts

STOPPED_EARLY: Final = "stopped early"


def key_of(item: Any, case: Case) -> EntryKey:
    """Return where the entry of a test is.

    Not by its node id: pytest-xdist appends to it, and it depends on the root directory.
    """
    directory = item.config.stash[SETTINGS].baseline.parent
    path = Path(os.path.relpath(item.path, directory)).as_posix()
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    others = _other_parameters(item.callspec._idlist, case)
    return EntryKey(
        "::".join([path, *classes, item.originalname]) + (f"[{others}]" if others else ""), _case_name(case)
    )


def beside_baseline(
    item: pytest.Item, case: Case, found: Measurement | GapMeasurement, facts: Facts
) -> BaselineRecord | None:
    """Return a measurement beside the accepted one, as far as the settings ask for it.

    Raises `BaselineError` for a file that is not whole.
    """
    settings = item.config.stash[SETTINGS]
    if settings.compare == "off" and settings.update is None:
        return None
    key = key_of(item, case)
    if found.early is not None:
        return BaselineRecord(key, STOPPED_EARLY)
    accepted: Entry | None = (_baseline(item.config) or {}).get(key)
    if accepted is None and settings.update is None:
        return BaselineRecord(key)
    now = measured_entry(case, found, facts)
    if accepted is None or settings.update == "all":
        if defects(case.expectation, found):
            return BaselineRecord(key, "a degenerate model is not accepted")
        return BaselineRecord(key, entry=now.to_json())
    return _compared(settings, key, case, accepted, now, found)


def require_compared(item: pytest.Item, record: BaselineRecord | None) -> None:
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
    test = "::".join([os.path.relpath(item.path, here), *item.nodeid.split("::")[1:]])
    raise NotCompared(
        not_compared_text(
            test,
            record,
            os.path.relpath(settings.baseline, here),
            exists=_baseline(item.config) is not None,
            command=["pytest", *(["-c", str(inifile)] if inifile else [])],
        ),
        pytrace=False,
    )


def accepted_entry(item: pytest.Item) -> Entry | None:
    """Return what the baseline has of a test; raises `BaselineError` for a file that is not whole."""
    case = case_of(item)
    # Searches take no part in it.
    if case is None or isinstance(case, SearchCase):
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
            max(1, sum(name != ACCURACY for name in comparable(entry, entry, case.expectation.metrics)))
            for case, entry in entries
            if case is not None and entry is not None
        )
    return session.config.stash[COMPARISONS]


def fails_on_regression(item: pytest.Item) -> bool:
    """Whether a test fails that is within its limits and worse than the baseline: not if it is expected to fail."""
    if not item.config.stash[SETTINGS].fails_on_regression:
        return False
    return item.config.option.runxfail or evaluate_xfail_marks(item) is None


def require_no_regression(item: pytest.Item, record: BaselineRecord | None) -> None:
    """Fail a test that is worse than the baseline whatever the session's other tests are; note one that may be."""
    if record is None or not record.changes or not fails_on_regression(item):
        return
    from pytest_biastransfer.baseline.comparison import compared_alone
    from pytest_biastransfer.reporting.regression_text import regression_text

    test, settings = typed_name(item.config, item.nodeid), item.config.stash[SETTINGS]
    compared = compared_alone(test, record, settings.alpha, most_comparisons(item.session))
    if compared.meaning == "regression":
        raise BiasRegression(regression_text(compared, baseline_name(item.config)), pytrace=False)
    item.stash[UNSETTLED] = compared.is_unsettled


def measured_entry(case: Case, found: Measurement | GapMeasurement, facts: Facts) -> Entry:
    """Return a measurement as the baseline would have it."""
    return entry_of(found, _evidence(found, evidence_for(case.expectation.metrics), facts))


def flipped_since(config: pytest.Config, key: EntryKey, now: Entry) -> list[int] | None:
    """Return the images that flip now and did not when the baseline was accepted; None where that cannot be told."""
    settings = config.stash[SETTINGS]
    accepted: Entry | None = None if settings.compare == "off" else (_baseline(config) or {}).get(key)
    if accepted is None or "flipped" not in accepted.evidence or not same_images(accepted, now):
        return None
    try:
        return newly_flipped(accepted, now)
    except ValueError as error:
        raise damaged_entry(settings.baseline, key, str(error)) from error


def _compared(
    settings: Settings, key: EntryKey, case: Case, accepted: Entry, now: Entry, found: Measurement | GapMeasurement
) -> BaselineRecord | None:
    if settings.compare == "off":
        return None
    problem = "" if same_declaration(accepted, now) else "the entry is of another intervention"
    # The accuracy does not depend on the intervention.
    metrics = [] if problem else case.expectation.metrics
    in_both = comparable(accepted, now, metrics)
    try:
        expected = case.expectation
        changed = changes(accepted, now, in_both, expected.max_regression, expected.max_accuracy_regression)
        worse = any(change.is_worse and not change.is_accuracy for change in changed)
        newly = newly_flipped(accepted, now)[:SHOWN] if worse and isinstance(found, Measurement) else []
    except ValueError as error:
        raise damaged_entry(settings.baseline, key, str(error)) from error
    missing = [metric for metric in metrics if metric not in in_both]
    completed = now.to_json() if missing and settings.update == "new" else None
    return BaselineRecord(
        key,
        problem,
        missing=missing,
        changes=changed,
        highlights=found.highlights() if worse else "",
        newly_flipped=_described(found, newly),
        entry=completed,
    )


def _described(found: Measurement | GapMeasurement, images: Sequence[int]) -> list[str]:
    flips = {flip.index: flip for flip in found.flips} if images and isinstance(found, Measurement) else {}
    return flip_texts([flips[image] for image in images])


def _baseline(config: pytest.Config) -> Any:
    if BASELINE not in config.stash:
        config.stash[BASELINE] = read_baseline(config.stash[SETTINGS].baseline)
    return config.stash[BASELINE]


def _evidence(found: Measurement | GapMeasurement, names: Sequence[str], facts: Facts) -> Mapping[str, str]:
    if not isinstance(found, Measurement):
        return found.evidence
    question = found.provenance.question
    if question is None:
        return encoded_evidence(found, names)
    evidence: dict[str, str] = facts.get_or_compute(
        fingerprint("evidence", question, names), lambda: encoded_evidence(found, names), EncodedEvidence
    )
    return evidence


def _other_parameters(ids: Sequence[str], case: Case) -> str:
    """Return the ids of the parameters that are not the marker's; pytest may have numbered its own."""
    own = next((place for place, one in enumerate(ids) if one.startswith(case.id)), len(ids))
    return "-".join([*ids[:own], *ids[own + 1 :]])


def _case_name(case: Case) -> str:
    named = {
        "model": case.model if case.model != MODEL_FIXTURE else "",
        "dataset": case.dataset if case.dataset != DATASET_FIXTURE else "",
        "control": case.control if case.control not in (None, CONTROL_FIXTURE) else "",
        "target": ", ".join(map(str, case.expectation.target)),
    }
    return " ".join([case.name, *(f"{word}={value}" for word, value in named.items() if value)])
