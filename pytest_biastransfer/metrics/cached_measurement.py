"""A measurement whose estimates are known from an earlier session."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.metrics.measurement import Flip, Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.image_outcomes import Outcomes


class CachedMeasurement(Measurement):
    """A measurement whose estimates are known from an earlier session; the rest is computed when asked for."""

    _whole: Callable[[], Measurement]

    @classmethod
    def of(cls, whole: Callable[[], Measurement], **cached: Any) -> CachedMeasurement:
        """Return a measurement with the `known` attributes, the others from `whole`."""
        measurement = object.__new__(cls)
        vars(measurement).update(cached, _whole=whole)
        return measurement

    @functools.cached_property
    def _computed_again(self) -> Measurement:
        return self._whole()

    @functools.cached_property
    def clean_shares(self) -> npt.NDArray[np.float64]:
        """Each class' share of the predictions without the intervention."""
        return self._computed_again.clean_shares

    @functools.cached_property
    def class_shift(self) -> npt.NDArray[np.float64]:
        """The change of each class' share of the predictions."""
        return self._computed_again.class_shift

    @functools.cached_property
    def class_names(self) -> Sequence[str]:
        """The classes' names."""
        return self._computed_again.class_names

    @functools.cached_property
    def flips(self) -> Sequence[Flip]:
        """The images whose prediction changed."""
        return self._computed_again.flips

    @functools.cached_property
    def outcomes(self) -> Outcomes:
        """What happened to which image."""
        return self._computed_again.outcomes
