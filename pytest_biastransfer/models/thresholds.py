"""Thresholds of models that have one output a label: from which probability on a label counts as predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pytest_biastransfer.errors import ModelError, nearest, percent_hint
from pytest_biastransfer.names import Outputs

# A probability for all labels, one for each, or as many positives as the labels have.
Threshold = float | Mapping[str, float] | Literal["prevalence"]

PREVALENCE: Final = "prevalence"
DEFAULT: Final = 0.5


def require_threshold(value: Any, outputs: Outputs, origin: str, classes: Sequence[str] | None) -> Threshold:
    """Return a threshold if it is one of outputs with these names; raise `ModelError`, which begins with `origin`."""
    if outputs == "softmax":
        if value != DEFAULT:
            raise ModelError(
                f"{origin}: threshold={value!r:.60} is for outputs='sigmoid'; the classes of a softmax have none"
            )
        return DEFAULT
    if isinstance(value, str) and value != PREVALENCE:
        raise ModelError(f"{origin}: threshold={value!r:.60}; {nearest(value, [PREVALENCE])}, or give a probability")
    if isinstance(value, Mapping):
        for name in value:
            if name not in (classes or ()):
                raise ModelError(
                    f"{origin}: threshold of {name!r}, which is no name of an output; "
                    f"{nearest(name, classes) if classes else 'name them with classes=[...]'}"
                )
        return {str(name): _probability(own, f"{origin}: threshold of {name}") for name, own in value.items()}
    return PREVALENCE if value == PREVALENCE else _probability(value, f"{origin}: threshold")


def _probability(value: Any, origin: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ModelError(
            f"{origin}: {value!r:.60}, expected a probability above 0 and below 1, such as 0.5{percent_hint(value)}"
        )
    return float(value)


def log_odds(probability: float) -> float:
    """Return the logit of a probability.

    >>> log_odds(0.5)
    0.0
    """
    return math.log(probability) - math.log1p(-probability)
