"""How far out a deviation is in a normal distribution."""

from __future__ import annotations

from math import copysign, erfc, sqrt
from typing import Final

_ROUNDING: Final = 1e-12


def normal_p_value(deviation: float, spread: float, margin: float = 0.0, freedom: int | None = None) -> float:
    """Return the two-sided p-value of a deviation in a normal distribution with a standard deviation of `spread`.

    If the spread is an estimate with so many degrees of `freedom`, the distribution is Student's t.

    Without spread any deviation is impossible, but for rounding. With a `margin`, which has a sign, it is twice the
    probability of a deviation that is as far beyond the margin.

    >>> round(normal_p_value(1.96, 1.0), 3), normal_p_value(0.5, 0.0), normal_p_value(0.0, 0.0)
    (0.05, 0.0, 1.0)
    >>> [round(normal_p_value(deviation, 1.0, margin=-1.0), 3) for deviation in (-2.96, -1.0, 2.96)]
    [0.05, 1.0, 1.0]
    """
    beyond = abs(deviation) if not margin else max(0.0, (deviation - margin) * copysign(1.0, margin))
    if spread < _ROUNDING:
        return float(beyond < _ROUNDING)
    if freedom is None:
        return erfc(beyond / spread / sqrt(2))
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -beyond / spread))
