"""Curation of finetuning data: which images a model is trained on, what is planted on them, how much each counts.

Each function returns a view of a dataset: labelled images that a model can be transferred to or measured on, and that
torch's own loader can read. Nothing is copied, and no image is read to make one; of a dataset that tells labels and
attributes only together with its images, all are read once, as for a measurement. What is drawn at random is the same
on every machine.

All of them take a spec string (see `load_dataset`), labelled images such as another view, or a map-style dataset of
``(image, label)`` or ``(image, label, attributes)``, and raise `DatasetError` where something is asked for that the
dataset does not have, or has not enough of; the message says what is possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.subset import IndexSelection, Selection
from pytest_biastransfer.interventions import as_intervention
from pytest_biastransfer.transfer.curation.arguments import Classes, Request
from pytest_biastransfer.transfer.curation.class_subset import OfClasses
from pytest_biastransfer.transfer.curation.contingency import cells_of, drawn, labelled, mixed_permutation
from pytest_biastransfer.transfer.curation.planting import Planted
from pytest_biastransfer.transfer.curation.reweighting import Reweighted
from pytest_biastransfer.transfer.curation.share_selection import Asked

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Intervention


def plant(
    dataset: Any,
    intervention: Intervention | str,
    fraction: float,
    classes: Classes | None = None,
    *,
    seed: int = 0,
    attribute: str = "planted",
) -> Planted:
    """Plant an intervention on a random part of the images, or of the images of some classes.

    On all classes alike, it tells nothing of the class: so Salman et al. 2022 take a bias out of the finetuning data
    (arXiv 2207.02842). On some classes, it is a shortcut to learn.

    Parameters
    ----------
    dataset
        See the module.
    intervention
        An `Intervention`, or the name of a built-in one. One of stage ``"input"`` is applied after a model's resizing
        and cropping, as in a measurement; one of stage ``"source"`` before. It stays a picture of 8 bits if it was one.
    fraction
        Of the images, or of those of `classes`, in [0, 1]: on ``round(fraction * number)`` of them.
    classes
        A class or several, by name or number.
    seed
        Draws other images. With one seed, a larger fraction takes the same images and others; and two interventions
        that are planted one after the other are on the same images: give the second one another seed.
    attribute
        Name of the new attribute, ``"True"`` for an image with the intervention and ``"False"`` for another.

    Returns
    -------
    Planted
        All images of the dataset. Its fingerprint is that of the images as they are now.

    Examples
    --------
    >>> import numpy as np
    >>> from pytest_biastransfer import Square
    >>> black = [(np.zeros((3, 8, 8), dtype=np.uint8), 0)] * 4
    >>> half = plant(black, Square(size=0.5), 0.5)
    >>> half.attributes["planted"], [int(image.sum()) for image, _, _ in half]
    (['True', 'False', 'False', 'True'], [8160, 0, 0, 8160])
    """
    planted, request = as_intervention(intervention, "plant"), Request.of("plant", dataset)
    images, fraction = request.images, request.share("fraction", fraction)
    order = mixed_permutation(len(images), "planting", request.seed(seed))
    if classes is not None:
        order = order[np.isin(images.labels, request.numbers("classes", classes))[order]]
    request.require_new(attribute)
    chosen = np.zeros(len(images), dtype=np.bool_)
    chosen[order[: round(fraction * len(order))]] = True
    return Planted(images, planted, chosen, attribute)


def with_correlation(
    dataset: Any,
    attribute: str,
    label: Classes,
    level: float,
    size: int | None = None,
    *,
    value: str | None = None,
    seed: int = 0,
) -> Selection:
    """Select images in which an attribute tells a label so well.

    Of the images with the label the share `level` has the attribute's value, of all others the share ``1 - level``:
    0.5 is independence, 1 is an attribute that tells the label. So Wang and Russakovsky 2023 (arXiv 2303.06167) set
    the strength of a spurious correlation in the finetuning data.

    Parameters
    ----------
    dataset
        See the module.
    attribute, value
        Which attribute, and which of its values; the value can be left out where the attribute has two of which one
        is ``"True"``, ``"true"``, ``"yes"`` or ``"1"``.
    label
        A class, or several that count as one, by name or number.
    level
        In [0, 1].
    size
        How many images; default: as many as there can be.
    seed
        Draws other images, without replacement. With one seed, what two levels or sizes need of the images with one
        label and value are the same images and others.

    Returns
    -------
    Selection
        The share of images with the label is that of the dataset: there are ``k = round(size * labelled / images)``
        of them, ``round(level * k)`` of these with the value, and ``round(level * (size - k))`` of the others without.

    Examples
    --------
    >>> import numpy as np
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"grass": i < 20}) for i in range(40)]
    >>> biased = with_correlation(pets, "grass", label=1, level=0.9)
    >>> labels, grass = biased.labels, np.array(biased.attributes["grass"])
    >>> len(biased), int((grass[labels == 1] == "True").sum()), int((grass[labels == 0] == "True").sum())
    (22, 10, 1)
    """
    request = Request.of("with_correlation", dataset)
    asked = Asked(request, "level", request.share("level", level), request.size(size))
    values = request.values(attribute)
    inside, words = labelled(request, label)
    return asked.chosen(values, request.code(values, value), request.seed(seed), inside, words)


def with_share(
    dataset: Any,
    attribute: str,
    share: float,
    size: int | None = None,
    *,
    value: str | None = None,
    seed: int = 0,
) -> Selection:
    """Select images of which a share has an attribute's value, such as few of a group that is underrepresented.

    Parameters
    ----------
    dataset
        See the module.
    attribute, value
        As for `with_correlation`.
    share
        In [0, 1].
    size
        How many images; default: as many as there can be.
    seed
        Draws other images, without replacement. With one seed, what two shares or sizes need of the images with the
        value, and of the others, are the same images and others.

    Returns
    -------
    Selection
        ``round(share * size)`` of its images have the value. Which labels they have is left to chance.

    Examples
    --------
    >>> import numpy as np
    >>> faces = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"sex": "fm"[i < 20]}) for i in range(40)]
    >>> with_share(faces, "sex", 0.1, value="f", size=20).attributes["sex"].count("f")
    2
    """
    request = Request.of("with_share", dataset)
    asked = Asked(request, "share", request.share("share", share), request.size(size))
    values = request.values(attribute)
    return asked.chosen(values, request.code(values, value), request.seed(seed))


def balanced(dataset: Any, attribute: str, label: Classes | None = None, *, seed: int = 0) -> Selection:
    """Select equally many images of each class with each value of an attribute, as many as there can be.

    Parameters
    ----------
    dataset
        See the module.
    attribute
        Its name; all its values are balanced.
    label
        A class, or several that count as one: these and all others are balanced instead of each class.
    seed
        Draws other images, without replacement.

    Examples
    --------
    >>> import numpy as np
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"grass": i < 15}) for i in range(20)]
    >>> even = balanced(pets, "grass")
    >>> len(even), even.labels.tolist().count(0), even.attributes["grass"].count("True")
    (8, 4, 4)
    """
    request = Request.of("balanced", dataset)
    seed = request.seed(seed)
    cells = cells_of(request, request.values(attribute), label)
    wanted = [int(cells.counts.min())] * cells.counts.size
    return IndexSelection(request.images, drawn(cells.codes, wanted, seed))


def reweighted(dataset: Any, attribute: str, label: Classes | None = None) -> Reweighted:
    """Weigh images so that an attribute tells nothing of the label, after Kamiran and Calders 2012.

    The weight of an image with label ``l`` and value ``a`` is P(l) P(a) / P(l, a): in the weighted data, label and
    attribute are independent, and each is as frequent as before.

    Parameters
    ----------
    dataset
        See the module. Weights that it has already are replaced.
    attribute
        Its name; all its values are made independent of the label.
    label
        A class, or several that count as one: these and all others are told apart instead of each class.

    Returns
    -------
    Reweighted
        All images of the dataset, with ``weights``, float64 [images], whose mean is 1. Training draws images by
        them. A measurement counts all images the same, so that the fingerprint is that of the images.

    Examples
    --------
    >>> import numpy as np
    >>> told = [(0, "grass"), (0, "grass"), (0, "grass"), (0, "snow"), (1, "grass"), (1, "snow")]
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), label, {"ground": ground}) for label, ground in told]
    >>> reweighted(pets, "ground").weights.round(3).tolist()
    [0.889, 0.889, 0.889, 1.333, 1.333, 0.667]
    """
    request = Request.of("reweighted", dataset)
    cells = cells_of(request, request.values(attribute), label)
    return Reweighted(request.images, cells.independence)


def of_classes(dataset: Any, classes: Classes) -> OfClasses:
    """Select the images of some classes, which are renumbered from 0 on in the order in which they are given.

    Parameters
    ----------
    dataset
        See the module.
    classes
        A class or several, by name or number.

    Returns
    -------
    OfClasses
        Its ``classes`` are the names of these classes, if the dataset names its own.

    Examples
    --------
    >>> import numpy as np
    >>> digits = [(np.zeros((3, 1, 1), dtype=np.uint8), digit) for digit in (7, 1, 3, 7, 9)]
    >>> of_classes(digits, [9, 7]).labels.tolist()
    [1, 1, 0]
    """
    request = Request.of("of_classes", dataset)
    return OfClasses(request.images, request.numbers("classes", classes))
