"""Texts about a session's measurements compared with the accepted ones: failures, summary lines, commands to type."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plain_text import NAMED, command_line
from pytest_biastransfer.reporting.change_text import NOT_COMPARABLE, change_text, not_comparable_text
from pytest_biastransfer.reporting.seed_text import ONE_CHECKPOINT, acceptance_text, is_told_by_one_checkpoint
from pytest_biastransfer.reporting.summary_table import Line
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison, BaselineRecord
    from pytest_biastransfer.baseline.metric_change import Meaning, MetricChange
    from pytest_biastransfer.reporting.report import ReportedChange

_ACCEPT: Final = "--bias-update=all"
_PAGE: Final = "bias.html"
_ADD: Final = "--bias-update=new"
_ADD_SEED: Final = "--bias-update=add"
# In the order in which the summary counts them.
_STANDINGS: Final[Mapping[Meaning, str]] = {
    "regression": "worse",
    "not comparable": NOT_COMPARABLE,
    "improvement": "better",
    "tolerated": "no worse",
    "unchanged": "no worse",
}
_WITHOUT_ENTRY: Final = "without an entry"
_INCOMPLETE: Final = "with an entry that lacks its metrics"
_COLORS: Final[Mapping[Meaning, str]] = {"regression": "red", "not comparable": "yellow", "improvement": "green"}


def regression_text(comparison: BaselineComparison, baseline: str) -> str:
    """Return the failure message of a test that got worse; `baseline` is the name of the file."""
    record = comparison.record
    worse = "; ".join(map(change_text, comparison.changes("regression")))
    key = " ".join(record.key)
    lines = [f"bias regression: {worse}", "", f"  test      {comparison.test}", f"  baseline  {baseline}: {key}", ""]
    lines += [f"  {record.highlights}"] * bool(record.highlights)
    if comparison.lower_accuracy is not None:
        not_comparable = not_comparable_text(comparison.lower_accuracy)
        lines += [f"  {change_text(change)}: {not_comparable}" for change in comparison.changes(NOT_COMPARABLE)]
    # The correction for several comparisons needs the p-values of all tests, and some tests are still to run.
    lines += [f"  to be judged when all tests have run: {change_text(change)}" for change in comparison.changes(None)]
    lines += [f"  {record.unchecked_rounding}"] * bool(record.unchecked_rounding)
    if record.newly_flipped:
        lines += ["  newly flipped, the first:", *(f"    {image}" for image in record.newly_flipped)]
    if comparison.lost_accuracy is not None:
        return "\n".join([*lines, "", f"  {_tolerate([comparison.lost_accuracy])}"])
    if is_told_by_one_checkpoint(comparison):
        lines += ["", f"  {ONE_CHECKPOINT}"]
    look = command_line(["pytest", f"--bias-report={_PAGE}", comparison.test])
    accept = f"{acceptance_text(comparison)}: {_accept([comparison])}"
    return "\n".join([*lines, "", f"  Look at the images: {look}", f"  {accept}"])


def not_compared_text(test: str, record: BaselineRecord, baseline: str, *, exists: bool, command: Sequence[str]) -> str:
    """Return the failure message of a test that ``bias_compare = require`` demands to compare, and that was not.

    Parameters
    ----------
    test, record
        Its name and its measurement.
    baseline, exists
        The name of the baseline file, and whether there is such a file.
    command
        How pytest is started, without its options for a baseline.
    """
    key = " ".join(record.key)
    if not exists:
        reason, accept = f"there is no file {baseline}", _ADD
    elif record.problem:
        reason, accept = record.problem, _ACCEPT
    elif record.missing:
        reason, accept = f"the entry has no {', '.join(record.missing)}", _complete(record)
    else:
        reason, accept = f"{baseline} has no entry of this test", _ADD
    lines = [f"not compared with a baseline: {reason}", "", f"  test      {test}", f"  baseline  {baseline}: {key}", ""]
    accepted = command_line([*command, accept, test])
    return "\n".join([*lines, f"  bias_compare is require; to accept what is measured: {accepted}"])


def baseline_lines(
    comparisons: Sequence[BaselineComparison], baseline: str, exists: bool, command: Sequence[str]
) -> Iterator[Line]:
    """Yield the summary's lines about the baseline: counts, what got worse or better, and what to type.

    Parameters
    ----------
    comparisons
        The tests of the session.
    baseline, exists
        The name of the baseline file, and whether there is such a file.
    command
        The command line of this session.
    """
    add = command_line([*command, _ADD])
    if not exists:
        yield Line(f"{counted(len(comparisons), 'bias test')} without a baseline; to write {baseline}: {add}")
        return
    order = list(_STANDINGS)
    ordered = sorted(comparisons, key=lambda comparison: (order.index(comparison.meaning), comparison.test))
    yield Line(f"compared with {baseline}: {counts_text(ordered)}")
    yield from accuracy_lines(ordered)
    for comparison in ordered:
        yield from change_lines(comparison)
    acceptable = [
        comparison
        for comparison in ordered
        if comparison.meaning in ("regression", "improvement")
        and comparison.lost_accuracy is None
        and not comparison.record.is_further_seed
    ]
    if acceptable:
        yield Line(f"  to accept what changed: {_accept(acceptable, command)}")
    if any(_counted_standing(comparison) == _WITHOUT_ENTRY for comparison in ordered):
        yield Line(f"  to add what has no entry: {add}")


def counts_text(comparisons: Sequence[BaselineComparison]) -> str:
    """Return the numbers of tests that are worse, better, no worse, or not compared."""
    counts = Counter(map(_counted_standing, comparisons))
    standings = dict.fromkeys([*_STANDINGS.values(), _INCOMPLETE, _WITHOUT_ENTRY, *counts])
    return ", ".join(f"{counts[standing]} {standing}" for standing in standings if counts[standing])


def standing(comparison: BaselineComparison) -> str:
    """Return the field `standing` of a test's `pytest_biastransfer.reporting.report.Result`."""
    if comparison.record.problem and comparison.meaning != "regression":
        return comparison.record.problem
    if comparison.meaning not in ("tolerated", "unchanged"):
        return comparison.meaning
    return "unchanged" if comparison.has_metrics else "new"


