"""A report, or two side by side, as GitHub's and GitLab's Markdown: for a job's summary, and for a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.comparison import ReportComparison
    from pytest_biastransfer.reporting.image_strips import ImageStrips
    from pytest_biastransfer.reporting.report import Report

__all__ = ["render_comparison_markdown", "render_markdown"]


def render_markdown(report: Report, strips: ImageStrips | None = None) -> str:
    """Return a report as Markdown of at most 65,536 characters, which is what GitHub allows a comment.

    Its first line is a marker that is not shown: a job finds the comment by it and updates it in place. The same
    results give the same text, whatever was cached. With `strips`, it links to strips of flipped images, which are
    drawn there.
    """
    from pytest_biastransfer.reporting.markdown.summary import summary

    return summary(report, strips)


def render_comparison_markdown(comparison: ReportComparison, strips: ImageStrips | None = None) -> str:
    """Return two reports side by side as Markdown, with the same limits and the same marker as `render_markdown`."""
    from pytest_biastransfer.reporting.markdown.comparison import comparison_text

    return comparison_text(comparison, strips)
