"""Interventions by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.appearance import Grayscale
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.shapes import Circle, Square

_NAMED: Final = MappingProxyType(
    {
        "grayscale": Grayscale(),
        "tennis-ball": Circle(size=0.5, anchor="center", color="#ccff00"),
        "yellow-square": Square(size=0.25, anchor="top-left", color="#ffff00"),
    }
)


def names() -> list[str]:
    """Return the registered names, sorted."""
    return sorted(_NAMED)


def named(name: str) -> Intervention:
    """Return the registered intervention of that name.

    >>> named("yellow-square")
    Square(size=0.25, anchor='top-left', color=(255, 255, 0))
    """
    if name not in _NAMED:
        raise InterventionError(f"no intervention is named {name!r}; {nearest(name, _NAMED)}")
    return _NAMED[name]


def described(intervention: Intervention) -> str:
    """Return an intervention in words: its declaration, after its name if it has one.

    >>> print(described(Square()))
    yellow-square = Square(size=0.25, anchor='top-left', color=(255, 255, 0))
    """
    found = [name for name, one in _NAMED.items() if one == intervention]
    return " = ".join([*found, repr(intervention)])
