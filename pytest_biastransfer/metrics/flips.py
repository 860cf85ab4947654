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

    The distance observed on n images is larger on average than the true one, by what chance alone moves
    between the classes; the interval takes a part of that back. How often the 95 % interval contains the true
    distance, in 2,000 simulated data sets (500 of 50,000 images), where 10 % of the predictions change, half
    of them to one class, so that the true distance is 0.025 of 2 classes and about 0.05 of more:

    ========  =========  ==========  ===========  ============
    images    2 classes  10 classes  100 classes  1000 classes
    ========  =========  ==========  ===========  ============
    250       0.79       0.93        0.61         0.28
    1,000     0.94       0.92        0.64         0.00
    5,000     0.96       0.95        0.94         0.00
    50,000    0.95       0.95        0.95         1.00
    ========  =========  ==========  ===========  ============

    Where no class is favoured and the true distance is 0: 0.95 to 0.98 of 2 classes, 0.56 to 0.76 of 10, 0.00
    of 100 and more. So where classes have fewer than about five changed predictions each, or all shifts are
    chance, the whole interval can lie above the truth: take it for what was seen on these images. With few
    changed predictions in all (25 of 250 images, 2 classes) the upper end is too low instead. Multinomial draws
    and random bits (see `bootstrap`) reach the same up to 0.01, and up to 0.06 where it is below 0.9.

    >>> import numpy as np
    >>> skew(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))
    0 [0, 0.602]
    """
    from pytest_biastransfer.metrics.statistics.bootstrap import resampled_skews, skew_of
    from pytest_biastransfer.metrics.statistics.intervals import basic_bootstrap
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    n, transitions = len(clean), Transitions.between(clean, intervened)
    draws = resampled_skews([transitions], n)
    return basic_bootstrap(skew_of(transitions, n), draws[0], n, confidence, least=0.0)


def skew_excess(
    clean: Classes,
    intervened: Classes,
    control_clean: Classes,
    control_intervened: Classes,
    confidence: float = 0.95,
) -> Estimate:
    """Return by how much a model's skew exceeds the control's, both resampled with the same images.

    What chance adds to the two distances (see `skew`) cancels out as far as the models flip alike. Coverage of
    the 95 % interval in 2,000 simulated data sets, of 250 to 5,000 images: 0.94 to 0.97 where both flip 10 %, half
    of them to one class; 0.91 to 0.95 with 10 and 100 classes where the model flips 20 %, and 0.43 to 0.97 with
    1,000; 0.11 to 0.95 where the control flips 5 % to anywhere, as chance then makes the excess look smaller.
    """
    from pytest_biastransfer.metrics.statistics.bootstrap import resampled_skews, skew_of
    from pytest_biastransfer.metrics.statistics.intervals import basic_bootstrap
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    n = len(clean)
    model = Transitions.between(clean, intervened)
    control = Transitions.between(control_clean, control_intervened)
    draws = resampled_skews([model, control], n)
    return basic_bootstrap(skew_of(model, n) - skew_of(control, n), draws[0] - draws[1], n, confidence)


def _mean_difference(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], confidence: float) -> Estimate:
    import numpy as np

    from pytest_biastransfer.metrics.statistics.paired_difference import paired_difference

    only_first, only_second = np.count_nonzero(first & ~second), np.count_nonzero(second & ~first)
    return paired_difference(int(only_first), int(only_second), len(first), confidence)
