"""Simulated levels and power of the paired test of a gap between areas under ROC curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from benchmarks.nights import Row
from pytest_biastransfer.metrics.statistics.components import Components, area_components
from pytest_biastransfer.metrics.statistics.paired_figures_test import paired_figures_change

_SEED: Final = 0


def two_areas(
    generator: np.random.Generator, before: Sequence[float], now: Sequence[float], positives: int, agreement: float
) -> list[Components]:
    """Return the components of areas of groups before and now, with as many negatives as positives in each group.

    Scores are normal with standard deviation 1. Positives are higher by the group's separation, on average, and the
    scores before and now of positives, and of negatives, have a correlation of `agreement`.
    """
    codes = np.repeat(np.arange(len(before)), 2 * positives)
    positive = np.arange(len(codes)) % 2 == 1
    first, other = generator.standard_normal((2, len(codes)))
    second = agreement * first + np.sqrt(1 - agreement**2) * other
    every = np.arange(len(before))
    return [
        area_components(noise + positive * np.array(separations)[codes], positive, codes, every)
        for noise, separations in ((first, before), (second, now))
    ]


Separations = Callable[[int], tuple[Sequence[float], Sequence[float]]]


def _one_falls(others: float) -> Separations:
    return lambda groups: ([*[others] * (groups - 1), 1.2], [*[others] * (groups - 1), 0.8])


def _places_change(low: float, high: float) -> Separations:
    return lambda groups: (np.linspace(low, high, groups).tolist(), np.linspace(high, low, groups).tolist())


def _all_but_the_lowest_rise(low: float, high: float) -> Separations:
    return lambda groups: (np.linspace(low, high, groups).tolist(), [low, *[high] * (groups - 1)])


def _stays(low: float, high: float) -> Separations:
    return lambda groups: (np.linspace(low, high, groups).tolist(),) * 2


# The separations of the groups before and now, and the images of each group.
UNCHANGED_AREAS: Final[Mapping[tuple[str, int], Separations]] = {
    (name, images): separations
    for name, separations in (
        ("all areas .80", _stays(1.2, 1.2)),
        ("areas from .76 to .87", _stays(1.0, 1.6)),
        ("areas from .983 to .993", _stays(3.0, 3.5)),
    )
    for images in (30, 400)
} | {
    ("areas from .71 to .92 change places", 400): _places_change(0.8, 2.0),
    ("areas from .78 to .82 change places", 400): _places_change(1.1, 1.3),
    ("areas from .71 to .84, all but the lowest rise to .84", 400): _all_but_the_lowest_rise(0.8, 1.4),
}
CHANGED_AREAS: Final[Mapping[tuple[str, int], Separations]] = {
    (f"one area falls from .80 to .71, others {area}", 400): _one_falls(others)
    for area, others in ((".80", 1.2), (".84", 1.4), (".87", 1.6), (".92", 2.0))
}


def area_changes(repeats: int) -> Iterator[Row]:
    """Yield how often a gap of areas on the same images is called changed.

    Where one area fell, the largest gap counts if it is called changed and became larger. Cells are at a level of
    .01 / .05, the lowest and the highest share of several agreements of the scores.
    """
    yield "case, images a group", ("`between=`", "2 groups", "5 groups", "10 groups")
    for cases, agreements in ((UNCHANGED_AREAS, (0.0, 0.5, 0.9, 0.99)), (CHANGED_AREAS, (0.8, 0.9, 0.95))):
        for (name, images), separations in cases.items():
            cells = []
            for groups, is_signed in ((2, True), (2, False), (5, False), (10, False)):
                is_worse = cases is CHANGED_AREAS and not is_signed
                pair = separations(groups)
                shares = [_areas_called(pair, images // 2, own, repeats, is_signed, is_worse) for own in agreements]
                cells.append(" / ".join(_range(own) for own in zip(*shares, strict=True)))
            yield f"{name}, {images}", cells


def _range(shares: Sequence[float]) -> str:
    low, high = (f"{share:.3f}".removeprefix("0") for share in (min(shares), max(shares)))
    return low if low == high else f"{low}–{high}"


def _areas_called(
    separations: tuple[Sequence[float], Sequence[float]],
    positives: int,
    agreement: float,
    repeats: int,
    is_signed: bool,
    is_worse: bool,
) -> tuple[float, float]:
    generator, found = np.random.default_rng(_SEED), []
    for _ in range(repeats):
        before, now = two_areas(generator, *separations, positives, agreement)
        counts = not is_worse or np.ptp(now.figures) > np.ptp(before.figures)
        found.append(paired_figures_change(before, now, is_signed=is_signed) if counts else 1.0)
    small, usual = (float(np.mean(np.array(found) <= level)) for level in (0.01, 0.05))
    return small, usual
