"""What is known of one bias test after it ran, as plain data that travels between processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.baseline.comparison import BaselineRecord
from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
from pytest_biastransfer.reporting.figures import Limit, interval_of
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.performance import Performance, performances_of

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.search.bias_search import SearchResult


@dataclass(frozen=True)
class Record:
    """The figures of one bias test; none of them, if nothing could be measured.

    Attributes
    ----------
    asr, skew
        The observed values, or None.
    limits
        The judged limits; empty if the test's own body failed first.
    images
        The number of predictions that the measurement is computed from.
    computed
        How many of these predictions were computed for it; the others came from the store.
    seen, total
        The number of images that were evaluated, and of all images of the dataset.
    baseline
        The comparison with the accepted measurement; None if the session compares with no baseline.
    key, entry
        The key and the entry that a baseline would hold; a report states them.
    max_regression
        By how much each limited metric may become worse.
    bases
        The keys of the store that its predictions have.
    stale, dropped
        Messages about stale predictions that were met while it was measured, and the keys of the store that they had.
    max_accuracy_regression
        By how much the accuracy without an intervention may become lower.
    performances
        The performance of the model on unchanged images, and then of the control model if there is one.
    details
        The fields of `pytest_biastransfer.reporting.report.Details`, as plain data; None if no report is written.
    """

    asr: float | None = None
    skew: float | None = None
    limits: Sequence[Limit] = ()
    images: int = 0
    computed: int = 0
    seen: int = 0
    total: int = 0
    baseline: BaselineRecord | None = None
    key: Sequence[str] | None = None
    entry: Mapping[str, Any] | None = None
    max_regression: float = 0.0
    bases: Sequence[str] = ()
    stale: Sequence[str] = ()
    dropped: Sequence[str] = ()
    max_accuracy_regression: float = 0.0
    performances: Sequence[Performance] = ()
    details: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Return the record as text: execnet cannot carry numpy's numbers, and a failure to carry one is silent."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that `to_json` wrote."""
        record: Record = from_plain(cls, json.loads(text))
        return record


def record_of(
    measurement: Measurement | GapMeasurement, verdict: Verdict | None, baseline: BaselineRecord | None = None
) -> Record:
    """Return the record of a measured test; `verdict` is None if its limits were not judged."""
    return Record(
        asr=_value(measurement, "asr"),
        skew=_value(measurement, "skew"),
        limits=tuple(_limit_record(measurement, limit) for limit in (verdict.limits if verdict else ())),
        images=measurement.predictions,
        computed=measurement.computed,
        seen=measurement.n,
        total=measurement.total,
        baseline=baseline,
        bases=measurement.provenance.bases,
        performances=performances_of(measurement),
    )


def of_search(record: Record, searched: SearchResult) -> Record:
    """Return the record of the worst intervention that a search found, with what the whole search took."""
    outcome = searched.outcome
    tried = f"{'worst of' if all(limit.holds for limit in record.limits) else 'found among'} {outcome.searching}"
    limits = [replace(limit, note=", ".join(filter(None, (tried, limit.note)))) for limit in record.limits]
    return replace(record, limits=tuple(limits), images=searched.predictions, computed=searched.computed)


def _value(measurement: Measurement | GapMeasurement, metric: str) -> float | None:
    return float(measurement.estimates[metric]) if metric in measurement.estimates else None


def _limit_record(measurement: Measurement | GapMeasurement, limit: LimitVerdict) -> Limit:
    base = base_of(limit.metric)
    compared = measurement.control.estimates.get(base) if measurement.control else None
    worst = ""
    if isinstance(measurement, GapMeasurement) and limit.metric == "gap":
        worst = f"worst {measurement.worst}"
    return Limit(
        metric=limit.metric,
        limit=limit.limit,
        rule=limit.rule,
        holds=limit.holds,
        note=", ".join(filter(None, (worst, limit.note))),
        observed=interval_of(limit.observed),
        control=None if compared is None else interval_of(compared),
    )
