"""Does a model tell its classes apart at all? If not, the figures of its bias mean nothing.

A model that says the same to every image is insensitive to every square, and one that guesses flips as it likes:
limits on such a model hold, or do not, for no reason that has to do with bias. Two signs of it are looked for, both of
which need images of several classes:

- **One class for everything**: it gets at least 95 % of the predictions, while no class has more than 80 % of the
  labels. Where the dataset's classes are not those of the model, it must get all of them: most of the images may be of
  one class to the model.
- **Not above chance**: the accuracy is no higher than that of the same predictions dealt to the images at random
  (p > 0.05 in a permutation test), *and* the images are enough to say, at a level of 0.01 by Clopper and Pearson, that
  the accuracy is not even a third of the way from chance to 1. So a model that does well on few images is not accused.

Chance is not the share of the largest class, which honest models of rare classes often do not reach, but the agreement
that predictions and labels with these shares have by chance, as in Cohen's kappa (1960). A model that says the same to
all images is at chance exactly, and a model that recognizes some of a rare class is above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.clean_performance import ClassShare, CleanPerformance
from pytest_biastransfer.metrics.statistics.intervals import proportion, upper_end

Classes = npt.NDArray[np.integer]

# From this share of the predictions on, one class is all that a model says.
ONE_CLASS: Final = 0.95
# Up to this share of the largest class, labels are spread.
SPREAD: Final = 0.8
# With fewer images that are not of the largest class, nothing can be said of how they are told from it.
OTHERS: Final = 5
# Of the test whether an accuracy is above chance, and of the upper bound of what it may be.
ABOVE_CHANCE_LEVEL: Final = 0.05
BOUND_LEVEL: Final = 0.01
# The least that a model that works comes from chance to an accuracy of 1.
WORKING: Final = 1 / 3
_PERMUTATIONS: Final = 999
# Classes below it are counted in an array.
_MOST_COUNTED: Final = 2**16


def clean_performance(
    predicted: Classes,
    labels: Classes,
    *,
    class_names: Sequence[str],
    label_names: Sequence[str],
    comparable: bool,
) -> CleanPerformance:
    """Return how well a model does on images.

    Parameters
    ----------
    predicted
        Predicted classes, integers of shape [images].
    labels
        Labels of the same images, -1 where they are unknown; in the model's numbering if `comparable`, or else in the
        dataset's own.
    class_names, label_names
        The names of the model's classes, and of the labels in their numbering.

    Examples
    --------
    >>> names = ["cat", "dog"]
    >>> found = clean_performance(
    ...     np.ones(40, int), np.arange(40) % 2, class_names=names, label_names=names, comparable=True
    ... )
    >>> found.defect
    'dog is predicted for 100 % of the 40 images, and no class has more than 50 % of the labels'
    """
    known = labels >= 0
    judged, labels = predicted[known], labels[known]
    comparable = comparable and len(labels) > 0
    accuracy = proportion(int(np.count_nonzero(judged == labels)), len(labels)) if comparable else None
    predicted_counts = _counts(predicted)
    most_predicted = _largest(*predicted_counts, class_names)
    most_labelled = _largest(*_counts(labels), label_names) if len(labels) else ClassShare("unknown", 1.0)
    others = round((1 - most_labelled.share) * len(labels))
    defect = ""
    if others >= OTHERS:
        defect = _one_class(most_predicted, most_labelled, len(predicted), comparable=comparable)
        if comparable and not defect:
            defect = _at_chance(judged, labels)
    return CleanPerformance(
        images=len(predicted),
        accuracy=accuracy,
        classes=len(class_names),
        predicted_classes=len(predicted_counts[0]),
        most_predicted=most_predicted,
        most_labelled=most_labelled,
        defect=defect,
    )


def agreement_by_chance(predicted: Classes, labels: Classes) -> float:
    """Return the accuracy that these predictions have on average, if dealt to the images at random (Cohen 1960).

    >>> agreement_by_chance(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    0.5
    """
    size = int(max(predicted.max(), labels.max())) + 1
    shares = [np.bincount(classes, minlength=size) / len(labels) for classes in (predicted, labels)]
    return float(shares[0] @ shares[1])


def permutation_p(predicted: Classes, labels: Classes, seed: int = 0) -> float:
    """Return how often predictions that are dealt to the images at random have at least the observed accuracy.

    One-sided; the observed order counts among the random ones, so that the level is exact (Phipson and Smyth 2010).

    >>> permutation_p(np.array([0] * 10 + [1] * 10), np.array([0] * 10 + [1] * 10))
    0.001
    """
    generator = np.random.default_rng(seed)
    right, n = np.count_nonzero(predicted == labels), len(labels)
    if max(predicted.max(), labels.max()) <= 1:
        # Of two classes, how many 1 meet a 1 tells how many are right: it is drawn at once, and no image is moved.
        ones, true = np.count_nonzero(predicted), np.count_nonzero(labels)
        dealt = n - ones - true + 2 * generator.hypergeometric(ones, n - ones, true, _PERMUTATIONS)
        as_good = int(np.count_nonzero(dealt >= right))
    else:
        orders = (generator.permutation(predicted) for _ in range(_PERMUTATIONS))
        as_good = sum(bool(np.count_nonzero(order == labels) >= right) for order in orders)
    return float((1 + as_good) / (1 + _PERMUTATIONS))


def _counts(classes: Classes) -> tuple[Classes, Classes]:
    """Return the classes that occur, and how often."""
    if classes.min(initial=0) < 0 or classes.max(initial=0) >= _MOST_COUNTED:
        return np.unique(classes, return_counts=True)
    # Several times as fast.
    counts = np.bincount(classes)
    occurring = np.flatnonzero(counts)
    return occurring, counts[occurring]


def _largest(classes: Classes, counts: Classes, names: Sequence[str]) -> ClassShare:
    index = int(classes[counts.argmax()])
    name = names[index] if 0 <= index < len(names) else str(index)
    return ClassShare(name, float(counts.max() / counts.sum()))


def _one_class(predicted: ClassShare, labelled: ClassShare, images: int, *, comparable: bool) -> str:
    if labelled.share > SPREAD or predicted.share < (ONE_CLASS if comparable else 1):
        return ""
    return (
        f"{predicted.name} is predicted for {predicted.percent} of the {images:,} images, and no class has more than "
        f"{labelled.percent} of the labels"
    )


def _at_chance(predicted: Classes, labels: Classes) -> str:
    right, chance = int(np.count_nonzero(predicted == labels)), agreement_by_chance(predicted, labels)
    if upper_end(right, len(labels), BOUND_LEVEL) >= chance + WORKING * (1 - chance):
        return ""
    p = permutation_p(predicted, labels)
    if p <= ABOVE_CHANCE_LEVEL:
        return ""
    return f"accuracy {right / len(labels):.3f} is not above chance, which is {chance:.3f} here (p = {p:.2g})"
