"""What is said about a session's measurements beside the accepted ones."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.reporting.terminal import NAMED, Line, counted

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.regression import Change, Meaning
    from pytest_biastransfer.reporting import document
    from pytest_biastransfer.reporting.record import BaselineRecord

_ACCEPT: Final = "--bias-update=all"
_ADD: Final = "--bias-update=new"
_WORDS: Final = {"regression": "worse", "improvement": "better", "unchanged": "no worse"}
_MISSING: Final = "without an entry"
_INCOMPLETE: Final = "with an entry that lacks its metrics"
_COLORS: Final = {"regression": "red", "improvement": "green"}


@dataclass(frozen=True)
class Compared:
    """One bias test beside its accepted measurement: what each of its changes means.

    None is the meaning of a change that depends on comparisons which are not made yet.
    """

    test: str
    record: BaselineRecord
    meanings: Sequence[Meaning | None]

    @property
    def meaning(self) -> Meaning:
        """What all of it means."""
        return next((one for one in ("regression", "improvement") if one in self.meanings), "unchanged")

    @property
    def is_unsettled(self) -> bool:
        """Whether it may turn out to be a regression, and is none yet."""
        return self.meaning != "regression" and any(change.now > change.before for change in self.changes(None))

    def changes(self, meaning: Meaning | None) -> list[Change]:
        """Return the changes that mean this."""
        return [change for change, found in zip(self.record.changes, self.meanings, strict=True) if found == meaning]


def compared_alone(test: str, record: BaselineRecord, alpha: float, comparisons: int) -> Compared:
    """Return a test, by its name, with what its changes mean whatever the others of at most so many comparisons say."""
    from pytest_biastransfer.judgement.regression import settled_meanings

    return Compared(test, record, settled_meanings(record.changes, alpha, comparisons))


def compared_together(
    records: Sequence[tuple[str, BaselineRecord]], alpha: float, comparisons: int = 0
) -> list[Compared]:
    """Return tests, by their names, with what each of their changes means among those of all of them.

    `comparisons` are those that the session would have made, where it was stopped before.
    """
    from pytest_biastransfer.judgement.regression import meanings

    made = [change for _, record in records for change in record.changes]
    meant = iter(meanings(made, alpha, max(0, comparisons - len(made))))
    return [Compared(test, record, [next(meant) for _ in record.changes]) for test, record in records]


def change_text(change: Change) -> str:
    """Return a change in words.

    >>> from pytest_biastransfer.judgement.regression import Change
    >>> change_text(Change("asr", 0.031, 0.084, 7.6e-58, 0.0, 291, 26, True))
    'asr 0.031 → 0.084; 291 images newly flip, 26 no longer do (p = 8e-58)'
    """
    counts = ""
    if change.newly is not None:
        verb = "flip" if change.metric == "asr" else "hit the target"
        counts = f"; {counted(change.newly, 'image')} newly {verb}, {change.no_longer} no longer do"
    other = "" if change.same_images else ", not the same images: compared unpaired"
    return f"{change.metric} {change.before:.3f} → {change.now:.3f}{counts} (p = {change.p:.1g}{other})"


def regression_text(found: Compared, baseline: str) -> str:
    """Return the message of a test that got worse."""
    worse = "; ".join(map(change_text, found.changes("regression")))
    key = " ".join(found.record.key)
    lines = [f"bias regression: {worse}", "", f"  test      {found.test}", f"  baseline  {baseline}: {key}", ""]
    lines += [f"  {found.record.highlights}"]
    lines += [f"  to be judged when all tests have run: {change_text(change)}" for change in found.changes(None)]
    if found.record.newly_flipped:
        lines += ["  newly flipped, the first:", *(f"    {image}" for image in found.record.newly_flipped)]
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


def baseline_lines(found: Sequence[Compared], baseline: str, exists: bool, command: Sequence[str]) -> Iterator[Line]:
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
    for one in found:
        yield from change_lines(one)
    changed = [one for one in found if one.meaning != "unchanged"]
    if changed:
        yield Line(f"  to accept what changed: {_accept(changed, command)}")
    if any(_standing(one) == _MISSING for one in found):
        yield Line(f"  to add what has no entry: {add}")


def counts_text(found: Sequence[Compared]) -> str:
    """Return how many tests stand where, in words."""
    counts = Counter(map(_standing, found))
    standings = dict.fromkeys([*_WORDS.values(), _INCOMPLETE, _MISSING, *counts])
    return ", ".join(f"{counts[one]} {one}" for one in standings if counts[one])


def standing(one: Compared) -> str:
    """Return where a test stands, as `pytest_biastransfer.reporting.document.Result` has it."""
    if one.record.problem:
        return one.record.problem
    return one.meaning if one.record.changes else "new"


def changes_of(one: Compared) -> list[document.Change]:
    """Return how a test's metrics changed, and what that means."""
    from pytest_biastransfer.reporting import document

    return [
        document.Change(
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


def _standing(one: Compared) -> str:
    """Return where a test stands, as a word to count."""
    if one.record.problem:
        return f"not compared ({one.record.problem})"
    if one.record.changes:
        return _WORDS[one.meaning]
    return _INCOMPLETE if one.record.missing else _MISSING


def change_lines(one: Compared) -> Iterator[Line]:
    """Yield a line for each metric that got worse or better, and what the accepted measurement lacks."""
    for meaning, color in _COLORS.items():
        for change in one.changes(meaning):  # type: ignore[arg-type]
            yield Line(f"  {one.test}: {change_text(change)}  ", _WORDS[meaning], color)
    lacking = one.record.missing
    if lacking:
        yield Line(f"  {one.test}: the entry has no {', '.join(lacking)}; to write it: {_accept([one])}")


def _accept(tests: Sequence[Compared], command: Sequence[str] = ()) -> str:
    """Return what to type to accept tests: by their names, or all that the session ran if they are many."""
    names = ["pytest", _ACCEPT, *(one.test for one in tests)]
    return shlex.join(names if len(tests) <= NAMED else [*command, _ACCEPT])