def changes_of(comparison: BaselineComparison) -> list[ReportedChange]:
    """Return the changes of a test's metrics as the report has them; those that are not judged are left out."""
    from pytest_biastransfer.reporting.report import ReportedChange

    return [
        ReportedChange(
            metric=change.metric,
            before=change.before,
            now=change.now,
            p=change.p,
            newly=change.newly,
            no_longer=change.no_longer,
            same_images=change.same_images,
            meaning=meaning,
            p_of_change=change.p_of_change,
            tested_tolerance=change.tested_tolerance,
            common_images=change.common_images,
            over_time=change.over_time,
            seeds=change.seeds,
            within_rounding=change.within_rounding,
            at=change.at,
        )
        for change, meaning in zip(comparison.record.changes, comparison.meanings, strict=True)
        if meaning is not None
    ]


def _counted_standing(comparison: BaselineComparison) -> str:
    """Return the standing of a test under which the summary counts it."""
    # A test whose accuracy alone got worse is not worse in its bias: its metrics cannot be compared.
    if comparison.lower_accuracy is not None and all(change.is_accuracy for change in comparison.changes("regression")):
        return NOT_COMPARABLE
    if comparison.record.problem:
        return f"not compared ({comparison.record.problem})"
    if comparison.has_metrics:
        return _STANDINGS[comparison.meaning]
    return _INCOMPLETE if comparison.record.missing else _WITHOUT_ENTRY


def accuracy_lines(comparisons: Sequence[BaselineComparison]) -> Iterator[Line]:
    """Yield a line for each model whose accuracy on a dataset is lower, and what to do about it.

    One that is lower by rounding alone has a line, too.
    """
    # Several tests share a model and a dataset. Their change of accuracy is one, and is stated once.
    lower = {change.identity: change for comparison in comparisons if (change := comparison.lower_accuracy) is not None}
    lost = {change.identity: change for comparison in comparisons if (change := comparison.lost_accuracy) is not None}
    apart = {
        change.identity: change
        for comparison in comparisons
        for change in comparison.changes("unchanged")
        if change.is_accuracy and change.within_rounding is not None
    }
    for change in apart.values():
        yield Line(f"  {change.subject}: {change_text(change)}  ", _STANDINGS["unchanged"])
    for identity, change in lower.items():
        yield Line(f"  {change.subject}: {change_text(change)}  ", "lower", "red" if identity in lost else "yellow")
    if lost:
        yield Line(f"  {_tolerate([*lost.values()])}")


def _tolerate(lower: Sequence[MetricChange]) -> str:
    """Return what to do about lower accuracies: a baseline holds biases, so `--bias-update` does not accept them."""
    largest = max(change.loss for change in lower)
    return (
        f"a model that does worse on unchanged images is not better in anything: check the checkpoint and its "
        # Rounded up: rounded down, the proposed tolerance would still be exceeded.
        f"preprocessing; if it is meant, tolerate it by max_accuracy_regression={math.ceil(largest * 100) / 100:g} in "
        f"the marker"
    )


def change_lines(comparison: BaselineComparison) -> Iterator[Line]:
    """Yield a line for each metric that got worse or better, and one for metrics that the entry lacks."""
    for meaning, color in _COLORS.items():
        for change in comparison.changes(meaning):
            if change.is_accuracy:
                continue
            verdict = _STANDINGS[meaning]
            if meaning == NOT_COMPARABLE and comparison.lower_accuracy is not None:
                verdict = not_comparable_text(comparison.lower_accuracy)
            yield Line(f"  {comparison.test}: {change_text(change)}  ", verdict, color)
    for change in comparison.changes("unchanged"):
        if change.within_rounding is not None and not change.is_accuracy:
            yield Line(f"  {comparison.test}: {change_text(change)}  ", _STANDINGS["unchanged"])
    if comparison.record.unchecked_rounding and comparison.meaning == "regression":
        yield Line(f"  {comparison.test}: {comparison.record.unchecked_rounding}")
    missing = comparison.record.missing
    if missing:
        command = command_line(["pytest", _complete(comparison.record), comparison.test])
        yield Line(f"  {comparison.test}: the entry has no {', '.join(missing)}; to write it: {command}")


def _complete(record: BaselineRecord) -> str:
    """Return the option that writes the metrics that an entry lacks, and drops none of its seeds."""
    return _ADD_SEED if record.has_seeds else _ACCEPT


def _accept(comparisons: Sequence[BaselineComparison], command: Sequence[str] = ()) -> str:
    """Return the command that accepts tests: by their names, or all tests of the session if they are many."""
    # Quotes keep the brackets in names of tests, which shells would expand as patterns.
    names = ["pytest", _ACCEPT, *(comparison.test for comparison in comparisons)]
    return command_line(names if len(comparisons) <= NAMED else [*command, _ACCEPT])
