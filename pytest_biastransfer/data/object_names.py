"""Finds the names of a dataset object's labels, also in a dataset that it wraps.

A name counts only where the labels that the dataset returns confirm it: a transform of the labels, or a wrapper, may
have renumbered them.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# The attributes in which torchvision's datasets list their labels, alone or after the files of the images.
_LABEL_LISTS: Final = ("targets", "labels", "_labels", "samples", "imgs", "_samples")
# Containers that are no datasets.
_PLAIN: Final = (str, bytes, list, tuple, dict, set, np.ndarray)

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelNames:
    """The names of a dataset's labels.

    Attributes
    ----------
    by_number
        The names by label; empty unless all labels that occur have a name.
    from_folders
        Whether a library has numbered the classes by sorting the names of folders.
    """

    by_number: Mapping[int, str] = field(default_factory=dict)
    from_folders: bool = False


def names_of_labels(dataset: Any, labels: Integers) -> LabelNames:
    """Return the names of the labels of a dataset; `labels` are those of its items, in order."""
    names = _names(dataset, np.arange(len(labels)), labels, exact=True)
    return names if set(labels.tolist()) <= names.by_number.keys() else LabelNames()


def names_of_table(dataset: Any, row: object) -> list[str] | None:
    """Return the names of the several labels that each item of a dataset has, if it declares as many as these.

    Torchvision's datasets have them as ``attr_names`` or ``categories``, others as ``classes``.
    """
    count = len(row) if isinstance(row, tuple) else 0
    for attribute in ("label_names", "attr_names", "categories", "classes"):
        # CelebA's list of names ends with an empty one.
        names = [name for name in _listed_names(getattr(dataset, attribute, None)).values() if name]
        if count and len(names) == count:
            return names
    return None


def _names(dataset: Any, indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return the names of the labels of the items at `indices`.

    `exact` says that nothing between the dataset and the labels can have renumbered them.
    """
    declared = _declared(dataset)
    if declared:
        return _borne_out(dataset, declared, indices, labels, exact=exact)
    passes_on = exact and _passes_items_on(dataset)
    datasets = getattr(dataset, "datasets", None)
    if isinstance(datasets, list | tuple) and datasets and sum(map(_length, datasets)) == _length(dataset):
        return _joined(datasets, indices, labels, exact=passes_on)
    inner, positions = _wrapped(dataset)
    if inner is None:
        return LabelNames()
    return _names(inner, indices if positions is None else positions[indices], labels, exact=passes_on)


def _declared(dataset: Any) -> dict[int, str]:
    """Return the class names that a dataset declares, by its own numbers."""
    names = _listed_names(getattr(dataset, "classes", None))
    numbers = getattr(dataset, "class_to_idx", None)
    if not isinstance(numbers, Mapping) or not numbers:
        return names
    by_number = defaultdict(list)
    for name, number in numbers.items():
        if not isinstance(name, str) or isinstance(number, bool) or not isinstance(number, int | np.integer):
            return names
        by_number[int(number)].append(name)
    # Where `classes` and the folders' names are disjoint, `classes` was set later, in the order of the numbers.
    if names and not set(names.values()) & set(numbers):
        return names
    declared = {}
    for number, synonyms in by_number.items():
        if len(synonyms) == 1:
            declared[number] = synonyms[0]
        elif names.get(number) in synonyms:
            # Of several names, `classes` says which one is the usual name.
            declared[number] = names[number]
    return declared


def _listed_names(classes: Any) -> dict[int, str]:
    """Return the names in a list or in a mapping from numbers; of a tuple of synonyms, the first."""
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        classes = classes.tolist()
    if isinstance(classes, Mapping):
        numbered = list(classes.items())
    elif isinstance(classes, Sequence) and not isinstance(classes, str | bytes):
        numbered = list(enumerate(classes))
    else:
        return {}
    names = {number: name[0] if isinstance(name, tuple) and name else name for number, name in numbered}
    plain = all(isinstance(number, int) and isinstance(name, str) for number, name in names.items())
    return names if plain else {}


