"""Which part of a test's one picture an image is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_biastransfer.reporting.report import Pictures, Shown

# Tiles that are smaller than this are shown with their pixels as they are: smoothed, they would be a blur.
PIXELATED = 48


@dataclass(frozen=True)
class SheetView:
    """All tiles of a test; `width` and `height` are those of the whole picture, in pixels."""

    pictures: Pictures
    width: int
    height: int
    pixelated: bool

    def views(self, shown: Shown) -> Sequence[str]:
        """Return the viewBoxes of a clean image and the intervened one: a single one where they are side by side."""
        if shown.tile is None or not 0 <= shown.tile < self.pictures.tiles - 1:
            return ()
        width, height = self.pictures.width, self.pictures.height
        (x, y), (next_x, next_y) = self._corner(shown.tile), self._corner(shown.tile + 1)
        if next_y == y:
            return (self._box(x, y, 2 * width, height),)
        return self._box(x, y, width, height), self._box(next_x, next_y, width, height)

    def _box(self, x: int, y: int, width: int, height: int) -> str:
        # Smoothed, the outermost pixels would be mixed with those of the tiles around.
        inset = 0.0 if self.pixelated else 0.5
        return f"{x + inset:g} {y + inset:g} {width - 2 * inset:g} {height - 2 * inset:g}"

    def _corner(self, tile: int) -> tuple[int, int]:
        row, column = divmod(tile, self.pictures.columns)
        return column * self.pictures.width, row * self.pictures.height


def sheet_of(pictures: Pictures | None) -> SheetView | None:
    """Return the tiles of a test, if it has any."""
    if pictures is None or min(pictures.tiles, pictures.columns, pictures.width, pictures.height) < 1:
        return None
    rows = -(-pictures.tiles // pictures.columns)
    small = max(pictures.width, pictures.height) < PIXELATED
    return SheetView(pictures, pictures.columns * pictures.width, rows * pictures.height, small)
