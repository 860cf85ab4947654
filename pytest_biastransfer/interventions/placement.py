"""Where on an image something is drawn, and how it is mixed with what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention, require_number, require_share

if TYPE_CHECKING:
    import torch

Blend = Literal["over", "add", "multiply", "screen"]
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
class Placed(Intervention):
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
    opacity
        Share of it in the mixture with the image, in (0, 1].
    blend
        How it is mixed: ``"over"`` (default) covers the image, ``"add"`` adds to it and clips, ``"multiply"`` and
        ``"screen"`` darken and lighten it, as in the W3C's *Compositing and Blending*.
    stage
        See `Intervention`.
    """

    size: float = 0.25
    anchor: Anchor = "top-left"
    margin: float = field(default=0.0, metadata={"quiet": True})
    opacity: float = field(default=1.0, metadata={"quiet": True})
    blend: Blend = field(default="over", metadata={"quiet": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "size")
        object.__setattr__(self, "anchor", _anchor(self))
        require_number(self, "margin", "from 0 to below 0.5", lambda value: 0 <= value < 0.5)
        require_number(self, "opacity", "above 0 and at most 1", lambda value: 0 < value <= 1)
        if self.blend not in get_args(Blend):
            name = type(self).__name__
            raise InterventionError(f"{name}: blend={self.blend!r}; {nearest(str(self.blend), get_args(Blend))}")

    def corner(self, extent: tuple[int, int], within: tuple[int, int]) -> tuple[int, int]:
        """Return (left, top) of a box of `extent` (width, height) pixels on an image of `within` (width, height)."""
        border = round(self.margin * min(within))
        fractions = ANCHORS[self.anchor] if isinstance(self.anchor, str) else self.anchor
        free = [max(whole - own - 2 * border, 0) for own, whole in zip(extent, within, strict=True)]
        left, top = (border + int(share * spare) for share, spare in zip(fractions, free, strict=True))
        return left, top

    def mixed(self, below: torch.Tensor, above: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
        """Return `above`, of the same form as `below` or broadcast to it, mixed with it where it covers it.

        `coverage` is boolean, or in [0, 1].
        """
        blended = _BLENDS[self.blend](below, above)
        if coverage.dtype == blended.dtype or self.opacity < 1:
            return below.lerp(blended.expand_as(below), coverage.to(below.dtype) * self.opacity)
        return blended.where(coverage, below)


# Written for values in [0, 1]; what an addition exceeds is clipped.
_BLENDS: Final[dict[str, Any]] = {
    "over": lambda below, above: above,
    "add": lambda below, above: (below + above).clamp(0.0, 1.0),
    "multiply": lambda below, above: below * above,
    "screen": lambda below, above: 1 - (1 - below) * (1 - above),
}


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
