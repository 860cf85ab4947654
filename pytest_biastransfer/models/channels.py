"""Converts colours to gray, and gray to three equal channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.models.resizing import Image

# ITU-R BT.601 luma in units of 1/65536, with the coefficients of Pillow's conversion to mode "L".
_LUMA: Final = (19595, 38470, 7471)
_LUMA_SUM: Final = sum(_LUMA)


def with_channels(image: Image, channels: int) -> Image:
    """Return an image [1 or 3, height, width] with 1 or 3 `channels`; an image with another number is unchanged.

    Gray in uint8 equals Pillow's ``convert("L")``; gray in float32 is not rounded.
    """
    if channels == 3 and len(image) == 1:
        return image.repeat(3, axis=0)
    return _gray(image) if channels == 1 and len(image) == 3 else image


def _gray(image: Image) -> Image:
    import numpy as np

    if image.dtype != np.uint8:
        luma = np.array(_LUMA, dtype=np.float32) / np.float32(_LUMA_SUM)
        unrounded: Image = np.einsum("c,chw->hw", luma, image)[None].astype(np.float32, copy=False)
        return unrounded
    weighted = np.einsum("c,chw->hw", np.array(_LUMA, dtype=np.uint32), image.astype(np.uint32))
    rounded: Image = ((weighted + _LUMA_SUM // 2) // _LUMA_SUM).astype(np.uint8)[None]
    return rounded
