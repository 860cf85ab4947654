"""Texts about accepted seeds of one training: their figures, what one alone cannot tell, and what was not added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plain_text import command_line
from pytest_biastransfer.reporting.summary_table import Line

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison
    from pytest_biastransfer.baseline.metric_change import MetricChange
    from pytest_biastransfer.reporting.report import ReportedChange

ONE_CHECKPOINT: Final = (
    "compared with one accepted checkpoint: another seed of the same training can differ as much; accept several with "
    "--bias-update=add"
)
ONE_REPORT: Final = (
    "each report has one checkpoint: another seed of the same training can differ as much; a baseline of several, "
    "which --bias-update=add makes, tells whether that is so"
)
_IN_PLACE: Final = "--bias-update=all"


def seeds_text(change: MetricChange | ReportedChange) -> str:
    """Return how many seeds a change is since, and their lowest and highest figure; empty if there are not several.

    >>> from pytest_biastransfer.baseline.metric_change import MetricChange
    >>> seeds_text(MetricChange("asr", 0.144, 0.19, 0.02, 0.0, None, None, True, seeds=(0.139, 0.151, 0.143)))
    '3 accepted seeds: 0.139 to 0.151'
    """
    if not change.seeds:
        return ""
    return f"{len(change.seeds)} accepted seeds: {min(change.seeds):.3f} to {max(change.seeds):.3f}"


def acceptance_text(comparison: BaselineComparison) -> str:
    """Return what accepting the measurement of a test does, for the message of its regression."""
    seeds = max((len(change.seeds) for change in comparison.changes("regression")), default=0)
    return f"If this is meant, accept it in place of the {seeds} seeds" if seeds else "If this is meant, accept it"


def is_told_by_one_checkpoint(comparison: BaselineComparison) -> bool:
    """Whether a test got worse since one checkpoint, and another one was measured."""
    return comparison.record.of_another_checkpoint and comparison.meaning == "regression"


def not_added_line(test: str, reason: str, *, can_replace: bool) -> Line:
    """Return the line of a measurement that was to be a further seed; `can_replace` is false of one never accepted."""
    command = command_line(["pytest", _IN_PLACE, test])
    advice = f"; to accept it in place of the entry: {command}" if can_replace else ""
    return Line(f"  {test}: not added as a further seed: {reason}{advice}", color="yellow")
