"""Ladders with the five severities of a benchmark of robustness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.degradations import JPEG, Blur, Pixelate
from pytest_biastransfer.interventions.ladders import Ladder, ladder
from pytest_biastransfer.interventions.patterns import Noise

# The side of ImageNet-C's images, which its standard deviations and numbers of pixels are of.
_SIDE: Final = 224
# The constants of Hendrycks and Dietterich 2019 (arXiv 1903.12261), as their published code has them.
_SEVERITIES: Final[dict[str, tuple[Intervention, str, Sequence[float]]]] = {
    "gaussian_noise": (Noise(), "scale", (0.08, 0.12, 0.18, 0.26, 0.38)),
    # Rounded, so that test ids can be read: by less than 0.4 % of a standard deviation.
    "gaussian_blur": (Blur(), "sigma", [float(f"{pixels / _SIDE:.3g}") for pixels in (1, 2, 3, 4, 6)]),
    "pixelate": (Pixelate(), "cells", [int(_SIDE * share) for share in (0.6, 0.5, 0.4, 0.3, 0.25)]),
    "jpeg_compression": (JPEG(), "quality", (25, 18, 15, 10, 7)),
}

CORRUPTIONS: Final = tuple(_SEVERITIES)


def severities(corruption: str) -> Ladder:
    """Return the five severities that a corruption has in ImageNet-C (Hendrycks & Dietterich 2019, arXiv 1903.12261).

    Only those corruptions are there that an intervention of this package does, too.

    Parameters
    ----------
    corruption
        ``"gaussian_noise"``, ``"gaussian_blur"``, ``"pixelate"`` or ``"jpeg_compression"``, their names there.

    Raises
    ------
    InterventionError
        If there is no such corruption here.

    Examples
    --------
    >>> severities("jpeg_compression").strengths
    (25, 18, 15, 10, 7)
    """
    if corruption not in _SEVERITIES:
        raise InterventionError(
            f"severities: no corruption {corruption!r:.60} here; {nearest(corruption, _SEVERITIES)}"
        )
    return ladder(*_SEVERITIES[corruption])
