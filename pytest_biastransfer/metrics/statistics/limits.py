"""Whether figures meet a limit: quotients of counts that equal it in exact arithmetic do."""

from __future__ import annotations

from typing import Any, Final

# Floating point leaves 0.4 - 0.1 above 0.3. A count that is one too high exceeds a limit by far more than this, unless
# there are more images than any dataset has.
ROUNDING: Final = 1e-12


def is_at_most(value: Any, limit: float) -> Any:
    """Return whether a number, or each of an array, is at most a limit, but for rounding; NaN is not.

    >>> 0.4 - 0.1 <= 0.3, is_at_most(0.4 - 0.1, 0.3)
    (False, True)
    """
    return value <= limit + ROUNDING
