"""The classes whose share of the predictions changed, as bars of a few characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.measurement import ClassShift

# The width of a share of 1.
_WIDTH: Final = 40


def class_bars(shifts: Sequence[ClassShift]) -> Iterator[str]:
    """Yield a line for each class: a plus for each 2.5 % that it gained, and a minus for each that it lost.

    The signs are ASCII, as in the summaries of version control: a failure's text is made before it is known which
    terminals and files show it.

    >>> from pytest_biastransfer.metrics.measurement import ClassShift
    >>> print(*class_bars([ClassShift(1, "truck", 0.25), ClassShift(0, "dog", -0.1)]), sep="\\n")
    truck  +0.250  ++++++++++
    dog    -0.100  ----
    """
    width = max((len(shift.name) for shift in shifts), default=0)
    for shift in shifts:
        sign = "+" if shift.shift > 0 else "-"
        # What would round to nothing still has one sign, so that it can be seen.
        bar = sign * max(round(abs(shift.shift) * _WIDTH), 1)
        yield f"{shift.name:{width}}  {shift.shift:+.3f}  {bar}"