def _borne_out(dataset: Any, names: dict[int, str], indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return the names of the returned labels of a dataset that numbers its classes itself."""
    transform = getattr(dataset, "target_transform", None)
    own = _own_labels(dataset)
    renumbered = {number: label for number in names if (label := _transformed(transform, number)) is not None}
    if own is None:
        # The items' own numbers are unknown: it can only be checked that each label has a name.
        fits = exact and set(labels.tolist()) <= set(renumbered.values())
        return LabelNames(_inverted(renumbered, names)) if fits else LabelNames()
    observed = _renumbering(own[indices], labels)
    if observed is None:
        return LabelNames()
    as_declared = all(renumbered.get(number) == label for number, label in observed.items())
    # An inexact wrapper may also have reordered the items, so only agreement with the declaration counts.
    if not as_declared and not exact:
        return LabelNames()
    if len(set(observed.values())) < len(observed):
        # Classes that were merged have no common name.
        return LabelNames()
    unobserved = (
        {number: label for number, label in renumbered.items() if label not in observed.values()} if as_declared else {}
    )
    by_number = _inverted(unobserved, names) | _inverted(observed, names)
    from_folders = hasattr(dataset, "samples") and hasattr(dataset, "class_to_idx") and transform is None
    return LabelNames(by_number, from_folders and all(number == label for number, label in observed.items()))


def _inverted(renumbered: Mapping[int, int], names: Mapping[int, str]) -> dict[int, str]:
    """Return the names of the labels that exactly one number is mapped to."""
    counts = Counter(renumbered.values())
    return {label: names[number] for number, label in renumbered.items() if number in names and counts[label] == 1}


def _renumbering(own: Integers, labels: Integers) -> dict[int, int] | None:
    """Return the label of each of the dataset's own numbers; None where a number has several labels."""
    pairs = set(zip(own.tolist(), labels.tolist(), strict=True))
    renumbered = dict(pairs)
    return renumbered if len(renumbered) == len(pairs) else None


def _transformed(transform: Callable[[Any], Any] | None, number: int) -> int | None:
    """Return the label that a transform returns for a number, or None where that is no label."""
    if transform is None:
        return number
    try:
        label = transform(number)
        label = label.item() if getattr(label, "ndim", None) == 0 else label
    # The user's transform need only work for numbers that occur, and this one may not.
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError):
        return None
    is_label = isinstance(label, int | np.integer) and not isinstance(label, bool) and label >= 0
    return int(label) if is_label else None


def _own_labels(dataset: Any) -> Integers | None:
    """Return the numbers of all items in the dataset's own list, before any transform."""
    for name in _LABEL_LISTS:
        listed = getattr(dataset, name, None)
        if listed is None or _length(listed) != _length(dataset):
            continue
        values = listed.tolist() if hasattr(listed, "tolist") else list(listed)
        numbers = [value[1] if isinstance(value, tuple | list) and len(value) == 2 else value for value in values]
        numbers = [number.item() if getattr(number, "ndim", None) == 0 else number for number in numbers]
        if all(isinstance(number, int | np.integer) for number in numbers):
            return np.array(numbers, dtype=np.int64)
    return None


def _joined(datasets: Sequence[Any], indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return the names of a concatenated dataset's labels where all its datasets agree on them."""
    joined: dict[int, str] = {}
    folders, start = True, 0
    for dataset in datasets:
        members = (indices >= start) & (indices < start + len(dataset))
        own = _names(dataset, indices[members] - start, labels[members], exact=exact)
        start += len(dataset)
        if not set(labels[members].tolist()) <= own.by_number.keys():
            return LabelNames()
        if any(joined.get(number, name) != name for number, name in own.by_number.items()):
            return LabelNames()
        joined |= own.by_number
        folders = folders and own.from_folders
    return LabelNames(joined, folders)


def _passes_items_on(dataset: Any) -> bool:
    """Whether a wrapper is one of torch's own, which returns the items unchanged."""
    data = sys.modules.get("torch.utils.data")
    if data is None:
        return False
    own = type(dataset).__getitem__
    return own in (data.Subset.__getitem__, data.ConcatDataset.__getitem__)


def _wrapped(dataset: Any) -> tuple[Any, Integers | None]:
    """Return the dataset that a wrapper holds, and the indices of the wrapper's items in it (None: all, in order)."""
    inner, listed = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and listed is not None and _length(listed) == _length(dataset):
        return inner, np.array([int(index) for index in listed], dtype=np.int64)
    datasets = [value for value in _attributes(dataset).values() if value is not dataset and _is_dataset(value)]
    fitting = [value for value in datasets if _length(value) == _length(dataset)]
    return (fitting[0], None) if len(fitting) == 1 else (None, None)


def _attributes(dataset: Any) -> Mapping[str, Any]:
    return getattr(dataset, "__dict__", {})


def _is_dataset(value: Any) -> bool:
    if isinstance(value, _PLAIN) or hasattr(value, "ndim"):
        return False
    return hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__")


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        return -1
