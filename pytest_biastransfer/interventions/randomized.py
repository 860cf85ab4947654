"""Interventions that differ from image to image: with a probability, one of several, or at a random location."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import Intervention, Stage, require_seed, require_share
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.placement import Placed
from pytest_biastransfer.interventions.random_sources import random_source

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class Sometimes(Intervention):
    """Another intervention on a random sample of the images; the others stay as they are.

    Parameters
    ----------
    intervention
        The intervention; its stage applies.
    probability
        Probability that an image is changed, in (0, 1].
    seed
        Seed of the sample, from 0 on. Whether an image is in it depends on (`seed`, index in the dataset) only, so two
        of them with the same seed change the same images.

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
        """Apply the intervention to the images in the sample."""
        changed = images.clone()
        chosen = [position for position, index in enumerate(origin.indices) if self._is_in_sample(index)]
        if chosen:
            sample = origin.subset(chosen)
            changed[chosen] = self.intervention.apply(images[chosen], sample.indices, sample.masks)
        return changed

    def _is_in_sample(self, index: int) -> bool:
        return random_source("sometimes", self.seed, index).random() < self.probability

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The masks of the intervention."""
        return self.intervention.mask_names


def _label_of_members(members: Sequence[Intervention]) -> str:
    return "-or-".join(member.label for member in members)


@dataclass(frozen=True, repr=False)
class OneOf(Intervention):
    """One of several interventions on each image, such as one of many hats; all are equally likely.

    Parameters
    ----------
    interventions
        The interventions, in a list or tuple; all have the same stage, which applies.
    seed
        Seed of the choice, from 0 on. It depends on (`seed`, index of the image in the dataset) and on the number of
        interventions only: batch size and order do not matter, and two of them with the same seed choose the same
        positions.

    Raises
    ------
    InterventionError
        If there is no intervention, or interventions of several stages.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square
    >>> hats = OneOf([Square(size=1, color="white"), Square(size=1, color=(51, 51, 51))])
    >>> hats.apply(torch.zeros(6, 1, 2, 2))[:, 0, 0, 0]
    tensor([1.0000, 1.0000, 0.2000, 0.2000, 0.2000, 0.2000])
    """

    interventions: Sequence[Intervention] = field(metadata={"label": _label_of_members})
    _: KW_ONLY
    seed: int = 0
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        members = tuple(self.interventions) if isinstance(self.interventions, list | tuple) else (self.interventions,)
        for member in members:
            if not isinstance(member, Intervention):
                raise InterventionError(f"OneOf: got {member!r:.100}, expected a list of interventions")
        if not members:
            raise InterventionError("OneOf: got an empty list, expected at least one intervention")
        object.__setattr__(self, "interventions", members)
        object.__setattr__(self, "stage", members[0].stage)
        super().__post_init__()
        for member in members:
            if member.stage != self.stage:
                raise InterventionError(
                    f"OneOf: interventions of several stages: {member} is not of stage {self.stage!r}; give all of "
                    f"them the same stage="
                )
        require_seed(self)

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Apply each intervention to the images that it is chosen for, together."""
        positions: dict[int, list[int]] = {}
        for position, index in enumerate(origin.indices):
            positions.setdefault(self._choice(index), []).append(position)
        changed = images.clone()
        for number, chosen in positions.items():
            part = origin.subset(chosen)
            changed[chosen] = self.interventions[number].apply(images[chosen], part.indices, part.masks)
        return changed

    def _choice(self, index: int) -> int:
        # A purpose of its own: with that of `Sometimes` and the same seed, a rare sample would only see the first ones.
        return random_source("one of", self.seed, index).randrange(len(self.interventions))

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The masks of all interventions."""
        return tuple(dict.fromkeys(name for member in self.interventions for name in member.mask_names))


@dataclass(frozen=True, repr=False)
class Random(Intervention):
    """A shape, picture or text at a random location, different for each image.

    Parameters
    ----------
    placed
        The shape, picture or text; its stage and margin apply, its anchor does not.
    seed
        Seed of the locations, from 0 on. The location depends on (`seed`, index of the image in the dataset) only, so
        two of them with the same seed have the same locations.

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
                f"Random: got {self.placed!r:.100}, expected a shape, Stencil(...) or Text(...), which has a location"
            )
        object.__setattr__(self, "stage", self.placed.stage)
        # The anchor does not matter, so declarations that differ in it are equal and share cached predictions.
        normalized = copy.copy(self.placed)
        object.__setattr__(normalized, "anchor", "top-left")
        object.__setattr__(self, "placed", normalized)
        super().__post_init__()
        require_seed(self)

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw the patch once, and lay it onto each image at another location."""
        height, width = images.shape[2:]
        extent = self.placed.extent(width, height)
        lefts, tops = self.placed.corners(extent, (width, height))
        patch = self.placed.patch(extent, images)
        changed = images.clone()
        # By the index in the dataset, not by the position: another batch size must not move the trigger.
        for position, index in enumerate(origin.indices):
            source = random_source("random", self.seed, index)
            self.placed.lay(patch, changed[position : position + 1], (source.choice(lefts), source.choice(tops)))
        return changed
