"""What each image adds to the figures of groups as short text: two characters for each number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.statistics.components import Components

    Floats = npt.NDArray[np.float64]

_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE: Final = len(_DIGITS)
_MOST: Final = _BASE**2 - 1
_OWN, _SHARED = "own", "shared"


def encode_levels(numbers: Floats) -> str:
    """Return numbers as text, rounded to the nearest of 4,096 levels between the lowest and the highest one.

    That is 12 bits for each. As levels begin and end with the numbers, few numbers that differ from many others, as
    of areas near 1, keep their distances.

    >>> import numpy as np
    >>> encode_levels(np.array([0.25, 0.5, 1.0]))
    '0.25:1.0:AAVV//'
    """
    import numpy as np

    low, high = float(numbers.min()), float(numbers.max())
    levels = np.rint((numbers - low) / ((high - low) or 1.0) * _MOST).astype(np.int64)
    digits = np.frombuffer(_DIGITS, dtype=np.uint8)[np.stack(np.divmod(levels, _BASE), axis=1)]
    return f"{low!r}:{high!r}:{digits.tobytes().decode()}"


def decode_levels(text: str) -> Floats:
    """Return about the numbers that `encode_levels` encoded; raises ValueError for text that it cannot have made.

    >>> decode_levels("0.25:1.0:AAVV//").round(3)
    array([0.25, 0.5 , 1.  ])
    """
    import numpy as np

    parts = text.split(":")
    if len(parts) != 3 or not parts[2] or len(parts[2]) % 2:
        raise ValueError(f"expected two numbers and pairs of base64 digits, found {text!r:.60}")
    low, high = (_finite(part) for part in parts[:2])
    values = np.full(256, -1)
    values[np.frombuffer(_DIGITS, dtype=np.uint8)] = np.arange(_BASE)
    digits = values[np.frombuffer(parts[2].encode("latin-1", "replace"), dtype=np.uint8)].reshape(-1, 2)
    if (digits < 0).any() or high < low:
        raise ValueError(f"expected two ascending numbers and pairs of base64 digits, found {text!r:.60}")
    levels: Floats = low + (digits @ np.array([_BASE, 1])) * ((high - low) / _MOST)
    return levels


def encode_components(components: Components) -> str:
    """Return components as text: each group's figure, exactly, and its samples.

    >>> import numpy as np
    >>> from pytest_biastransfer.metrics.statistics.components import Components
    >>> encode_components(Components(np.array([0.5]), [(np.array([0.0, 1.0]),)]))
    'own;0.5 0.0:1.0:AA//'
    """
    groups = [
        " ".join([repr(float(figure)), *map(encode_levels, samples)])
        for figure, samples in zip(components.figures, components.samples, strict=True)
    ]
    return ";".join([_SHARED if components.is_shared else _OWN, *groups])


def decode_components(text: str) -> Components:
    """Return about the components that `encode_components` encoded; raises ValueError for other text."""
    import numpy as np

    from pytest_biastransfer.metrics.statistics.components import Components

    kind, *groups = text.split(";")
    parts = [group.split(" ") for group in groups]
    if kind not in (_OWN, _SHARED) or len(parts) < 2 or len({len(group) for group in parts}) > 1 or len(parts[0]) < 2:
        raise ValueError(f"expected 'own' or 'shared' and groups of a figure and samples, found {text!r:.60}")
    figures = np.array([_finite(figure) for figure, *_ in parts])
    samples = [tuple(map(decode_levels, encoded)) for _, *encoded in parts]
    if kind == _SHARED and len({len(group[-1]) for group in samples}) > 1:
        raise ValueError("its groups do not share as many images")
    return Components(figures, samples, kind == _SHARED)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, found {text!r:.60}")
    return number
