"""What a marker demands of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# The metrics that can be limited, and the range of a sensible limit.
LIMITS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "asr": (0.0, 1.0),
        "conditional_asr": (0.0, 1.0),
        "targeted_asr": (0.0, 1.0),
        "skew": (0.0, 1.0),
        "accuracy_drop": (-1.0, 1.0),
        "asr_excess": (-1.0, 1.0),
        "skew_excess": (-1.0, 1.0),
    }
)

# The limits that compare with a control model.
AGAINST_CONTROL: Final = frozenset({"asr_excess", "skew_excess"})


@dataclass(frozen=True)
class Expectation:
    """Limits on metrics: each may at most be so large.

    Attributes
    ----------
    limits
        Metric and limit, in the order of `LIMITS`; at least one.
    target
        The target classes of ``targeted_asr``, by name or number.
    confidence
        Coverage of the intervals, in (0, 1).
    """

    limits: tuple[tuple[str, float], ...]
    target: tuple[int | str, ...] = ()
    confidence: float = 0.95
