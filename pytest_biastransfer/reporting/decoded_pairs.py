"""The shown images of a report as pixels: each clean, and with what the intervention changes laid upon it."""

from __future__ import annotations

import base64
import functools
import io
from typing import Literal

from PIL import Image, features

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.report import Picture, Shown


@functools.cache
def picture_format() -> Literal["webp", "png"]:
    """Return the format of the pictures that this package writes; some builds of Pillow have no WebP."""
    return "webp" if features.check("webp") else "png"


def decoded_pair(shown: Shown) -> tuple[Image.Image, ...]:
    """Return the clean image and the intervened one, in RGB; the clean one alone where nothing changes, or neither.

    Raises
    ------
    ReportError
        If a picture is damaged. A report may come from a stranger.
    """
    if shown.clean is None:
        return ()
    clean = _decoded(shown.clean).convert("RGB")
    if shown.changed is None:
        return (clean,)
    layer = _decoded(shown.changed).convert("RGBA")
    intervened = clean.copy()
    intervened.paste(layer, mask=layer)
    return clean, intervened


def _decoded(picture: Picture) -> Image.Image:
    try:
        content = base64.b64decode(picture.data, validate=True)
        # The formats that this package writes.
        with Image.open(io.BytesIO(content), formats=("WEBP", "PNG")) as file:
            if file.size != (picture.width, picture.height):
                raise ValueError(f"{file.width}×{file.height} pixels, expected {picture.width}×{picture.height}")
            file.load()
            return file
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"the pictures of a report cannot be decoded ({error}); write the report again with pytest "
            f"--bias-report=NAME.json"
        ) from error
