"""Patterns over the whole image: noise, and stripes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import (
    Intervention,
    require_count,
    require_number,
    require_seed,
    require_share,
)
from pytest_biastransfer.interventions.blending import Mixed
from pytest_biastransfer.interventions.colors import levels, rgb
from pytest_biastransfer.interventions.origin import Origin
from pytest_biastransfer.interventions.placement import half_turn
from pytest_biastransfer.interventions.seeds import generator

if TYPE_CHECKING:
    import torch

# From so many numbers on, threads are worth their start.
_MANY: Final = 2**20


@dataclass(frozen=True, kw_only=True, repr=False)
class _Seeded(Intervention):
    """Normally distributed numbers that are added to the image, and clipped."""

    scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "scale", "above 0", lambda value: 0 < value < math.inf)
        require_seed(self)

    @abstractmethod
    def numbers(self, images: torch.Tensor, origin: Origin) -> torch.Tensor:
        """Return numbers of standard deviation 1 that broadcast to the images."""

    def render(self, images: torch.Tensor, origin: Origin) -> torch.Tensor:
        """Add the numbers."""
        return images + self.scale * self.numbers(images, origin).to(images.device, images.dtype)


@dataclass(frozen=True, kw_only=True, repr=False)
class GaussianPattern(_Seeded):
    """One pattern of Gaussian noise, added to every image and clipped (Salman et al. 2022).

    Parameters
    ----------
    scale
        Standard deviation, in units of [0, 1], above 0.
    cells
        The pattern's numbers on a side, whatever the resolution; between them it is interpolated.
    seed
        Draws another pattern.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> changed = GaussianPattern(scale=0.1).apply(torch.full((2, 3, 64, 64), 0.5))
    >>> bool((changed[0] == changed[1]).all())
    True
    """

    cells: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "cells")

    def numbers(self, images: torch.Tensor, origin: Origin) -> torch.Tensor:
        """Return one pattern for all images."""
        import torch
        from torch.nn import functional

        drawn = torch.randn(1, images.shape[1], self.cells, self.cells, generator=generator(self.seed))
        return functional.interpolate(drawn, images.shape[2:], mode="bilinear", align_corners=False)


class Noise(_Seeded):
    """Gaussian noise, another one for each image, added and clipped.

    Parameters
    ----------
    scale
        Standard deviation, in units of [0, 1], above 0.
    seed
        Draws other noise; each image has its own from (`seed`, its place in the dataset).
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> changed = Noise(scale=0.1).apply(torch.full((2, 3, 64, 64), 0.5))
    >>> round(float(changed.std()), 2), bool((changed[0] == changed[1]).all())
    (0.1, False)
    """

    def numbers(self, images: torch.Tensor, origin: Origin) -> torch.Tensor:
        """Return numbers for each image."""
        import torch

        # The mode is each thread's own.
        with torch.inference_mode(False):
            drawn = torch.empty(images.shape)

        def draw(place: int) -> None:
            torch.randn(images.shape[1:], generator=generator(self.seed, origin.indices[place]), out=drawn[place])

        # A generator draws its numbers in one thread, and they take longer than all else.
        if drawn.numel() < _MANY or torch.get_num_threads() == 1:
            list(map(draw, range(len(images))))
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(draw, range(len(images))))
        return drawn


@dataclass(frozen=True, kw_only=True, repr=False)
class Stripes(Mixed):
    """Parallel stripes over the whole image.

    Parameters
    ----------
    period
        From one stripe to the next, as a fraction of the image's shorter side, in (0, 1].
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    width
        Of a stripe, as a share of the period, in (0, 1].
    angle
        Degrees by which vertical stripes are turned counterclockwise.
    opacity, blend
        See `Mixed`.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Stripes(period=0.5, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0, 0].int().tolist()
    [1, 0, 1, 0]
    """

    period: float = 0.1
    color: str | Sequence[int] = (255, 255, 0)
    width: float = 0.5
    angle: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("period", "width"):
            require_share(self, name)
        require_number(self, "angle", "that is finite", math.isfinite)
        object.__setattr__(self, "angle", half_turn(self.angle))
        object.__setattr__(self, "color", rgb(self.color))

    def render(self, images: torch.Tensor, origin: Origin) -> torch.Tensor:
        """Draw the stripes, of which one begins at the left edge."""
        import torch

        channels, height, width = images.shape[1:]
        period = self.period * min(height, width)
        if period < 2:
            raise InterventionError(
                f"{self}: its stripes are closer than two pixels on images of {height}×{width}; make period at least "
                f"{2 / min(height, width):.3g}"
            )
        x = torch.arange(width, dtype=torch.float64)[None, :] + 0.5
        y = torch.arange(height, dtype=torch.float64)[:, None] + 0.5
        radians = math.radians(self.angle)
        phase = (x * math.cos(radians) - y * math.sin(radians)) / period % 1.0
        color = images.new_tensor(levels(rgb(self.color), channels)).reshape(1, channels, 1, 1)
        return self.mixed(images, color, (phase < self.width).to(images.device))
