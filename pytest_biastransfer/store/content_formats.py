"""Validates plain data that was read from a file, by type hints."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin


def fits(form: Any, content: Any) -> bool:
    """Whether plain data, as JSON holds it, matches a type hint.

    Parameters
    ----------
    form
        ``int``, ``float``, ``str``, ``bool``, ``None``, `Any`; ``list[...]``, ``dict[str, ...]``, ``tuple[...]`` of a
        fixed length, a `typing.TypedDict` (further keys are allowed), `typing.Literal`, or a union, such as
        ``int | None``. With ``Annotated[form, holds]``, ``holds(content)`` must be true too; a ValueError counts as
        false.
    content
        The data. An int is a float too; a bool is neither.

    Examples
    --------
    >>> fits(dict[str, list[int]], {"labels": [0, 1]})
    True
    >>> fits(Annotated[int, lambda count: count >= 0], -1)
    False
    """
    arguments, compound = get_args(form), _COMPOUND.get(get_origin(form))
    if compound is not None:
        return compound(arguments, content)
    if typing.is_typeddict(form):
        return _fits_dict(form, content)
    if form is float:
        return type(content) in (int, float)
    return form is Any or type(content) is (types.NoneType if form is None else form)


def _fits_dict(form: Any, content: Any) -> bool:
    hints = _hints(form)
    return (
        isinstance(content, dict)
        and content.keys() >= hints.keys()
        and all(fits(hint, content[name]) for name, hint in hints.items())
    )


def _fits_annotated(arguments: Sequence[Any], content: Any) -> bool:
    return fits(arguments[0], content) and all(_holds(holds, content) for holds in arguments[1:])


def _fits_union(forms: Sequence[Any], content: Any) -> bool:
    return any(fits(form, content) for form in forms)


def _fits_literal(literals: Sequence[Any], content: Any) -> bool:
    return any(content == literal and type(content) is type(literal) for literal in literals)


def _fits_tuple(forms: Sequence[Any], content: Any) -> bool:
    return (
        isinstance(content, list)
        and len(content) == len(forms)
        and all(fits(form, value) for form, value in zip(forms, content, strict=True))
    )


def _all_fit(form: Any, contents: Any) -> bool:
    # Lists of labels have a million members: for a plain type, one pass at C speed.
    if form in (str, int, bool):
        return set(map(type, contents)) <= {form}
    return all(fits(form, content) for content in contents)


def _holds(holds: Callable[[Any], bool], content: Any) -> bool:
    try:
        return holds(content)
    except ValueError:
        return False


@functools.cache
def _hints(form: typing.Hashable) -> dict[str, Any]:
    return typing.get_type_hints(form, include_extras=True)


_COMPOUND: Final[Mapping[Any, Callable[[Sequence[Any], Any], bool]]] = {
    Annotated: _fits_annotated,
    typing.Union: _fits_union,
    types.UnionType: _fits_union,
    Literal: _fits_literal,
    tuple: _fits_tuple,
    list: lambda arguments, content: isinstance(content, list) and _all_fit(arguments[0], content),
    dict: lambda arguments, content: isinstance(content, dict) and _all_fit(arguments[1], content.values()),
}
