"""A report as one HTML page that stands alone: it loads nothing, and can be read without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.comparison import ReportComparison
    from pytest_biastransfer.reporting.report import Report

__all__ = ["render_comparison", "render_html", "render_trend"]


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


def render_comparison(comparison: ReportComparison) -> str:
    """Return the page of two reports side by side: what differs, and the images that flip in one of them only."""
    from pytest_biastransfer.reporting.html.comparison import comparison_page

    return comparison_page(comparison)
