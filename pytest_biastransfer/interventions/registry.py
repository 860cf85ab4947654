"""The registry of named interventions, with the built-in ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.appearance import Brightness, ColorCast, Grayscale
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.degradations import JPEG, Blur
from pytest_biastransfer.interventions.patterns import GaussianPattern, Noise
from pytest_biastransfer.interventions.pictures import Text
from pytest_biastransfer.interventions.shapes import Circle, LineGrid, Square


@dataclass(frozen=True)
class Registry:
    """Interventions by name, and where each was registered.

    Examples
    --------
    >>> BUILT_IN.named("yellow-square")
    Square(size=0.25, anchor='top-left', color=(255, 255, 0))
    >>> BUILT_IN.with_named({"dot": Circle(size=0.1)}, "conftest.py").named("dot")
    Circle(size=0.1, anchor='top-left', color=(255, 255, 0))
    """

    interventions: Mapping[str, Intervention]
    origins: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self.interventions)

    def named(self, name: str) -> Intervention:
        """Return the intervention of a name; raises `InterventionError` for an unknown one."""
        if name not in self.interventions:
            raise InterventionError(f"no intervention is named {name!r}; {nearest(name, self.interventions)}")
        return self.interventions[name]

    def described(self, intervention: Intervention) -> str:
        """Return an intervention as text: its names, if it has any, and its declaration.

        >>> print(BUILT_IN.described(Square()))
        yellow-square = Square(size=0.25, anchor='top-left', color=(255, 255, 0))
        """
        names = [name for name, registered in self.interventions.items() if registered == intervention]
        return " = ".join([*names, str(intervention)])

    def with_named(self, added: Mapping[str, Intervention], origin: str) -> Registry:
        """Return a registry with added names; raises `InterventionError` for a name that is taken.

        `origin` says who registers them, such as a file, for error messages.
        """
        for name, intervention in added.items():
            if not isinstance(name, str) or not name or name != name.strip():
                raise InterventionError(f"{origin}: got the name {name!r}, expected a word such as 'company-logo'")
            if not isinstance(intervention, Intervention):
                raise InterventionError(
                    f"{origin}: {name} is {intervention!r:.100}, expected an intervention such as Square(); wrap a "
                    f"callable or a transform in Custom(...)"
                )
            if name in self.interventions:
                raise InterventionError(
                    f"{origin}: the name {name!r} is taken, by {self.origins[name]}; choose another one"
                )
        return Registry(
            MappingProxyType({**self.interventions, **added}),
            MappingProxyType({**self.origins, **dict.fromkeys(added, origin)}),
        )


BUILT_IN: Final = Registry(MappingProxyType({}), MappingProxyType({})).with_named(
    {
        "blur": Blur(),
        "chain-link": LineGrid(size=1.0, anchor="center", color=(128, 128, 128), angle=45.0),
        "cold-light": ColorCast(matrix=(0.75, 0.9, 1.0)),
        "dark": Brightness(factor=0.5),
        "gaussian-pattern": GaussianPattern(),
        "grayscale": Grayscale(),
        "jpeg": JPEG(),
        "noise": Noise(),
        "tennis-ball": Circle(size=0.5, anchor="center", color="#ccff00"),
        "warm-light": ColorCast(matrix=(1.0, 0.9, 0.7)),
        "watermark": Text("SAMPLE", size=0.8, anchor="center", angle=30.0, opacity=0.5),
        "yellow-square": Square(size=0.25, anchor="top-left", color="#ffff00"),
    },
    "pytest-biastransfer",
)


def as_intervention(intervention: object, origin: str) -> Intervention:
    """Return an intervention, or the built-in one of that name; `origin` begins the error message."""
    if isinstance(intervention, str):
        return BUILT_IN.named(intervention)
    if isinstance(intervention, Intervention):
        return intervention
    raise InterventionError(
        f"{origin}: got {intervention!r:.100}, expected an intervention such as Square(), or a registered name; "
        f"{_what_it_is(intervention)}"
    )


def _what_it_is(value: object) -> str:
    """Return a hint for what is often passed in place of an intervention."""
    if isinstance(value, type) and issubclass(value, Intervention):
        return f"{value.__name__} is a class: call it, as in {value.__name__}(...)"
    # A `Ladder`, which this module cannot import.
    if hasattr(value, "strengths"):
        return "measure_ladder() measures a ladder"
    return "wrap a callable or a transform in Custom(...)"
