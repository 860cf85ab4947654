"""Parses colours (names, ``#rrggbb``, three numbers from 0 to 255), and converts them to gray."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.host_tensors import constant

if TYPE_CHECKING:
    import torch

RGB = tuple[int, int, int]

# The sixteen basic colour keywords of CSS, and orange.
_NAMES: Final[dict[str, RGB]] = {
    "aqua": (0, 255, 255),
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "fuchsia": (255, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "lime": (0, 255, 0),
    "maroon": (128, 0, 0),
    "navy": (0, 0, 128),
    "olive": (128, 128, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "silver": (192, 192, 192),
    "teal": (0, 128, 128),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}

# ITU-R BT.601 luma, as torchvision's and Pillow's conversions to gray use it.
LUMA: Final = (0.2989, 0.587, 0.114)


def rgb(color: str | Sequence[int]) -> RGB:
    """Return the three 8-bit components of a colour.

    >>> rgb("#ccff00"), rgb("yellow"), rgb([1, 2, 3])
    ((204, 255, 0), (255, 255, 0), (1, 2, 3))
    """
    if isinstance(color, str):
        if re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            return (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16))
        if color.lower() in _NAMES:
            return _NAMES[color.lower()]
        raise InterventionError(f"color {color!r}: expected '#rrggbb' or a name; {nearest(color, _NAMES)}")
    values: tuple[object, ...] = tuple(color) if isinstance(color, tuple | list) else ()
    components = [value for value in values if type(value) is int and 0 <= value <= 255]
    if len(values) != 3 or components != list(values):
        raise InterventionError(f"color {color!r}: expected three whole numbers from 0 to 255, such as (255, 255, 0)")
    return (components[0], components[1], components[2])


def name_of(color: object) -> str:
    """Return the basic name of a colour; empty if it has none, or is no colour.

    >>> name_of((0, 0, 255)), name_of((1, 2, 3))
    ('blue', '')
    """
    return next((name for name, components in _NAMES.items() if components == color), "")


def levels(color: RGB, channels: int) -> tuple[float, ...]:
    """Return a colour in [0, 1] for images of 3 channels, or its luma for images of 1 channel."""
    require_colors(channels)
    unit = tuple(value / 255 for value in color)
    if channels == 3:
        return unit
    # Normalized: the weights add up to 0.9999, and white has to be 1.
    return (sum(weight * value for weight, value in zip(LUMA, unit, strict=True)) / sum(LUMA),)


def painted(color: str | Sequence[int], images: torch.Tensor) -> torch.Tensor:
    """Return a colour as a tensor [channels, 1, 1] for images [batch, channels, height, width]."""
    channels = images.shape[1]
    return constant(levels(rgb(color), channels), images).reshape(channels, 1, 1)


def luma(images: torch.Tensor) -> torch.Tensor:
    """Return the luma of images [..., 3, height, width], as one channel; white is 1."""
    weighted = images * constant(LUMA, images).reshape(3, 1, 1)
    return weighted.sum(dim=-3, keepdim=True) / sum(LUMA)


def require_colors(channels: int) -> None:
    """Raise unless images with that number of channels are gray or coloured."""
    if channels not in (1, 3):
        raise InterventionError(f"images of {channels} channels have no colours; expected 1 or 3 channels")
