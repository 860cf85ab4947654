"""Gray values of more than 8 bits: which of them are black and white, as a spec declares it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

KEYS: Final = ("range", "window")
# What to type, in errors.
DECLARE: Final = "declare which values are black and white in the spec: range=BLACK,WHITE or window=CENTER,WIDTH"
_FILE: Final = "file"


@dataclass(frozen=True)
class ValueRange:
    """A linear map of gray values to [0, 1].

    >>> import numpy as np
    >>> ValueRange(-100, 300).apply(np.array([-200.0, 0.0, 100.0, 300.0])).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """

    black: float
    white: float

    def apply(self, values: Values) -> Values:
        """Return float64 in [0, 1] for values of any shape; what is outside the range becomes black or white."""
        mapped: Values = ((values - self.black) / (self.white - self.black)).clip(0, 1)
        return mapped


@dataclass(frozen=True)
class CenteredWindow:
    """The linear window of DICOM, PS3.3 C.11.2.1.2.1, with its terms of a half and of one.

    Values up to ``center - 0.5 - (width - 1) / 2`` are black, those above ``center - 0.5 + (width - 1) / 2`` white.

    >>> import numpy as np
    >>> CenteredWindow(2048, 4096).apply(np.array([0.0, 2047.5, 4095.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    center: float
    width: float

    def apply(self, values: Values) -> Values:
        """Return float64 in [0, 1] for values of any shape."""
        import numpy as np

        middle, extent = self.center - 0.5, self.width - 1
        if extent == 0:
            # Of a width of 1, no value lies between black and white. A NaN stays one, and is refused later.
            return np.where(np.isnan(values), values, values > middle)
        mapped: Values = ((values - middle) / extent + 0.5).clip(0, 1)
        return mapped


@dataclass(frozen=True)
class WindowOfFile:
    """The window that each DICOM file states for itself: ``window=file``."""


Window = ValueRange | CenteredWindow | WindowOfFile


def declared_window(spec: Spec) -> Window | None:
    """Return what ``range=`` or ``window=`` of a spec declares; None if it has neither.

    Raises `SpecError` for both, and for values that are no range or window.
    """
    if all(key in spec.query for key in KEYS):
        raise SpecError(f"spec {spec.text!r}: range= and window= both say which values are black; remove one of them")
    if spec.query.get("window") == _FILE:
        return WindowOfFile()
    if "range" in spec.query:
        black, white = _pair(spec, "range", "range=0,65535")
        if black >= white:
            raise _unusable(spec, "range", "the value of black and a larger one of white, such as range=0,65535")
        return ValueRange(black, white)
    if "window" in spec.query:
        center, width = _pair(spec, "window", "window=40,400 or window=file")
        if width < 1:
            raise _unusable(spec, "window", "the center and a width from 1 on, such as window=40,400")
        return CenteredWindow(center, width)
    return None


def windowed_digests(digests: Sequence[bytes], window: Window | None) -> Sequence[bytes]:
    """Return the hashes of images that are read with a window, from those of their files."""
    if window is None:
        return digests
    return [hashlib.sha256(f"{window}".encode() + digest).digest() for digest in digests]


def _pair(spec: Spec, key: str, example: str) -> tuple[float, float]:
    try:
        numbers = spec.decimals(key)
    except SpecError:
        numbers = None
    if numbers is None or len(numbers) != 2 or not all(map(math.isfinite, numbers)):
        raise _unusable(spec, key, f"two numbers, such as {example}")
    return numbers[0], numbers[1]


def _unusable(spec: Spec, key: str, expected: str) -> SpecError:
    return SpecError(f"spec {spec.text!r}: {key}={spec.query[key]!r}, expected {expected}")
