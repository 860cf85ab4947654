"""The page of two reports side by side: what differs in a table and a plot, and the images that flip in one only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.comparison import ComparedTest, FlipsOfOne, ReportComparison
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html.anchors import anchors
from pytest_biastransfer.reporting.html.galleries import PIXELATED
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.image_strips import MOST_IMAGES, pair_file, with_pictures
from pytest_biastransfer.reporting.performance import titled
from pytest_biastransfer.reporting.report import Report, ReportedChange, Result, Shown
from pytest_biastransfer.reporting.seed_text import ONE_REPORT, is_told_by_one_checkpoint
from pytest_biastransfer.reporting.verdict_of_two import Tone, verdict_of_two, verdict_on

# After so many characters of pictures, tests have none: the page stays below 8 MB.
_MOST_PICTURES: Final = 5_000_000


@dataclass(frozen=True)
class Mark:
    """A value on an axis: its position and those of the ends of its interval, in per cent; None where undefined."""

    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricPair:
    """A metric in both reports.

    Attributes
    ----------
    name
        The metric, and of a ladder the strength.
    before, now
        Its values; None where it was not measured.
    difference
        The later value minus the earlier one; None if one is undefined.
    change
        The test of the difference; None if there is none.
    limit
        The limit of the later report, or else of the earlier one; None if the metric has no limit.
    marks
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
    marks: tuple[Mark, Mark]
    limit_at: float | None


@dataclass(frozen=True)
class MetricTable:
    """Metrics on one axis; `ticks` are the axis' labelled values."""

    pairs: Sequence[MetricPair]
    ticks: Sequence[Tick]


@dataclass(frozen=True)
class FlippedImage:
    """An image that flips in one report only, with the address of its picture; the address is empty without one."""

    shown: Shown
    source: str


