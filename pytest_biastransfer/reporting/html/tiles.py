"""Where an image is in the tile sheet of its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_biastransfer.reporting.report import Pictures, Shown

# The browser enlarges tiles with fewer pixels than this without smoothing: smoothed, they would be a blur.
PIXELATED = 48


@dataclass(frozen=True)
class SheetView:
    """The tile sheet of a test as the page shows it; `width` and `height` are the size of the sheet, in pixels."""

    pictures: Pictures
    width: int
    height: int
    pixelated: bool

    def views(self, shown: Shown) -> Sequence[str]:
        """Return the SVG viewBoxes of a clean image and the intervened one: one for both if they are side by side.

        There is none if the image has no picture.
        """
        if shown.tile is None or not 0 <= shown.tile < self.pictures.tiles - 1:
            return ()
        width, height = self.pictures.width, self.pictures.height
        (x, y), (next_x, next_y) = self._corner(shown.tile), self._corner(shown.tile + 1)
        if next_y == y:
            return (self._box(x, y, 2 * width, height),)
        return self._box(x, y, width, height), self._box(next_x, next_y, width, height)

    def _box(self, x: int, y: int, width: int, height: int) -> str:
        # Smoothing mixes the outermost pixels with those of the tiles around, so the box leaves half of them out.
        inset = 0.0 if self.pixelated else 0.5
        return f"{x + inset:g} {y + inset:g} {width - 2 * inset:g} {height - 2 * inset:g}"

    def _corner(self, tile: int) -> tuple[int, int]:
        row, column = divmod(tile, self.pictures.columns)
        return column * self.pictures.width, row * self.pictures.height


def sheet_of(pictures: Pictures | None) -> SheetView | None:
    """Return the tile sheet as the page shows it; None if there are no tiles, or a size that cannot be."""
    if pictures is None or min(pictures.tiles, pictures.columns, pictures.width, pictures.height) < 1:
        return None
    rows = -(-pictures.tiles // pictures.columns)
    small = max(pictures.width, pictures.height) < PIXELATED
    return SheetView(pictures, pictures.columns * pictures.width, rows * pictures.height, small)
