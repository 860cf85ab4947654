"""The page of two reports side by side: what differs in a table and a plot, and the images that flip in one only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.change_text import change_text
from pytest_biastransfer.reporting.comparison import ComparedTest, ReportComparison
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html.anchors import anchors
from pytest_biastransfer.reporting.html.charts import Point, points_of_pair
from pytest_biastransfer.reporting.html.galleries import ImageView, fitting_views
from pytest_biastransfer.reporting.html.glossary import glossary
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.performance import titled
from pytest_biastransfer.reporting.report import Report, ReportedChange, Shown
from pytest_biastransfer.reporting.seed_text import ONE_REPORT, is_told_by_one_checkpoint
from pytest_biastransfer.reporting.verdict_of_two import Tone, verdict_of_two, verdict_on

# The most indices of images that have no pictures.
_MOST_INDICES: Final = 20


@dataclass(frozen=True)
class MetricPair:
    """A metric in both reports.

    Attributes
    ----------
    name
        The metric.
    before, now
        Its values; None where it was not measured.
    difference
        The later value minus the earlier one; None if one is undefined.
    change
        The test of the difference; None if there is none.
    limit
        The limit of the later report, or else of the earlier one; None if the metric has no limit.
    points
        Both values on the axis of the table.
    limit_at
        The position of the limit.
    """

    name: str
    before: Interval | None
    now: Interval | None
    difference: float | None
    change: ReportedChange | None
    limit: Limit | None
    points: Sequence[Point]
    limit_at: float | None


@dataclass(frozen=True)
class MetricTable:
    """Metrics on one axis; `ticks` are the axis' labelled values."""

    pairs: Sequence[MetricPair]
    ticks: Sequence[Tick]


@dataclass(frozen=True)
class ComparedGallery:
    """The images that flip in the report `name` and not in `other`.

    Attributes
    ----------
    name, other
        The names of the reports.
    flips
        The number of all of them.
    indices
        The first indices in the dataset.
    images
        Those that the report shows, as many as the page has room for.
    left_out
        The number of images that the report shows, and that there was no room for.
    has_pictures
        Whether the report has pictures of the test, of these images or of others.
    """

    name: str
    other: str
    flips: int
    indices: Sequence[int]
    images: Sequence[ImageView]
    left_out: int
    has_pictures: bool

    @property
    def compares(self) -> bool:
        """Whether there are clean and intervened pictures to compare."""
        return any(view.changed for view in self.images)


@dataclass(frozen=True)
class ComparedSection:
    """A test as the page shows it.

    Attributes
    ----------
    test
        The test in both reports.
    anchor
        The fragment of its address, which is the id of its section.
    tone, verdict
        The style sheet's class, and what the comparison says, in a few words.
    limited, unlimited
        The metrics with a limit, and those without one.
    galleries
        The images that flip in one report only.
    """

    test: ComparedTest
    anchor: str
    tone: Tone
    verdict: str
    limited: MetricTable
    unlimited: MetricTable
    galleries: Sequence[ComparedGallery]

    @property
    def clearest(self) -> ReportedChange | None:
        """The change that is the least likely by chance, of those that got worse or else better; None without one."""
        for meaning in ("regression", "improvement"):
            changes = [change for change in self.test.changes if change.meaning == meaning]
            if changes:
                return min(changes, key=lambda change: change.p)
        return None

    @property
    def remarks(self) -> Sequence[ReportedChange]:
        """The changes of which there is more to say than the table of metrics shows."""
        return [
            change
            for change in self.test.changes
            if change.at or (change.meaning != "unchanged" and change_text(change) != change_text(_tabulated(change)))
        ]


def _tabulated(change: ReportedChange) -> ReportedChange:
    """Return what the table of metrics shows of a change: both values, and p."""
    return ReportedChange(change.metric, change.before, change.now, change.p, None, None, True, change.meaning)


@dataclass(frozen=True)
class Side:
    """One of the two reports: its name, its start, and its models on unchanged images."""

    name: str
    started: str
    models: Sequence[str]
    environment: Sequence[tuple[str, str]]


