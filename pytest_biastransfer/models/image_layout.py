"""The order of the dimensions in which a program takes images: channels first or channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast, get_args

import torch

from pytest_biastransfer.errors import ModelError, SpecError, nearest
from pytest_biastransfer.specs.spec import Spec

Layout = Literal["nchw", "nhwc"]
# Of gray and of colour images.
_CHANNELS: Final = (1, 3)
# Where the dimensions [batch, channels, height, width] are found in each layout.
_POSITIONS: Final[dict[Layout, tuple[int, int, int, int]]] = {"nchw": (0, 1, 2, 3), "nhwc": (0, 3, 1, 2)}
_MEANINGS: Final[dict[Layout, str]] = {
    "nchw": "the channels first, [batch, channels, height, width]",
    "nhwc": "the channels last, [batch, height, width, channels]",
}


def declared_layout(spec: Spec) -> Layout | None:
    """Return the layout under the key ``layout`` of a spec, or None."""
    layout = spec.query.get("layout")
    if layout is not None and layout not in get_args(Layout):
        raise SpecError(f"spec {spec.text!r}: layout={layout!r}; {nearest(layout, get_args(Layout))}")
    return cast("Layout | None", layout)


def layout_of(shape: Sequence[int | None], declared: Layout | None, location: str) -> Layout:
    """Return the layout of a program's input.

    Parameters
    ----------
    shape
        The shape of the input, four dimensions with the batch first; None for each that may vary.
    declared
        The layout that the spec declares. It decides where the shape fits both.
    location
        The program, for the error message.

    Returns
    -------
    The layout in which the input has 1 or 3 channels. If both layouts fit, or neither does: the declared one, else the
    channels come first, as torch has them.

    Raises
    ------
    ModelError
        If the shape fits only the layout that is not declared.

    Examples
    --------
    >>> layout_of([None, 224, 224, 3], None, "onnx pets.onnx")
    'nhwc'
    >>> layout_of([None, 3, None, 3], None, "onnx pets.onnx")
    'nchw'
    """
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    only: Layout | None = None if first == last else ("nchw" if first else "nhwc")
    if declared is not None and only not in (None, declared):
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise ModelError(
            f"{location}: its spec has layout={declared}, which is {_MEANINGS[declared]}; its input [{sides}] has "
            f"{_MEANINGS[only or declared]}: remove layout={declared}"
        )
    return declared or only or "nchw"


def channels_first(shape: Sequence[int | None], layout: Layout) -> list[int | None]:
    """Return the shape [batch, channels, height, width] of an input of a layout.

    >>> channels_first([8, 224, 200, 3], "nhwc")
    [8, 3, 224, 200]
    """
    return [shape[position] for position in _POSITIONS[layout]]


def in_layout(images: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return images [batch, channels, height, width] with their dimensions in the order of a layout."""
    return images if layout == "nchw" else images.permute(0, 2, 3, 1).contiguous()
