"""What the page says first of a test: whether it failed, is worse than its baseline, or only just holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_biastransfer.reporting.figures import Limit
from pytest_biastransfer.reporting.outcomes import FAILED, Outcome
from pytest_biastransfer.reporting.report import Details, ReportedChange, Result, Shares

_STANDINGS: Final = ("regression", "not comparable", "improvement", "tolerated", "unchanged", "new")


# The worst first. What is above its limit, though expected to be, comes before what holds.
_ORDER: Final[Sequence[Outcome]] = ("failed", "error", "lost", "xpassed", "xfailed", "passed", "skipped")


def outcome_rank(outcome: Outcome) -> int:
    """Return a sort key for outcomes, the worst first."""
    return _ORDER.index(outcome)


def exceeds(test: Result) -> bool:
    """Whether a limit of a test does not hold, whatever its outcome: it may be expected to fail."""
    return any(limit.holds is False for limit in test.limits)


def leading_limit(test: Result) -> Limit | None:
    """Return the limit that stands for a test: the first that does not hold, or else the first."""
    broken = [limit for limit in test.limits if limit.holds is False]
    return next(iter([*broken, *test.limits]), None)


def has_failed(test: Result) -> bool:
    """Whether a test demands action, whatever its baseline says."""
    return test.outcome in FAILED


def is_worse(test: Result) -> bool:
    """Whether a test is significantly worse than what was accepted."""
    return test.standing == "regression"


def was_compared(test: Result) -> bool:
    """Whether a test was compared with its baseline; otherwise its standing says why not."""
    return test.standing in _STANDINGS and test.standing != "new"


def regressions(test: Result) -> Sequence[ReportedChange]:
    """Return the metrics that got worse since they were accepted."""
    return [change for change in test.changes if change.meaning == "regression"]


def most_serious(test: Result, limit: Limit | None) -> ReportedChange | None:
    """Return the change of a limit's metric, or a more serious one; None if the test has no changes."""
    changes = test.changes
    if limit is not None:
        changes = [*(change for change in changes if change.metric == limit.metric), *changes]
    # The sort is stable: among equally serious changes, that of the limit's metric comes first.
    return next(iter(sorted(changes, key=_seriousness)), None)


def _seriousness(change: ReportedChange) -> int:
    """Return a sort key: regressions come first, unknown standings last."""
    return _STANDINGS.index(change.meaning) if change.meaning in _STANDINGS else len(_STANDINGS)


def only_just(test: Result) -> Sequence[Limit]:
    """Return the limits that hold within noise: other images may have another verdict."""
    return [limit for limit in test.limits if limit.holds and limit.is_within_noise]


def only_just_broken(test: Result) -> Sequence[Limit]:
    """Return the limits that do not hold, and for which other images may have another verdict."""
    return [limit for limit in test.limits if limit.holds is False and limit.is_within_noise]


def gained_class(test: Result) -> str:
    """Return the class that the intervention makes the model predict more often than any other; empty if none is."""
    shares = None if test.details is None else shares_of_model(test.details)
    if shares is None:
        return ""
    gains = [after - before for before, after in zip(shares.before, shares.after, strict=True)]
    return shares.classes[gains.index(max(gains))] if gains and max(gains) > 0 else ""


def shares_of_model(details: Details) -> Shares | None:
    """Return the distribution of the model under test; None if the report has none."""
    of_model = [shares for shares in details.shares if shares.role not in ("source", "control")]
    # A test of the source model itself has that model's distribution alone.
    return next(iter([*of_model, *details.shares]), None)
