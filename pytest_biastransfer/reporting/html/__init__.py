"""A report as one HTML page that stands alone: it loads nothing, and can be read without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report

__all__ = ["render_html", "render_trend"]


def render_html(report: Report) -> str:
    """Return the page of a report: failures and regressions, a table of all tests, and each test with its images.

    The same report gives the same text. UTF-8 can encode it, whatever characters the report's names have.
    """
    from pytest_biastransfer.reporting.html.page import page

    return page(report)


def render_trend(reports: Sequence[Report]) -> str:
    """Return the page that draws each metric of each test over several runs, in the order of their start."""
    from pytest_biastransfer.reporting.html.trend import trend

    return trend(reports)
