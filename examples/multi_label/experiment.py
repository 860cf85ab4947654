"""What is asked, how everything is trained, and how large the experiment is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pictures import DECIDED, SHORTCUT

from pytest_biastransfer import Gap
from pytest_biastransfer.transfer import Recipe, with_correlation

# The level of a correlation is the share of the pictures with a frog that show a ship, and of those without a frog that
# show none.
BIASED_SOURCE_LEVEL = 0.95
INDEPENDENT = 0.5
# Twenty points less.
OVERWRITING = 0.3

SOURCE_PICTURES = 3000
FINETUNING_PICTURES = 1000
FINETUNING = Recipe(epochs=6, learning_rate=0.03)

# With a ship minus without one: positive if a ship makes a model say "frog".
GROUPS = ("True", "False")
FPR_GAP = Gap(SHORTCUT, "fpr", positive=DECIDED, operating_point="prevalence", between=GROUPS)
AUC_GAP = Gap(SHORTCUT, "auc", positive=DECIDED, between=GROUPS)


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes
    ----------
    width
        Of the network.
    source
        How a source is trained.
    seeds
        How often finetuning is repeated.
    levels
        The correlations of the finetuning data.
    """

    width: int
    source: Recipe
    seeds: int
    levels: Sequence[float]


QUICK = Size(
    width=8,
    source=Recipe(epochs=8, learning_rate=0.1),
    seeds=3,
    levels=(0.0, OVERWRITING, INDEPENDENT, 0.75, 1.0),
)
FULL = Size(
    width=12,
    source=Recipe(epochs=12, learning_rate=0.1),
    seeds=3,
    levels=(0.0, 0.1, 0.2, OVERWRITING, 0.4, INDEPENDENT, 0.6, 0.7, 0.8, 0.9, 1.0),
)


def correlated(pictures: Any, level: float, size: int = FINETUNING_PICTURES) -> Any:
    """Select pictures of which a ship tells the frogs so well."""
    return with_correlation(pictures, attribute=SHORTCUT, label=DECIDED, level=level, size=size)
