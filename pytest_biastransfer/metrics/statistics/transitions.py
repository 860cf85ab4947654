"""The images whose prediction changes under an intervention, and from what to what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Transitions(NamedTuple):
    """The images whose prediction an intervention changes; all else that counts is how many images there are.

    Attributes
    ----------
    images
        The places of these images in the dataset, int64 of shape [flips], ascending, without repetition.
    before, after
        Their predicted classes without and with the intervention, int64 of the same shape, at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> Transitions.between(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 0]))
    Transitions(images=array([1, 3]), before=array([0, 1]), after=array([2, 0]))
    """

    images: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    @classmethod
    def between(cls, clean: npt.NDArray[Any], intervened: npt.NDArray[Any]) -> Transitions:
        """Return the moves between two predictions of the same images, integers of shape [images]."""
        images = (clean != intervened).nonzero()[0]
        # Small dtypes overflow when classes are counted, and unsigned ones when they are subtracted.
        return cls(images.astype("int64"), clean[images].astype("int64"), intervened[images].astype("int64"))
