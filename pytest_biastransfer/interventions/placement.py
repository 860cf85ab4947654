"""Where on an image something is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import require_number, require_share
from pytest_biastransfer.interventions.blending import Mixed

Anchor = str | tuple[float, float]

# Where a thing touches: the fraction of the free space to the left of it and above it.
ANCHORS: Final = {
    "top-left": (0.0, 0.0),
    "top": (0.5, 0.0),
    "top-right": (1.0, 0.0),
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "right": (1.0, 0.5),
    "bottom-left": (0.0, 1.0),
    "bottom": (0.5, 1.0),
    "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Placed(Mixed):
    """Something that is drawn at one place of an image.

    Parameters
    ----------
    size
        Its longer side as a fraction of the image's shorter side, in (0, 1]; ``round(size * side)`` pixels.
    anchor
        ``"top-left"``, ``"top"``, ``"top-right"``, ``"left"``, ``"center"``, ``"right"``, ``"bottom-left"``,
        ``"bottom"``, ``"bottom-right"``, or (x, y): the fractions, in [0, 1], of the free space that is left of it
        and above it.
    margin
        What stays free at the border, as a fraction of the image's shorter side, in [0, 0.5).
    opacity, blend
        See `Mixed`.
    stage
        See `Intervention`.
    """

    size: float = 0.25
    anchor: Anchor = "top-left"
    margin: float = field(default=0.0, metadata={"quiet": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "size")
        object.__setattr__(self, "anchor", _anchor(self))
        require_number(self, "margin", "from 0 to below 0.5", lambda value: 0 <= value < 0.5)

    def corner(self, extent: tuple[int, int], within: tuple[int, int]) -> tuple[int, int]:
        """Return (left, top) of a box of `extent` (width, height) pixels on an image of `within` (width, height)."""
        border = round(self.margin * min(within))
        fractions = ANCHORS[self.anchor] if isinstance(self.anchor, str) else self.anchor
        free = [max(whole - own - 2 * border, 0) for own, whole in zip(extent, within, strict=True)]
        left, top = (border + int(share * spare) for share, spare in zip(fractions, free, strict=True))
        return left, top


def _anchor(placed: Placed) -> Anchor:
    name, anchor = type(placed).__name__, placed.anchor
    if isinstance(anchor, str):
        if anchor not in ANCHORS:
            raise InterventionError(f"{name}: anchor={anchor!r}; {nearest(anchor, ANCHORS)}")
        return anchor
    point: Sequence[object] = anchor if isinstance(anchor, tuple | list) else ()
    numbers = [float(part) for part in point if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(point) != 2 or len(numbers) != 2 or not all(math.isfinite(part) and 0 <= part <= 1 for part in numbers):
        raise InterventionError(
            f"{name}: anchor={anchor!r}, expected a name such as 'top-left', or (x, y) with numbers from 0 to 1"
        )
    return numbers[0], numbers[1]
