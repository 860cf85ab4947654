"""How far out a deviation is in a normal distribution."""

from __future__ import annotations

from math import erfc, sqrt
from typing import Final

_ROUNDING: Final = 1e-12


def normal_p_value(deviation: float, spread: float) -> float:
    """Return the two-sided p-value of a deviation in a normal distribution with a standard deviation of `spread`.

    Without spread any deviation is impossible, but for rounding.

    >>> round(normal_p_value(1.96, 1.0), 3), normal_p_value(0.5, 0.0), normal_p_value(0.0, 0.0)
    (0.05, 0.0, 1.0)
    """
    if spread < _ROUNDING:
        return float(abs(deviation) < _ROUNDING)
    return erfc(abs(deviation) / spread / sqrt(2))
