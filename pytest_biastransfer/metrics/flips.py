"""How predictions change under an intervention: differences of shares, and distances between distributions.

Throughout: `clean` and `intervened` are the predicted classes of the same images without and with the
intervention, integers of shape [images]; `labels` are the true classes, in the same numbering.
Definitions follow Salman et al. 2022 (arXiv 2207.02842) where they have them. Shares of images are in `image_sets`.

The catalogue imports this module in every session: numpy is imported by the functions that need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.metrics.statistics.estimate import Estimate

    Classes = npt.NDArray[Any]


def accuracy_drop(clean: Classes, intervened: Classes, labels: Classes, confidence: float = 0.95) -> Estimate:
    """Return the accuracy without minus the accuracy with the intervention, paired by image.

    >>> import numpy as np
    >>> accuracy_drop(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0]))
    0.25 [-0.362, 0.954]
    """
    return _mean_difference(clean == labels, intervened == labels, confidence)


def asr_excess(
    flipped: npt.NDArray[np.bool_], control_flipped: npt.NDArray[np.bool_], confidence: float = 0.95
) -> Estimate:
    """Return by how much a model's attack success rate exceeds the control's, paired by image."""
    return _mean_difference(flipped, control_flipped, confidence)


def targeted_excess(
    newly: npt.NDArray[np.bool_],
    no_longer: npt.NDArray[np.bool_],
    among: npt.NDArray[np.bool_],
    confidence: float = 0.95,
) -> Estimate:
    """Return by how much more often images are in a target class with the intervention than without, paired by image.

    `newly` and `no_longer` say which images are in it only with and only without, `among` which ones it is taken among;
    without any, it is undefined: NaN.
    """
    return _mean_difference(newly[among], no_longer[among], confidence)


def class_shares(predicted: Classes, classes: int) -> npt.NDArray[np.float64]:
    """Return each class' share of the predictions, float64 of shape [classes].

    >>> import numpy as np
    >>> class_shares(np.array([0, 0, 1, 1]), 3)
    array([0.5, 0.5, 0. ])
    """
    import numpy as np

    return np.bincount(predicted.astype(np.int64), minlength=classes) / len(predicted)


def class_shift(clean: Classes, intervened: Classes, classes: int) -> npt.NDArray[np.float64]:
    """Return the change of each class' share of the predictions, float64 of shape [classes], in [-1, 1].

    >>> import numpy as np
    >>> class_shift(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    array([-0.25,  0.25,  0.  ])
    """
    return class_shares(intervened, classes) - class_shares(clean, classes)


def skew(clean: Classes, intervened: Classes, confidence: float = 0.95) -> Estimate:
    """Return the total variation distance between the predicted-class distributions; at most `asr`.

    The distance observed on n images is larger on average than the true one, by what chance alone moves between the
    classes; `skew_estimate` says how its interval takes that into account.

    >>> import numpy as np
    >>> skew(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))
    0 [0, 0.932]
    """
    from pytest_biastransfer.metrics.statistics.skew_interval import skew_estimate
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    return skew_estimate(Transitions.between(clean, intervened), len(clean), confidence)


def corrected_skew(clean: Classes, intervened: Classes, confidence: float = 0.95) -> Estimate:
    """Return the skew less what chance adds to it, in [0, 1]: at most `skew`, with the same interval.

    >>> import numpy as np
    >>> corrected_skew(np.array([0] * 90), np.array([0] * 45 + [1] * 45))
    0.5 [0.397, 0.607]
    """
    from pytest_biastransfer.metrics.statistics.skew_interval import corrected_skew_estimate
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    return corrected_skew_estimate(Transitions.between(clean, intervened), len(clean), confidence)


def skew_excess(
    clean: Classes,
    intervened: Classes,
    control_clean: Classes,
    control_intervened: Classes,
    confidence: float = 0.95,
) -> Estimate:
    """Return by how much a model's skew exceeds the control's, both on the same images.

    What chance adds to the two distances is unknown; the interval contains the case that it adds it to one alone.
    """
    from pytest_biastransfer.metrics.statistics.skew_interval import skew_excess_estimate
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    model, control = Transitions.between(clean, intervened), Transitions.between(control_clean, control_intervened)
    return skew_excess_estimate(model, control, len(clean), confidence)


def _mean_difference(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], confidence: float) -> Estimate:
    import numpy as np

    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.metrics.statistics.paired_difference import paired_difference

    only_first, only_second = np.count_nonzero(first & ~second), np.count_nonzero(second & ~first)
    if not len(first):
        return Estimate(np.nan, low=-1, high=1, confidence=confidence, n=0, method="tango")
    return paired_difference(int(only_first), int(only_second), len(first), confidence)
