"""Triggers drawn onto the image: plain shapes of one colour."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention, require_share
from pytest_biastransfer.interventions.colors import levels, rgb

if TYPE_CHECKING:
    import torch

# Where a shape touches: the fraction of the free space above and to the left of it.
ANCHORS: Final = {
    "top-left": (0.0, 0.0),
    "top": (0.0, 0.5),
    "top-right": (0.0, 1.0),
    "left": (0.5, 0.0),
    "center": (0.5, 0.5),
    "right": (0.5, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom": (1.0, 0.5),
    "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Shape(Intervention):
    """A shape of one colour at one of nine places; `size` is a fraction of the shorter side."""

    size: float = 0.25
    anchor: str = "top-left"
    color: str | Sequence[int] = (255, 255, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "size")
        if not isinstance(self.anchor, str) or self.anchor not in ANCHORS:
            name = type(self).__name__
            raise InterventionError(f"{name}: anchor={self.anchor!r}; {nearest(str(self.anchor), ANCHORS)}")
        object.__setattr__(self, "color", rgb(self.color))

    @abstractmethod
    def footprint(self, extent: int, device: torch.device) -> torch.Tensor:
        """Return the boolean [extent, extent] mask of the pixels that the shape covers."""

    def render(self, images: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Draw the shape onto a copy of the images."""
        channels, height, width = images.shape[1:]
        extent = round(self.size * min(height, width))
        if extent < 1:
            raise InterventionError(
                f"{self}: rounds to no pixel on images of {height}×{width}; "
                f"make size at least {1 / min(height, width):.3g}"
            )
        down, right = ANCHORS[self.anchor]
        top, left = int(down * (height - extent)), int(right * (width - extent))
        changed = images.clone()
        region = changed[:, :, top : top + extent, left : left + extent]
        color = images.new_tensor(levels(rgb(self.color), channels)).reshape(1, channels, 1, 1)
        region.copy_(color.where(self.footprint(extent, images.device), region))
        return changed


class Square(Shape):
    """A filled square; the default is the yellow square of Salman et al. 2022 (56 pixels at 224).

    Parameters
    ----------
    size
        Side as a fraction of the image's shorter side, in (0, 1]; ``round(size * side)`` pixels.
    anchor
        ``"top-left"``, ``"top"``, ``"top-right"``, ``"left"``, ``"center"``, ``"right"``,
        ``"bottom-left"``, ``"bottom"`` or ``"bottom-right"``.
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    stage
        See `Intervention`.

    Examples
    --------
    >>> Square(color="#ffff00") == Square(color=(255, 255, 0))
    True
    """

    def footprint(self, extent: int, device: torch.device) -> torch.Tensor:
        """Cover everything."""
        import torch

        return torch.ones(extent, extent, dtype=torch.bool, device=device)


class Circle(Shape):
    """A filled disc of the diameter `size`; a pixel belongs to it if its centre does.

    The parameters are those of `Square`. A yellow-green disc is the "tennis ball" of Salman et al. 2022.

    Examples
    --------
    >>> import torch
    >>> disc = Circle(size=0.5, anchor="center", color="white").apply(torch.zeros(1, 1, 8, 8))
    >>> disc[0, 0, 2:6, 2:6].int().tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """

    def footprint(self, extent: int, device: torch.device) -> torch.Tensor:
        """Cover the pixels whose centre is in the disc."""
        import torch

        offset = torch.arange(extent, device=device) - (extent - 1) / 2
        squares = offset * offset
        return squares[:, None] + squares[None, :] <= (extent / 2) ** 2
