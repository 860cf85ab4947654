"""How much of the store is verified, and which images."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_biastransfer.names import CANARY_IMAGES


@dataclass(frozen=True)
class Verification:
    """How many stored predictions are verified, and which.

    Attributes
    ----------
    images
        Number of images of each key. None means all images of all keys, even if a model has to be loaded for it.
    seed
        Selects the images. By default each session has another seed.
    """

    images: int | None = CANARY_IMAGES
    seed: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def verifies_all(self) -> bool:
        """Whether every stored prediction is verified before it is used."""
        return self.images is None

    @property
    def option(self) -> str:
        """The command-line option that verifies the same images again."""
        return f"--bias-verify={'all' if self.images is None else f'{self.images}@{self.seed}'}"

    def sample(self, positions: Sequence[int], key: str) -> list[int]:
        """Return the positions to verify, ascending, of those that have stored predictions under a key."""
        if self.images is None or len(positions) <= self.images:
            return list(positions)
        # The key is part of the seed, so that each key verifies other images and a session covers more of them.
        return sorted(random.Random(f"{self.seed}|{key}").sample(list(positions), self.images))
