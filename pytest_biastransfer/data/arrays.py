"""Arrays of images: their type, their range of values, and the conversions between bytes and floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    from pytest_biastransfer.models.resizing import Image

__all__ = ["Image", "as_8_bit", "as_float", "in_depth_of", "require_unit_range"]


def as_float(image: Image) -> Image:
    """Return an image as floats in [0, 1]."""
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image


def in_depth_of(changed: Image, image: Image) -> Image:
    """Return what floats in [0, 1] were made of an image, as deep as the image.

    A changed picture is a picture again: 8 bits, so that the unchanged one is exactly the clean one.
    """
    return (changed * 255).round().astype(np.uint8) if image.dtype == np.uint8 else changed


def as_8_bit(images: Image, tolerance: float = 1e-3) -> Image:
    """Return images in [0, 1] as uint8 where that loses nothing: all values are multiples of 1/255.

    The tolerance, in units of 1/255, is what undoing a normalization in float32 leaves.
    """
    if images.dtype == np.uint8:
        return images
    scaled = images * np.float32(255)
    rounded = scaled.round().clip(0, 255)
    # Written so that a NaN is no multiple either.
    exact = np.abs(scaled - rounded).max(initial=0.0) <= tolerance
    return rounded.astype(np.uint8) if exact else images


def require_unit_range(image: Image, place: str) -> None:
    """Raise unless all values of a float image are in [0, 1]."""
    if image.dtype == np.uint8:
        return
    low, high = float(image.min()), float(image.max())
    if low >= -1e-4 and high <= 1 + 1e-4:
        return
    if not np.isfinite([low, high]).all():
        raise DatasetError(f"{place}: the image has NaN or infinite values; expected values in [0, 1]")
    if low >= 0 and high <= 255:
        raise DatasetError(
            f"{place}: the image has float values from {low:.3g} to {high:.3g}, expected [0, 1]; return it as uint8, "
            f"or divided by 255"
        )
    raise DatasetError(
        f"{place}: the image has values from {low:.3g} to {high:.3g}, expected [0, 1]. If the dataset already "
        f"normalizes its images, declare that with the model, with the mean and std that the dataset uses: "
        f"Model(module, preprocess=Preprocess(normalized_input=True, mean=..., std=...))"
    )
