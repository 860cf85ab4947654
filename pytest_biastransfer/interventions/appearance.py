"""Changes of the whole image: colour and sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.interventions.base import Intervention, require_share
from pytest_biastransfer.interventions.colors import LUMA, levels, require_colors, rgb

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, repr=False)
class Grayscale(Intervention):
    """Replace the colours by their luma (ITU-R BT.601); images of one channel stay as they are.

    Examples
    --------
    >>> import torch
    >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> Grayscale().apply(red).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """

    def render(self, images: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Return the luma in all channels."""
        require_colors(images.shape[1])
        if images.shape[1] == 1:
            return images.clone()
        # torchvision's own kernel would import all of torchvision, seconds in every worker.
        red, green, blue = images.unbind(dim=1)
        luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
        return luma.unsqueeze(1).expand_as(images).contiguous()


@dataclass(frozen=True, kw_only=True, repr=False)
class Blur(Intervention):
    """Gaussian blur.

    Parameters
    ----------
    sigma
        Standard deviation as a fraction of the image's shorter side, in (0, 1].
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Blur(sigma=0.1).apply(torch.eye(8).expand(1, 3, 8, 8)).amax() < 1
    tensor(True)
    """

    sigma: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "sigma")

    def render(self, images: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Convolve with a kernel of three standard deviations on each side, reflected at the border."""
        from torchvision.transforms.v2 import functional

        side = min(images.shape[-2:])
        sigma = self.sigma * side
        # Reflection needs a radius below the side.
        radius = min(math.ceil(3 * sigma), side - 1)
        # A Gaussian is separable: two passes of a line cost a fraction of one of a square.
        width, deviation = 2 * radius + 1, [sigma, sigma]
        across = functional.gaussian_blur(images, [width, 1], deviation)
        blurred: torch.Tensor = functional.gaussian_blur(across, [1, width], deviation)
        return blurred


@dataclass(frozen=True, kw_only=True, repr=False)
class Tint(Intervention):
    """Mix one colour into every pixel.

    Parameters
    ----------
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    strength
        Share of the colour in the mixture, in (0, 1].
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Tint(color="white", strength=0.25).apply(torch.zeros(1, 3, 1, 1)).flatten()
    tensor([0.2500, 0.2500, 0.2500])
    """

    color: str | Sequence[int] = (255, 255, 0)
    strength: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "strength")
        object.__setattr__(self, "color", rgb(self.color))

    def render(self, images: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Interpolate towards the colour."""
        channels = images.shape[1]
        color = images.new_tensor(levels(rgb(self.color), channels)).reshape(1, channels, 1, 1)
        return images.lerp(color, self.strength)
