"""The ids of bias tests: those that markers give with ``id=``, or short ones that differ within a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import MarkerError
from pytest_biastransfer.interventions.short_labels import distinct_labels
from pytest_biastransfer.judgement.cases import Case, InterventionCase, LadderCase
from pytest_biastransfer.names import DATASET_FIXTURE, MODEL_FIXTURE

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.interventions import Intervention, Ladder


def declared_ids(mark: pytest.Mark, origin: str) -> Sequence[str] | None:
    """Return the ids that a marker gives to its tests; None if it gives none.

    Raises
    ------
    MarkerError
        If they are no ids; the message begins with `origin`.
    """
    value = mark.kwargs.get("id")
    if value is None:
        return None
    ids = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    for one in ids:
        if not (isinstance(one, str) and one and one.isprintable()) or set(one) & set("[]") or "::" in one:
            raise MarkerError(f"{origin}: id={value!r:.100}, expected a text such as id='logo', without [ ] and ::")
    return ids


def require_as_many(ids: Sequence[str] | None, tests: int, origin: str) -> None:
    """Raise `MarkerError` if a marker gives other than one id to each of its tests."""
    if ids is not None and len(ids) != tests:
        raise MarkerError(
            f"{origin}: id={list(ids)!r:.100} names {len(ids)} of {tests} tests; give one id to each intervention, as "
            f"id=['first', 'second']"
        )


def with_ids(cases: Sequence[Case]) -> list[Case]:
    """Return the cases of a test function with ids: those without one get a short one.

    Registered names, gaps and searches keep their names. What is declared by its fields is named by its type and those
    fields that are words, such as ``circle-center``; where two would be the same, also by the fields that differ.
    """
    declared = {id(case): unnamed for case in cases if not case.id and (unnamed := _declared(case)) is not None}
    labels = dict(zip(declared, distinct_labels(list(declared.values())), strict=True))
    return [case if case.id else replace(case, id=_id(case, labels.get(id(case), case.name))) for case in cases]


def _declared(case: Case) -> Intervention | Ladder | None:
    """Return what a case measures if it has no registered name."""
    if isinstance(case, LadderCase):
        return case.ladder
    if not isinstance(case, InterventionCase):
        return None
    own = "-".join([case.intervention.label, *map(str, case.expectation.positive)])
    return case.intervention if case.name == own else None


def _id(case: Case, label: str) -> str:
    """Return an id: the label, the decision that is judged, and the fixtures that are not the usual ones."""
    unusual = [case.model] * (case.model != MODEL_FIXTURE) + [case.dataset] * (case.dataset != DATASET_FIXTURE)
    positive = [] if label == case.name else list(map(str, case.expectation.positive))
    return "-".join([label, *positive, *unusual])