@dataclass(frozen=True)
class ComparedGallery:
    """The images that flip in the report `name` and not in `other`.

    Attributes
    ----------
    name, other
        The names of the reports.
    images, indices
        The number of all of them, and the first indices in the dataset.
    shown
        Those that the report shows.
    pixelated
        Whether the pictures have few pixels.
    """

    name: str
    other: str
    images: int
    shown: Sequence[FlippedImage]
    indices: Sequence[int]
    pixelated: bool


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
    limited, others
        The limited metrics, and all others.
    galleries
        The images that flip in one report only.
    """

    test: ComparedTest
    anchor: str
    tone: Tone
    verdict: str
    limited: MetricTable
    others: MetricTable
    galleries: Sequence[ComparedGallery]


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
    ordered = sorted(_sections(comparison), key=_rank)
    return rendered(
        "comparison.html.j2",
        title=f"Bias comparison: {verdict.text}",
        verdict=verdict,
        sides=[_side(*one) for one in zip(comparison.names, (comparison.old, comparison.new), strict=True)],
        different=[section for section in ordered if section.test.differs],
        equal=[section for section in ordered if not section.test.differs],
        names=comparison.names,
        lost=comparison.lost_accuracies,
        alpha=comparison.new.alpha,
        remark=ONE_REPORT if any(map(is_told_by_one_checkpoint, comparison.comparisons)) else "",
    )


def _sections(comparison: ReportComparison) -> Iterator[ComparedSection]:
    """Yield the tests as sections; those that differ come first, and get their pictures first."""
    remaining = _MOST_PICTURES
    ordered = sorted(comparison.tests, key=lambda test: not test.differs)
    for test, address in zip(ordered, anchors([test.name for test in ordered]), strict=True):
        section = _section(test, address, comparison.names, draws=remaining > 0)
        remaining -= sum(len(image.source) for gallery in section.galleries for image in gallery.shown)
        yield section


def _rank(section: ComparedSection) -> tuple[int, float]:
    """Return a sort key: worse ones first, then by the size of the largest difference."""
    largest = max((abs(pair.difference) for pair in section.limited.pairs if pair.difference is not None), default=0.0)
    return ("bad", "good", "odd", "quiet").index(section.tone), -largest


def _side(name: str, report: Report) -> Side:
    session = report.sessions[0] if report.sessions else None
    models = [f"{title}: {performance.figures}" for title, performance in titled(report.performances)]
    environment = [] if session is None else [*session.environment.items()]
    return Side(name, "" if session is None else session.started, models, environment)


def _section(test: ComparedTest, address: str, names: tuple[str, str], *, draws: bool) -> ComparedSection:
    limits = _limits(test)
    measured = dict.fromkeys(name for one in (test.now, test.before) for name in _intervals(one))
    tone, verdict = verdict_on(test)
    return ComparedSection(
        test=test,
        anchor=address,
        tone=tone,
        verdict=verdict,
        limited=_metrics(test, [*limits]),
        others=_metrics(test, [name for name in measured if name not in limits]),
        galleries=_galleries(test, names, draws=draws),
    )


def _metrics(test: ComparedTest, metrics: Sequence[str]) -> MetricTable:
    """Return some metrics of a test on one axis."""
    limits = _limits(test)
    before, now = (_intervals(one) for one in (test.before, test.now))
    changes = {change.metric: change for change in test.changes if not change.at}
    intervals = [one for name in metrics for one in (before.get(name), now.get(name)) if one is not None]
    ends = [end for one in intervals for end in (one.value, one.low, one.high)]
    axis = axis_over([*ends, *(limits[name].limit for name in metrics if name in limits)])
    pairs = [
        _pair(name, before.get(name), now.get(name), changes.get(name), limits.get(name), axis) for name in metrics
    ]
    return MetricTable(pairs, axis.ticks)


def _limits(test: ComparedTest) -> dict[str, Limit]:
    """Return the limits of a test by metric; the later report replaces those of the earlier one."""
    return {limit.metric: limit for one in (test.before, test.now) if one is not None for limit in one.limits}


def _intervals(test: Result | None) -> dict[str, Interval]:
    if test is None:
        return {}
    details = {} if test.details is None else test.details.metrics
    return {**details, **{limit.metric: limit.observed for limit in test.limits}}


def _pair(
    name: str,
    before: Interval | None,
    now: Interval | None,
    change: ReportedChange | None,
    limit: Limit | None,
    axis: Axis,
) -> MetricPair:
    values = [None if one is None else one.value for one in (before, now)]
    difference = None if values[0] is None or values[1] is None else values[1] - values[0]
    limit_at = None if limit is None else axis.at(limit.limit)
    return MetricPair(name, before, now, difference, change, limit, (_mark(before, axis), _mark(now, axis)), limit_at)


def _mark(interval: Interval | None, axis: Axis) -> Mark:
    ends = (None, None, None) if interval is None else (interval.value, interval.low, interval.high)
    return Mark(*(None if end is None else axis.at(end) for end in ends))


def _galleries(test: ComparedTest, names: tuple[str, str], *, draws: bool) -> list[ComparedGallery]:
    if test.flips is None:
        return []
    return [
        ComparedGallery(
            name, other, len(flips.images), _pictured(flips) if draws else [], flips.images[:20], _is_small(flips)
        )
        for flips, name, other in zip(test.flips, names, names[::-1], strict=True)
        if flips.images
    ]


def _is_small(flips: FlipsOfOne) -> bool:
    """Return whether the browser enlarges the pictures pixel by pixel, as on the page of one report."""
    pictures = [image.clean for image in flips.shown if image.clean is not None]
    return bool(pictures) and max(max(picture.width, picture.height) for picture in pictures) < PIXELATED


def _pictured(flips: FlipsOfOne) -> list[FlippedImage]:
    """Return the images that a report shows, with their pictures if it has some."""
    drawn = with_pictures(flips.shown)
    if drawn:
        return [FlippedImage(image, pair_file(image)) for image in drawn]
    return [FlippedImage(image, "") for image in flips.shown[:MOST_IMAGES]]
