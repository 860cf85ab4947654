"""What is asked, how everything is trained, and how large the experiment is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_biastransfer import Gap
from pytest_biastransfer.transfer import Recipe, with_correlation, with_share

# The level of a correlation is the share of the animals that are tinted, and of the vehicles that are not.
BIASED_SOURCE_LEVEL = 0.95
FINETUNING_LEVEL = 0.7
INDEPENDENT = 0.5

# How much of the data is of the group that is underrepresented, where it is.
RARE_IN_SOURCE = 0.02
RARE_IN_FINETUNING = 0.05

FINETUNING_IMAGES = 2000
FINETUNING = Recipe(epochs=5, learning_rate=0.01)

FPR_GAP = Gap("tint", "fpr", positive="animal", operating_point="prevalence")
AUC_GAP = Gap("swapped", "auc", positive="animal", negatives="shared")


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes
    ----------
    width
        Of the network.
    source_images, source
        What a source is trained on, and how.
    seeds
        How often finetuning is repeated.
    shifts
        By how much the finetuning data's correlation is lowered.
    shares
        How much of the finetuning data is of the underrepresented group.
    """

    width: int
    source_images: int
    source: Recipe
    seeds: int
    shifts: Sequence[float]
    shares: Sequence[float]


QUICK = Size(
    width=8,
    source_images=2000,
    source=Recipe(epochs=8, learning_rate=0.1, seed=1),
    seeds=2,
    shifts=(0.0, 0.1, 0.2),
    shares=(RARE_IN_FINETUNING, 0.5),
)
FULL = Size(
    width=12,
    source_images=3000,
    source=Recipe(epochs=12, learning_rate=0.1, seed=1),
    seeds=3,
    shifts=(0.0, 0.1, 0.2, 0.3),
    shares=(RARE_IN_FINETUNING, 0.2, 0.5),
)


def correlated(photographs: Any, level: float, size: int = FINETUNING_IMAGES) -> Any:
    """Select photographs of which the tint tells the animals so well."""
    return with_correlation(photographs, "tint", "animal", level, size)


def shifted(photographs: Any, shift: float) -> Any:
    """Select photographs to finetune on, whose correlation is lower by `shift` than it was."""
    return correlated(photographs, round(FINETUNING_LEVEL - shift, 2))


def with_swapped(photographs: Any, share: float, size: int = FINETUNING_IMAGES) -> Any:
    """Select photographs of which a share has red and blue swapped."""
    return with_share(photographs, "swapped", share, size)
