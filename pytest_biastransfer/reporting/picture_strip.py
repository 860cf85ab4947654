"""The shown images of a test as one picture, for reports of other plugins that take a picture a test."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from pytest_biastransfer.reporting.decoded_pairs import decoded_pair
from pytest_biastransfer.reporting.report import Picture, Shown

# Pairs in a row.
_COLUMNS: Final = 4


def picture_strip(images: Sequence[Shown]) -> Picture | None:
    """Return the images, each clean beside intervened, four in a row, as a PNG file; None if they have no pictures."""
    tiles = [tile for image in images for tile in decoded_pair(image)]
    if not tiles:
        return None
    width, height = (max(tile.size[side] for tile in tiles) for side in (0, 1))
    columns = min(len(tiles), 2 * _COLUMNS)
    strip = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        strip.paste(tile, (column * width, row * height))
    file = io.BytesIO()
    strip.save(file, "PNG")
    return Picture(base64.b64encode(file.getvalue()).decode(), "image/png", *strip.size)
