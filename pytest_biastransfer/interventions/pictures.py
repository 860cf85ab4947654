"""Pictures drawn onto the image: the user's own files, and text."""

from __future__ import annotations

import functools
import io
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Final

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions.colors import luma, require_colors, rgb
from pytest_biastransfer.interventions.file_fields import keep_content
from pytest_biastransfer.interventions.host_tensors import beside
from pytest_biastransfer.interventions.placement import Extent, Patch, Placed
from pytest_biastransfer.picture_files import RefusedFormatError, broken_picture, open_picture

if TYPE_CHECKING:
    import torch
    from PIL import Image, ImageFont

# Font size in pixels of the drawn text, which is then resized: hinting does not depend on the final size.
_FONT_PIXELS: Final = 200
_MOST_LABEL_LETTERS: Final = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class _Picture(Placed):
    """A picture with transparency, resized to its box with antialiasing and turned."""

    libraries: ClassVar[tuple[str, ...]] = ("pillow",)

    @abstractmethod
    def picture(self) -> Image.Image:
        """Return the picture in its original size, of mode RGBA."""

    @property
    def box(self) -> tuple[float, float]:
        """The longer side is `size`."""
        width, height = _original(self).size
        longer = max(width, height)
        return self.size * width / longer, self.size * height / longer

    def patch(self, extent: Extent, images: torch.Tensor) -> Patch:
        """Return the picture, or its luma for images of one channel."""
        import numpy as np
        import torch

        require_colors(images.shape[1])
        resized = _resized(self, extent)
        pixels = beside(torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(images.dtype), images) / 255
        above, coverage = pixels[:3], pixels[3]
        if images.shape[1] == 1:
            above = luma(above)
        # Turning enlarges the picture about its centre: the corner moves to the left and up.
        return Patch(above, coverage, (extent[0] - resized.width) // 2, (extent[1] - resized.height) // 2)


@functools.lru_cache(maxsize=16)
def _original(picture: _Picture) -> Image.Image:
    """Return a picture in its original size; cached, as decoding takes long."""
    return picture.picture()


@functools.lru_cache(maxsize=16)
def _resized(picture: _Picture, extent: Extent) -> Image.Image:
    """Return a picture resized and turned; cached, as all batches of a session need it."""
    from PIL import Image

    smooth = Image.Resampling.BICUBIC
    resized = _original(picture).resize(extent, smooth)
    return resized.rotate(picture.angle, smooth, expand=True) if picture.angle else resized


@dataclass(frozen=True, repr=False)
class Stencil(_Picture):
    """Your own picture, such as a logo, a hat or a watermark; it may be transparent.

    Parameters
    ----------
    path
        A PNG, JPEG, BMP, GIF, PPM, TIFF or WebP picture; relative to the current directory. It is read at declaration,
        and identified by its content, not by its path.
    size
        Its longer side as a fraction of the image's shorter side, in (0, 1].
    anchor, margin, angle, opacity, blend
        Its location, and how it is mixed with the image; see `Placed`.
    stage
        See `Intervention`.

    Raises
    ------
    InterventionError
        If the file is missing or broken, or the picture is transparent everywhere.

    Examples
    --------
    >>> Stencil("logo.png", size=0.2, anchor="bottom-right")
    Traceback (most recent call last):
    ...
    pytest_biastransfer.errors.InterventionError: Stencil: path='logo.png' cannot be read (there is no file ...)
    """

    path: str = field(compare=False, metadata={"label": lambda path: PurePath(path).stem, "file": True})
    _: KW_ONLY
    content: bytes = field(init=False, compare=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        keep_content(self, "path")
        if _original(self).getchannel("A").getextrema() == (0, 0):
            raise InterventionError(
                f"Stencil: path={self.path!r} is transparent everywhere, expected a visible picture"
            )

    @property
    def label(self) -> str:
        """The name of the file, the non-default fields, and the first digits of the content's hash."""
        return f"{super().label}-{self.digest[:4]}"

    def picture(self) -> Image.Image:
        """Return the picture in the file."""
        try:
            with open_picture(io.BytesIO(self.content), self.path) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise InterventionError(
                        f"Stencil: path={self.path!r} is of mode {opened.mode}, with more than 8 bits; save it with 8"
                    )
                return opened.convert("RGBA")
        except RefusedFormatError as error:
            raise InterventionError(f"Stencil: path={self.path!r}: {error}") from error
        except broken_picture() as error:
            raise InterventionError(
                f"Stencil: path={self.path!r} cannot be read ({_reason(error)}); expected a picture, such as a PNG"
            ) from error


def _reason(error: Exception) -> str:
    """Return Pillow's message without the address of the file object in it."""
    return re.sub(r" <.* object at 0x[0-9a-f]+>", "", str(error))


def _slug(text: str) -> str:
    """Return a text in letters and digits for test ids; if that loses letters, with digits of a hash."""
    plain = re.sub(r"[^0-9a-z]+", "-", text.lower()).strip("-")[:_MOST_LABEL_LETTERS]
    return plain if plain == text.lower() else "-".join(filter(None, (plain, fingerprint(text)[:4])))


@dataclass(frozen=True, repr=False)
class Text(_Picture):
    """Letters, such as a caption or a watermark.

    Parameters
    ----------
    text
        The text; may have several lines.
    size
        The longer side of the drawn text as a fraction of the image's shorter side, in (0, 1].
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    font
        A TrueType or OpenType file; default: Pillow's own font (Aileron), which has the letters of ASCII.
    anchor, margin, angle, opacity, blend
        Its location, and how it is mixed with the image; see `Placed`.
    stage
        See `Intervention`.

    Raises
    ------
    InterventionError
        If the text is blank, or the font lacks a letter.

    Examples
    --------
    >>> import torch
    >>> Text("I", size=1, color="white").apply(torch.zeros(1, 1, 9, 9)).max()
    tensor(1.)
    """

    text: str = field(metadata={"label": _slug})
    _: KW_ONLY
    size: float = 0.5
    color: str | Sequence[int] = (255, 255, 255)
    font: str | None = field(
        default=None, compare=False, metadata={"quiet": True, "label": lambda path: PurePath(path).stem, "file": True}
    )
    content: bytes | None = field(init=False, default=None, compare=False)
    digest: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "color", rgb(self.color))
        if not isinstance(self.text, str) or not self.text.strip():
            raise InterventionError(f"Text: text={self.text!r:.100}, expected something to write")
        if self.font is not None:
            keep_content(self, "font")
        # Pillow's font has all letters of ASCII: usually no font is opened at declaration.
        if self.font is not None or not self.text.isascii():
            self._require_letters()

    def picture(self) -> Image.Image:
        """Return the text in its colour, cropped to its visible pixels."""
        from PIL import Image, ImageDraw

        font, lines = self._font(), self.text.strip("\n")
        left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), lines, font)
        # One pixel on each side: antialiasing may reach beyond the text's box. `crop` removes what stays empty.
        ink = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(ink).multiline_text((1 - left, 1 - top), lines, fill=255, font=font)
        ink = ink.crop(ink.getbbox())
        written = Image.new("RGBA", ink.size, (*rgb(self.color), 255))
        written.putalpha(ink)
        return written

    def _font(self) -> ImageFont.FreeTypeFont:
        from PIL import ImageFont

        # Raqm, the other layout engine, is not in all builds of Pillow, and kerns differently.
        basic = ImageFont.Layout.BASIC
        if self.content is None:
            own = ImageFont.load_default(_FONT_PIXELS)
            assert isinstance(own, ImageFont.FreeTypeFont)
            return own.font_variant(layout_engine=basic)
        try:
            return ImageFont.truetype(io.BytesIO(self.content), _FONT_PIXELS, layout_engine=basic)
        except OSError as error:
            raise InterventionError(
                f"Text: font={self.font!r} cannot be read as a font ({error}); expected a TrueType or OpenType file"
            ) from error

    def _require_letters(self) -> None:
        font = self._font()
        # U+FFFF is never a letter: this is the glyph that the font shows in place of missing ones.
        missing_glyph = bytes(font.getmask("\uffff"))
        missing = [
            letter
            for letter in dict.fromkeys(self.text)
            if not letter.isspace() and bytes(font.getmask(letter)) == missing_glyph
        ]
        if missing:
            raise InterventionError(
                f"Text: the font {font.getname()[0]} has no {''.join(missing)!r}; give one that has it, as "
                f"font='NotoSans.ttf', or draw a picture of the text: Stencil(...)"
            )
