"""The names of the labels that a dataset object gives, read through the objects that wrap it.

A name counts only where the labels, as they come out, bear it out: a transform of the labels, or a wrapper of its
own, may have renumbered them.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Where torchvision's datasets list their labels, alone or behind the images' files.
_LABEL_LISTS: Final = ("targets", "labels", "_labels", "samples", "imgs", "_samples")
# What has items too, and is no dataset of images and labels.
_PLAIN: Final = (str, bytes, list, tuple, dict, set, np.ndarray)

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelNames:
    """Names of labels.

    Attributes
    ----------
    by_number
        The name of each label that has one; empty where not all labels that occur have one.
    from_folders
        Whether the numbers are those of a library that has sorted the names of folders.
    """

    by_number: Mapping[int, str] = field(default_factory=dict)
    from_folders: bool = False


def names_of_labels(dataset: Any, labels: Integers) -> LabelNames:
    """Return the names of the labels of a dataset's items, which are `labels` in order."""
    found = _names(dataset, np.arange(len(labels)), labels, exact=True)
    return found if set(labels.tolist()) <= found.by_number.keys() else LabelNames()


def _names(dataset: Any, indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return what names the labels of the items at `indices`.

    `exact`: nothing between the dataset and the labels can have renumbered these.
    """
    declared = _declared(dataset)
    if declared:
        return _borne_out(dataset, declared, indices, labels, exact=exact)
    passes_on = exact and _passes_items_on(dataset)
    parts = getattr(dataset, "datasets", None)
    if isinstance(parts, list | tuple) and parts and sum(map(_length, parts)) == _length(dataset):
        return _joined(parts, indices, labels, exact=passes_on)
    inner, places = _wrapped(dataset)
    if inner is None:
        return LabelNames()
    return _names(inner, indices if places is None else places[indices], labels, exact=passes_on)


def _declared(dataset: Any) -> dict[int, str]:
    """Return the names that a dataset declares, by the numbers that it gives them itself."""
    names = _listed_names(getattr(dataset, "classes", None))
    numbers = getattr(dataset, "class_to_idx", None)
    if not isinstance(numbers, Mapping) or not numbers:
        return names
    by_number = defaultdict(list)
    for name, number in numbers.items():
        if not isinstance(name, str) or isinstance(number, bool) or not isinstance(number, int | np.integer):
            return names
        by_number[int(number)].append(name)
    # Other names than those of the folders were given to the classes later, in the order of their numbers.
    if names and not set(names.values()) & set(numbers):
        return names
    found = {}
    for number, same in by_number.items():
        if len(same) == 1:
            found[number] = same[0]
        elif names.get(number) in same:
            # Synonyms.
            found[number] = names[number]
    return found


def _listed_names(classes: Any) -> dict[int, str]:
    """Return the names in a list, of synonyms the first, or in a mapping from numbers."""
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        classes = classes.tolist()
    if isinstance(classes, Mapping):
        numbered = list(classes.items())
    elif isinstance(classes, Sequence) and not isinstance(classes, str | bytes):
        numbered = list(enumerate(classes))
    else:
        return {}
    found = {number: name[0] if isinstance(name, tuple) and name else name for number, name in numbered}
    plain = all(isinstance(number, int) and isinstance(name, str) for number, name in found.items())
    return found if plain else {}


def _borne_out(dataset: Any, names: dict[int, str], indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return the names of the labels as they come out of a dataset that has numbered them itself."""
    transform = getattr(dataset, "target_transform", None)
    own = _own_labels(dataset)
    renumbered = {number: label for number in names if (label := _transformed(transform, number)) is not None}
    if own is None:
        # Nothing says which item had which number; all that can be seen is that there is a name for each label.
        fits = exact and set(labels.tolist()) <= set(renumbered.values())
        return LabelNames(_inverted(renumbered, names)) if fits else LabelNames()
    seen = _renumbering(own[indices], labels)
    if seen is None:
        return LabelNames()
    as_told = all(renumbered.get(number) == label for number, label in seen.items())
    # Without proof of the contrary a wrapper may have put the items in another order, too.
    if not as_told and not exact:
        return LabelNames()
    if len(set(seen.values())) < len(seen):
        # Several classes that became one have no name in common.
        return LabelNames()
    others = {number: label for number, label in renumbered.items() if label not in seen.values()} if as_told else {}
    by_number = _inverted(others, names) | _inverted(seen, names)
    from_folders = hasattr(dataset, "samples") and hasattr(dataset, "class_to_idx") and transform is None
    return LabelNames(by_number, from_folders and all(number == label for number, label in seen.items()))


def _inverted(renumbered: Mapping[int, int], names: Mapping[int, str]) -> dict[int, str]:
    """Return the names of the labels that numbers come out as, of those that a single number comes out as."""
    counts = Counter(renumbered.values())
    return {label: names[number] for number, label in renumbered.items() if number in names and counts[label] == 1}


def _renumbering(own: Integers, labels: Integers) -> dict[int, int] | None:
    """Return which label each number of a dataset's own comes out as; None where one comes out as several."""
    pairs = set(zip(own.tolist(), labels.tolist(), strict=True))
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _transformed(transform: Callable[[Any], Any] | None, number: int) -> int | None:
    """Return what a transform of the labels makes of a number, or None where that is no label."""
    if transform is None:
        return number
    try:
        label = transform(number)
        label = label.item() if getattr(label, "ndim", None) == 0 else label
    # It is the user's own, and made for the numbers that occur.
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError):
        return None
    is_label = isinstance(label, int | np.integer) and not isinstance(label, bool) and label >= 0
    return int(label) if is_label else None


def _own_labels(dataset: Any) -> Integers | None:
    """Return the numbers of all items as the dataset lists them, before any transform."""
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


def _joined(parts: Sequence[Any], indices: Integers, labels: Integers, *, exact: bool) -> LabelNames:
    """Return the names that all parts of a joined dataset agree on."""
    found: dict[int, str] = {}
    folders, start = True, 0
    for part in parts:
        inside = (indices >= start) & (indices < start + len(part))
        names = _names(part, indices[inside] - start, labels[inside], exact=exact)
        start += len(part)
        if not set(labels[inside].tolist()) <= names.by_number.keys():
            return LabelNames()
        if any(found.get(number, name) != name for number, name in names.by_number.items()):
            return LabelNames()
        found |= names.by_number
        folders = folders and names.from_folders
    return LabelNames(found, folders)


def _passes_items_on(dataset: Any) -> bool:
    """Whether a wrapper is one of torch's own, which changes no item."""
    data = sys.modules.get("torch.utils.data")
    if data is None:
        return False
    own = type(dataset).__getitem__
    return own in (data.Subset.__getitem__, data.ConcatDataset.__getitem__)


def _wrapped(dataset: Any) -> tuple[Any, Integers | None]:
    """Return the dataset that another one wraps, and which of its items those of the wrapper are (None: the same)."""
    inner, listed = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and listed is not None and _length(listed) == _length(dataset):
        return inner, np.array([int(index) for index in listed], dtype=np.int64)
    inside = [value for value in _attributes(dataset).values() if value is not dataset and _is_dataset(value)]
    fitting = [value for value in inside if _length(value) == _length(dataset)]
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
