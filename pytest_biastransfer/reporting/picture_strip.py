"""The shown images of a test as one picture, for reports of other plugins that take a picture a test."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from pytest_biastransfer.reporting.report import Picture, Shown

# Pairs in a row.
_COLUMNS: Final = 4


def picture_strip(images: Sequence[Shown]) -> Picture | None:
    """Return the images, each clean beside intervened, four in a row, as a PNG file; None if they have no pictures."""
    pairs = [(image.clean, image.changed) for image in images if image.clean is not None]
    tiles = [tile for clean, changed in pairs for tile in _tiles(clean, changed)]
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


def _tiles(clean: Picture, changed: Picture | None) -> list[Image.Image]:
    tile = _opened(clean).convert("RGB")
    if changed is None:
        return [tile]
    layer = _opened(changed).convert("RGBA")
    intervened = tile.copy()
    intervened.paste(layer, mask=layer)
    return [tile, intervened]


def _opened(picture: Picture) -> Image.Image:
    # Only what `image_pairs` writes: other formats of Pillow are not for files of strangers.
    return Image.open(io.BytesIO(base64.b64decode(picture.data)), formats=("WEBP", "PNG"))
