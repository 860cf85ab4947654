"""Two measurements on datasets that have most of their images in common: what both say of these images."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pytest_biastransfer.baseline.encoding import decode_classes, encode_classes, encode_images
from pytest_biastransfer.baseline.entry import Entry, Figure
from pytest_biastransfer.metrics.catalogue import METRICS

# The length of a key of an image, in bytes; see `data.image_keys`.
_KEY_BYTES: Final = 3
# The evidence that is a set of images.
IMAGE_SETS: Final = frozenset(image_set.name for metric in METRICS.values() for image_set in metric.change.image_sets)
# The flipped images' classes have the order of the images.
CLASSES_OF: Final = {"flipped": ("from", "to"), "control_flipped": ("control_from", "control_to")}


def on_common_images(before: Entry, now: Entry) -> tuple[Entry, Entry] | None:
    """Return what two measurements say of the images that both have, as if these were the whole dataset.

    The evidence is of the common images; figures keep their values, and their numbers of images are those of the whole
    dataset times the share that is common. None where less than half of either dataset is common, or their images
    are not known. Raises ValueError for keys or evidence that cannot be decoded.
    """
    pairs = common_images(before, now)
    if pairs is None:
        return None
    numbers: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, pair in enumerate(pairs):
        for own, index in zip(numbers, pair, strict=True):
            own[index] = number
    return _restricted(before, numbers[0]), _restricted(now, numbers[1])


def have_common_images(before: Entry, now: Entry) -> bool:
    """Whether at least half of either dataset is common; raises ValueError for keys that cannot be decoded."""
    return bool(common_images(before, now))


def common_images(before: Entry, now: Entry) -> list[tuple[int, int]] | None:
    """Return the indices of each image that two measurements have, in either; see `on_common_images`."""
    if not (before.image_keys and now.image_keys):
        return None
    pairs = _pairs((before.image_keys, before.images), (now.image_keys, now.images))
    return pairs if 2 * len(pairs) >= max(before.images, now.images) else None


# All metrics of a test, and mostly all tests, ask for the same two datasets.
@functools.lru_cache(maxsize=1)
def _pairs(before: tuple[str, int], now: tuple[str, int]) -> list[tuple[int, int]]:
    """Return the indices of each image that both have; of copies, the first one with the first one, and so on."""
    places: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, key in reversed(list(enumerate(_keys(*before)))):
        places[key].append(index)
    return [(places[key].pop(), index) for index, key in enumerate(_keys(*now)) if places.get(key)]


def _keys(text: str, images: int) -> list[bytes]:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the keys of its images are not base64 ({error})") from error
    if len(raw) != _KEY_BYTES * images:
        raise ValueError(f"the keys of its images are {len(raw)} bytes, expected {_KEY_BYTES * images}")
    return [raw[start : start + _KEY_BYTES] for start in range(0, len(raw), _KEY_BYTES)]


def _restricted(entry: Entry, numbers: Mapping[int, int]) -> Entry:
    """Return an entry of some of its images, under new numbers."""
    evidence = dict(entry.evidence)
    for name in IMAGE_SETS:
        # Of a gap, the images that count are in their groups.
        if name not in evidence or (name == "hits" and entry.has_group_hits):
            continue
        images = entry.image_set(name)
        order = sorted((numbers[image], place) for place, image in enumerate(images) if image in numbers)
        evidence[name] = encode_images([number for number, _ in order])
        for classes in CLASSES_OF.get(name, ()):
            if classes in evidence:
                decoded = decode_classes(evidence[classes], len(images))
                evidence[classes] = encode_classes([decoded[place] for _, place in order])
    share = len(numbers) / entry.images
    figures = {
        name: Figure(
            figure.value,
            round(figure.images * share),
            None if figure.count is None else round(figure.count * share),
        )
        for name, figure in entry.figures.items()
    }
    return dataclasses.replace(entry, images=len(numbers), evidence=evidence, figures=figures)
