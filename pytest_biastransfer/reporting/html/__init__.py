"""A report as one HTML page that needs nothing else: no network, no other file, and no JavaScript to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report

__all__ = ["render_html", "render_trend"]


def render_html(report: Report) -> str:
    """Return the page of a report: what got worse, all tests in a table, and each test with its figures and images.

    The same report gives the same text. It may be written in UTF-8 whatever the report's names are made of.
    """
    from pytest_biastransfer.reporting.html.page import page

    return page(report)


def render_trend(reports: Sequence[Report]) -> str:
    """Return the page that draws each metric of each test over runs; the runs in the order in which they started."""
    from pytest_biastransfer.reporting.html.trend import trend

    return trend(reports)
