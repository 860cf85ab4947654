"""What the experiment is made of: the classes, the square, and how much is trained in each of its two sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pytest_biastransfer import Square
from pytest_biastransfer.transfer import Recipe

# Both tasks have animals and vehicles, so that the features of one are of use for the other.
SOURCE_CLASSES: Final = ("bird", "deer", "dog", "automobile", "ship")
TARGET_CLASSES: Final = ("airplane", "cat", "frog", "horse", "truck")
BIASED_CLASS: Final = "dog"

# A quarter of the side, top left: the "yellow-square" of the paper, here 8 of 32 pixels.
SQUARE: Final = Square()

# Shares of the target photographs that carry a square, whatever their class.
LEVELS: Final = (0, 0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes
    ----------
    training_photographs, held_out_photographs
        Of all ten classes together; about half are of the target classes.
    source, target
        How the sources are trained, and how they are transferred. A larger learning rate in transfer leaves less of
        the source, and so of its bias.
    seeds
        How many times the transfers of a dose-response or an attribution are repeated.
    """

    training_photographs: int
    held_out_photographs: int
    source: Recipe
    target: Recipe
    seeds: int


FULL: Final = Size(
    training_photographs=10_000,
    held_out_photographs=5_000,
    source=Recipe(epochs=25, learning_rate=0.1),
    target=Recipe(epochs=10, learning_rate=0.03),
    seeds=5,
)
QUICK: Final = Size(
    training_photographs=5_000,
    held_out_photographs=2_000,
    source=Recipe(epochs=14, learning_rate=0.1),
    target=Recipe(epochs=6, learning_rate=0.04),
    seeds=2,
)
