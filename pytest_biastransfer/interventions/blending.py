"""Blend modes and opacity of what is drawn onto an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention, require_number

if TYPE_CHECKING:
    import torch

Blend = Literal["over", "add", "multiply", "screen"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Mixed(Intervention):
    """An intervention that draws something and mixes it with the image.

    Parameters
    ----------
    opacity
        Share of what is drawn in the mixture, in (0, 1].
    blend
        How it is mixed: ``"over"`` (default) covers the image, ``"add"`` adds to it and clips, ``"multiply"`` and
        ``"screen"`` darken and lighten it, as in the W3C's *Compositing and Blending*.
    stage
        See `Intervention`.
    """

    opacity: float = field(default=1.0, metadata={"quiet": True})
    blend: Blend = field(default="over", metadata={"quiet": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "opacity", "above 0 and at most 1", lambda value: 0 < value <= 1)
        if self.blend not in get_args(Blend):
            name = type(self).__name__
            raise InterventionError(f"{name}: blend={self.blend!r}; {nearest(str(self.blend), get_args(Blend))}")

    def mixed(self, below: torch.Tensor, above: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
        """Return `below` with `above` mixed in where `coverage` is, which is boolean or in [0, 1].

        `above` has the shape of `below`, or broadcasts to it.
        """
        blended: torch.Tensor = _BLENDS[self.blend](below, above)
        # A full and sharp coverage needs no arithmetic, and keeps the pixels exact.
        if coverage.is_floating_point() or self.opacity < 1:
            return below.lerp(blended.expand_as(below), coverage.to(below.dtype) * self.opacity)
        return blended.where(coverage, below)


# For values in [0, 1]; sums are clipped.
_BLENDS: Final[dict[str, Any]] = {
    "over": lambda below, above: above,
    "add": lambda below, above: (below + above).clamp(0.0, 1.0),
    "multiply": lambda below, above: below * above,
    "screen": lambda below, above: 1 - (1 - below) * (1 - above),
}
