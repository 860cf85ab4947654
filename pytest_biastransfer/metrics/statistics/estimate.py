"""A figure with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Annotated, Any

# The form of what `Estimate.to_list` gives: the value, the ends, the confidence, the number of images and the method.
Parts = tuple[float, float, float, float, Annotated[int, lambda n: n >= 0], str]


class Estimate(float):
    """A ``float`` that knows how sure it is.

    What is computed from estimates is a plain number; ``Estimate(number)``, which functions such as
    `statistics.mean` make of it, has no interval.

    Attributes
    ----------
    low, high
        The ends of the confidence interval.
    confidence
        The interval's nominal coverage, in (0, 1).
    n
        How many images the figure rests on.
    method
        How the interval was computed: ``"clopper-pearson"``, ``"delong"`` or ``"paired bootstrap"``.

    Examples
    --------
    >>> Estimate(0.25, low=0.1, high=0.5, confidence=0.95, n=8, method="clopper-pearson")
    0.25 [0.1, 0.5]
    """

    low: float
    high: float
    confidence: float
    n: int
    method: str

    def __new__(
        cls,
        value: float,
        *,
        low: float = nan,
        high: float = nan,
        confidence: float = nan,
        n: int = 0,
        method: str = "",
    ) -> Estimate:
        """Make an estimate."""
        self = super().__new__(cls, value)
        self.low, self.high = float(low), float(high)
        self.confidence, self.n, self.method = float(confidence), int(n), method
        return self

    def __repr__(self) -> str:
        return f"{float(self):.3g} [{self.low:.3g}, {self.high:.3g}]"

    def text(self, sign: str = "") -> str:
        """Return it with its interval, as in tables; ``sign="+"`` writes the sign of positive numbers too.

        >>> Estimate(0.25, low=0.1, high=0.5).text()
        '0.250 [0.100, 0.500]'
        """
        return f"{self:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"

    def mirrored(self) -> Estimate:
        """Return the estimate of the negative number.

        >>> Estimate(0.25, low=0.1, high=0.5).mirrored()
        -0.25 [-0.5, -0.1]
        """
        low, high = -self.high, -self.low
        return Estimate(-self, low=low, high=high, confidence=self.confidence, n=self.n, method=self.method)

    def __reduce__(self) -> tuple[Any, ...]:
        return Estimate.from_list, (self.to_list(),)

    def to_list(self) -> list[Any]:
        """Return the value and the attributes as plain data."""
        return [float(self), self.low, self.high, self.confidence, self.n, self.method]

    @classmethod
    def from_list(cls, parts: Sequence[Any]) -> Estimate:
        """Return the estimate that `to_list` gave the parts of."""
        value, low, high, confidence, n, method = parts
        return cls(value, low=low, high=high, confidence=confidence, n=n, method=method)
