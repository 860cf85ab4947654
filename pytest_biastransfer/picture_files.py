"""Picture files: which formats are opened, and what Pillow raises for a file that cannot be read.

Pillow reads more than forty formats, and starts Ghostscript for one of them. What a file is called does not matter to
it. So a picture is opened only as one of the formats that images are kept in, and as others where that was asked for.
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
# Pillow calls a JPEG with several pictures, as phones write it, so, and opens it where it may open JPEG.
_KINDS_OF_JPEG: Final = ("MPO",)
# Pillow imports them with all its other formats, which takes long, unless they are imported before.
_IMPORTED_LATE: Final = ("TiffImagePlugin", "WebPImagePlugin")
_PREFIX_BYTES: Final = 16
# Lines of a RECORD with the hash of a compiled file.
_COMPILED: Final = re.compile(r"\.(so|pyd|dll|dylib)[.\w-]*,sha256=")


class RefusedFormatError(OSError):
    """A picture of a format that is not opened."""


class _Allowed:
    """The formats that this process opens: as Pillow's own limits, it is one setting for all threads."""

    def __init__(self) -> None:
        self.more: tuple[str, ...] = ()


_ALLOWED: Final = _Allowed()


def allow_picture_formats(*formats: str) -> tuple[str, ...]:
    """Have pictures of other formats opened too, in this process: datasets' images, masks and stencils.

    In a pytest session, the ini value ``bias_picture_formats`` does it.

    Parameters
    ----------
    formats
        Names of Pillow's, such as ``"AVIF"`` or ``"JPEG2000"``, beside JPEG, PNG, BMP, GIF, PPM, TIFF and WEBP; none
        to have only these opened again. ``"EPS"`` lets a picture run Ghostscript.

    Returns
    -------
    tuple of str
        Those that were allowed before.

    Examples
    --------
    >>> allow_picture_formats("AVIF")
    ()
    >>> allow_picture_formats()
    ('AVIF',)
    """
    before, _ALLOWED.more = _ALLOWED.more, tuple(name.upper() for name in formats)
    return before


@functools.cache
def decoder() -> str:
    """Return what decodes pictures: Pillow's release, and the libraries in its build. Pillow is not imported for it.

    The same release decodes other pixels with another libjpeg.
    """
    try:
        pillow = importlib.metadata.distribution("pillow")
    except importlib.metadata.PackageNotFoundError:
        return "none"
    compiled = [line for line in (pillow.read_text("RECORD") or "").splitlines() if _COMPILED.search(line)]
    return hashlib.sha256("\n".join([pillow.version, *sorted(compiled)]).encode()).hexdigest()


def open_picture(source: Path | IO[bytes], name: str = "") -> Image.Image:
    """Open a picture as Pillow does, if it is a regular file of an allowed format; `name` is that of its file.

    Raises
    ------
    BiasTransferError
        If a format that was allowed is none of Pillow's.
    RefusedFormatError
        If it is of another format.
    OSError, SyntaxError, ValueError, ...
        What `broken_picture` returns; OSError too for a pipe or a device, which would have to be waited for.
    """
    from PIL import Image

    if isinstance(source, Path):
        require_regular(source)
    opened: Image.Image = _opened(Image.open, source, "r", name)
    return opened


def require_allowed_format(picture: Any) -> None:
    """Raise `RefusedFormatError` for a picture of Pillow's that was opened as another format, whoever opened it."""
    from PIL import ImageFile

    if isinstance(picture, ImageFile.ImageFile) and picture.format not in (None, *_allowed(), *_KINDS_OF_JPEG):
        raise _refused(str(picture.format))


@contextlib.contextmanager
def only_allowed_formats() -> Iterator[None]:
    """Have ``PIL.Image.open`` open the allowed formats alone, in this thread, where its caller names none.

    For datasets of others' that open files themselves, such as torchvision's.
    """
    with _WATCH.installed():
        yield


class _Watch:
    """What stands for ``PIL.Image.open`` as long as a thread needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[int] = []
        self._original: Any = None

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        from PIL import Image

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


_WATCH: Final = _Watch()


def _opened(pillows: Any, source: Any, mode: str, name: str = "") -> Any:
    from PIL import UnidentifiedImageError

    try:
        return pillows(source, mode, formats=_allowed())
    except UnidentifiedImageError as error:
        other = _format_of(source, name)
        if other is None:
            raise
        raise _refused(other) from error


def _allowed() -> list[str]:
    """Return the formats that are opened; raises for one that Pillow does not know."""
    from PIL import Image

    Image.preinit()
    for plugin in _IMPORTED_LATE:
        importlib.import_module(f"PIL.{plugin}")
    if _ALLOWED.more:
        Image.init()
        for name in _ALLOWED.more:
            if name not in Image.OPEN:
                raise BiasTransferError(
                    f"bias_picture_formats: {name!r} is no format that Pillow reads here; {nearest(name, Image.OPEN)}"
                )
    return [*FORMATS, *_ALLOWED.more]


def _refused(name: str) -> RefusedFormatError:
    return RefusedFormatError(
        f"it is a picture of the format {name}, and only {', '.join(_allowed())} are opened; convert it to PNG, or, if "
        f"you trust it, name its format in the ini file: bias_picture_formats = {name.partition(' ')[0]}"
    )


def _format_of(source: Any, name: str) -> str | None:
    """Return the format of a file that is of none of the allowed ones, without opening it as such."""
    from PIL import Image

    Image.init()
    prefix, allowed = _prefix_of(source), _allowed()
    accepting = {other: accept for other, (_, accept) in Image.OPEN.items() if other not in allowed}
    if isinstance(source, str | bytes | os.PathLike):
        name = os.fsdecode(source)
    # The suffix before others: the first bytes of some formats are nothing special.
    named = Image.EXTENSION.get(Path(name).suffix.lower(), "")
    if named in accepting and (accepting[named] is None or _accepts(accepting[named], prefix)):
        return named
    return " or ".join(other for other, accept in accepting.items() if accept and _accepts(accept, prefix)) or None


def _accepts(accept: Any, prefix: bytes) -> bool:
    try:
        answer = accept(prefix)
    except (SyntaxError, IndexError, TypeError, struct.error):
        return False
    # A text says why the format cannot be read here.
    return bool(answer)


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
    """Return what a dataset that opens pictures raises for a file that cannot be read."""
    from PIL import Image

    # From a size on, Pillow warns of a possible bomb; it raises the warning where the user has made it an error.
    return OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning


def broken_picture() -> tuple[type[Exception], ...]:
    """Return what opening and decoding a picture raises where its file is none, or damaged."""
    # Pillow raises a SyntaxError for a broken PNG, a ValueError for a broken PPM, and whatever it warns of, such as
    # damaged metadata, where the user has made warnings errors: not changed here, where several threads decode.
    return *unreadable_file(), ValueError, Warning
