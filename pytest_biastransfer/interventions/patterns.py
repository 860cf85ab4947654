"""Patterns over the whole image: noise, stripes, and the user's own arrays."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import InterventionError, TooSmallError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions.base import (
    Intervention,
    require_angle,
    require_count,
    require_number,
    require_seed,
    require_share,
)
from pytest_biastransfer.interventions.batch_info import BatchInfo
from pytest_biastransfer.interventions.blending import Mixed
from pytest_biastransfer.interventions.colors import painted, rgb
from pytest_biastransfer.interventions.file_fields import keep_content
from pytest_biastransfer.interventions.host_tensors import beside
from pytest_biastransfer.interventions.random_sources import generator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

# With fewer random numbers, starting threads takes longer than drawing.
_THREADED_FROM: Final = 2**20


@dataclass(frozen=True, kw_only=True, repr=False)
class _Seeded(Intervention):
    """Gaussian noise that is added to the image."""

    scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "scale", "above 0", lambda value: 0 < value < math.inf)
        require_seed(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class GaussianPattern(_Seeded):
    """One pattern of Gaussian noise, added to every image and clipped (Salman et al. 2022).

    Parameters
    ----------
    scale
        Standard deviation, in units of [0, 1], above 0.
    cells
        Random numbers along a side of the pattern, at any resolution; it is interpolated between them.
    seed
        Seed of the pattern, from 0 on.
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

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Add the same pattern to all images."""
        import torch
        from torch.nn import functional

        # Drawn on the CPU from the seed alone: the same pattern for all images, batches and devices.
        cells = torch.randn(1, images.shape[1], self.cells, self.cells, generator=generator(self.seed))
        pattern = functional.interpolate(cells, images.shape[2:], mode="bilinear", align_corners=False)
        return images.add(beside(pattern.to(images.dtype), images), alpha=self.scale)


class Noise(_Seeded):
    """Gaussian noise, different for each image, added and clipped.

    Parameters
    ----------
    scale
        Standard deviation, in units of [0, 1], above 0.
    seed
        Seed of the noise, from 0 on. Each image has its own noise, seeded by (`seed`, index in the dataset).
    stage
        See `Intervention`.

    Examples
    --------
    >>> import torch
    >>> changed = Noise(scale=0.1).apply(torch.full((2, 3, 64, 64), 0.5))
    >>> round(float(changed.std()), 2), bool((changed[0] == changed[1]).all())
    (0.1, False)
    """

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw and add each image's own noise."""
        import torch

        # Inference mode belongs to a thread: the pool's threads could not write to an inference tensor.
        with torch.inference_mode(False):
            noise = torch.empty(images.shape)

        def draw(position: int) -> None:
            index = origin.indices[position]
            torch.randn(images.shape[1:], generator=generator(self.seed, index), out=noise[position])

        # A generator uses one thread, and drawing takes most of the time. So images are drawn in parallel.
        if noise.numel() < _THREADED_FROM or torch.get_num_threads() == 1:
            list(map(draw, range(len(images))))
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(draw, range(len(images))))
        noise = beside(noise.to(images.dtype), images)
        return torch.add(images, noise, alpha=self.scale, out=noise)


def _name_of(array: Any) -> str:
    """Return a short name of an array: the name of its file, or the first digits of its hash."""
    return PurePath(array).stem if isinstance(array, str) else fingerprint(array)[:6]


