"""What is known of one bias test after it ran, as plain data that travels between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.metrics.gap_measurement import GapMeasurement

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.regression import Change
    from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.searching import Searched


@dataclass(frozen=True)
class LimitRecord:
    """One limit and the observed value, NaN where that is undefined; and what to say about the verdict.

    `holds` is None where it was not decided; `control` is the control model's value, of which this is the excess.
    """

    metric: str
    limit: float
    observed: float
    holds: bool | None
    note: str = ""
    control: float | None = None


@dataclass(frozen=True)
class BaselineRecord:
    """A measurement beside the accepted one.

    Attributes
    ----------
    key
        The place of the entry: test and case.
    problem
        Why it was not compared, if it was not.
    missing
        The limited metrics that the accepted measurement lacks.
    changes
        How the others changed.
    highlights, newly_flipped
        Where one is worse, what stands out and the first images that flip now and did not before, in words.
    entry
        The measurement as an entry, where it may be written.
    """

    key: Sequence[str]
    problem: str = ""
    missing: Sequence[str] = ()
    changes: Sequence[Change] = ()
    highlights: str = ""
    newly_flipped: Sequence[str] = ()
    entry: dict[str, Any] | None = None


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
        The number of predictions that the measurement rests on.
    computed
        How many of them were computed for it; the others came from the store.
    seen, total
        How many images were looked at, of how many.
    baseline
        What became of it beside the accepted measurement, if that was asked for.
    """

    asr: float | None = None
    skew: float | None = None
    limits: Sequence[LimitRecord] = ()
    images: int = 0
    computed: int = 0
    seen: int = 0
    total: int = 0
    baseline: BaselineRecord | None = None

    def to_json(self) -> str:
        """Return the record as text: execnet cannot carry numpy's numbers, and a failure to carry one is silent."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        content["limits"] = tuple(LimitRecord(**limit) for limit in content["limits"])
        if content["baseline"] is not None:
            content["baseline"] = _baseline_from(content["baseline"])
        return cls(**content)


def _baseline_from(content: dict[str, Any]) -> BaselineRecord:
    from pytest_biastransfer.judgement.regression import Change

    return BaselineRecord(**content | {"changes": tuple(Change(**change) for change in content["changes"])})


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
    )


def of_search(record: Record, searched: Searched) -> Record:
    """Return the record of the worst intervention that a search found, with what the whole search took."""
    found = searched.found
    tried = f"{'worst of' if all(limit.holds for limit in record.limits) else 'found among'} {found.tried}"
    limits = [replace(limit, note=", ".join(filter(None, (tried, limit.note)))) for limit in record.limits]
    return replace(record, limits=tuple(limits), images=searched.predictions, computed=searched.computed)


def _value(measurement: Measurement | GapMeasurement, metric: str) -> float | None:
    return float(measurement.estimates[metric]) if metric in measurement.estimates else None


def _limit_record(measurement: Measurement | GapMeasurement, limit: LimitVerdict) -> LimitRecord:
    base = limit.metric.removesuffix("_excess")
    compared = measurement.control if base != limit.metric else None
    control = None if compared is None else float(compared.estimates[base])
    worst = ""
    if isinstance(measurement, GapMeasurement) and limit.metric == "gap":
        worst = f"worst {measurement.worst}"
    note = ", ".join(filter(None, (worst, limit.note)))
    return LimitRecord(limit.metric, limit.limit, float(limit.observed), limit.holds, note, control)
