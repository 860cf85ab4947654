"""What Pillow raises for pictures that cannot be read."""

from __future__ import annotations


def unreadable_file() -> tuple[type[Exception], ...]:
    """Return what a dataset that opens pictures raises for a file that cannot be read."""
    from PIL import Image

    # From a size on, Pillow warns of a possible bomb; it raises the warning where the user has made it an error.
    return OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning


def broken_picture() -> tuple[type[Exception], ...]:
    """Return what opening and decoding a picture raises where its file is none, or damaged."""
    # Pillow raises a SyntaxError for a broken PNG, a ValueError for a broken PPM, and whatever it warns of, such as
    # damaged metadata, where the user has made warnings errors: not changed here, where several threads decode.
    return *unreadable_file(), ValueError, Warning
