"""The filters of the page: by state, intervention, model, class that gained, and session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.html.name_parts import NameParts
from pytest_biastransfer.reporting.html.states import gained_class, is_worse, only_just, only_just_broken
from pytest_biastransfer.reporting.html.wording import OUTCOME_LABELS
from pytest_biastransfer.reporting.report import Report, Result
from pytest_biastransfer.reporting.wording import shortened

# More values than this are a list to select from and not chips.
MOST_CHIPS: Final = 8
_LONGEST: Final = 60
# The group of outcomes and standings is never a list: it is what most readers filter by.
_STATES: Final = "Show"
_WORSE: Final = "worse than baseline"
_WITHIN_NOISE: Final = "within noise"


@dataclass(frozen=True)
class Choice:
    """A value to filter by: its number on the page, its name, and how many tests have it."""

    number: int
    name: str
    tests: int


@dataclass(frozen=True)
class FilterGroup:
    """Filters of one kind; a test is shown if it has one of those that are on."""

    name: str
    choices: Sequence[Choice]

    @property
    def is_list(self) -> bool:
        """Whether it is shown as a list to select from."""
        return self.name != _STATES and len(self.choices) > MOST_CHIPS


@dataclass(frozen=True)
class Filters:
    """The groups, and the numbers of each test's values, in the order of the tests."""

    groups: Sequence[FilterGroup]
    values: Sequence[Sequence[int]]


def filters(report: Report, parts: Sequence[NameParts]) -> Filters:
    """Return the filters of a report's tests. What would narrow nothing is left out."""

    def session(test: Result, part: NameParts) -> Sequence[str]:
        label = report.sessions[test.session].label if test.session < len(report.sessions) else ""
        return [label] if label and len(report.sessions) > 1 else []

    kinds: Sequence[tuple[str, Callable[[Result, NameParts], Sequence[str]]]] = (
        (_STATES, _states),
        ("Intervention", lambda test, part: [part.case] if part.case else []),
        ("Model", lambda test, part: [test.details.model] if test.details else []),
        ("Class that gained", lambda test, part: [gained] if (gained := gained_class(test)) else []),
        ("Session", session),
    )
    groups: list[FilterGroup] = []
    values: list[list[int]] = [[] for _ in report.tests]
    number = 0
    for kind, values_of in kinds:
        named = [values_of(test, part) for test, part in zip(report.tests, parts, strict=True)]
        choices = []
        different = _ordered(named, kind)
        if kind != _STATES and len(different) < 2:
            continue
        for name in different:
            having = [position for position, names in enumerate(named) if name in names]
            if len(having) == len(report.tests):
                continue
            for position in having:
                values[position].append(number)
            choices.append(Choice(number, shortened(name, _LONGEST), len(having)))
            number += 1
        groups += [FilterGroup(kind, choices)] if choices else []
    return Filters(groups, values)


def _states(test: Result, part: NameParts) -> Sequence[str]:
    states = [OUTCOME_LABELS[test.outcome]]
    states += [_WORSE] if is_worse(test) else []
    states += dict.fromkeys(limit.note for limit in only_just_broken(test) if limit.note)
    states += [_WITHIN_NOISE] if only_just(test) else []
    return states


def _ordered(named: Sequence[Sequence[str]], kind: str) -> Sequence[str]:
    different = dict.fromkeys(name for names in named for name in names)
    if kind != _STATES:
        return list(different)
    order = [*OUTCOME_LABELS.values()]
    order[1:1] = [_WORSE, "not significant", "not certain", _WITHIN_NOISE]
    return [name for name in order if name in different]
