"""What is said about a session's measurements beside the accepted ones."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import counts_text_of
from pytest_biastransfer.reporting.summary_table import NAMED, Line
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison, BaselineRecord
    from pytest_biastransfer.baseline.regression import Meaning, MetricChange
    from pytest_biastransfer.reporting import report

_ACCEPT: Final = "--bias-update=all"
_ADD: Final = "--bias-update=new"
_NOT_COMPARABLE: Final = "not comparable"
_WORDS: Final[Mapping[Meaning, str]] = {
    "regression": "worse",
    "not comparable": _NOT_COMPARABLE,
    "improvement": "better",
    "tolerated": "no worse",
    "unchanged": "no worse",
}
_MISSING: Final = "without an entry"
_INCOMPLETE: Final = "with an entry that lacks its metrics"
_COLORS: Final[Mapping[Meaning, str]] = {"regression": "red", "not comparable": "yellow", "improvement": "green"}


def change_text(change: MetricChange) -> str:
    """Return a change in words.

    >>> from pytest_biastransfer.baseline.regression import MetricChange
    >>> change_text(MetricChange("asr", 0.031, 0.084, 7.6e-58, 0.0, 291, 26, True))
    'asr 0.031 → 0.084; 291 images newly flip, 26 no longer do (p = 8e-58)'
    """
    counts = ""
    if change.newly is not None and change.no_longer is not None:
        counts = f"; {counts_text_of(change.metric, change.newly, change.no_longer)}"
    other = "" if change.same_images else ", not the same images: compared unpaired"
    name = "clean accuracy" if change.is_accuracy else change.metric
    return f"{name} {change.before:.3f} → {change.now:.3f}{counts} (p = {change.p:.1g}{other})"


def not_comparable_text(change: MetricChange) -> str:
    """Return why nothing is better of a model with this change of its accuracy.

    >>> from pytest_biastransfer.baseline.regression import MetricChange
    >>> not_comparable_text(MetricChange("accuracy", 0.651, 0.1, 7.6e-58, 0.0, 291, 26, True))
    'not comparable: clean accuracy 0.65 → 0.10'
    """
    return f"{_NOT_COMPARABLE}: clean accuracy {change.before:.2f} → {change.now:.2f}"


def regression_text(found: BaselineComparison, baseline: str) -> str:
    """Return the message of a test that got worse."""
    worse = "; ".join(map(change_text, found.changes("regression")))
    key = " ".join(found.record.key)
    lines = [f"bias regression: {worse}", "", f"  test      {found.test}", f"  baseline  {baseline}: {key}", ""]
    lines += [f"  {found.record.highlights}"] * bool(found.record.highlights)
    if found.lower_accuracy is not None:
        not_comparable = not_comparable_text(found.lower_accuracy)
        lines += [f"  {change_text(change)}: {not_comparable}" for change in found.changes("not comparable")]
    lines += [f"  to be judged when all tests have run: {change_text(change)}" for change in found.changes(None)]
    if found.record.newly_flipped:
        lines += ["  newly flipped, the first:", *(f"    {image}" for image in found.record.newly_flipped)]
    if found.lost_accuracy is not None:
        return "\n".join([*lines, "", f"  {_tolerate([found.lost_accuracy])}"])
    return "\n".join([*lines, "", f"  If this is meant, accept it: {_accept([found])}"])


def not_compared_text(test: str, record: BaselineRecord, baseline: str, *, exists: bool, command: Sequence[str]) -> str:
    """Return the message of a test that had to be compared and could not be; `exists` says whether there is a file.

    `command` is how pytest is started, without its options for a baseline.
    """
    key = " ".join(record.key)
    if not exists:
        reason, accept = f"there is no file {baseline}", _ADD
    elif record.problem:
        reason, accept = record.problem, _ACCEPT
    elif record.missing:
        reason, accept = f"the entry has no {', '.join(record.missing)}", _ACCEPT
    else:
        reason, accept = f"{baseline} has no entry of this test", _ADD
    lines = [f"not compared with a baseline: {reason}", "", f"  test      {test}", f"  baseline  {baseline}: {key}", ""]
    accepted = shlex.join([*command, accept, test])
    return "\n".join([*lines, f"  bias_compare is require; to accept what is measured: {accepted}"])


def baseline_lines(
    found: Sequence[BaselineComparison], baseline: str, exists: bool, command: Sequence[str]
) -> Iterator[Line]:
    """Yield what the summary says: counts, what got worse or better, and what to type.

    `command` is what was typed for this session.
    """
    add = shlex.join([*command, _ADD])
    if not exists:
        yield Line(f"{counted(len(found), 'bias test')} without a baseline; to write {baseline}: {add}")
        return
    order = list(_WORDS)
    found = sorted(found, key=lambda one: (order.index(one.meaning), one.test))
    yield Line(f"beside {baseline}: {counts_text(found)}")
    yield from accuracy_lines(found)
    for one in found:
        yield from change_lines(one)
    changed = [one for one in found if one.meaning in ("regression", "improvement") and one.lost_accuracy is None]
    if changed:
        yield Line(f"  to accept what changed: {_accept(changed, command)}")
    if any(_standing(one) == _MISSING for one in found):
        yield Line(f"  to add what has no entry: {add}")


def counts_text(found: Sequence[BaselineComparison]) -> str:
    """Return how many tests stand where, in words."""
    counts = Counter(map(_standing, found))
    standings = dict.fromkeys([*_WORDS.values(), _INCOMPLETE, _MISSING, *counts])
    return ", ".join(f"{counts[one]} {one}" for one in standings if counts[one])


def standing(one: BaselineComparison) -> str:
    """Return where a test stands, as `pytest_biastransfer.reporting.report.Result` has it."""
    if one.record.problem and one.meaning != "regression":
        return one.record.problem
    if one.meaning not in ("tolerated", "unchanged"):
        return one.meaning
    return "unchanged" if one.has_metrics else "new"


def changes_of(one: BaselineComparison) -> list[report.ReportedChange]:
    """Return how a test's metrics changed, and what that means."""
    from pytest_biastransfer.reporting import report

    return [
        report.ReportedChange(
            metric=change.metric,
            before=change.before,
            now=change.now,
            p=change.p,
            newly=change.newly,
            no_longer=change.no_longer,
            same_images=change.same_images,
            meaning=meaning,
        )
        for change, meaning in zip(one.record.changes, one.meanings, strict=True)
        if meaning is not None
    ]


