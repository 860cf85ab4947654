"""The history of a baseline entry: the runs on new images that were compared with it, a line of text for each.

A line has a short hash of the dataset, and the images of each metric that is a share or a mean of images, counted:
``2f9c01ab accuracy=4402/5000 accuracy_drop=420-101/5000 asr=531/5000``. A job that commits the file each night adds one
line to each entry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.metrics.statistics.tally import Tally

# Of a hundred years of nights, two have the same hash with a probability of 0.15.
_HASH_BYTES: Final = 4
_LINE: Final = re.compile(r"([0-9a-f]{8})((?: \w+=[0-9]{1,9}(?:-[0-9]{1,9})?/[0-9]{1,9})*)")
_EXAMPLE: Final = "2f9c01ab accuracy=4402/5000 asr=531/5000"


@dataclass(frozen=True)
class OverTime:
    """That a change is judged over the whole history of runs on new images, and how.

    Attributes
    ----------
    runs
        How many runs there are, this one included.
    images
        Their images; None if the metric is judged in each run alone, at a share of the level.
    alpha
        The level, over all runs.
    """

    runs: int
    images: int | None
    alpha: float


class Night(NamedTuple):
    """One run on new images: a short hash of its dataset, and the counted images of each metric."""

    dataset: str
    tallies: Mapping[str, Tally]

    def to_line(self) -> str:
        """Return the line of the history.

        >>> Night("2f9c01ab", {"asr": Tally(531, 5000), "accuracy_drop": Tally(420, 5000, 101)}).to_line()
        '2f9c01ab accuracy_drop=420-101/5000 asr=531/5000'
        """
        items = [
            f"{metric}={tally.plus}{'' if tally.minus is None else f'-{tally.minus}'}/{tally.images}"
            for metric, tally in sorted(self.tallies.items())
        ]
        return " ".join([self.dataset, *items])


def short_hash(fingerprint: str) -> str:
    """Return the short hash of a dataset's fingerprint.

    >>> short_hash("0f" * 16)
    '19975d6a'
    """
    return hashlib.blake2b(fingerprint.encode(), digest_size=_HASH_BYTES).hexdigest()


def nights_of(history: Sequence[str]) -> list[Night]:
    """Return the runs of a history, the first one first.

    Raises ValueError for lines that `Night.to_line` cannot have written; it names the number of the line.

    >>> nights_of(["2f9c01ab accuracy_drop=420-101/5000"])[0].tallies
    {'accuracy_drop': Tally(plus=420, images=5000, minus=101)}
    """
    nights: list[Night] = []
    for number, line in enumerate(history, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"history, run {number}: expected a line such as {_EXAMPLE!r}, found {line!r:.60}")
        tallies = dict(_tally(item, f"history, run {number}") for item in match[2].split())
        nights.append(Night(match[1], tallies))
    first: dict[str, int] = {}
    for number, night in enumerate(nights, start=1):
        if first.setdefault(night.dataset, number) < number:
            raise ValueError(f"history, run {number}: {night.dataset} is run {first[night.dataset]} already")
    return nights


def _tally(item: str, origin: str) -> tuple[str, Tally]:
    metric, _, counts = item.partition("=")
    if metric not in METRICS:
        raise ValueError(f"{origin}: there is no metric {metric!r:.60}")
    plus, minus, images = re.fullmatch(r"(\d+)(?:-(\d+))?/(\d+)", counts).groups()  # type: ignore[union-attr]
    tally = Tally(int(plus), int(images), None if minus is None else int(minus))
    if tally.plus + (tally.minus or 0) > tally.images:
        raise ValueError(f"{origin}: {item!r:.60} counts more images than there are")
    return metric, tally