@dataclass(frozen=True, repr=False)
class Pattern(Intervention):
    """Your own pattern, resized to the resolution of the images, added to every image and clipped.

    Parameters
    ----------
    array
        Numbers to add, in units of [0, 1], positive or negative: an array, a tensor or nested lists, of the shape
        [height, width] or [1 or 3, height, width]; or the path of a ``.npy`` file with such an array, which is read at
        declaration. If the images have another number of channels, the mean over the pattern's channels is added.
    scale
        Factor of the numbers; not 0.
    stage
        See `Intervention`.

    Raises
    ------
    InterventionError
        If the shape is different, a number is not finite, or the file is missing or broken.

    Examples
    --------
    >>> import torch
    >>> Pattern([[0.5, 0.0], [0.0, 0.5]]).apply(torch.zeros(1, 1, 2, 2))[0, 0]
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """

    array: Any = field(compare=False, metadata={"label": _name_of, "file": True})
    _: KW_ONLY
    scale: float = 1.0
    content: bytes | None = field(init=False, default=None, compare=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "scale", "other than 0", lambda value: math.isfinite(value) and value != 0)
        if isinstance(self.array, str | os.PathLike):
            keep_content(self, "array")
            self._require_pattern(self._saved())
        else:
            object.__setattr__(self, "array", self._nested())
            object.__setattr__(self, "digest", fingerprint(self.array))

    @property
    def label(self) -> str:
        """The name of the file if there is one, and the first digits of the content's hash."""
        return super().label if self.content is None else f"{super().label}-{self.digest[:4]}"

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Add the resized array to all images."""
        import torch
        from torch.nn import functional

        numbers = _numbers(self)
        pattern = torch.from_numpy(numbers).reshape(1, -1, *numbers.shape[-2:])
        if pattern.shape[1] not in (1, images.shape[1]):
            pattern = pattern.mean(dim=1, keepdim=True)
        # With antialiasing: a fine pattern on small images must not become another pattern.
        if pattern.shape[2:] != images.shape[2:]:
            pattern = functional.interpolate(
                pattern, images.shape[2:], mode="bilinear", align_corners=False, antialias=True
            )
        return images.add(beside(pattern.to(images.dtype), images), alpha=self.scale)

    def numbers(self) -> npt.NDArray[np.float32]:
        """Return the array, float32."""
        import numpy as np

        return np.array(self.array if self.content is None else self._saved(), dtype=np.float32)

    def _saved(self) -> npt.NDArray[Any]:
        """Return the array in the file."""
        import numpy as np

        assert self.content is not None
        # Security: without pickles, reading an array runs no code.
        try:
            array = np.load(io.BytesIO(self.content), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InterventionError(f"Pattern: array={self.array!r} cannot be read ({error})") from error
        if not isinstance(array, np.ndarray):
            raise InterventionError(f"Pattern: array={self.array!r} has several arrays, expected a file of numpy.save")
        # torch supports neither all byte orders nor all precisions that a file may have.
        return array.astype(np.float64) if array.dtype.kind in "fiu" else array

    def _nested(self) -> tuple[Any, ...]:
        """Return the array as nested tuples of floats, which can be compared, hashed and printed."""
        import numpy as np

        declared = self.array.detach().cpu() if hasattr(self.array, "detach") else self.array
        try:
            array = np.asarray(declared, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InterventionError(f"Pattern: array={declared!r:.60} is not an array of numbers ({error})") from error
        self._require_pattern(array)
        nested: tuple[Any, ...] = _tuples(array.tolist())
        return nested

    def _require_pattern(self, array: npt.NDArray[Any]) -> None:
        import numpy as np

        expected = "[height, width] or [1 or 3, height, width]"
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] not in (1, 3)) or array.size == 0:
            raise InterventionError(f"Pattern: the array is {list(array.shape)}, expected {expected}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InterventionError(f"Pattern: the array has {array.dtype} values, expected finite numbers")


@functools.lru_cache(maxsize=16)
def _numbers(pattern: Pattern) -> npt.NDArray[np.float32]:
    """Return the array of a pattern; cached, as all batches of a session need it."""
    return pattern.numbers()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True, kw_only=True, repr=False)
class Stripes(Mixed):
    """Parallel stripes over the whole image.

    Parameters
    ----------
    period
        Distance from one stripe to the next, as a fraction of the image's shorter side, in (0, 1].
    color
        Three numbers from 0 to 255, ``"#rrggbb"`` or a basic CSS colour name.
    width
        Width of a stripe, as a share of the period, in (0, 1].
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
        require_angle(self)
        object.__setattr__(self, "color", rgb(self.color))

    def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
        """Draw the stripes; one begins at the left edge."""
        import torch

        height, width = images.shape[2:]
        period = self.period * min(height, width)
        if period < 2:
            raise TooSmallError(
                f"{self}: its stripes are closer than two pixels on images of {height}×{width}; make period at least "
                f"{2 / min(height, width):.3g}"
            )
        x = torch.arange(width, dtype=torch.float64)[None, :] + 0.5
        y = torch.arange(height, dtype=torch.float64)[:, None] + 0.5
        radians = math.radians(self.angle)
        phase = (x * math.cos(radians) - y * math.sin(radians)) / period % 1.0
        covered = phase < self.width
        if not covered.any():
            raise TooSmallError(f"{self}: its stripes cover no pixel of images of {height}×{width}; make width larger")
        return self.mixed(images, painted(self.color, images), beside(covered, images))
