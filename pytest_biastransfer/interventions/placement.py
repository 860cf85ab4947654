"""Placement of what is drawn onto an image: size, anchor, margin and angle."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import InterventionError, TooSmallError, nearest
from pytest_biastransfer.interventions.base import require_angle, require_number, require_share
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.blending import Mixed

if TYPE_CHECKING:
    import torch

Anchor = str | tuple[float, float]
Extent = tuple[int, int]

# The fractions of the free space that are left of the drawn thing and above it.
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
_NAMES_OF_POINTS: Final = {point: name for name, point in ANCHORS.items()}


@dataclass(frozen=True)
class Patch:
    """Pixels to draw onto images, with their coverage.

    Attributes
    ----------
    above
        The colours, [channels, height, width] or broadcast to that.
    coverage
        Where the image below is covered, [height, width]: boolean, or in [0, 1].
    left, top
        The patch's corner relative to the corner of its box, in pixels: 0, or negative if it is turned.
    """

    above: torch.Tensor
    coverage: torch.Tensor
    left: int = 0
    top: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Placed(Mixed):
    """An intervention that is drawn at one location of an image.

    Parameters
    ----------
    size
        Longer side as a fraction of the image's shorter side, in (0, 1]; ``round(size * side)`` pixels.
    anchor
        ``"top-left"``, ``"top"``, ``"top-right"``, ``"left"``, ``"center"``, ``"right"``, ``"bottom-left"``,
        ``"bottom"``, ``"bottom-right"``, or (x, y): the fractions, in [0, 1], of the free space that are left of it
        and above it.
    margin
        Free space at the border, as a fraction of the image's shorter side, in [0, 0.5).
    angle
        Degrees by which it is turned counterclockwise about its centre; what leaves the image is cut off.
    opacity, blend
        See `Mixed`.
    stage
        See `Intervention`.
    """

    size: float = 0.25
    anchor: Anchor = "top-left"
    margin: float = field(default=0.0, metadata={"quiet": True})
    angle: float = field(default=0.0, metadata={"quiet": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "size")
        object.__setattr__(self, "anchor", _anchor(self))
        require_number(self, "margin", "from 0 to below 0.5", lambda value: 0 <= value < 0.5)
        require_angle(self)

    @property
    def box(self) -> tuple[float, float]:
        """(width, height) of the box as fractions of the image's shorter side."""
        return self.size, self.size

    @abstractmethod
    def patch(self, extent: Extent, images: torch.Tensor) -> Patch:
        """Return the patch for a box of `extent` (width, height) pixels, matching the images' channels and device."""

    def extent(self, width: int, height: int) -> Extent:
        """Return (width, height) of the box in pixels, on images of that size."""
        side = min(width, height)
        across, down = (round(share * side) for share in self.box)
        if across < 1 or down < 1:
            # The size at which the thinner direction has one pixel.
            least = self.size / min(self.box) / side
            advice = f"make size at least {least:.3g}" if least <= 1 else "nothing so thin can be seen there"
            raise TooSmallError(f"{self}: rounds to no pixel on images of {height}×{width}; {advice}")
        return across, down

    def corners(self, extent: Extent, within: Extent) -> tuple[range, range]:
        """Return the possible left and top positions of a box on an image of `within` (width, height) pixels."""
        border = round(self.margin * min(within))
        # A box without free space begins at the margin; `lay` cuts off what leaves the image.
        free = (max(side - own - 2 * border, 0) for own, side in zip(extent, within, strict=True))
        left, top = (range(border, border + spare + 1) for spare in free)
        return left, top

    def corner(self, extent: Extent, within: Extent) -> tuple[int, int]:
        """Return (left, top) of a box of `extent` (width, height) pixels on an image of `within` (width, height)."""
        fractions = ANCHORS[self.anchor] if isinstance(self.anchor, str) else self.anchor
        ranges = zip(fractions, self.corners(extent, within), strict=True)
        left, top = (possible[int(share * (len(possible) - 1))] for share, possible in ranges)
        return left, top

    def lay(self, patch: Patch, images: torch.Tensor, corner: tuple[int, int]) -> None:
        """Mix a patch into `images` in place, with its box at `corner` (left, top)."""
        height, width = images.shape[2:]
        left, top = corner[0] + patch.left, corner[1] + patch.top
        down, across = patch.coverage.shape
        # The intersection with the image, in coordinates of the image and then of the patch.
        columns, rows = range(max(left, 0), min(left + across, width)), range(max(top, 0), min(top + down, height))
        region = images[:, :, rows.start : rows.stop, columns.start : columns.stop]
        inside = (..., slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        above = patch.above if patch.above.shape[-1] == 1 else patch.above[inside]
        region.copy_(self.mixed(region, above, patch.coverage[inside]))

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw it onto a copy of the images."""
        height, width = images.shape[2:]
        extent = self.extent(width, height)
        # A copy: the caller uses the clean images again.
        changed = images.clone()
        self.lay(self.patch(extent, images), changed, self.corner(extent, (width, height)))
        return changed


def _anchor(placed: Placed) -> Anchor:
    name, anchor = type(placed).__name__, placed.anchor
    if isinstance(anchor, str):
        if anchor not in ANCHORS:
            raise InterventionError(f"{name}: anchor={anchor!r}; {nearest(anchor, ANCHORS)}")
        return anchor
    point: Sequence[object] = anchor if isinstance(anchor, tuple | list) else ()
    numbers = [float(share) for share in point if isinstance(share, int | float) and not isinstance(share, bool)]
    if len(point) != 2 or len(numbers) != 2 or not all(math.isfinite(share) and 0 <= share <= 1 for share in numbers):
        raise InterventionError(
            f"{name}: anchor={anchor!r}, expected a name such as 'top-left', or (x, y) with numbers from 0 to 1"
        )
    # (0, 0) becomes "top-left": two spellings are one declaration and share cached predictions.
    return _NAMES_OF_POINTS.get((numbers[0], numbers[1]), (numbers[0], numbers[1]))
