"""The verdict on two reports side by side, and on each of their tests, in a few words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_biastransfer.reporting.regression_text import counts_text
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.comparison import ComparedTest, ReportComparison

Tone = Literal["bad", "odd", "good", "quiet"]


@dataclass(frozen=True)
class VerdictOfTwo:
    """A verdict.

    Attributes
    ----------
    tone
        ``"bad"`` if a test is worse or newly fails, ``"good"`` if tests were compared and none is, else ``"odd"``.
    text
        What is worse and what is better.
    counts
        How many tests are in both, and how many in one only.
    """

    tone: Tone
    text: str
    counts: str


def verdict_of_two(comparison: ReportComparison) -> VerdictOfTwo:
    """Return the verdict on two reports."""
    old, new = comparison.names
    tests = comparison.tests
    worse = sum(test.is_worse for test in tests)
    failing = sum(test.newly_fails and not test.is_worse for test in tests)
    better = sum(test.standing == "improvement" for test in tests)
    parts = [f"{counted(worse, 'test')} worse"] if worse else []
    parts += [f"{counted(failing, 'test')} newly failing"] if failing else []
    parts += [f"{counted(better, 'test')} better"] if better else []
    compared = comparison.comparisons
    counts = [f"{counted(len(compared), 'test')} in both: {counts_text(compared)}" if compared else "no test in both"]
    for name, absent in (
        (old, [test for test in tests if test.now is None]),
        (new, [test for test in tests if test.before is None]),
    ):
        counts += [f"{counted(len(absent), 'test')} only in {name}"] if absent else []
    if parts:
        return VerdictOfTwo(
            "bad" if worse or failing else "good", f"{', '.join(parts)} in {new} than in {old}", "; ".join(counts)
        )
    if compared:
        return VerdictOfTwo("good", f"no test is worse in {new} than in {old}", "; ".join(counts))
    return VerdictOfTwo("odd", "no test was measured in both reports", "; ".join(counts))


def verdict_on(test: ComparedTest) -> tuple[Tone, str]:
    """Return what a comparison says of one test; the tone is ``"quiet"`` if there is nothing to look at."""
    verdicts: list[tuple[bool, Tone, str]] = [
        (test.is_worse and test.newly_fails, "bad", "worse and newly fails"),
        (test.is_worse, "bad", "worse"),
        (test.newly_fails, "bad", "newly fails"),
        (test.before is None or test.now is None, "odd", "only in one report"),
        (test.standing == "improvement", "good", "better"),
        (test.no_longer_fails, "good", "no longer fails"),
        (test.standing not in ("unchanged", "new", ""), "odd", test.standing),
        (test.comparison is None, "quiet", "not measured in both"),
    ]
    return next(((tone, text) for applies, tone, text in verdicts if applies), ("quiet", "no difference"))
