"""The result of one bias test: its outcome, its limits, the comparison with the baseline, its details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_biastransfer.baseline.history import OverTime
from pytest_biastransfer.baseline.near_ties import WithinRounding
from pytest_biastransfer.reporting.curves import Curves
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report.details import Details


@dataclass(frozen=True)
class ReportedChange:
    """How a metric changed since it was accepted; see `pytest_biastransfer.baseline.metric_change.MetricChange`."""

    metric: str
    before: float
    now: float
    p: float
    newly: int | None
    no_longer: int | None
    same_images: bool
    meaning: str
    p_of_change: float | None = None
    tested_tolerance: float = 0.0
    common_images: int | None = None
    over_time: OverTime | None = None
    seeds: Sequence[float] = ()
    within_rounding: WithinRounding | None = None
    at: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one bias test.

    Attributes
    ----------
    name
        Its name, as one types it after ``pytest``.
    file, line
        The test's file, relative to the root directory, and its line; lines count from 1, and 0 is unknown.
    outcome
        pytest's outcome, or ``"lost"`` if the process that ran it ended before the test did.
    seconds
        Its duration.
    message
        Why it failed, was skipped or is expected to fail; empty if it passed.
    images, total
        The number of images that were evaluated, and of all images; 0 if nothing was measured.
    limits
        The judged limits.
    curves
        Of a ladder, each limited metric at each strength; None for any other test.
    standing
        The comparison with the baseline: ``"regression"``, ``"improvement"``, ``"unchanged"``; ``"not comparable"`` for
        an improvement of a model whose accuracy is lower; ``"new"`` without an accepted measurement; a reason why the
        test was not compared; or empty if the session compares with no baseline.
    changes
        How its metrics changed.
    notes
        Further results of the test, such as an attribution, as text of several lines.
    findings
        The figures of these results.
    stale
        The stale predictions of the store that were met and computed again.
    details
        The measurement; None if nothing was measured.
    key, entry
        The key and the entry that a baseline would hold; ``biastransfer compare`` compares the entries of two reports.
    max_regression, max_accuracy_regression
        By how much each limited metric, and the accuracy without an intervention, may become worse.
    session
        The position of its session among those of the report, from 0.
    """

    name: str
    file: str
    line: int
    outcome: Outcome
    seconds: float
    message: str = ""
    images: int = 0
    total: int = 0
    limits: Sequence[Limit] = ()
    standing: str = ""
    changes: Sequence[ReportedChange] = ()
    notes: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    stale: Sequence[str] = ()
    details: Details | None = None
    key: Sequence[str] | None = None
    entry: Mapping[str, Any] | None = None
    max_regression: float = 0.0
    max_accuracy_regression: float = 0.0
    curves: Curves | None = None
    session: int = 0

    @property
    def metrics(self) -> Sequence[str]:
        """The limited metrics; of a limit on a mean over strengths, the metric itself."""
        return [judged.metric for judged in (self.limits if self.curves is None else self.curves.curves)]

    @property
    def intervals(self) -> Mapping[str, Interval]:
        """All metrics of the model under test, as the limits judge them where they do."""
        measured = {} if self.details is None else self.details.metrics
        return {**measured, **{limit.metric: limit.observed for limit in self.limits}}
