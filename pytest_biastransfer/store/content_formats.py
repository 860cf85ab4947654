"""The forms of plain data: whether what was read is what was once written, told by a type."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin


def fits(form: Any, content: Any) -> bool:
    """Whether plain data, as JSON holds it, is of a form.

    Parameters
    ----------
    form
        ``int``, ``float``, ``str``, ``bool``, ``None``, `Any`; ``list[...]``, ``dict[str, ...]``, ``tuple[...]`` of a
        fixed length, a `typing.TypedDict` (with these keys or more), `typing.Literal`, or one of several, such as
        ``int | None``. With ``Annotated[form, holds]``, ``holds(content)`` must be true too; a ValueError means that
        it is not.
    content
        The data. Whole numbers are floats too, truth values are no numbers.

    Examples
    --------
    >>> fits(dict[str, list[int]], {"labels": [0, 1]})
    True
    >>> fits(Annotated[int, lambda count: count >= 0], -1)
    False
    """
    parts, compound = get_args(form), _COMPOUND.get(get_origin(form))
    if compound is not None:
        return compound(parts, content)
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


def _fits_annotated(parts: Sequence[Any], content: Any) -> bool:
    return fits(parts[0], content) and all(_holds(holds, content) for holds in parts[1:])


def _fits_one(parts: Sequence[Any], content: Any) -> bool:
    return any(fits(part, content) for part in parts)


def _fits_literal(parts: Sequence[Any], content: Any) -> bool:
    return any(content == part and type(content) is type(part) for part in parts)


def _fits_tuple(parts: Sequence[Any], content: Any) -> bool:
    return (
        isinstance(content, list)
        and len(content) == len(parts)
        and all(fits(part, value) for part, value in zip(parts, content, strict=True))
    )


def _all_fit(form: Any, contents: Any) -> bool:
    # Of many thousands, a plain type is told at once.
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
    typing.Union: _fits_one,
    types.UnionType: _fits_one,
    Literal: _fits_literal,
    tuple: _fits_tuple,
    list: lambda parts, content: isinstance(content, list) and _all_fit(parts[0], content),
    dict: lambda parts, content: isinstance(content, dict) and _all_fit(parts[1], content.values()),
}
