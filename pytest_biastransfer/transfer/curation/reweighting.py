"""The images of a dataset with weights of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.data.views import View

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages


class Reweighted(View):
    """The same images, of which each counts as much in training as `weights`, float64 [images], say."""

    def __init__(self, inner: LabelledImages, weights: npt.NDArray[np.float64]) -> None:
        super().__init__(inner)
        self._weights = weights

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The weights that were given."""
        return self._weights
