"""A report as Markdown: the verdict in a line, a table of what changed, and all else folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import metric_of_limit
from pytest_biastransfer.reporting.markdown.failure import failure, strip
from pytest_biastransfer.reporting.markdown.headline import BAD, GOOD, ODD, headline
from pytest_biastransfer.reporting.markdown.markup import MARKER, code, document, escaped, fitting, folded, in_cell
from pytest_biastransfer.reporting.markdown.sections import MOST_OTHERS, table_of_tests, unchanged_images
from pytest_biastransfer.reporting.outcomes import FAILED, SEVERITY
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.figures import Limit
    from pytest_biastransfer.reporting.image_strips import ImageStrips
    from pytest_biastransfer.reporting.report import Report, ReportedChange, Result

# The most characters of each section.
_MOST_STALE: Final = 4_000
_MOST_CHANGED: Final = 18_000
_MOST_FAILURES: Final = 22_000
_HEADS: Final = ("", "test", "observed, limit", "since the baseline")


def summary(report: Report, strips: ImageStrips | None) -> str:
    """Return the document; see `render_markdown`."""
    return document(_lines(report, strips), map(list, _folded_rest(report)))


def _lines(report: Report, strips: ImageStrips | None) -> Iterator[str]:
    yield MARKER
    yield headline(report)
    yield ""
    yield _sentence(report)
    # Several tests meet the same stale prediction; it is stated once.
    stale = dict.fromkeys(text for test in report.tests for text in test.stale)
    notes = [["", f"**{escaped(text, _MOST_STALE // 2)}**"] for text in stale]
    for lines in (fitted := fitting(notes, _MOST_STALE)):
        yield from lines
    if len(fitted) < len(notes):
        yield ""
        yield f"**{counted(len(notes) - len(fitted), 'more stale prediction')}.**"
    changed = sorted((test for test in report.tests if _is_changed(test)), key=_severity)
    if changed:
        yield ""
        yield from _changes(changed)
    explained = [test for test in changed if test.outcome in FAILED or test.standing == "regression"]
    yield from _first_strip(explained, strips)
    sections = fitting((["", *failure(test, strips)] for test in explained), _MOST_FAILURES)
    for lines in sections:
        yield from lines
    if len(sections) < len(explained):
        yield ""
        left = len(explained) - len(sections)
        yield f"{left:,} more failed or got worse; the report of `--bias-report=bias.html` shows all."


def _first_strip(tests: Sequence[Result], strips: ImageStrips | None) -> Iterator[str]:
    """Yield the flipped images of the worst test that has pictures: they are seen without opening a section."""
    for test in tests:
        lines = list(strip(test.details.shown, strips)) if test.details is not None else []
        if lines:
            yield ""
            yield f"{code(test.name)} flips, for example:"
            yield ""
            yield from lines[:-1]
            return


def _sentence(report: Report) -> str:
    if not report.tests:
        return "No bias tests ran."
    counts = Counter(test.outcome for test in report.tests)
    outcomes = (
        f"{f'**{outcome}**' if outcome in FAILED else outcome} {counts[outcome]}"
        for outcome in SEVERITY
        if counts[outcome]
    )
    return f"{counted(len(report.tests), 'bias test')}: {', '.join(outcomes)}."


def _is_changed(test: Result) -> bool:
    """Whether a reader of a pull request should see the test at once."""
    return (
        test.outcome not in ("passed", "skipped", "xfailed")
        or test.standing in ("regression", "improvement", "not comparable")
        or bool(_close(test))
    )


def _close(test: Result) -> Sequence[Limit]:
    """Return the judged limits that are inside their interval."""
    return [limit for limit in test.limits if limit.holds is not None and limit.is_within_noise]


def _severity(test: Result) -> tuple[int, bool, bool, float]:
    """Return a sort key, the worst first: by outcome, then regressions, then by the distance above the limit."""
    excess = max((limit.exceeded_by for limit in test.limits if limit.observed.value is not None), default=0.0)
    return SEVERITY.index(test.outcome), test.standing != "regression", test.standing != "improvement", -excess


def _changes(tests: Sequence[Result]) -> Iterator[str]:
    yield from table_of_tests(_HEADS, [_row(_result(test), test) for test in tests], _MOST_CHANGED, "more changed test")


def _row(result: str, test: Result) -> Sequence[str]:
    """Return the cells below `_HEADS`."""
    return [result, code(test.name), in_cell(map(_limit, test.limits)), _standing(test)]


def _result(test: Result) -> str:
    """Return what changed of a test, with a sign."""
    if test.outcome in FAILED:
        worse = ", worse" if test.standing == "regression" else ""
        return f"{BAD} **{test.outcome}**{worse}"
    if test.outcome == "xpassed":
        return f"{ODD} passed unexpectedly"
    if test.standing == "regression":
        return f"{ODD} worse"
    if test.standing == "improvement":
        return f"{GOOD} better"
    if test.standing == "not comparable":
        return f"{ODD} not comparable"
    return f"{ODD} {'within noise' if any(limit.holds for limit in _close(test)) else 'not significant'}"


def _limit(limit: Limit) -> str:
    met, missed = ("≥", "**<**") if limit.bound == "at least" else ("≤", "**>**")
    sign = {True: met, False: missed, None: "?"}[limit.holds]
    bound = "±" if limit.bound == "size at most" else ""
    notes = "".join(f", {escaped(note)}" for note in limit.notes)
    return f"{limit.metric} {limit.observed.text} {sign} {bound}{limit.limit:g}{notes}"


def _standing(test: Result) -> str:
    changes = [_change(change) for change in test.changes if change.meaning != "unchanged"]
    return in_cell(changes or [escaped(test.standing)])


def _change(change: ReportedChange) -> str:
    at = f" at {escaped(change.at)}:" if change.at else ""
    difference = change.now - change.before
    return (
        f"{change.metric}{at} {change.before:.3f} → {change.now:.3f} (**{difference:+.3f}**, p = {change.p:.1g}): "
        f"{escaped(change.meaning)}"
    )


def _folded_rest(report: Report) -> Iterator[Iterator[str]]:
    """Yield the lines of each section that is of use only to some readers."""
    yield unchanged_images([("", report)])
    yield _meanings(report)
    yield _unchanged_tests([test for test in report.tests if not _is_changed(test)])


def _meanings(report: Report) -> Iterator[str]:
    limited = (metric_of_limit(limit.metric) for test in report.tests for limit in test.limits)
    metrics = {metric.name: metric for metric in limited if metric is not None}
    if metrics:
        yield ""
        # Definitions are texts of this package, with code in backticks.
        meanings = (
            f"- {code(name)}, {escaped(metric.title)}: {metric.definition}." for name, metric in metrics.items()
        )
        intervention = "`f` is the model, `T` the intervention."
        yield from folded("What the metrics mean", [*meanings, "", intervention])


def _unchanged_tests(tests: Sequence[Result]) -> Iterator[str]:
    if tests:
        yield ""
        rows = [_row(test.outcome, test) for test in tests]
        title = f"{counted(len(tests), 'test')} without a change"
        yield from folded(title, table_of_tests(_HEADS, rows, MOST_OTHERS))
