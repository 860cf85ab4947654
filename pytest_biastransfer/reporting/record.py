"""What is known of one bias test after it ran, as plain data that travels between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.measurement import Measurement


@dataclass(frozen=True)
class LimitRecord:
    """One limit and the observed value; NaN where that is undefined."""

    metric: str
    limit: float
    observed: float
    holds: bool


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
    """

    asr: float | None = None
    skew: float | None = None
    limits: Sequence[LimitRecord] = ()
    images: int = 0
    computed: int = 0

    def to_json(self) -> str:
        """Return the record as text: execnet cannot carry numpy's numbers, and a failure to carry one is silent."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Return the record that `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        content["limits"] = tuple(LimitRecord(**limit) for limit in content["limits"])
        return cls(**content)


def record_of(measurement: Measurement, verdict: Verdict | None) -> Record:
    """Return the record of a measured test; `verdict` is None if its limits were not judged."""
    models = 1 if measurement.control is None else 2
    return Record(
        asr=float(measurement.asr),
        skew=float(measurement.skew),
        limits=tuple(
            LimitRecord(limit.metric, limit.limit, float(limit.observed), limit.holds)
            for limit in (verdict.limits if verdict else ())
        ),
        images=2 * models * measurement.n,
        computed=measurement.computed,
    )
