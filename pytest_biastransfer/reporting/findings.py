"""What a test found out besides its verdict, as plain data: one figure in several cases, such as an attribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.reporting.figures import Interval, interval_of

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class Finding:
    """A figure in several cases.

    Attributes
    ----------
    question
        The name of the figure.
    cases
        The figure with its interval, by the name of the case: where a model comes from, or a level of a change.
    limit
        The limit of the figure, if there is one.
    """

    question: str
    cases: Mapping[str, Interval]
    limit: float | None = None


def finding_of(question: str, cases: Mapping[str, Estimate], limit: float | None = None) -> Finding:
    """Return estimates as a finding."""
    return Finding(question, {name: interval_of(estimate) for name, estimate in cases.items()}, limit)
