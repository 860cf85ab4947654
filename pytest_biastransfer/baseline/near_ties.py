"""Images that are nearly tied: another device may give them another class, by rounding alone.

Where two measurements were computed differently, a changed image whose earlier state is one of those that rounding
allows now counts as unchanged: its earlier state is restored, and the tests of change are made again.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pytest_biastransfer.baseline.common_images import CLASSES_OF, IMAGE_SETS, common_images
from pytest_biastransfer.baseline.encoding import encode_classes, encode_groups, encode_images
from pytest_biastransfer.baseline.entry import Entry
from pytest_biastransfer.baseline.seeds import same_images
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.gap_change_rules import BETWEEN

# The state of an image: the sets of the evidence that it belongs to, and the classes between which it flips.
State = frozenset[str | tuple[str, int]]
# The set of images that each part of the evidence has classes of.
_SET_OF: Final[Mapping[str, str]] = {name: images for images, names in CLASSES_OF.items() for name in names}
# The state of an image that is in no set.
_NONE: Final[State] = frozenset()


@dataclass(frozen=True)
class WithinRounding:
    """How many of the images that changed are nearly tied.

    Attributes
    ----------
    images, changed
        The images whose change rounding explains, and all whose state changed.
    between
        Between what the rounding differs, in words.
    """

    images: int
    changed: int
    between: str


@dataclass(frozen=True)
class NearTies:
    """The states that images may have by rounding alone.

    Attributes
    ----------
    possible
        For each image that was predicted again, by its number among the images that are compared, all states that it
        may have now.
    between
        Between what the rounding differs, in words.
    """

    possible: Mapping[int, Collection[State]]
    between: str

    def explained(self, before: Entry, now: Entry, metric: str) -> tuple[list[int], WithinRounding]:
        """Return the images whose change of state rounding explains, of what a metric is compared by."""
        names, changed = evidence_of(before, now, metric), changed_images(before, now, metric)
        explained = [
            image
            for image, earlier in changed.items()
            if earlier in {only(state, names) for state in self.possible.get(image, ())}
        ]
        return explained, WithinRounding(len(explained), len(changed), self.between)


def indices_of(before: Entry, now: Entry, images: Sequence[int]) -> list[int] | None:
    """Return the indices in the later dataset of some of the images that are compared; None if images are not."""
    if same_images(before, now):
        return list(images)
    pairs = common_images(before, now)
    return None if pairs is None else [pairs[image][1] for image in images]


def evidence_of(before: Entry, now: Entry, metric: str) -> list[str]:
    """Return the names of the evidence of single images by which two measurements of a metric are compared."""
    both = before.evidence.keys() & now.evidence.keys()
    if metric == "gap":
        # The images that count, if the gap is of a rate: their numbers are comparable if the groups are the same.
        has_hits = before.has_group_hits and now.has_group_hits
        same_groups = has_hits and before.evidence["groups"] == now.evidence["groups"]
        return ["hits"] if same_groups else []
    return [name for name in metric_named(metric).change.evidence if name in both & {*IMAGE_SETS, *_SET_OF}]


def changed_images(before: Entry, now: Entry, metric: str) -> dict[int, State]:
    """Return the images whose state changed, in what a metric is compared by, each with its earlier state."""
    names = evidence_of(before, now, metric)
    earlier, later = states(before, names), states(now, names)
    pairs = ((image, earlier.get(image, _NONE), later.get(image, _NONE)) for image in earlier.keys() | later.keys())
    return {image: old for image, old, new in sorted(pairs, key=lambda pair: pair[0]) if old != new}


def states(entry: Entry, names: Collection[str]) -> dict[int, State]:
    """Return the states of the images that are in a set of the evidence; the state of all others is empty."""
    sets = {name: _images(entry, name) for name in names if name not in _SET_OF}
    classes = {name: list(_classes(entry, name)) for name in names if name in _SET_OF}
    found: defaultdict[int, set[str | tuple[str, int]]] = defaultdict(set)
    for name, images in sets.items():
        for image in images:
            found[image].add(name)
    for name, pairs in classes.items():
        for image, number in pairs:
            found[image].add((name, number))
    return {image: frozenset(state) for image, state in found.items()}


def only(state: State, names: Collection[str]) -> State:
    """Return the part of a state that is of some evidence.

    >>> sorted(only(frozenset(["flipped", "hits"]), ["hits", "lost"]))
    ['hits']
    """
    return frozenset(part for part in state if (part if isinstance(part, str) else part[0]) in names)


def restored(before: Entry, now: Entry, images: Collection[int], metric: str) -> Entry:
    """Return the later measurement with the earlier state of some images, in what a metric is compared by."""
    names = evidence_of(before, now, metric)
    chosen = set(images)
    evidence, figures = dict(now.evidence), dict(now.figures)
    for name in names:
        if metric == "gap":
            groups = _mixed_groups(before, now, chosen)
            evidence[name] = encode_groups(groups)
            figures[metric] = dataclasses.replace(figures[metric], value=_gap_of(groups, signed=BETWEEN in evidence))
        elif name in _SET_OF:
            pairs = _mixed(dict(_classes(before, name)), dict(_classes(now, name)), chosen)
            evidence[name] = encode_classes([number for _, number in sorted(pairs.items())])
        else:
            earlier, later = (dict.fromkeys(entry.image_set(name), 0) for entry in (before, now))
            evidence[name] = encode_images(sorted(_mixed(earlier, later, chosen)))
    return dataclasses.replace(now, evidence=evidence, figures=figures)


def _images(entry: Entry, name: str) -> list[int]:
    if name == "hits" and entry.has_group_hits:
        return [image for _, images in entry.group_hits() for image in images]
    return entry.image_set(name)


def _mixed_groups(before: Entry, now: Entry, images: Collection[int]) -> list[tuple[int, list[int]]]:
    """Return each group's size and the images that count, as before for some images."""
    pairs = zip(before.group_hits(), now.group_hits(), strict=True)
    return [
        (size, sorted(_mixed(dict.fromkeys(earlier, 0), dict.fromkeys(later, 0), images)))
        for (_, earlier), (size, later) in pairs
    ]