def comparison_page(comparison: ReportComparison) -> str:
    """Return the page."""
    verdict = verdict_of_two(comparison)
    # Those that differ get their pictures first.
    tests = sorted(comparison.tests, key=lambda test: not test.differs)
    series = [_shown(test) for test in tests]
    pictures, views = fitting_views([images for pair in series for images in pair], range(2 * len(tests)))
    view_pairs = zip(views[::2], views[1::2], strict=True)
    sections = sorted(
        (
            _section(test, address, _galleries(test, comparison.names, shown, fitting))
            for test, address, shown, fitting in zip(
                tests, anchors([test.name for test in tests]), series, view_pairs, strict=True
            )
        ),
        key=_rank,
    )
    return rendered(
        "comparison.html.j2",
        glossary(result for test in tests for result in (test.before, test.now) if result is not None),
        title=f"Bias comparison: {verdict.text}",
        verdict=verdict,
        sides=[_side(*side) for side in zip(comparison.names, (comparison.old, comparison.new), strict=True)],
        different=[section for section in sections if section.test.differs],
        equal=[section for section in sections if not section.test.differs],
        names=comparison.names,
        lost=comparison.lost_accuracies,
        alpha=comparison.new.alpha,
        remark=ONE_REPORT if any(map(is_told_by_one_checkpoint, comparison.comparisons)) else "",
        pictures_of_page=pictures,
    )


def _shown(test: ComparedTest) -> tuple[Sequence[Shown], Sequence[Shown]]:
    """Return the images that flip in the earlier and in the later report only, as far as the reports show them."""
    if test.flips is None:
        return (), ()
    # Whether an image is new to a baseline says nothing of the other report.
    before, now = ([replace(image, new=None) for image in flips.shown] for flips in test.flips)
    return before, now


def _galleries(
    test: ComparedTest,
    names: tuple[str, str],
    shown: tuple[Sequence[Shown], Sequence[Shown]],
    views: tuple[Sequence[ImageView], Sequence[ImageView]],
) -> Iterator[ComparedGallery]:
    if test.flips is None:
        return
    results = test.before, test.now
    for flips, result, name, other, images, fitting in zip(
        test.flips, results, names, names[::-1], shown, views, strict=True
    ):
        if flips.images:
            yield ComparedGallery(
                name=name,
                other=other,
                flips=len(flips.images),
                indices=flips.images[:_MOST_INDICES],
                images=fitting,
                left_out=len(images) - len(fitting),
                has_pictures=result is not None
                and result.details is not None
                and any(image.clean is not None for image in result.details.shown),
            )


def _rank(section: ComparedSection) -> tuple[int, float]:
    """Return a sort key: worse ones first, then by the size of the largest difference."""
    largest = max((abs(pair.difference) for pair in section.limited.pairs if pair.difference is not None), default=0.0)
    return ("bad", "good", "odd", "quiet").index(section.tone), -largest


def _side(name: str, report: Report) -> Side:
    session = report.sessions[0] if report.sessions else None
    models = [f"{title}: {performance.figures}" for title, performance in titled(report.performances)]
    environment = [] if session is None else [*session.environment.items()]
    return Side(name, "" if session is None else session.started, models, environment)


def _section(test: ComparedTest, address: str, galleries: Iterator[ComparedGallery]) -> ComparedSection:
    limits = _limits(test)
    measured = dict.fromkeys(name for result in (test.now, test.before) if result for name in result.intervals)
    tone, verdict = verdict_on(test)
    return ComparedSection(
        test=test,
        anchor=address,
        tone=tone,
        verdict=verdict,
        limited=_metrics(test, [*limits]),
        unlimited=_metrics(test, [name for name in measured if name not in limits]),
        galleries=[*galleries],
    )


def _metrics(test: ComparedTest, metrics: Sequence[str]) -> MetricTable:
    """Return some metrics of a test on one axis."""
    limits = _limits(test)
    before, now = ({} if result is None else result.intervals for result in (test.before, test.now))
    changes = {change.metric: change for change in test.changes if not change.at}
    intervals = [measured[name] for name in metrics for measured in (before, now) if name in measured]
    ends = [end for interval in intervals for end in (interval.value, interval.low, interval.high)]
    axis = axis_over([*ends, *(limits[name].limit for name in metrics if name in limits)])
    pairs = [
        _pair(name, before.get(name), now.get(name), changes.get(name), limits.get(name), axis) for name in metrics
    ]
    return MetricTable(pairs, axis.ticks)


def _limits(test: ComparedTest) -> dict[str, Limit]:
    """Return the limits of a test by metric; the later report replaces those of the earlier one."""
    return {limit.metric: limit for result in (test.before, test.now) if result for limit in result.limits}


def _pair(
    name: str,
    before: Interval | None,
    now: Interval | None,
    change: ReportedChange | None,
    limit: Limit | None,
    axis: Axis,
) -> MetricPair:
    values = [None if interval is None else interval.value for interval in (before, now)]
    difference = None if values[0] is None or values[1] is None else values[1] - values[0]
    limit_at = None if limit is None else axis.at(limit.limit)
    return MetricPair(name, before, now, difference, change, limit, points_of_pair(before, now, axis), limit_at)
