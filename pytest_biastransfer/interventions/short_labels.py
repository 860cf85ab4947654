"""Short names of interventions, as a person would give them: ``circle-center``, not ``circle-0.535714-center-ccff00``.

The keys of baselines are made of `Intervention.label`, which says everything; these names are for test ids and texts.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from pytest_biastransfer.interventions.base import Composition, Intervention, field_label
from pytest_biastransfer.interventions.colors import name_of
from pytest_biastransfer.interventions.custom import Custom
from pytest_biastransfer.interventions.ladders import Ladder


def short_label(declared: Intervention | Ladder, numbered: Collection[str] = ()) -> str:
    """Return a short name: the type, and what of its fields is a word; of the fields in `numbered`, any value.

    >>> from pytest_biastransfer.interventions import Circle, Grayscale, Square, ladder
    >>> short_label(Circle(size=0.535714, anchor="center", color="#ccff00"))
    'circle-center'
    >>> short_label(Grayscale() | Square(size=0.5, color="blue")), short_label(Square(size=0.5), ["size"])
    ('grayscale+square-blue', 'square-size-0.5')
    >>> short_label(ladder("blur", "sigma", [0.01, 0.02]))
    'blur-sigma'
    """
    if isinstance(declared, Ladder):
        strengths = [f"{strength:g}" for strength in declared.strengths] if "strengths" in numbered else []
        return "-".join([short_label(declared.base, numbered), declared.field, *strengths])
    if isinstance(declared, Composition):
        return "+".join(short_label(step, numbered) for step in declared.steps)
    if isinstance(declared, Custom):
        return declared.label
    words = [type(declared).__name__.lower()]
    for field in dataclasses.fields(declared):
        value = getattr(declared, field.name)
        if not field.init or value == field.default:
            continue
        word = _word(value, field)
        if word:
            words.append(word)
        elif field.name in numbered:
            words.append(f"{field.name}-{field.metadata.get('label', field_label)(value)}")
    return "-".join(words)


def distinct_labels(declared: Sequence[Intervention | Ladder]) -> list[str]:
    """Return a short name of each; where two would be the same, with the fields in which they differ.

    >>> from pytest_biastransfer.interventions import Blur, Square
    >>> distinct_labels([Square(size=0.1), Blur(), Square(size=0.2)])
    ['square-size-0.1', 'blur', 'square-size-0.2']
    >>> distinct_labels([Square(color="#010101"), Square(color="#020202"), Square(color="#020202")])
    ['square-color-010101', 'square-color-020202', 'square-color-020202']
    """
    groups: dict[str, list[Intervention | Ladder]] = defaultdict(list)
    for one in declared:
        groups[short_label(one)].append(one)
    return [short_label(one, _differing(groups[short_label(one)])) for one in declared]


def _differing(group: Sequence[Intervention | Ladder]) -> set[str]:
    """Return the fields in which interventions of the same short name differ."""
    differing: set[str] = set()
    for first, second in itertools.pairwise(group):
        differing |= _differences(first, second)
    return differing


def _differences(first: Intervention | Ladder, second: Intervention | Ladder) -> set[str]:
    if isinstance(first, Ladder) and isinstance(second, Ladder):
        return _differences(first.base, second.base) | ({"strengths"} if first.strengths != second.strengths else set())
    if isinstance(first, Composition) and isinstance(second, Composition):
        steps = zip(first.steps, second.steps, strict=False)
        return {name for one, other in steps for name in _differences(one, other)}
    if type(first) is not type(second) or not isinstance(first, Intervention):
        return set()
    names = [field.name for field in dataclasses.fields(first) if field.init]
    return {name for name in names if getattr(first, name) != getattr(second, name)}


def _word(value: Any, field: dataclasses.Field[Any]) -> str:
    """Return a field's value if it is a word: a text, a colour that has a name, other interventions."""
    if isinstance(value, Intervention):
        return short_label(value)
    if isinstance(value, tuple) and value and all(isinstance(member, Intervention) for member in value):
        return "-or-".join(map(short_label, value))
    if isinstance(value, str):
        label: str = field.metadata.get("label", field_label)(value)
        return label
    return name_of(value) if isinstance(value, tuple) else ""
