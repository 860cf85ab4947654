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
    """Return a changed image, float32 in [0, 1], with the dtype of the image that it was made from.

    A change of uint8 pixels is rounded to uint8 again, so that an image without a change equals the clean one.
    """
    return (changed * 255).round().astype(np.uint8) if image.dtype == np.uint8 else changed


def as_8_bit(images: Image, tolerance: float = 1e-3) -> Image:
    """Return images in [0, 1] as uint8 where all values are multiples of 1/255, which loses nothing; else unchanged.

    The tolerance is in units of 1/255. It covers the rounding error of undoing a normalization in float32.
    """
    if images.dtype == np.uint8:
        return images
    scaled = images * np.float32(255)
    rounded = scaled.round().clip(0, 255)
    # Comparisons with NaN are false: an image with a NaN stays float.
    exact = np.abs(scaled - rounded).max(initial=0.0) <= tolerance
    return rounded.astype(np.uint8) if exact else images


def require_unit_range(image: Image, location: str) -> None:
    """Raise `DatasetError` unless all values of a float image are in [0, 1]; `location` names it in the message."""
    if image.dtype == np.uint8:
        return
    low, high = float(image.min()), float(image.max())
    if low >= -1e-4 and high <= 1 + 1e-4:
        return
    if not np.isfinite([low, high]).all():
        raise DatasetError(f"{location}: the image has NaN or infinite values; expected values in [0, 1]")
    if low >= 0 and high <= 255:
        raise DatasetError(
            f"{location}: the image has float values from {low:.3g} to {high:.3g}, expected [0, 1]; return it as "
            f"uint8, or divided by 255"
        )
    raise DatasetError(
        f"{location}: the image has values from {low:.3g} to {high:.3g}, expected [0, 1]. If the dataset already "
        f"normalizes its images, declare that with the model, with the mean and std that the dataset uses: "
        f"Model(module, preprocess=Preprocess(normalized_input=True, mean=..., std=...))"
    )
