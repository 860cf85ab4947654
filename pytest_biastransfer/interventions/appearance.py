"""Changes of the colours of the whole image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.base import Intervention, require_number, require_share
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.colors import LUMA, luma, painted, require_colors, rgb
from pytest_biastransfer.interventions.host_tensors import constant

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

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Return the luma in all channels."""
        require_colors(images.shape[1])
        if images.shape[1] == 1:
            return images.clone()
        # Not torchvision's function: importing torchvision takes seconds in every worker.
        red, green, blue = images.unbind(dim=1)
        luma = (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
        return luma.unsqueeze(1).expand_as(images).contiguous()


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

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Interpolate towards the colour."""
        return images.lerp(painted(self.color, images), self.strength)


@dataclass(frozen=True, kw_only=True, repr=False)
class ColorCast(Intervention):
    """Multiply red, green and blue by a matrix, as a change of light or camera does.

    Parameters
    ----------
    matrix
        Three rows of three numbers, one row each for the new red, green and blue; or three factors, the diagonal.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> ColorCast(matrix=(1, 0.5, 0)).apply(torch.ones(1, 3, 1, 1)).flatten()
    tensor([1.0000, 0.5000, 0.0000])
    """

    matrix: Sequence[float] | Sequence[Sequence[float]] = (1.0, 0.9, 0.7)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "matrix", _matrix(self.matrix))
        if self.matrix in ((1.0, 1.0, 1.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))):
            raise InterventionError(f"ColorCast: matrix={self.matrix!r} changes nothing; expected another one")

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Multiply by the matrix; images of one channel count as gray."""
        import torch

        channels = images.shape[1]
        require_colors(channels)
        rows: Any = self.matrix
        if not isinstance(rows[0], tuple):
            if channels == 3:
                return images * constant(rows, images).reshape(1, 3, 1, 1)
            rows = [[factor if row == column else 0.0 for column in range(3)] for row, factor in enumerate(rows)]
        colored = torch.einsum("rc,bchw->brhw", constant(rows, images), images.expand(-1, 3, -1, -1))
        if channels == 3:
            return colored
        return luma(colored)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Adjusted(Intervention):
    """An adjustment of colours by a factor, as in torchvision."""

    factor: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "factor", "from 0 on, not 1", lambda value: 0 <= value < math.inf and value != 1)

    @abstractmethod
    def adjusted(self, images: torch.Tensor) -> torch.Tensor:
        """Return the adjusted images."""

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Adjust each image independently of the others."""
        require_colors(images.shape[1])
        return self.adjusted(images)


class Brightness(_Adjusted):
    """Multiply all values by a factor.

    Parameters
    ----------
    factor
        0 is black, 2 twice as bright; from 0 on, and not 1, which changes nothing.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> Brightness(factor=0.5).apply(torch.ones(1, 3, 1, 1)).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """

    def adjusted(self, images: torch.Tensor) -> torch.Tensor:
        """Return the brighter or darker images."""
        return images * self.factor


class Contrast(_Adjusted):
    """Move all values away from, or towards, the mean luma of their image.

    Parameters
    ----------
    factor
        0 is one gray, 2 twice the contrast; from 0 on, and not 1, which changes nothing.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> image = torch.tensor([0.25, 0.75]).reshape(1, 1, 1, 2)
    >>> Contrast(factor=0.5).apply(image).flatten()
    tensor([0.3750, 0.6250])
    """

    def adjusted(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with more or less contrast."""
        from torchvision.transforms.v2 import functional

        adjusted: torch.Tensor = functional.adjust_contrast(images, self.factor)
        return adjusted


class Saturation(_Adjusted):
    """Move all colours away from, or towards, their luma; images of one channel stay as they are.

    Parameters
    ----------
    factor
        0 is gray, 2 twice as colourful; from 0 on, and not 1, which changes nothing.
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> Saturation(factor=0).apply(red).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """

    def adjusted(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with stronger or weaker colours."""
        from torchvision.transforms.v2 import functional

        adjusted: torch.Tensor = functional.adjust_saturation(images, self.factor)
        return adjusted


def _matrix(value: object) -> tuple[Any, ...]:
    """Return three factors, or three rows of them, as plain floats."""
    rows: tuple[Any, ...] = tuple(value) if isinstance(value, tuple | list) else ()
    flat = [*rows] if not any(isinstance(row, tuple | list) for row in rows) else []
    nested = [tuple(row) for row in rows if isinstance(row, tuple | list) and len(row) == 3]
    numbers = flat if len(flat) == 3 else [number for row in nested for number in row]
    is_complete = len(flat) == 3 or (len(nested) == 3 and len(rows) == 3)
    if not is_complete or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers
    ):
        raise InterventionError(
            f"ColorCast: matrix={value!r}, expected three numbers, such as (1, 0.9, 0.7), or three rows of three"
        )
    return tuple(map(float, flat)) if len(flat) == 3 else tuple(tuple(map(float, row)) for row in nested)
