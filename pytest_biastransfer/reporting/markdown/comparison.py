"""Two reports side by side as Markdown: what differs in a table, images that flip in one only, and the rest folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.reporting.change_text import change_text
from pytest_biastransfer.reporting.markdown.failure import strip
from pytest_biastransfer.reporting.markdown.headline import SIGNS, TITLE
from pytest_biastransfer.reporting.markdown.markup import MARKER, code, document, escaped, fitting, folded, in_cell
from pytest_biastransfer.reporting.markdown.sections import MOST_OTHERS, table_of_tests, unchanged_images
from pytest_biastransfer.reporting.verdict_of_two import verdict_of_two, verdict_on
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.comparison import ComparedTest, FlipsOfOne, ReportComparison
    from pytest_biastransfer.reporting.image_strips import ImageStrips
    from pytest_biastransfer.reporting.report import Result

# The most characters of each section.
_MOST_LOST: Final = 3_000
_MOST_DIFFERENT: Final = 22_000
_MOST_FLIPS: Final = 19_000
_MOST_LISTED: Final = 8


def comparison_text(comparison: ReportComparison, strips: ImageStrips | None) -> str:
    """Return the document; see `render_comparison_markdown`."""
    return document(_lines(comparison, strips), map(list, _folded_rest(comparison)))


def _lines(comparison: ReportComparison, strips: ImageStrips | None) -> Iterator[str]:
    verdict = verdict_of_two(comparison)
    yield MARKER
    yield f"## {SIGNS[verdict.tone]} {TITLE}: {verdict.text}"
    yield ""
    yield f"{code(comparison.names[0])} beside {code(comparison.names[1])}. {verdict.counts}."
    lost = comparison.lost_accuracies
    for lines in fitting(
        (["", f"{escaped(change.subject)}: {escaped(change_text(change))}."] for change in lost), _MOST_LOST
    ):
        yield from lines
    if lost:
        yield ""
        yield "A lower accuracy makes biases incomparable."
    different = sorted((test for test in comparison.tests if test.differs), key=_importance)
    if different:
        yield ""
        yield from _table(comparison, different, _MOST_DIFFERENT)
    flipping = [test for test in different if test.flips is not None and any(flips.images for flips in test.flips)]
    sections = fitting((list(_flips(comparison, test, strips)) for test in flipping), _MOST_FLIPS)
    for lines in sections:
        yield from lines
    if len(sections) < len(flipping):
        yield ""
        yield f"{counted(len(flipping) - len(sections), 'more test')} with images that flip in one of them only."


def _folded_rest(comparison: ReportComparison) -> Iterator[Iterator[str]]:
    """Yield the lines of each section that is of use only to some readers."""
    yield unchanged_images(list(zip(comparison.names, (comparison.old, comparison.new), strict=True)))
    yield _same(comparison, [test for test in comparison.tests if not test.differs])


def _same(comparison: ReportComparison, tests: Sequence[ComparedTest]) -> Iterator[str]:
    if tests:
        yield ""
        title = f"{counted(len(tests), 'test')} without a difference"
        yield from folded(title, _table(comparison, tests, MOST_OTHERS))


def _importance(test: ComparedTest) -> int:
    """Return a sort key: worse, newly failing, better, and then what is in one report only."""
    ranks = (test.is_worse, test.newly_fails, test.comparison is not None)
    return next((rank for rank, holds in enumerate(ranks) if holds), len(ranks))


def _table(comparison: ReportComparison, tests: Sequence[ComparedTest], most: int) -> Iterator[str]:
    old, new = (escaped(name, 60) for name in comparison.names)
    rows = [[_meaning(test), code(test.name), _result(test.before), _result(test.now), _change(test)] for test in tests]
    yield from table_of_tests(("", "test", old, new, "difference"), rows, most)


def _meaning(test: ComparedTest) -> str:
    tone, text = verdict_on(test)
    return text if tone == "quiet" else f"{SIGNS[tone]} {f'**{text}**' if tone == 'bad' else escaped(text)}"


def _result(test: Result | None) -> str:
    if test is None:
        return "not in it"
    return in_cell([test.outcome, *(f"{limit.metric} {limit.observed.text}" for limit in test.limits)])


def _change(test: ComparedTest) -> str:
    if test.comparison is not None and test.comparison.record.problem:
        return escaped(f"not compared: {test.comparison.record.problem}")
    # The accuracy is that of a model, and stands below; here it says why a metric is not comparable.
    changes = [change for change in test.changes if change.metric != ACCURACY or change.meaning != "unchanged"]
    return in_cell(escaped(change_text(change)) for change in changes)


def _flips(comparison: ReportComparison, test: ComparedTest, strips: ImageStrips | None) -> Iterator[str]:
    """Yield a folded section of the images of a test that flip in one of the reports only."""
    assert test.flips is not None
    yield ""
    counts = ", ".join(
        f"{len(flips.images):,} only in {name}" for flips, name in zip(test.flips, comparison.names, strict=True)
    )
    yield from folded(f"{test.name}: images that flip, {counts}", _flip_lines(comparison, test, strips))


def _flip_lines(comparison: ReportComparison, test: ComparedTest, strips: ImageStrips | None) -> Iterator[str]:
    assert test.flips is not None
    for flips, name in zip(test.flips, comparison.names, strict=True):
        if not flips.images:
            continue
        pictured = list(strip(flips.shown, strips))
        listed = "" if pictured else f": {', '.join(_listed(flips))}"
        yield f"Only in {code(name)}, {counted(len(flips.images), 'image')}{listed}"
        yield ""
        yield from pictured


def _listed(flips: FlipsOfOne) -> Iterator[str]:
    """Yield the first images, those first whose classes the report has."""
    classes = {image.index: f" {escaped(image.before, 40)} → {escaped(image.after, 40)}" for image in flips.shown}
    ordered = [*classes, *(index for index in flips.images if index not in classes)]
    yield from (f"{index}{classes.get(index, '')}" for index in ordered[:_MOST_LISTED])
    if len(ordered) > _MOST_LISTED:
        yield "…"
