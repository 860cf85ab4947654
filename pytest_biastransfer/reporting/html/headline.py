"""The top of the page: the verdict in one sentence, what it is of, and the title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.html.states import exceeds, has_failed, is_worse, only_just, was_compared
from pytest_biastransfer.reporting.html.wording import OUTCOME_LABELS, TONES
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.performance import title_of
from pytest_biastransfer.reporting.report import Report, Result
from pytest_biastransfer.reporting.wording import counted, shortened

# So much of a commit's hash tells it from the others of a repository.
COMMIT_DIGITS: Final = 10
# More names than this are counted and not listed.
_MOST_NAMES: Final = 3
_LONGEST_NAME: Final = 80


@dataclass(frozen=True)
class OutcomeCount:
    """The number of tests with an outcome."""

    outcome: Outcome
    label: str
    tone: str
    tests: int


@dataclass(frozen=True)
class Headline:
    """The verdict on all tests.

    Attributes
    ----------
    tone
        The style sheet's class: ``"bad"`` demands action.
    verdict, reason
        The verdict in a few words, and the sentence's other half.
    """

    tone: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class ReportSubject:
    """A fact about what was tested: its name and its text; `full` is the text before it was shortened."""

    name: str
    text: str
    full: str = ""


def headline(report: Report) -> Headline:
    """Return the verdict: whether biases got worse, and how many tests say so."""
    tests = report.tests
    failed, worse = sum(map(has_failed, tests)), sum(map(is_worse, tests))
    close = sum(bool(only_just(test)) and not has_failed(test) for test in tests)
    of_all = f"of {counted(len(tests), 'test')}"
    if worse:
        others = sum(has_failed(test) and not is_worse(test) for test in tests)
        more = f", {others} more failed" if others else ""
        return Headline("bad", "Bias got worse", f"{_number(worse)} {of_all} {_is(worse)} worse than accepted{more}.")
    if failed:
        is_above = any(has_failed(test) and exceeds(test) for test in tests)
        unmeasured = sum(test.outcome in ("error", "lost") for test in tests)
        verdict = "Bias is above its limit" if is_above else "Not everything was measured" if unmeasured else "Failed"
        return Headline("bad", verdict, f"{_number(failed)} {of_all} failed.")
    if all(test.outcome == "skipped" for test in tests):
        return Headline("odd", "Nothing was measured", f"{counted(len(tests), 'test')}, all skipped.")
    exceeded = sum(map(exceeds, tests))
    skipped = sum(test.outcome == "skipped" for test in tests)
    above = f"{_is(exceeded)} above the limit, as expected"
    if exceeded and not compared(tests):
        verdict, reasons = "Nothing failed unexpectedly", [f"{_number(exceeded)} {of_all} {above}"]
    else:
        verdict = "No bias got worse" if compared(tests) else "All limits hold"
        reasons = [f"{counted(len(tests), 'test')}, none failed"]
        reasons += [f"{_number(exceeded)} {above}"] if exceeded else []
    reasons += [f"{_number(close)} only just hold{'s' * (close == 1)}"] if close else []
    reasons += [f"{_number(skipped)} skipped"] if skipped else []
    return Headline("good", verdict, f"{'; '.join(reasons)}.")


def compared(tests: Sequence[Result]) -> bool:
    """Whether any test was compared with a baseline."""
    return any(map(was_compared, tests))


def alpha_over_time(tests: Sequence[Result]) -> float | None:
    """Return the level of the changes that are judged over all runs; the strictest, as that of a report."""
    levels = [change.over_time.alpha for test in tests for change in test.changes if change.over_time is not None]
    return min(levels, default=None)


def outcome_counts(tests: Sequence[Result]) -> Sequence[OutcomeCount]:
    """Return the number of tests of each outcome, the worst first."""
    counts = Counter(test.outcome for test in tests)
    return [
        OutcomeCount(outcome, label, TONES[outcome], counts[outcome])
        for outcome, label in OUTCOME_LABELS.items()
        if counts[outcome]
    ]


def subjects(report: Report) -> Sequence[ReportSubject]:
    """Return what was tested: models, datasets, their accuracy, commit and start."""
    measured = [test.details for test in report.tests if test.details is not None]
    # Control models have a performance too; they are not what was tested.
    models = {details.model for details in measured}
    accuracy = title_of([performance for performance in report.performances if performance.model in models])
    facts = [
        _names("model", [details.model for details in measured]),
        _names("dataset", [details.dataset for details in measured]),
        ReportSubject("accuracy", accuracy.replace("accuracy ", "")) if accuracy else None,
        _commits([session.commit for session in report.sessions]),
    ]
    return [fact for fact in facts if fact is not None]


def page_title(verdict: Headline, counts: Sequence[OutcomeCount], tested: Sequence[ReportSubject]) -> str:
    """Return the title of the page: verdict, model, dataset, accuracy and commit."""
    if not counts:
        return "Bias report: no tests"
    outcomes = ", ".join(f"{count.tests} {count.label}" for count in counts)
    facts = {fact.name: fact.text for fact in tested}
    of = " on ".join(facts[name] for name in ("model", "dataset") if name in facts)
    accuracy = f"accuracy {facts['accuracy']}" if "accuracy" in facts else ""
    commit = f"commit {facts['commit']}" if "commit" in facts else ""
    return "; ".join(filter(None, (f"{verdict.verdict}: {outcomes}", of, accuracy, commit)))


def _names(what: str, names: Sequence[str]) -> ReportSubject | None:
    different = list(dict.fromkeys(names))
    if not different:
        return None
    # Names may have commas.
    full = "; ".join(different)
    if len(different) > _MOST_NAMES:
        return ReportSubject(what, counted(len(different), what), full)
    return ReportSubject(what, "; ".join(shortened(name, _LONGEST_NAME) for name in different), full)


def _commits(commits: Sequence[str]) -> ReportSubject | None:
    different = list(dict.fromkeys(filter(None, commits)))
    if not different:
        return None
    if len(different) > _MOST_NAMES:
        return ReportSubject("commit", counted(len(different), "commit"), ", ".join(different))
    return ReportSubject("commit", ", ".join(commit[:COMMIT_DIGITS] for commit in different), ", ".join(different))


def _number(tests: int) -> str:
    return f"{tests:,}"


def _is(tests: int) -> str:
    return "is" if tests == 1 else "are"
