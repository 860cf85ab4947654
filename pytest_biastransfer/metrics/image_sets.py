"""Which images a metric counts: one function for each set of images.

Each function takes `MetricInputs` and returns a mask, bool of shape [images].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pytest_biastransfer.metrics.paired_predictions import MetricInputs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.statistics.estimate import Estimate

    Mask = npt.NDArray[np.bool_]
    MaskFunction = Callable[[MetricInputs], Mask]


class ImageSet(NamedTuple):
    """A set of images that the baseline keeps.

    Attributes
    ----------
    name
        Its name in the baseline.
    mask
        Which images belong to it.
    """

    name: str
    mask: MaskFunction


class Share:
    """The estimator of a share of images, with the exact interval of Clopper and Pearson (1934).

    Attributes
    ----------
    hits
        Which images count.
    among
        Among which images the share is taken.
    has_fixed_base
        Whether `among` is the same for any predictions, as that of all images is, or of those with a label.
    """

    def __init__(self, hits: MaskFunction, among: MaskFunction, *, has_fixed_base: bool) -> None:
        self.hits = hits
        self.among = among
        self.has_fixed_base = has_fixed_base

    @property
    def is_of_all_images(self) -> bool:
        """Whether it is taken among all images."""
        return self.among is all_images

    def __call__(self, inputs: MetricInputs) -> Estimate:
        """Return the share; NaN if it is taken among no images."""
        from pytest_biastransfer.metrics.statistics.intervals import proportion

        return proportion(*self.count(inputs), inputs.confidence)

    def count(self, inputs: MetricInputs) -> tuple[int, int]:
        """Return how many images count, and among how many."""
        among = self.among(inputs)
        return int((self.hits(inputs) & among).sum()), int(among.sum())

    def counted(self, inputs: MetricInputs) -> Mask:
        """Return which images count."""
        return self.hits(inputs) & self.among(inputs)


def all_images(inputs: MetricInputs) -> Mask:
    """Return all images."""
    import numpy as np

    return np.ones(len(inputs.clean), dtype=np.bool_)


def labelled(inputs: MetricInputs) -> Mask:
    """Return the images whose label is known."""
    known: Mask = inputs.labels >= 0
    return known


def unlabelled(inputs: MetricInputs) -> Mask:
    """Return the images whose label is unknown."""
    return ~labelled(inputs)


def flipped(inputs: MetricInputs) -> Mask:
    """Return the images whose prediction changes."""
    return _differ(inputs.clean, inputs.intervened)


def control_flipped(inputs: MetricInputs) -> Mask:
    """Return the images whose prediction by the control model changes."""
    return _differ(inputs.control_clean, inputs.control_intervened)


def classified_correctly(inputs: MetricInputs) -> Mask:
    """Return the images that are classified correctly without the intervention."""
    return ~_differ(inputs.clean, inputs.labels)


def misclassified(inputs: MetricInputs) -> Mask:
    """Return the images that are classified wrongly without the intervention."""
    return _differ(inputs.clean, inputs.labels) & labelled(inputs)


def classified_correctly_with_intervention(inputs: MetricInputs) -> Mask:
    """Return the images that are classified correctly with the intervention."""
    return ~_differ(inputs.intervened, inputs.labels)


def lost(inputs: MetricInputs) -> Mask:
    """Return the images that are classified correctly only without the intervention."""
    return classified_correctly(inputs) & ~classified_correctly_with_intervention(inputs)


def won(inputs: MetricInputs) -> Mask:
    """Return the images that are classified correctly only with the intervention."""
    return classified_correctly_with_intervention(inputs) & misclassified(inputs)


def of_other_classes(inputs: MetricInputs) -> Mask:
    """Return the images whose label is known, and no target class."""
    return ~_is_in_target(inputs.labels, inputs) & labelled(inputs)


def put_into_target(inputs: MetricInputs) -> Mask:
    """Return the images that are classified as a target class with the intervention."""
    return _is_in_target(inputs.intervened, inputs)


def in_target_without_intervention(inputs: MetricInputs) -> Mask:
    """Return the images that are classified as a target class without the intervention."""
    return _is_in_target(inputs.clean, inputs)


def newly_in_target(inputs: MetricInputs) -> Mask:
    """Return the images of other classes that are in a target class only with the intervention."""
    return put_into_target(inputs) & ~in_target_without_intervention(inputs) & of_other_classes(inputs)


def no_longer_in_target(inputs: MetricInputs) -> Mask:
    """Return the images of other classes that are in a target class only without the intervention."""
    return in_target_without_intervention(inputs) & ~put_into_target(inputs) & of_other_classes(inputs)


def _differ(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> Mask:
    differ: Mask = first != second
    return differ


def _is_in_target(classes: npt.NDArray[np.generic], inputs: MetricInputs) -> Mask:
    import numpy as np

    return np.isin(classes, list(inputs.target))
