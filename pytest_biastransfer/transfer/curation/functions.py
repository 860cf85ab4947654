"""Curation of finetuning data: selects images, plants interventions on them, and weighs them.

Each function returns a view of a dataset: labelled images that a model can be transferred to or measured on, and that
torch's own loader can read. Nothing is copied, and no image is read to make a view. Only a dataset that has labels and
attributes together with its images is read once, as for a measurement. Random draws are the same on every machine.

Each function takes a spec string (see `load_dataset`), labelled images such as another view, or a map-style dataset of
``(image, label)`` or ``(image, label, attributes)``. Where each image has several labels of yes or no, a label is named
in place of a class, and the attribute may be a label; images of which it is unknown are not selected.

Each function raises `DatasetError` if the dataset lacks a class, an attribute or enough images; the message says what
is possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.subset import IndexSelection, Selection
from pytest_biastransfer.interventions import as_intervention
from pytest_biastransfer.transfer.curation.arguments import Classes, Request
from pytest_biastransfer.transfer.curation.class_subset import OfClasses
from pytest_biastransfer.transfer.curation.contingency import cells_of, draw, labelled, permutation_for
from pytest_biastransfer.transfer.curation.planting import Planted
from pytest_biastransfer.transfer.curation.reweighting import Reweighted
from pytest_biastransfer.transfer.curation.share_selection import ShareSelection

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
    """Plant an intervention on a random sample of the images, or of the images of some classes.

    If all classes have the same fraction, the intervention is independent of the class: so Salman et al. 2022 (arXiv
    2207.02842) remove a bias by curating the finetuning data. On some classes only, it is a shortcut to learn.

    Parameters
    ----------
    dataset
        See the module.
    intervention
        An `Intervention`, or the name of a built-in one. One of stage ``"input"`` is applied after a model's resizing
        and cropping, as in a measurement; one of stage ``"source"`` before. A picture of 8 bits keeps 8 bits.
    fraction
        The fraction of the images, or of those of `classes`, in [0, 1]: ``round(fraction * number)`` of them.
    classes
        A class or several, by name or number.
    seed
        Seed of the sample, from 0 on. With the same seed, a larger fraction contains a smaller one, and two
        interventions that are planted one after the other are on the same images: give the second one another seed.
    attribute
        Name of the new attribute, ``"True"`` for an image with the intervention and ``"False"`` for another.

    Returns
    -------
    Planted
        All images of the dataset. Its fingerprint includes what is planted.

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
    order = permutation_for("planting", len(images), request.seed(seed))
    if classes is not None:
        order = order[request.members("classes", classes)[order]]
    request.require_new(attribute)
    # The beginning of one permutation: a larger fraction contains a smaller one.
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
    """Select images so that an attribute is correlated with a label.

    Of the images with the label the share `level` has the attribute's value, of all others the share ``1 - level``. At
    0.5 they are independent, at 1 the attribute determines the label. So Wang and Russakovsky 2023 (arXiv 2303.06167)
    set the strength of a spurious correlation in the finetuning data.

    Parameters
    ----------
    dataset
        See the module.
    attribute, value
        The attribute, and one of its values. The value can be left out if the attribute has two values, of which one
        is ``"True"``, ``"true"``, ``"yes"`` or ``"1"``.
    label
        A class, or several that count as one, by name or number.
    level
        The share, in [0, 1].
    size
        The number of images; default: as many as possible.
    seed
        Seed of the draw without replacement, from 0 on. With the same seed, of the images with one label and value a
        larger draw contains a smaller one.

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
    request = Request.of("with_correlation", dataset).with_known(attribute, label)
    selection = ShareSelection(request, "level", request.share("level", level), request.size(size))
    values = request.values(attribute)
    inside, groups = labelled(request, label)
    return selection.draw(values, request.code(values, value), request.seed(seed), inside, groups)


def with_share(
    dataset: Any,
    attribute: str,
    share: float,
    size: int | None = None,
    *,
    value: str | None = None,
    seed: int = 0,
) -> Selection:
    """Select images so that a share has an attribute's value, such as a small share of an underrepresented group.

    Parameters
    ----------
    dataset
        See the module.
    attribute, value
        As for `with_correlation`.
    share
        The share, in [0, 1].
    size
        The number of images; default: as many as possible.
    seed
        Seed of the draw without replacement, from 0 on. With the same seed, of the images with the value, and of the
        others, a larger draw contains a smaller one.

    Returns
    -------
    Selection
        ``round(share * size)`` of its images have the value. Their labels are random.

    Examples
    --------
    >>> import numpy as np
    >>> faces = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"sex": "fm"[i < 20]}) for i in range(40)]
    >>> with_share(faces, "sex", 0.1, value="f", size=20).attributes["sex"].count("f")
    2
    """
    request = Request.of("with_share", dataset).with_known(attribute)
    selection = ShareSelection(request, "share", request.share("share", share), request.size(size))
    values = request.values(attribute)
    return selection.draw(values, request.code(values, value), request.seed(seed))


def balanced(dataset: Any, attribute: str, label: Classes | None = None, *, seed: int = 0) -> Selection:
    """Select the same number of images of each class with each value of an attribute, as many as possible.

    Parameters
    ----------
    dataset
        See the module.
    attribute
        Its name; all its values are balanced.
    label
        A class, or several that count as one: these and all others are balanced instead of each class.
    seed
        Seed of the draw without replacement, from 0 on.

    Examples
    --------
    >>> import numpy as np
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"grass": i < 15}) for i in range(20)]
    >>> even = balanced(pets, "grass")
    >>> len(even), even.labels.tolist().count(0), even.attributes["grass"].count("True")
    (8, 4, 4)
    """
    request = Request.of("balanced", dataset).with_known(attribute, label)
    seed = request.seed(seed)
    cells = cells_of(request, request.values(attribute), label)
    counts = [int(cells.counts.min())] * cells.counts.size
    return IndexSelection(request.images, draw(cells.codes, counts, seed))


def reweighted(dataset: Any, attribute: str, label: Classes | None = None) -> Reweighted:
    """Weigh images so that attribute and label are independent (Kamiran and Calders 2012).

    The weight of an image with label ``l`` and value ``a`` is P(l) P(a) / P(l, a). The weights do not change how
    frequent each label and each value is.

    Parameters
    ----------
    dataset
        See the module. Its own weights, if it has any, are replaced.
    attribute
        Its name; all its values are made independent of the label.
    label
        A class, or several that count as one: these and all others are distinguished instead of each class.

    Returns
    -------
    Reweighted
        All images of the dataset, with ``weights``, float64 [images], whose mean is 1. Training draws images with these
        weights. A measurement ignores them, so the fingerprint is that of the dataset.

    Examples
    --------
    >>> import numpy as np
    >>> labelled_grounds = [(0, "grass"), (0, "grass"), (0, "grass"), (0, "snow"), (1, "grass"), (1, "snow")]
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), label, {"ground": ground}) for label, ground in labelled_grounds]
    >>> reweighted(pets, "ground").weights.round(3).tolist()
    [0.889, 0.889, 0.889, 1.333, 1.333, 0.667]
    """
    request = Request.of("reweighted", dataset).with_known(attribute, label)
    cells = cells_of(request, request.values(attribute), label)
    return Reweighted(request.images, cells.independence)


def of_classes(dataset: Any, classes: Classes) -> OfClasses:
    """Select the images of some classes, which are renumbered from 0 in the given order.

    Parameters
    ----------
    dataset
        See the module.
    classes
        A class or several, by name or number.

    Returns
    -------
    OfClasses
        Its ``classes`` are the names of these classes, if the dataset names its classes.

    Examples
    --------
    >>> import numpy as np
    >>> digits = [(np.zeros((3, 1, 1), dtype=np.uint8), digit) for digit in (7, 1, 3, 7, 9)]
    >>> of_classes(digits, [9, 7]).labels.tolist()
    [1, 1, 0]
    """
    request = Request.of("of_classes", dataset)
    return OfClasses(request.images, request.numbers("classes", classes))
