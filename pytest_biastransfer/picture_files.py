"""Opens picture files of allowed formats only, and lists what Pillow raises for files that cannot be read.

Pillow reads more than forty formats, recognizes them by content rather than by file name, and starts Ghostscript for
one of them. A dataset of unknown origin must not choose the decoder. So only the usual formats are opened, and others
only if the user allows them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import os
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.regular_files import require_regular

if TYPE_CHECKING:
    from PIL import Image

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# A JPEG with several pictures, as phones write it. Pillow opens it where JPEG is allowed, and reports this format.
_JPEG_VARIANTS: Final = ("MPO",)
# `Image.preinit` does not import these two; without them, Pillow would import all its formats, which is slow.
_EXTRA_PLUGINS: Final = ("TiffImagePlugin", "WebPImagePlugin")
_PREFIX_BYTES: Final = 16
# pydicom, and what it decodes compressed pictures with besides Pillow.
_DICOM_DECODERS: Final = (
    *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
    *("pyjpegls", "python-gdcm"),
)
# A line of a RECORD that has the hash of a compiled library.
_COMPILED: Final = re.compile(r"\.(so|pyd|dll|dylib)[.\w-]*,sha256=")


class RefusedFormatError(OSError):
    """A picture of a format that is not allowed."""


class _AllowedFormats:
    """The formats that this process opens besides `FORMATS`: one setting for all threads, as Pillow's own limits."""

    def __init__(self) -> None:
        self.additional: tuple[str, ...] = ()


_ALLOWED: Final = _AllowedFormats()


def allow_picture_formats(*formats: str) -> tuple[str, ...]:
    """Allow additional picture formats in this process, for images of datasets, masks and stencils.

    In a pytest session, set the ini value ``bias_picture_formats`` instead.

    Parameters
    ----------
    formats
        Pillow's names, such as ``"AVIF"`` or ``"JPEG2000"``. JPEG, PNG, BMP, GIF, PPM, TIFF and WEBP are always
        allowed; without arguments, only these are. ``"EPS"`` lets a picture run Ghostscript.

    Returns
    -------
    tuple of str
        The formats that were allowed additionally before.

    Examples
    --------
    >>> allow_picture_formats("AVIF")
    ()
    >>> allow_picture_formats()
    ('AVIF',)
    """
    before, _ALLOWED.additional = _ALLOWED.additional, tuple(name.upper() for name in formats)
    return before


@functools.cache
def decoder() -> str:
    """Return a hash of the libraries that decode pictures, without importing them.

    Cached pixels depend on it: the same release of Pillow decodes other pixels with another libjpeg. So
    Pillow's release and the compiled libraries in its build count, and the releases of what decodes DICOM.
    """
    try:
        pillow = importlib.metadata.distribution("pillow")
    except importlib.metadata.PackageNotFoundError:
        return "none"
    compiled = [line for line in (pillow.read_text("RECORD") or "").splitlines() if _COMPILED.search(line)]
    versions = [pillow.version, *filter(None, map(_version_line, _DICOM_DECODERS))]
    return hashlib.sha256("\n".join([*versions, *sorted(compiled)]).encode()).hexdigest()


def _version_line(distribution: str) -> str | None:
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def open_picture(source: Path | IO[bytes], name: str = "") -> Image.Image:
    """Open a picture with Pillow, if it is a regular file of an allowed format.

    Parameters
    ----------
    source
        The path, or a binary file.
    name
        The file's name, where `source` is not a path; its suffix helps to name a format that is not allowed.

    Raises
    ------
    BiasTransferError
        If one of the formats that the user allows does not exist.
    RefusedFormatError
        If the picture has another format.
    OSError, SyntaxError, ValueError, ...
        The exceptions of `broken_picture`. Also OSError for a pipe or a device, which could block forever.
    """
    from PIL import Image

    if isinstance(source, Path):
        require_regular(source)
    opened: Image.Image = _opened(Image.open, source, "r", name)
    return opened


def require_allowed_format(picture: Any) -> None:
    """Raise `RefusedFormatError` for a Pillow picture that other code opened, if its format is not allowed."""
    from PIL import ImageFile

    if isinstance(picture, ImageFile.ImageFile) and picture.format not in (None, *_allowed(), *_JPEG_VARIANTS):
        raise _refused(str(picture.format))


@contextlib.contextmanager
def only_allowed_formats() -> Iterator[None]:
    """Restrict ``PIL.Image.open`` to the allowed formats in this thread, for callers that name no formats.

    For datasets of other libraries that open their files themselves, such as torchvision's.
    """
    with _RESTRICTED_OPEN.installed():
        yield