def _gap_of(groups: Sequence[tuple[int, Sequence[int]]], *, signed: bool) -> float:
    """Return the difference between the rates of groups: of the first and the second one, or the largest.

    >>> _gap_of([(10, [1]), (10, [2, 3, 4])], signed=False), _gap_of([(10, [1]), (10, [2, 3, 4])], signed=True)
    (0.2, -0.2)
    """
    rates = [Fraction(len(images), size) for size, images in groups]
    return float(rates[0] - rates[1] if signed else max(rates) - min(rates))


def _mixed(before: Mapping[int, int], now: Mapping[int, int], images: Collection[int]) -> dict[int, int]:
    """Return the later content with the earlier one of some images."""
    kept = {image: number for image, number in now.items() if image not in images}
    return kept | {image: number for image, number in before.items() if image in images}


def _classes(entry: Entry, name: str) -> Iterator[tuple[int, int]]:
    """Yield each flipped image with its class before or after, whichever the evidence has."""
    transitions = entry.transitions(_SET_OF[name].removesuffix("flipped"))
    numbers = transitions.before if name.endswith("from") else transitions.after
    return zip(transitions.images.tolist(), numbers.tolist(), strict=True)


def rounding_between(before: Entry, now: Entry) -> str:
    """Return in words between what the rounding of two measurements differs; empty if it is the same.

    >>> from pytest_biastransfer.baseline.computation import Computation
    >>> def computed(device, precision="float32", torch="2.11.0"):
    ...     versions = {"torch": torch}
    ...     return Entry({}, {}, 9, "", {}, {}, versions, Computation(device, precision))
    >>> rounding_between(computed("cuda NVIDIA L4"), computed("cpu x86_64 avx2"))
    'cuda NVIDIA L4 and cpu x86_64 avx2'
    >>> rounding_between(computed("cpu x86_64 avx2"), computed("cpu x86_64 avx2", "bf16", "2.12.0"))
    'float32, torch 2.11.0 and bf16, torch 2.12.0'
    >>> rounding_between(computed("cuda"), computed("cuda"))
    'cuda and another cuda'
    >>> rounding_between(computed("cpu x86_64 avx2"), computed("cpu x86_64 avx2"))
    ''
    """
    parts = list(_differences(before, now))
    return " and ".join(", ".join(side) for side in zip(*parts, strict=True)) if parts else ""


def unchecked_text(between: str, reason: str) -> str:
    """Return what to say where it is not known which images are nearly tied."""
    return f"computed by {between}: some images may have changed by rounding alone, it is not known which: {reason}"


def _differences(before: Entry, now: Entry) -> Iterator[tuple[str, str]]:
    earlier, later = before.computation, now.computation
    if earlier is None or later is None:
        yield "an unknown device" if earlier is None else earlier.device, later.device if later else "an unknown device"
        return
    if earlier.device != later.device:
        yield earlier.device, later.device
    elif later.is_any_of_its_type:
        yield earlier.device, f"another {later.device}"
    if earlier.precision != later.precision:
        yield earlier.precision, later.precision
    if earlier.compiled != later.compiled:
        words = {True: "compiled", False: "not compiled"}
        yield words[earlier.compiled], words[later.compiled]
    torch = before.versions.get("torch"), now.versions.get("torch")
    if torch[0] != torch[1]:
        yield f"torch {torch[0]}", f"torch {torch[1]}"
