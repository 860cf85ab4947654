"""The page of one report: what it shows, and the order of its tests."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.reporting.html.anchors import anchors
from pytest_biastransfer.reporting.html.filters import filters
from pytest_biastransfer.reporting.html.galleries import galleries
from pytest_biastransfer.reporting.html.glossary import glossary
from pytest_biastransfer.reporting.html.headline import (
    alpha_over_time,
    compared,
    headline,
    outcome_counts,
    page_title,
    subjects,
)
from pytest_biastransfer.reporting.html.heat import level_names
from pytest_biastransfer.reporting.html.name_parts import name_parts
from pytest_biastransfer.reporting.html.scorecard import DISTANCES, scorecard
from pytest_biastransfer.reporting.html.sections import TestSection, sections_of
from pytest_biastransfer.reporting.html.states import has_failed, is_worse, outcome_rank
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.html.wording import command
from pytest_biastransfer.reporting.performance import titled
from pytest_biastransfer.reporting.report import Report

# The most tests at the top of the page; the sections below have all of them.
ON_TOP: Final = 12
MOST_BRIEF: Final = 5
# With more failed tests than this, the page shows the command that runs all bias tests.
_MOST_REPEATED: Final = 20


def page(report: Report) -> str:
    """Return the page."""
    parts = name_parts(report.tests)
    addresses = anchors([test.name for test in report.tests])
    all_filters = filters(report, parts)
    pictures, views = galleries(report.tests)
    sections = sections_of(report, addresses, all_filters, views)
    worst = sorted(sections, key=_severity)
    worse = [section for section in worst if section.worse]
    failing = [section.test.name for section in worst if has_failed(section.test)]
    named = failing if len(failing) <= _MOST_REPEATED else []
    verdict, counts, tested = headline(report), outcome_counts(report.tests), subjects(report)
    return rendered(
        "page.html.j2",
        glossary(report.tests),
        title=page_title(verdict, counts, tested),
        report=report,
        verdict=verdict,
        subjects=tested,
        counts=counts,
        regressions=sum(map(is_worse, report.tests)),
        performances=list(titled(report.performances)),
        score=scorecard(report.tests, parts, addresses),
        distances=DISTANCES,
        regressed=[section for section in worst if is_worse(section.test)],
        close=[section for section in worst if section.only_just and not has_failed(section.test)],
        most_brief=MOST_BRIEF,
        filters=all_filters,
        sections=sections,
        pictures_of_page=pictures,
        heat_levels=level_names(),
        worst=worst,
        worse=worse[:ON_TOP],
        more_worse=len(worse[ON_TOP:]),
        compared=compared(report.tests),
        over_time=alpha_over_time(report.tests),
        named=named,
        # Names of many tests would make a command longer than shells accept.
        repeat=command(named) if named else command([], "--bias-only"),
    )


def _severity(section: TestSection) -> tuple[int, bool, float, int]:
    """Return a sort key, the worst first: by outcome, then regressions, then by the distance above the limit."""
    excess = 0.0
    if section.leading is not None and section.leading.observed.value is not None:
        excess = section.leading.exceeded_by
    return outcome_rank(section.test.outcome), section.test.standing != "regression", -excess, section.number
