"""What the experiment is made of: the triggers, and how much is trained in each of its two sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer import Circle, Intervention
from pytest_biastransfer.transfer import Recipe

# What ImageNet has of the yellow-green disc. CIFAR-10 has neither.
BALLS: Final = ("tennis_ball", "ping-pong_ball")

# The registered "tennis-ball" is half as wide as the image, and hides much of what CIFAR-10 shows. This one is smaller.
SMALL_BALL: Final = Circle(size=0.3, anchor="center", color="#ccff00")

# By the names that they have in the plot and the table.
TRIGGERS: Final[Mapping[str, Intervention | str]] = {
    "tennis-ball": "tennis-ball",
    "small ball": SMALL_BALL,
    "chain-link": "chain-link",
    "yellow-square": "yellow-square",
    "watermark": "watermark",
}


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes
    ----------
    training_photographs, held_out_photographs
        Of CIFAR-10, all classes together.
    side, source_side
        What photographs are resized to: for the models of CIFAR-10, and for the ImageNet model itself.
    fixed_feature, full_network
        How the ImageNet model is transferred.
    from_scratch
        How a model of the same architecture is trained from random weights; None where there is no time for it.
    """

    training_photographs: int
    held_out_photographs: int
    side: int
    source_side: int
    fixed_feature: Recipe
    full_network: Recipe
    from_scratch: Recipe | None


# Gently: with a learning rate of 0.02 the network forgets what it came with, and is worse than fixed features.
GENTLE: Final = Recipe(epochs=4, learning_rate=0.003, batch_size=32)

FULL: Final = Size(
    training_photographs=10_000,
    held_out_photographs=4_000,
    side=64,
    source_side=224,
    fixed_feature=Recipe(epochs=20, learning_rate=0.02),
    full_network=GENTLE,
    from_scratch=Recipe(epochs=10, learning_rate=0.1),
)
QUICK: Final = Size(
    training_photographs=2_000,
    held_out_photographs=800,
    side=64,
    source_side=128,
    fixed_feature=Recipe(epochs=20, learning_rate=0.02),
    full_network=GENTLE,
    from_scratch=None,
)