class _RestrictedOpen:
    """Replaces ``PIL.Image.open`` while at least one thread needs the restriction."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[int] = []
        self._original: Any = None

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        from PIL import Image

        # Threads may overlap: the first one installs the replacement, the last one restores the original. A thread
        # is listed once for each time that it enters, so that contexts can be nested.
        thread = threading.get_ident()
        with self._lock:
            if not self._threads:
                self._original, Image.open = Image.open, self._open
            self._threads.append(thread)
        try:
            yield
        finally:
            with self._lock:
                self._threads.remove(thread)
                if not self._threads:
                    Image.open = self._original

    def _open(self, fp: Any, mode: Any = "r", formats: Any = None) -> Any:
        if formats is None and threading.get_ident() in self._threads:
            return _opened(self._original, fp, mode)
        return self._original(fp, mode, formats)


_RESTRICTED_OPEN: Final = _RestrictedOpen()


def _opened(pillow_open: Any, source: Any, mode: str, name: str = "") -> Any:
    from PIL import UnidentifiedImageError

    try:
        return pillow_open(source, mode, formats=_allowed())
    except UnidentifiedImageError as error:
        refused = _format_of(source, name)
        if refused is None:
            raise
        raise _refused(refused) from error


def _allowed() -> list[str]:
    """Return the allowed formats; raises `BiasTransferError` for one that Pillow does not have."""
    from PIL import Image

    Image.preinit()
    for plugin in _EXTRA_PLUGINS:
        importlib.import_module(f"PIL.{plugin}")
    if _ALLOWED.additional:
        Image.init()
        for name in _ALLOWED.additional:
            if name not in Image.OPEN:
                raise BiasTransferError(
                    f"bias_picture_formats: {name!r} is not a format that Pillow reads; {nearest(name, Image.OPEN)}"
                )
    return [*FORMATS, *_ALLOWED.additional]


def _refused(name: str) -> RefusedFormatError:
    return RefusedFormatError(
        f"its format is {name}, and only {', '.join(_allowed())} are opened; convert it to PNG, or, if "
        f"you trust it, name its format in the ini file: bias_picture_formats = {name.partition(' ')[0]}"
    )


def _format_of(source: Any, name: str) -> str | None:
    """Return the format of a file whose format is not allowed, without running its decoder; None if unknown."""
    from PIL import Image

    Image.init()
    prefix, allowed = _prefix_of(source), _allowed()
    candidates = {format_name: accept for format_name, (_, accept) in Image.OPEN.items() if format_name not in allowed}
    if isinstance(source, str | bytes | os.PathLike):
        name = os.fsdecode(source)
    # The suffix first: some formats accept almost any first bytes.
    by_suffix = Image.EXTENSION.get(Path(name).suffix.lower(), "")
    if by_suffix in candidates and (candidates[by_suffix] is None or _accepts(candidates[by_suffix], prefix)):
        return by_suffix
    return " or ".join(name for name, accept in candidates.items() if accept and _accepts(accept, prefix)) or None


def _accepts(accept: Any, prefix: bytes) -> bool:
    try:
        accepted = accept(prefix)
    except (SyntaxError, IndexError, TypeError, struct.error):
        return False
    # Besides a boolean it may be a text that says why this build of Pillow cannot read the format.
    return bool(accepted)


def _prefix_of(source: Any) -> bytes:
    if isinstance(source, str | bytes | os.PathLike):
        with open(source, "rb") as file:  # noqa: PTH123 - it may be bytes
            return file.read(_PREFIX_BYTES)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        source.seek(0)
        prefix: bytes = source.read(_PREFIX_BYTES)
        return prefix
    return b""


def unreadable_file() -> tuple[type[Exception], ...]:
    """Return the exceptions of a dataset that opens a picture file which cannot be read."""
    from PIL import Image

    # Pillow warns of large pictures (decompression bombs); where the user turns warnings into errors, it raises.
    return OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning


def broken_picture() -> tuple[type[Exception], ...]:
    """Return the exceptions of opening and decoding a file that is damaged or not a picture."""
    # Pillow raises SyntaxError for a broken PNG and ValueError for a broken PPM. Where the user turns warnings into
    # errors, it also raises its warnings, such as those of damaged metadata. The warning filters are not changed here:
    # they are shared by all threads, and several decode.
    return *unreadable_file(), ValueError, Warning
