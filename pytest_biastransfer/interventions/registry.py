"""Interventions by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.appearance import Brightness, ColorCast, Grayscale
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.degradations import JPEG, Blur
from pytest_biastransfer.interventions.patterns import GaussianPattern
from pytest_biastransfer.interventions.shapes import Circle, LineGrid, Square

_NAMED: Final = MappingProxyType(
    {
        "blur": Blur(),
        "chain-link": LineGrid(size=1.0, anchor="center", color=(128, 128, 128), angle=45.0),
        "cold-light": ColorCast(matrix=(0.75, 0.9, 1.0)),
        "dark": Brightness(factor=0.5),
        "gaussian-pattern": GaussianPattern(),
        "grayscale": Grayscale(),
        "jpeg": JPEG(),
        "tennis-ball": Circle(size=0.5, anchor="center", color="#ccff00"),
        "warm-light": ColorCast(matrix=(1.0, 0.9, 0.7)),
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
