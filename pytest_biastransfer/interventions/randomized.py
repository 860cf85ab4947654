"""Interventions that differ from image to image: now and then, and here and there."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import Intervention, Stage, require_seed, require_share
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.placement import Placed
from pytest_biastransfer.interventions.random_sources import source_of_chance

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class Sometimes(Intervention):
    """Another intervention on some of the images, drawn at random; the others stay as they are.

    Parameters
    ----------
    intervention
        What happens to these images, and at which stage.
    probability
        Of each image, in (0, 1].
    seed
        Draws other images; each is drawn by (`seed`, its place in the dataset). Two with one seed draw the same.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> changed = Sometimes(Square(size=1, color="white"), probability=0.25).apply(torch.zeros(1000, 1, 2, 2))
    >>> int(changed[:, 0, 0, 0].sum())
    257
    """

    intervention: Intervention
    _: KW_ONLY
    probability: float = 0.5
    seed: int = 0
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.intervention, Intervention):
            raise InterventionError(f"Sometimes: got {self.intervention!r:.100}, expected an intervention")
        object.__setattr__(self, "stage", self.intervention.stage)
        super().__post_init__()
        require_share(self, "probability")
        require_seed(self)

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Apply the intervention to the images that are drawn."""
        changed = images.clone()
        chosen = [place for place, index in enumerate(origin.indices) if self._is_drawn(index)]
        if chosen:
            part = origin.part(chosen)
            changed[chosen] = self.intervention.apply(images[chosen], part.indices, part.masks)
        return changed

    def _is_drawn(self, index: int) -> bool:
        return source_of_chance("sometimes", self.seed, index).random() < self.probability

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The masks of the intervention."""
        return self.intervention.mask_names


@dataclass(frozen=True, repr=False)
class Random(Intervention):
    """A shape, picture or text at a place of its own on each image, drawn at random.

    Parameters
    ----------
    placed
        What is drawn, and at which stage; its anchor is drawn anew for each image, its margin stays free.
    seed
        Draws other places; each is drawn by (`seed`, the image's place in the dataset). Two with one seed draw the
        same.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> changed = Random(Square(size=0.25, color="white")).apply(torch.zeros(2, 1, 8, 8))
    >>> changed.sum(dim=(1, 2, 3)), bool((changed[0] == changed[1]).all())
    (tensor([4., 4.]), False)
    """

    placed: Placed
    _: KW_ONLY
    seed: int = 0
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.placed, Placed):
            raise InterventionError(
                f"Random: got {self.placed!r:.100}, expected a shape, Stencil(...) or Text(...), which has a place"
            )
        object.__setattr__(self, "stage", self.placed.stage)
        # Of two anchors, neither decides about anything.
        anywhere = copy.copy(self.placed)
        object.__setattr__(anywhere, "anchor", "top-left")
        object.__setattr__(self, "placed", anywhere)
        super().__post_init__()
        require_seed(self)

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw it once, and lay it onto each image at another place."""
        height, width = images.shape[2:]
        extent = self.placed.extent(width, height)
        lefts, tops = self.placed.corners(extent, (width, height))
        patch = self.placed.patch(extent, images)
        changed = images.clone()
        for place, index in enumerate(origin.indices):
            chance = source_of_chance("random", self.seed, index)
            self.placed.lay(patch, changed[place : place + 1], (chance.choice(lefts), chance.choice(tops)))
        return changed
