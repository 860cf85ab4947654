"""Strips of flipped images, clean above intervened, as PNG files for documents that can only link to pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.report import Pictures, Shown

# The most images of a strip: so many fit into the width of a comment.
MOST_IMAGES: Final = 8
# The least side of a tile of a strip, in pixels.
_SIDE: Final = 96
_GAP: Final = 4
# Part of the files' names, so that a strip that is drawn in another way has another address.
_LAYOUT: Final = "1"


class ImageStrips:
    """The strips that a document links to.

    Parameters
    ----------
    address
        What the links begin with: a directory relative to the document, or the address that the files are uploaded to.

    Attributes
    ----------
    files
        The PNG files by name. A name is a hash of the content: it changes only if the picture does.
    """

    def __init__(self, address: str) -> None:
        self.files: dict[str, bytes] = {}
        self._address = address.rstrip("/")

    def link(self, pictures: Pictures, images: Sequence[Shown]) -> str:
        """Draw a strip of images of a tile sheet, and return its address.

        The images must have tiles; `with_tiles` selects those.
        """
        tiles = [image.tile for image in images[:MOST_IMAGES] if image.tile is not None]
        content = f"{_LAYOUT} {tiles} {pictures.data}"
        name = f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.png"
        if name not in self.files:
            file = io.BytesIO()
            _strip(pictures, tiles).save(file, "PNG", optimize=True)
            self.files[name] = file.getvalue()
        return f"{self._address}/{name}"


def with_tiles(pictures: Pictures | None, images: Sequence[Shown]) -> list[Shown]:
    """Return the images that have a clean and an intervened tile in a sheet, at most as many as a strip has."""
    if pictures is None:
        return []
    return [image for image in images if image.tile is not None and 0 <= image.tile < pictures.tiles - 1][:MOST_IMAGES]


def pair_files(pictures: Pictures, images: Sequence[Shown]) -> list[str]:
    """Return each image as a ``data:`` address: the clean tile beside the intervened one, as WebP."""
    sheet = _sheet(pictures)
    addresses = []
    for image in images:
        assert image.tile is not None
        gap = max(1, pictures.width // 24)
        pair = Image.new("RGBA", (2 * pictures.width + gap, pictures.height))
        for place in range(2):
            pair.paste(_tile(sheet, pictures, image.tile + place), (place * (pictures.width + gap), 0))
        file = io.BytesIO()
        pair.save(file, "WEBP", quality=80)
        addresses.append(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}")
    return addresses


def _sheet(pictures: Pictures) -> Image.Image:
    """Decode the tile sheet of a report, which may come from a stranger; raises `ReportError` if it is none."""
    try:
        # The formats that this package writes.
        with Image.open(io.BytesIO(base64.b64decode(pictures.data)), formats=("WEBP", "JPEG")) as file:
            rows = -(-pictures.tiles // max(1, pictures.columns))
            expected = pictures.columns * pictures.width, rows * pictures.height
            if file.size != expected or min(expected) < 1:
                raise ValueError(f"{file.width}×{file.height} pixels, expected {expected[0]}×{expected[1]}")
            return file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"the pictures of a report cannot be decoded ({error}); write the report again with pytest "
            f"--bias-report=NAME.json"
        ) from error


def _tile(sheet: Image.Image, pictures: Pictures, number: int) -> Image.Image:
    row, column = divmod(number, pictures.columns)
    left, top = column * pictures.width, row * pictures.height
    return sheet.crop((left, top, left + pictures.width, top + pictures.height))


def _strip(pictures: Pictures, tiles: Sequence[int]) -> Image.Image:
    """Draw tiles in columns on a transparent ground, so that it has the colour of the document."""
    sheet = _sheet(pictures)
    scale = max(1.0, _SIDE / max(pictures.width, pictures.height))
    width, height = round(pictures.width * scale), round(pictures.height * scale)
    # Small images are enlarged pixel by pixel: smoothed, they would be a blur.
    manner = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BICUBIC
    strip = Image.new("RGBA", (len(tiles) * (width + _GAP) - _GAP, 2 * height + _GAP))
    for column, clean in enumerate(tiles):
        for row in range(2):
            tile = _tile(sheet, pictures, clean + row).resize((width, height), manner)
            strip.paste(tile, (column * (width + _GAP), row * (height + _GAP)))
    return strip
