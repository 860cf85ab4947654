"""Strips of flipped images, clean above intervened, as PNG files for documents that can only link to pictures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from pytest_biastransfer.reporting.decoded_pairs import decoded_pair
from pytest_biastransfer.reporting.report import Shown

# The most images of a strip: so many fit into the width of a comment.
MOST_IMAGES: Final = 8
# The least side of a tile of a strip, in pixels.
_SIDE: Final = 96
_GAP: Final = 4
# Part of the files' names, so that a strip that is drawn in another way has another address.
_LAYOUT: Final = "2"


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

    def link(self, images: Sequence[Shown]) -> str:
        """Draw a strip of images that have pictures, and return its address; `with_pictures` selects those."""
        drawn = images[:MOST_IMAGES]
        content = f"{_LAYOUT} {[(image.clean, image.changed) for image in drawn]}"
        name = f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.png"
        if name not in self.files:
            file = io.BytesIO()
            _strip([decoded_pair(image) for image in drawn]).save(file, "PNG", optimize=True)
            self.files[name] = file.getvalue()
        return f"{self._address}/{name}"

    def linked(self, text: str) -> dict[str, bytes]:
        """Return the files that a text links to: what did not fit into it was drawn for nothing."""
        return {name: content for name, content in self.files.items() if name in text}


def with_pictures(images: Sequence[Shown]) -> list[Shown]:
    """Return the images that have a clean and an intervened picture, at most as many as a strip has."""
    return [image for image in images if image.clean is not None and image.changed is not None][:MOST_IMAGES]


def _strip(pairs: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Draw pairs in columns on a transparent ground, so that it has the colour of the document."""
    largest = max(max(tile.size) for pair in pairs for tile in pair)
    scale = max(1.0, _SIDE / largest)
    width, height = (round(max(pair[0].size[side] for pair in pairs) * scale) for side in (0, 1))
    # Small images are enlarged pixel by pixel: smoothed, they would be a blur.
    manner = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BICUBIC
    strip = Image.new("RGBA", (len(pairs) * (width + _GAP) - _GAP, 2 * height + _GAP))
    for column, pair in enumerate(pairs):
        for row, tile in enumerate(pair):
            size = round(tile.width * scale), round(tile.height * scale)
            strip.paste(tile.resize(size, manner), (column * (width + _GAP), row * (height + _GAP)))
    return strip
