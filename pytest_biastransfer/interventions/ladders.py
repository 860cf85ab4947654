"""Ladders: one intervention at several strengths."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.registry import as_intervention


@dataclass(frozen=True)
class Ladder:
    """Interventions that differ in one field, the weakest first; made by `ladder`.

    Attributes
    ----------
    base
        The intervention. Its own value of the field does not count: it is the field's default, or the first strength.
    field
        The name of the field.
    strengths
        The values of the field, as numbers in ascending or descending order.
    steps
        The intervention at each of them.
    """

    base: Intervention
    field: str
    strengths: tuple[float, ...]
    steps: tuple[Intervention, ...]

    def __str__(self) -> str:
        return f"ladder({self.base}, {self.field!r}, {list(self.strengths)})"

    @property
    def label(self) -> str:
        """Short, stable, readable text for test ids."""
        return "-".join([self.base.label, self.field, *(f"{strength:g}" for strength in self.strengths)])


def ladder(intervention: Intervention | str, field: str, values: Sequence[float]) -> Ladder:
    """Return an intervention at several strengths, for a marker or `measure_ladder`.

    Parameters
    ----------
    intervention
        An intervention, or the name of a built-in one.
    field
        The name of the field that makes it stronger, such as ``"sigma"`` of `Blur`.
    values
        At least two numbers, the weakest strength first, strictly ascending or strictly descending: a JPEG is the
        stronger the lower its quality.

    Raises
    ------
    InterventionError
        If there is no such field, or the values are not such numbers.

    Examples
    --------
    >>> from pytest_biastransfer import Blur
    >>> blurs = ladder(Blur(), "sigma", [0.01, 0.02])
    >>> blurs.steps, blurs.label
    ((Blur(sigma=0.01), Blur(sigma=0.02)), 'blur-sigma-0.01-0.02')
    """
    base = as_intervention(intervention, "ladder")
    kind = type(base).__name__
    fields = {declared.name: declared for declared in dataclasses.fields(base) if declared.init}
    if field not in fields:
        raise InterventionError(f"ladder: {kind} has no field {field!r:.60}; {nearest(str(field), fields)}")
    numbers = _require_monotone(kind, field, values)
    steps = tuple(_with_field(base, field, value) for value in numbers)
    for weaker, stronger in itertools.pairwise(steps):
        if weaker == stronger:
            raise InterventionError(f"ladder: {kind}: two values of {field} mean the same intervention, {weaker}")
    default = fields[field].default
    return Ladder(
        steps[0] if default is dataclasses.MISSING else _with_field(base, field, default), field, numbers, steps
    )


def _with_field(intervention: Intervention, field: str, value: Any) -> Intervention:
    return dataclasses.replace(intervention, **{field: value})


def _require_monotone(kind: str, field: str, values: object) -> tuple[float, ...]:
    """Return the values of a field if they are numbers, each above or each below the one before."""
    numbers = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if len(numbers) < 2:
        raise InterventionError(
            f"ladder: {kind}: {field}={values!r:.100}, expected at least two numbers, the weakest strength first"
        )
    for value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InterventionError(f"ladder: {kind}: {field} has {value!r:.60}, expected numbers")
    is_ascending = numbers[1] > numbers[0]
    for before, value in itertools.pairwise(numbers):
        if value == before or (value > before) != is_ascending:
            raise InterventionError(
                f"ladder: {kind}: {field} has {value:g} after {before:g}, expected strictly ascending or strictly "
                f"descending values, the weakest strength first"
            )
        if f"{value:g}" == f"{before:g}":
            raise InterventionError(
                f"ladder: {kind}: {field} has {value!r} after {before!r}, expected values that differ in six digits: "
                f"baselines and reports name strengths by these"
            )
    return numbers
