"""Decodes pictures, tensors and arrays of a dataset to plain arrays [channels, height, width]."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.data.dicom_pictures import SUFFIX as DICOM_SUFFIX
from pytest_biastransfer.data.dicom_pictures import is_dicom, read_dicom
from pytest_biastransfer.data.gray_values import DECLARE, Window, WindowOfFile
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.picture_files import (
    RefusedFormatError,
    broken_picture,
    open_picture,
    require_allowed_format,
)
from pytest_biastransfer.regular_files import START_BYTES, placeholder, require_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from PIL.Image import Image as PillowImage

    from pytest_biastransfer.data.arrays import Image

# The EXIF tag of the camera's orientation.
_ORIENTATION: Final = 0x0112
_GRAY_MODES: Final = ("1", "L", "LA")
_COLOR_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK")


@dataclass(frozen=True)
class DeepGray:
    """How gray values of more than 8 bits are read.

    Attributes
    ----------
    window
        What is black and white; None if that is not declared, which is an error.
    advice
        What to type in the error.
    """

    window: Window | None = None
    advice: str = "save it with 8 bits"


_OF_AN_OBJECT: Final = DeepGray(
    advice="return a float tensor [channels, height, width] in [0, 1] from the dataset instead"
)


def read_picture(path: Path, location: str | None = None, depth: DeepGray = DeepGray()) -> Image:
    """Return the picture in a file as RGB [3, height, width]; `location` names it in error messages.

    The result is uint8, or float32 in [0, 1] for gray values of more than 8 bits.
    """
    return _read(path, location or f"image {path}", depth)


def read_bytes(content: bytes, location: str, depth: DeepGray) -> Image:
    """Return the picture in a file's bytes, as `read_picture` returns that in a file."""
    return _read(io.BytesIO(content), location, depth)


def read_encoded(content: bytes, location: str, mode: str | None = None, depth: DeepGray = DeepGray()) -> Image:
    """Return the picture in a file's bytes as RGB [3, height, width], decoded as by Hugging Face's ``datasets``.

    The picture is rotated as its EXIF data say, and converted to the `mode` that its column declares.
    """
    if mode not in (None, *_COLOR_MODES):
        raise DatasetError(
            f"{location}: its column declares Image(mode={mode!r}), which is neither gray nor RGB; expected one of "
            f"{', '.join(_COLOR_MODES)}: cast the column again, or load it with python:package.module:factory"
        )
    return _read(io.BytesIO(content), location, depth, lambda picture: _as_datasets_decodes(picture, mode))


def _as_datasets_decodes(picture: PillowImage, mode: str | None) -> PillowImage:
    from PIL.ImageOps import exif_transpose

    picture.load()
    if picture.getexif().get(_ORIENTATION) is not None:
        picture = exif_transpose(picture)
    # A conversion would clip deep gray values; they get their window instead.
    return picture.convert(mode) if mode not in (None, picture.mode) and not _is_deep(picture) else picture


def _read(
    source: Path | io.BytesIO,
    location: str,
    depth: DeepGray,
    decoded: Callable[[PillowImage], PillowImage] = lambda picture: picture,
) -> Image:
    try:
        if isinstance(source, Path) and source.suffix.lower() == DICOM_SUFFIX:
            require_regular(source)
            return read_dicom(source.read_bytes(), location, depth.window)
        with open_picture(source) as picture:
            return _picture_pixels(decoded(picture), location, depth)
    except broken_picture() as error:
        if is_dicom(_start(source)):
            # By another name, or none.
            return read_dicom(_content(source), location, depth.window)
        instead = placeholder(_start(source))
        if instead is not None:
            raise DatasetError(f"{location}: is {instead}") from error
        raise _unreadable(location, error) from error


def _content(source: Path | io.BytesIO) -> bytes:
    return source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()


def _start(source: Path | io.BytesIO) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:START_BYTES]
    if not source.is_file():
        return b""
    with source.open("rb") as file:
        return file.read(START_BYTES)


def pixels(image: object, location: str) -> Image:
    """Return an image of any accepted kind as uint8 or float32 [channels, height, width].

    `location` names the image in error messages.
    """
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _picture_pixels(image, location, _OF_AN_OBJECT)
    array = _as_array(image)
    if array is None or array.dtype not in (np.uint8, np.float16, np.float32, np.float64) or array.ndim != 3:
        form = type(image).__name__ if array is None else f"{array.dtype} {list(array.shape)}"
        raise DatasetError(
            f"{location}: the image is {form}; expected a PIL image, or a uint8 or float tensor [channels, height, "
            f"width]"
        )
    if array.size == 0:
        raise DatasetError(f"{location}: the image is {list(array.shape)}, without a pixel")
    if array.shape[0] > 4 >= array.shape[2]:
        raise DatasetError(
            f"{location}: the image is {list(array.shape)}, with the channels last; "
            f"expected [channels, height, width]: permute it in the dataset"
        )
    decoded: Image = array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)
    return decoded


def _unreadable(location: str, error: Exception) -> DatasetError:
    if isinstance(error, RefusedFormatError):
        return DatasetError(f"{location}: {error}")
    return DatasetError(f"{location}: cannot be read ({error}); repair or remove the file")


def _picture_pixels(picture: Any, location: str, depth: DeepGray) -> Image:
    try:
        require_allowed_format(picture)
    except RefusedFormatError as error:
        raise _unreadable(location, error) from error
    try:
        if _is_deep(picture):
            return deep_gray(np.asarray(picture), f"{location}: the picture is of mode {picture.mode}", depth)
        # Converting a palette with transparent colours straight to RGB makes Pillow warn; RGBA keeps the transparency.
        complete = picture.convert("RGBA") if "transparency" in picture.info else picture
        rgb: Image = np.asarray(complete.convert("RGB"))
    except broken_picture() as error:
        raise _unreadable(location, error) from error
    if depth.window is not None and picture.mode in _GRAY_MODES:
        raise DatasetError(
            f"{location}: the picture has gray values of 8 bits (mode {picture.mode}), and range= or window= is for "
            f"more; remove the key, or save all pictures with the same number of bits"
        )
    return rgb.transpose(2, 0, 1)


def deep_gray(values: npt.NDArray[Any], subject: str, depth: DeepGray) -> Image:
    """Return gray values of any number of bits, [height, width], as float32 [3, height, width] in [0, 1].

    `subject` begins the message of the `DatasetError` if no window is declared.
    """
    if depth.window is None:
        raise DatasetError(
            f"{subject}, with gray values from {values.min():.10g} to {values.max():.10g}, more than 8 bits, which "
            f"would be clipped; {depth.advice}"
        )
    if isinstance(depth.window, WindowOfFile):
        raise DatasetError(f"{subject}, and has no window of its own, as DICOM files have; {DECLARE}")
    gray = depth.window.apply(values.astype(np.float64)).astype(np.float32)
    return np.repeat(gray[np.newaxis], 3, axis=0)


def _is_deep(picture: PillowImage) -> bool:
    return picture.mode.startswith(("I", "F"))


def _as_array(image: object) -> Any:
    if isinstance(image, np.ndarray):
        return image
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        widened = image.float() if image.dtype == torch.bfloat16 else image
        return widened.detach().cpu().numpy()
    return None
