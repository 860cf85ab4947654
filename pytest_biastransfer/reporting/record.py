"""The record of one bias test: its figures and verdicts as plain data, which travels between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.baseline.comparison import BaselineRecord
from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.reporting.curves import Curves
from pytest_biastransfer.reporting.figures import Limit, interval_of
from pytest_biastransfer.reporting.performance import Performance, performances_of

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.ladder_verdict import LadderVerdict
    from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.search.search_result import SearchResult


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
    curves
        The curves of a ladder; None for a test of anything else, or if no limit was judged.
    details
        The fields of `pytest_biastransfer.reporting.report.Details`, as plain data; None if no report is written.
    """

    asr: float | None = None
    skew: float | None = None
    limits: Sequence[Limit] = ()
    images: int = 0
    computed: int = 0
    n: int = 0
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
    curves: Curves | None = None
    details: Mapping[str, Any] | None = None


def record_of(
    measurement: Measurement | GapMeasurement,
    verdict: Verdict | None,
    remarks: Mapping[str, str] = MappingProxyType({}),
) -> Record:
    """Return the record of a measured test.

    `verdict` is None if its limits were not judged; `remarks` are shown beside the limits of the metrics they name.
    """
    limits = verdict.limits if verdict else ()
    return Record(
        asr=_value(measurement, "asr"),
        skew=_value(measurement, "skew"),
        limits=tuple(_judged_limit(measurement, limit, remarks.get(limit.metric, "")) for limit in limits),
        images=measurement.predictions,
        computed=measurement.computed,
        n=measurement.n,
        total=measurement.total,
        bases=measurement.provenance.bases,
        performances=performances_of(measurement),
    )


def record_of_search(result: SearchResult, verdict: Verdict | None) -> Record:
    """Return the record of the worst intervention of a search, with the predictions of the whole search."""
    record, outcome = record_of(result.measurement, verdict), result.outcome
    position = f"{'worst of' if all(limit.holds for limit in record.limits) else 'found among'} {outcome.searching}"
    limits = [replace(limit, remarks=[position, *limit.remarks]) for limit in record.limits]
    return replace(record, limits=tuple(limits), images=result.predictions, computed=result.computed)


def record_of_ladder(
    ladder: LadderMeasurement, shown: Measurement, verdict: LadderVerdict | None, curves: Curves | None
) -> Record:
    """Return the record of a ladder: the figures of the shown strength, each limit at the strength that decides it."""
    measured = [measurement for measurement in ladder.measurements if measurement is not None]
    limits: list[Limit] = []
    deciding = ladder.deciding(verdict.positions, shown) if verdict else ()
    for limit, measurement in zip(verdict.limits, deciding, strict=True) if verdict else ():
        limits.append(_judged_limit(measurement, limit))
    return replace(
        record_of(shown, None),
        limits=tuple(limits),
        images=sum(measurement.predictions for measurement in measured),
        computed=sum(measurement.computed for measurement in measured),
        bases=tuple(dict.fromkeys(base for measurement in measured for base in measurement.provenance.bases)),
        curves=curves,
    )


def _value(measurement: Measurement | GapMeasurement, metric: str) -> float | None:
    return float(measurement.estimates[metric]) if metric in measurement.estimates else None


def _judged_limit(measurement: Measurement | GapMeasurement, limit: LimitVerdict, remark: str = "") -> Limit:
    base = base_of(limit.metric)
    remarks = [remark] if remark else []
    corrected = measurement.estimates.get(f"corrected_{limit.metric}")
    if corrected is not None and limit.holds is False and is_at_most(corrected, limit.limit):
        remarks.append(f"{corrected:.3f} less what chance adds")
    control = measurement.control.estimates.get(base) if measurement.control else None
    return Limit(
        metric=limit.metric,
        limit=limit.limit,
        rule=limit.rule,
        holds=limit.holds,
        note=limit.note,
        observed=interval_of(limit.observed),
        control=None if control is None else interval_of(control),
        bound=limit.bound,
        at=limit.at,
        remarks=remarks,
    )
