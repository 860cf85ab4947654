"""What a marker demands of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pytest_biastransfer.errors import BiasTransferError

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


def require_confidence(value: object) -> float:
    """Return a confidence level if it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise BiasTransferError(f"confidence={value!r}, expected a number above 0 and below 1, such as 0.95")
    return float(value)


def require_target(target: object) -> tuple[int | str, ...]:
    """Return the target classes, none for None, if they are names or numbers of classes."""
    if target is None:
        return ()
    parts = tuple(target) if isinstance(target, Sequence) and not isinstance(target, str) else (target,)
    classes = tuple(part for part in parts if isinstance(part, int | str) and not isinstance(part, bool))
    if not parts or len(classes) != len(parts):
        raise BiasTransferError(f"target={target!r}, expected a class or several, by name or number")
    return classes


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
