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
        ``"bad"`` if an accuracy is lower or a test is worse or newly fails; ``"good"`` if tests were compared, and that
        is not so; else ``"odd"``.
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
    counts = _counts(comparison)
    parts = _differences(comparison)
    if parts:
        tone: Tone = "bad" if comparison.is_worse else "good"
        return VerdictOfTwo(tone, f"{', '.join(parts)} in {new} than in {old}", counts)
    if comparison.comparisons:
        return VerdictOfTwo("good", f"no test is worse in {new} than in {old}", counts)
    return VerdictOfTwo("odd", "no test was measured in both reports", counts)


def _differences(comparison: ReportComparison) -> list[str]:
    """Return what is worse, newly fails and is better; an accuracy comes first, as it makes biases incomparable."""
    tests = comparison.tests
    lost = comparison.lost_accuracies
    worse = sum(test.is_worse for test in tests)
    failing = sum(test.newly_fails and not test.is_worse for test in tests)
    better = sum(test.standing == "improvement" for test in tests)
    parts = []
    if len(lost) == 1:
        parts.append(f"clean accuracy lower ({lost[0].before:.3f} → {lost[0].now:.3f})")
    elif lost:
        parts.append(f"clean accuracy of {counted(len(lost), 'model')} lower")
    parts += [f"{counted(worse, 'test')} worse"] if worse else []
    parts += [f"{counted(better, 'test')} better"] if better else []
    # "more" fits before "than in", as the comparatives do.
    return [*parts, f"{counted(failing, 'more test')} failing"] if failing else parts


def _counts(comparison: ReportComparison) -> str:
    old, new = comparison.names
    compared = comparison.comparisons
    absent = {
        old: sum(test.now is None for test in comparison.tests),
        new: sum(test.before is None for test in comparison.tests),
    }
    in_both = f"{counted(len(compared), 'test')} in both: {counts_text(compared)}" if compared else "no test in both"
    return "; ".join(
        [in_both, *(f"{counted(tests, 'test')} only in {name}" for name, tests in absent.items() if tests)]
    )


def verdict_on(test: ComparedTest) -> tuple[Tone, str]:
    """Return what a comparison says of one test; the tone is ``"quiet"`` if there is nothing to look at."""
    verdicts: list[tuple[bool, Tone, str]] = [
        (test.is_worse and test.newly_fails, "bad", "worse and newly fails"),
        (test.is_worse, "bad", "worse"),
        (test.newly_fails, "bad", "newly fails"),
        (test.before is None or test.now is None, "odd", "only in one report"),
        (test.standing == "improvement", "good", "better"),
        (test.lost_accuracy is not None, "odd", "not comparable: lower accuracy"),
        (test.no_longer_fails, "good", "no longer fails"),
        (test.standing not in ("unchanged", "new", ""), "odd", test.standing),
        (test.comparison is None, "quiet", "not measured in both"),
    ]
    return next(((tone, text) for applies, tone, text in verdicts if applies), ("quiet", "no difference"))