def _standing(one: BaselineComparison) -> str:
    """Return where a test stands, as a word to count."""
    if one.lower_accuracy is not None and all(change.is_accuracy for change in one.changes("regression")):
        return _NOT_COMPARABLE
    if one.record.problem:
        return f"not compared ({one.record.problem})"
    if one.has_metrics:
        return _WORDS[one.meaning]
    return _INCOMPLETE if one.record.missing else _MISSING


def accuracy_lines(found: Sequence[BaselineComparison]) -> Iterator[Line]:
    """Yield a line for each model whose accuracy is lower on the images of a dataset, and what to do about it."""
    lower = {change.identity: change for one in found if (change := one.lower_accuracy) is not None}
    lost = {change.identity: change for one in found if (change := one.lost_accuracy) is not None}
    for identity, change in lower.items():
        yield Line(f"  {change.subject}: {change_text(change)}  ", "lower", "red" if identity in lost else "yellow")
    if lost:
        yield Line(f"  {_tolerate([*lost.values()])}")


def _tolerate(lower: Sequence[MetricChange]) -> str:
    """Return what to do about lower accuracies: they are not for a baseline of biases to accept."""
    most = max(change.before - change.now for change in lower)
    return (
        f"a model that does worse on unchanged images is not better in anything: check the checkpoint and its "
        f"preprocessing; if it is meant, tolerate it by max_accuracy_regression={math.ceil(most * 100) / 100:g} in the "
        f"marker"
    )


def change_lines(one: BaselineComparison) -> Iterator[Line]:
    """Yield a line for each metric that got worse or better, and what the accepted measurement lacks."""
    for meaning, color in _COLORS.items():
        for change in one.changes(meaning):
            if change.is_accuracy:
                continue
            word = _WORDS[meaning]
            if meaning == _NOT_COMPARABLE and one.lower_accuracy is not None:
                word = not_comparable_text(one.lower_accuracy)
            yield Line(f"  {one.test}: {change_text(change)}  ", word, color)
    lacking = one.record.missing
    if lacking:
        yield Line(f"  {one.test}: the entry has no {', '.join(lacking)}; to write it: {_accept([one])}")


def _accept(tests: Sequence[BaselineComparison], command: Sequence[str] = ()) -> str:
    """Return what to type to accept tests: by their names, or all that the session ran if they are many."""
    names = ["pytest", _ACCEPT, *(one.test for one in tests)]
    return shlex.join(names if len(tests) <= NAMED else [*command, _ACCEPT])
