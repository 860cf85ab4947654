"""Datasets with training weights for their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.data.views import View

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages


class Reweighted(View):
    """A view of a dataset with training weights, float64 [images]."""

    def __init__(self, inner: LabelledImages, weights: npt.NDArray[np.float64]) -> None:
        super().__init__(inner)
        self._weights = weights

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The training weights, float64 [images]."""
        return self._weights
