"""Reads the picture of a DICOM file: its stored values, rescaled as the file says, through a window."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data.gray_values import DECLARE, CenteredWindow, ValueRange, WindowOfFile
from pytest_biastransfer.errors import DatasetError, first_line
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.gray_values import Window

SUFFIX: Final = ".dcm"
EXTRA: Final = "medical"
_PREAMBLE_BYTES: Final = 128
_PREFIX: Final = b"DICM"
_INVERTED: Final = "MONOCHROME1"
_GRAY: Final = (_INVERTED, "MONOCHROME2")
# The library converts the others of these to RGB.
_COLOR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# The one transfer syntax whose whole data set is compressed. It would be unpacked before any size can be checked.
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
# Pillow's limit is where it warns; it refuses pictures that are twice as large.
_REFUSED_FACTOR: Final = 2
# Exceptions of the library for damaged files. Where warnings are errors, it also raises those.
_DAMAGE: Final = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError),
    *(struct.error, MemoryError, Warning),
)


def is_dicom(start: bytes) -> bool:
    """Return whether a file that begins with `start` has the prefix of DICOM, after its preamble of 128 bytes.

    >>> is_dicom(bytes(128) + b"DICM")
    True
    """
    return start[_PREAMBLE_BYTES:].startswith(_PREFIX)


def read_dicom(content: bytes, location: str, window: Window | None) -> Image:
    """Return the picture in a DICOM file's bytes, RGB [3, height, width].

    Gray pictures are float32 in [0, 1]. The stored values pass the file's modality LUT or its rescale slope and
    intercept (PS3.3 C.11.1), then the window; MONOCHROME1 is inverted, so that air is black in all. Color pictures of
    8 bits are uint8, and unchanged.

    Parameters
    ----------
    content
        The file.
    location
        Names the file in error messages.
    window
        Which rescaled values are black and white; None is an error for gray pictures.

    Raises
    ------
    DatasetError
        If the file is damaged, has several frames, is too large, or needs a window or a decoder that is missing.
    SpecError
        If pydicom is not installed.
    """
    library, pixels = need("pydicom", EXTRA, location), need("pydicom.pixels", EXTRA, location)
    if not is_dicom(content):
        raise DatasetError(f"{location}: is no DICOM file, it has no {_PREFIX.decode()} at byte {_PREAMBLE_BYTES}")
    if _DEFLATED in content:
        raise DatasetError(
            f"{location}: its transfer syntax is Deflated Explicit VR Little Endian, which may unpack to any size, and "
            f"is not read; save it uncompressed"
        )
    try:
        header = library.dcmread(io.BytesIO(content))
        _require_one_picture(header, location)
        _require_decoder(pixels, header, location)
        stored = pixels.pixel_array(header)
        values = stored if stored.ndim == 3 else pixels.apply_modality_lut(stored, header)
    except _DAMAGE as error:
        raise DatasetError(f"{location}: cannot be read ({first_line(error)}); repair or remove the file") from error
    return _color(values, location) if stored.ndim == 3 else _gray(header, values, location, window)


def _require_one_picture(header: Any, location: str) -> None:
    """Raise unless the header describes one picture of a kind and size that is read; nothing is decoded before."""
    from PIL import Image

    frames, kind = int(header.get("NumberOfFrames") or 1), header.get("PhotometricInterpretation")
    if frames > 1:
        raise DatasetError(f"{location}: has {frames:,} frames, expected one; save each frame as a file of its own")
    if "PixelData" not in header or kind is None:
        raise DatasetError(f"{location}: has no picture (no Pixel Data); remove it from the dataset")
    if kind not in (*_GRAY, *_COLOR):
        raise DatasetError(
            f"{location}: its photometric interpretation is {kind}, expected one of {', '.join((*_GRAY, *_COLOR))}; "
            f"convert it to RGB"
        )
    pixels, limit = int(header.Rows) * int(header.Columns), Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > _REFUSED_FACTOR * limit:
        raise DatasetError(
            f"{location}: has {pixels:,} pixels, more than the {_REFUSED_FACTOR * limit:,} that are allowed; if you "
            f"trust it, set PIL.Image.MAX_IMAGE_PIXELS"
        )


def _require_decoder(pixels: Any, header: Any, location: str) -> None:
    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise DatasetError(
            f"{location}: its transfer syntax is {syntax.name}, which pydicom does not read; save it uncompressed"
        ) from error
    if not decoder.is_available:
        needed = "; ".join(sorted(decoder.missing_dependencies))
        raise DatasetError(
            f"{location}: its transfer syntax is {syntax.name}, and no decoder of it is installed; install one of "
            f"those that pydicom uses ({needed}), or save the file uncompressed"
        )


def _color(values: npt.NDArray[Any], location: str) -> Image:
    import numpy as np

    if values.dtype != np.uint8 or values.shape[2] != 3:
        raise DatasetError(
            f"{location}: is a color picture of {values.dtype} {list(values.shape)}, expected three channels of 8 "
            f"bits; convert it"
        )
    return values.transpose(2, 0, 1)


def _gray(header: Any, values: npt.NDArray[Any], location: str, window: Window | None) -> Image:
    import numpy as np

    if window is None:
        own = ", or window=file for the window in each file" if header.get("WindowCenter") is not None else ""
        raise DatasetError(
            f"{location}: is a DICOM file with gray values from {values.min():.10g} to {values.max():.10g}; "
            f"{DECLARE}{own}"
        )
    used = _window_in(header, location) if isinstance(window, WindowOfFile) else window
    gray = used.apply(values.astype(np.float64))
    if header.PhotometricInterpretation == _INVERTED:
        gray = 1 - gray
    return np.repeat(gray.astype(np.float32)[np.newaxis], 3, axis=0)


def _window_in(header: Any, location: str) -> ValueRange | CenteredWindow:
    """Return the first window of a file."""
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = header.get("VOILUTFunction") or "LINEAR"
    if center is None or width is None:
        raise DatasetError(f"{location}: has no window of its own (Window Center and Width); type window=CENTER,WIDTH")
    if function == "LINEAR_EXACT" and width > 0:
        return ValueRange(center - width / 2, center + width / 2)
    if function == "LINEAR" and width >= 1:
        return CenteredWindow(center, width)
    raise DatasetError(
        f"{location}: its window is {function} with a width of {width:g}, expected LINEAR from 1 on, or LINEAR_EXACT "
        f"above 0; type window=CENTER,WIDTH"
    )


def _first(value: Any) -> float | None:
    """Return the first of the values of an element, or its only one; None if it is empty."""
    if value is None or isinstance(value, str):
        return None
    numbers = list(value) if hasattr(value, "__iter__") else [value]
    return float(numbers[0]) if numbers else None
