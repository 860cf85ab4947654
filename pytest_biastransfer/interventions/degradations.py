"""Degradations of the whole image: blur, coarse pixels, compression, frames and vignettes."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_biastransfer.errors import InterventionError, TooSmallError
from pytest_biastransfer.interventions.base import Intervention, require_count, require_number, require_share
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.colors import painted, require_colors, rgb
from pytest_biastransfer.interventions.host_tensors import beside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    Pixels = npt.NDArray[np.uint8]


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

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Convolve with a kernel of three standard deviations on each side, reflected at the border."""
        import torch

        side = min(images.shape[-2:])
        sigma = self.sigma * side
        # Reflection padding needs a radius below the side.
        radius = min(math.ceil(3 * sigma), side - 1)
        # A Gaussian is separable, and two matrix products take a fraction of the time of convolutions.
        rows, columns = (
            beside(_convolution(extent, radius, sigma).to(images.dtype), images) for extent in images.shape[2:]
        )
        return torch.matmul(rows.T, torch.matmul(images, columns))


@functools.lru_cache(maxsize=4)
def _convolution(extent: int, radius: int, sigma: float) -> torch.Tensor:
    """Return torchvision's Gaussian blur of a line of `extent` pixels, as a matrix [extent, extent].

    Cached: all batches, and both directions of square images, need the same matrix.
    """
    import torch
    from torchvision.transforms.v2 import functional

    # The matrix is cached, and an inference tensor could not be used outside inference mode.
    with torch.inference_mode(False):
        lines = torch.eye(extent, dtype=torch.float64)[None]
        blurred: torch.Tensor = functional.gaussian_blur(lines, [2 * radius + 1, 1], [sigma, sigma])
    return blurred[0]


@dataclass(frozen=True, kw_only=True, repr=False)
class Pixelate(Intervention):
    """Replace blocks of pixels by their mean.

    Parameters
    ----------
    cells
        Blocks along the shorter side, above 0; an image with fewer pixels stays as it is.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Pixelate(cells=1).apply(torch.eye(2).reshape(1, 1, 2, 2)).flatten()
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    cells: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "cells")

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Replace each block by its mean."""
        from torch.nn import functional

        extent = images.shape[2:]
        # In proportion to the sides, so that blocks are nearly square on images that are not.
        shares = [max(round(self.cells * side / min(extent)), 1) for side in extent]
        cells = min(shares[0], extent[0]), min(shares[1], extent[1])
        small = functional.adaptive_avg_pool2d(images, cells)
        return functional.interpolate(small, extent, mode="nearest-exact")


@dataclass(frozen=True, kw_only=True, repr=False)
class JPEG(Intervention):
    """Compress the image: save it as a JPEG with 8 bits, and read it again.

    Parameters
    ----------
    quality
        From 1 to 100.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> JPEG(quality=10).apply(torch.full((1, 3, 8, 8), 0.5)).mean().round(decimals=2)
    tensor(0.5000)
    """

    libraries: ClassVar[tuple[str, ...]] = ("pillow",)

    quality: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self, "quality")
        if self.quality > 100:
            raise InterventionError(f"JPEG: quality={self.quality!r}, expected a whole number from 1 to 100")

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Encode and decode each image on the CPU."""
        import numpy as np
        import torch

        require_colors(images.shape[1])
        # Pillow on the CPU, so that all devices give the same pixels.
        pixels = (images * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        decoded = torch.from_numpy(np.stack([_through_jpeg(picture, self.quality) for picture in pixels]))
        return beside(decoded.permute(0, 3, 1, 2).to(images.dtype), images) / 255


def _through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Return a picture [height, width, 1 or 3] after saving and reading it."""
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=["JPEG"]) as picture:
        return np.asarray(picture).reshape(pixels.shape)


@dataclass(frozen=True, kw_only=True, repr=False)
class Border(Intervention):
    """A frame of one colour.

    Parameters
    ----------
    width
        As a fraction of the image's shorter side, in (0, 0.5]; ``round(width * side)`` pixels.
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Border(width=0.25, color="white").apply(torch.zeros(1, 1, 4, 4))[0, 0].int().tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """

    width: float = 0.05
    color: str | Sequence[int] = (0, 0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "width", "above 0 and at most 0.5", lambda value: 0 < value <= 0.5)
        object.__setattr__(self, "color", rgb(self.color))

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw the frame around the inner pixels."""
        height, width = images.shape[2:]
        edge = round(self.width * min(height, width))
        if edge < 1:
            raise TooSmallError(
                f"{self}: rounds to no pixel on images of {height}×{width}; make width at least "
                f"{0.5 / min(height, width):.3g}"
            )
        color = painted(self.color, images)
        framed = color.expand_as(images).clone()
        inner = (..., slice(edge, height - edge), slice(edge, width - edge))
        framed[inner] = images[inner]
        return framed


@dataclass(frozen=True, kw_only=True, repr=False)
class Vignette(Intervention):
    """Darken the image towards its corners.

    Parameters
    ----------
    strength
        The share of light that the corners lose, in (0, 1]. The loss grows with the squared distance from the centre.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Vignette(strength=1).apply(torch.ones(1, 1, 3, 3))[0, 0, 1, 1]
    tensor(1.)
    """

    strength: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "strength")

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Multiply by the remaining light."""
        import torch

        height, width = images.shape[2:]
        # The positions of pixel centres in [-1, 1].
        y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, dtype=torch.float64)[:, None]
        x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, dtype=torch.float64)[None, :]
        return images * beside((1 - self.strength * (x * x + y * y) / 2).to(images.dtype), images)
