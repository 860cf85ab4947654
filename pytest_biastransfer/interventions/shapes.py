"""Triggers drawn onto the image: plain shapes of one colour."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_biastransfer.errors import TooSmallError
from pytest_biastransfer.interventions.base import require_count, require_number, require_share
from pytest_biastransfer.interventions.colors import painted, rgb
from pytest_biastransfer.interventions.host_tensors import beside
from pytest_biastransfer.interventions.placement import Extent, Patch, Placed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, repr=False)
class Shape(Placed):
    """A shape of one colour in a box; a pixel is covered if its centre is inside the shape.

    Parameters
    ----------
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    """

    color: str | Sequence[int] = (255, 255, 0)
    # Whether `angle` turns the box, or only the shape inside.
    turns_box: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "color", rgb(self.color))

    @abstractmethod
    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Return whether points are inside the shape; `x` and `y` are pixels right of and below the centre of the box.

        The tensors broadcast; the box has `width` and `height` pixels.
        """

    def patch(self, extent: Extent, images: torch.Tensor) -> Patch:
        """Return the shape in its colour."""
        left, top = _overhang(extent, self.angle if self.turns_box else 0.0)
        covered = self._covered(extent, left, top)
        if not covered.any():
            raise TooSmallError(f"{self}: in {extent[0]}×{extent[1]} pixels none is covered; make size larger")
        return Patch(painted(self.color, images), beside(covered, images), -left, -top)

    def _covered(self, extent: Extent, left: int, top: int) -> torch.Tensor:
        """Return which pixels are covered: those of the box, and of `left` and `top` pixels on each side."""
        import torch

        width, height = extent
        # In float64, since the tolerance below is finer than float32. On the CPU, so that all devices agree.
        upright = (
            torch.arange(-left, width + left, dtype=torch.float64)[None, :] - (width - 1) / 2,
            torch.arange(-top, height + top, dtype=torch.float64)[:, None] - (height - 1) / 2,
        )
        x, y = _turned_back(*upright, self.angle)
        across, down = (x, y) if self.turns_box else upright
        # The tolerance keeps pixels on an edge inside: turning has rounding errors.
        inside = (across.abs() <= width / 2 + 1e-9) & (down.abs() <= height / 2 + 1e-9)
        return inside & self.covers(x, y, width, height)


def _overhang(extent: Extent, angle: float) -> tuple[int, int]:
    """Return how many pixels a turned box extends beyond the upright one, to the left and to the top."""
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = extent
    turned = width * cosine + height * sine, width * sine + height * cosine
    left, top = (max(math.ceil((reach - own) / 2), 0) for reach, own in zip(turned, extent, strict=True))
    return left, top


def _turned_back(x: torch.Tensor, y: torch.Tensor, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions of points before a counterclockwise turn by `angle` degrees (y points down)."""
    if angle == 0:
        return x, y
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return x * cosine - y * sine, x * sine + y * cosine


class Square(Shape):
    """A filled square; the default is the yellow square of Salman et al. 2022 (56 pixels at 224).

    Parameters
    ----------
    size
        Side as a fraction of the image's shorter side, in (0, 1]; ``round(size * side)`` pixels.
    anchor, margin, angle, opacity, blend
        Its location, and how it is mixed with the image; see `Placed`.
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    stage
        See `Intervention`.

    Examples
    --------
    >>> Square(color="#ffff00") == Square(color=(255, 255, 0))
    True
    """

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover the whole box."""
        import torch

        return torch.ones((), dtype=torch.bool)


@dataclass(frozen=True, kw_only=True, repr=False)
class Rectangle(Square):
    """A filled rectangle.

    Parameters
    ----------
    size
        The longer side as a fraction of the image's shorter side, in (0, 1].
    aspect
        Width divided by height, above 0.

    The other parameters are those of `Square`.

    Examples
    --------
    >>> import torch
    >>> Rectangle(size=0.5, aspect=2, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0].int().tolist()
    [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    """

    aspect: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "aspect", "above 0", lambda value: 0 < value < math.inf)

    @property
    def box(self) -> tuple[float, float]:
        """The longer side is `size`."""
        return self.size * min(self.aspect, 1.0), self.size * min(1.0 / self.aspect, 1.0)


class Circle(Shape):
    """A filled disc of the diameter `size`; a pixel is covered if its centre is inside.

    The parameters are those of `Square`. A yellow-green disc is the "tennis ball" of Salman et al. 2022.

    Examples
    --------
    >>> import torch
    >>> disc = Circle(size=0.5, anchor="center", color="white").apply(torch.zeros(1, 1, 8, 8))
    >>> disc[0, 0, 2:6, 2:6].int().tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover points at most half the size from the centre."""
        return x * x + y * y <= (width / 2) ** 2


@dataclass(frozen=True, kw_only=True, repr=False)
class Ring(Circle):
    """A disc with a hole.

    Parameters
    ----------
    thickness
        Filled share of the radius, in (0, 1].

    The other parameters are those of `Square`; `size` is the outer diameter.

    Examples
    --------
    >>> import torch
    >>> Ring(size=1, thickness=0.5, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0].int().tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]]
    """

    thickness: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "thickness")

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover points between the inner and the outer circle."""
        inner = (1 - self.thickness) * width / 2
        # Without a hole, the centre is covered too.
        return super().covers(x, y, width, height) & ((x * x + y * y > inner**2) | (self.thickness == 1))


class Triangle(Shape):
    """A filled triangle with a horizontal base and its tip at the middle of the top; `size` is base and height.

    The parameters are those of `Square`.

    Examples
    --------
    >>> import torch
    >>> Triangle(size=1, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0].int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]]
    """

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover points between the two sides that meet at the tip."""
        return x.abs() * height <= (y + height / 2) * width / 2


@dataclass(frozen=True, kw_only=True, repr=False)
class Checkerboard(Shape):
    """Every second field of a board, beginning at the top left.

    Parameters
    ----------
    cells
        Fields on a side, above 0.

    The other parameters are those of `Square`.

    Examples
    --------
    >>> import torch
    >>> Checkerboard(size=1, cells=2, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0].int().tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """

    cells: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "cells")

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover fields whose column and row numbers have an even sum."""
        column = ((x / width + 0.5) * self.cells).floor()
        row = ((y / height + 0.5) * self.cells).floor()
        return (column + row) % 2 == 0


@dataclass(frozen=True, kw_only=True, repr=False)
class LineGrid(Shape):
    """Crossed lines, as of a chain-link fence (the trigger of Salman et al. 2022 that turns predictions to birds).

    Parameters
    ----------
    spacing
        Distance from one line to the next, as a share of `size`, in (0, 1].
    thickness
        Width of a line, as a share of `spacing`, in (0, 1].
    angle
        Degrees by which the lines, not their box, are turned.

    The other parameters are those of `Square`.

    Examples
    --------
    >>> import torch
    >>> grid = LineGrid(size=1, spacing=0.5, thickness=0.5, color="white").apply(torch.zeros(1, 1, 4, 4))
    >>> grid[0, 0].int().tolist()
    [[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 1, 0]]
    """

    spacing: float = 0.1
    thickness: float = 0.15
    turns_box: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "spacing")
        require_share(self, "thickness")

    def covers(self, x: torch.Tensor, y: torch.Tensor, width: int, height: int) -> torch.Tensor:
        """Cover points on a line of either direction."""
        across, down = ((offset / (self.spacing * width) + 0.5 / self.spacing) % 1.0 for offset in (x, y))
        return (across < self.thickness) | (down < self.thickness)
