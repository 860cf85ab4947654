"""Errors of intervals, of tests and of early stopping: the tables of docs/statistics.md. Most are simulated.

python -m benchmarks.simulations [TABLE ...] [--repeats N]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.area_changes import area_changes
from benchmarks.early_stopping import early_stop, largest_passing, stopping, wald
from benchmarks.nights import Row, delays, false_alarms
from benchmarks.seed_simulations import seed_rules, seeds
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.metrics.ladder_measurement import confidence_of_each
from pytest_biastransfer.metrics.rate_gaps import rate_gaps
from pytest_biastransfer.metrics.statistics.image_means import mean_of_images
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.paired_difference import paired_difference
from pytest_biastransfer.metrics.statistics.skew_change_test import skew_change
from pytest_biastransfer.metrics.statistics.skew_interval import corrected_skew_estimate, skew_estimate
from pytest_biastransfer.metrics.statistics.transitions import Transitions

_SEED: Final = 0


def drawn(generator: np.random.Generator, n: int, classes: int, asr: float, share: float) -> npt.NDArray[np.int64]:
    """Return predictions without and with an intervention, int64 [2, n].

    A share of `asr` is lost; class 0 gains `share` of it, and chance the others.
    """
    clean, anywhere = generator.integers(0, classes, (2, n))
    to = np.where(generator.random(n) < share, 0, anywhere)
    return np.stack([clean, np.where(generator.random(n) < asr, to, clean)])


def differences(repeats: int) -> Iterator[Row]:
    """Yield coverage, and how often the upper and the lower end miss the truth, of differences of two shares."""
    yield "images, only first, only second", ("coverage", "above", "below")
    generator = np.random.default_rng(_SEED)
    for n, first, second in ((150, 0.15, 0.05), (1000, 0.02, 0.01), (1000, 0.1, 0.1), (5000, 0.01, 0.002)):
        counts = generator.multinomial(n, [first, second, 1 - first - second], size=repeats)
        found = [paired_difference(int(one), int(other), n) for one, other, _ in counts]
        above = np.mean([one.high < first - second for one in found])
        below = np.mean([one.low > first - second for one in found])
        yield f"{n:,}, {first:g}, {second:g}", (f"{1 - above - below:.3f}", f"{above:.3f}", f"{below:.3f}")


def skews(repeats: int) -> Iterator[Row]:
    """Yield the coverage of a skew's interval, where class 0 gains none, a half or all of the flips; by asr."""
    sizes = (2, 10, 100, 1000)
    yield "images", [f"{classes} classes" for classes in sizes]
    for n in (250, 1000, 5000, 50_000):
        yield (
            f"{n:,}",
            [
                " / ".join(
                    ", ".join(f"{_coverage(n, classes, asr, share, repeats):.3f}" for share in (0.0, 0.5, 1.0))
                    for asr in (0.2, 0.1, 0.02)
                )
                for classes in sizes
            ],
        )


def _coverage(n: int, classes: int, asr: float, share: float, repeats: int) -> float:
    generator = np.random.default_rng(_SEED)
    truth = asr * share * (1 - 1 / classes)
    found = (skew_estimate(Transitions.between(*drawn(generator, n, classes, asr, share)), n) for _ in range(repeats))
    return float(np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]))


def corrected_skews(repeats: int) -> Iterator[Row]:
    """Yield the mean skew, observed and corrected, where class 0 gains none, a half or all of the flips; asr 0.2."""
    yield "classes, images", [f"truth, observed, corrected: {share:g}" for share in (0.0, 0.5, 1.0)]
    for classes, n in ((10, 250), (100, 250), (100, 5000), (1000, 5000), (1000, 50_000)):
        cells = []
        for share in (0.0, 0.5, 1.0):
            generator = np.random.default_rng(_SEED)
            moves = [Transitions.between(*drawn(generator, n, classes, 0.2, share)) for _ in range(repeats)]
            observed = np.mean([float(skew_estimate(one, n)) for one in moves])
            corrected = np.mean([float(corrected_skew_estimate(one, n)) for one in moves])
            cells.append(f"{0.2 * share * (1 - 1 / classes):.3f}, {observed:.3f}, {corrected:.3f}")
        yield f"{classes:,}, {n:,}", cells


def ladders(repeats: int) -> Iterator[Row]:
    """Yield the coverage of the band over the strengths of a ladder, and of the interval of the mean over them.

    In each cell an image has one threshold for all strengths, or for 70 % of them, or none: strengths are independent.
    """
    sizes = (50, 200, 1000)
    yield "asr by strength", [f"{kind}, {n:,} images" for kind in ("band", "mean") for n in sizes]
    curves: Sequence[Sequence[float]] = (
        (0.0, 0.002, 0.005, 0.01, 0.02),
        (0.01, 0.04, 0.12, 0.3),
        (0.001, 0.01, 0.1, 0.6, 0.95),
        (0.05,) * 5,
    )
    for curve in curves:
        found = [[_ladder_coverage(curve, n, common, repeats) for common in (1.0, 0.7, 0.0)] for n in sizes]
        cells = [[f"{coverages[kind]:.3f}" for coverages in row] for kind in (0, 1) for row in found]
        yield ", ".join(f"{share:g}" for share in curve), [" / ".join(cell) for cell in cells]


def _ladder_coverage(curve: Sequence[float], n: int, common: float, repeats: int) -> tuple[float, float]:
    generator = np.random.default_rng(_SEED)
    shares, shape = np.array(curve)[:, None], (len(curve), n)
    band = mean = 0
    for _ in range(repeats):
        own = np.broadcast_to(generator.random((1, n)), shape)
        flipped = np.where(generator.random(shape) < common, own, generator.random(shape)) < shares
        each = confidence_of_each(0.95, len(curve))
        intervals = [proportion(int(count), n, each) for count in flipped.sum(axis=1)]
        band += all(one.low <= share <= one.high for one, share in zip(intervals, curve, strict=True))
        values = flipped.mean(axis=0)
        of_all = mean_of_images(values[values > 0], n)
        mean += int(of_all.low <= np.mean(curve) <= of_all.high)
    return band / repeats, mean / repeats


def gaps(repeats: int) -> Iterator[Row]:
    """Yield the coverage of the gap of rates: equal ones, evenly spread ones, one that differs, two halves."""
    yield "groups, images", ("all .05", "all .2", ".1 to .3", "one .2, others .05", "half .10, half .15")
    for groups in (2, 5, 10, 50):
        for n in (50, 200, 500, 2000):
            rates = (
                np.full(groups, 0.05),
                np.full(groups, 0.2),
                np.linspace(0.1, 0.3, groups),
                np.append(np.full(groups - 1, 0.05), 0.2),
                np.where(np.arange(groups) < groups // 2, 0.1, 0.15),
            )
            yield f"{groups}, {n:,}", [f"{_gap_coverage(own, n, repeats):.3f}" for own in rates]


def _gap_coverage(rates: npt.NDArray[np.float64], n: int, repeats: int) -> float:
    generator, groups = np.random.default_rng(_SEED), len(rates)
    codes, among = np.repeat(np.arange(groups), n), np.ones(groups * n, dtype=np.bool_)
    truth, covered = float(np.ptp(rates)), 0
    for _ in range(repeats):
        hits = (np.arange(n) < generator.binomial(n, rates)[:, None]).ravel()
        found = rate_gaps("accuracy", hits, among, codes, list(map(str, range(groups)))).gap
        covered += found.low <= truth + 1e-12 and truth - 1e-12 <= found.high
    return covered / repeats


Case = Callable[[np.random.Generator, int, int], tuple[Any, Any]]


def _unchanged(generator: np.random.Generator, n: int, classes: int) -> tuple[Any, Any]:
    return drawn(generator, n, classes, 0.1, 0.5), drawn(generator, n, classes, 0.1, 0.5)


def _other_class(generator: np.random.Generator, n: int, classes: int) -> tuple[Any, Any]:
    before, now = _unchanged(generator, n, classes)
    return before, classes - 1 - now


def _twice_the_flips(generator: np.random.Generator, n: int, classes: int) -> tuple[Any, Any]:
    return drawn(generator, n, classes, 0.1, 0.0), drawn(generator, n, classes, 0.2, 0.0)


def _half_the_flips(generator: np.random.Generator, n: int, classes: int) -> tuple[Any, Any]:
    return drawn(generator, n, classes, 0.1, 0.5), drawn(generator, n, classes, 0.05, 1.0)


def _larger(generator: np.random.Generator, n: int, classes: int) -> tuple[Any, Any]:
    return drawn(generator, n, classes, 0.1, 0.5), drawn(generator, n, classes, 0.1, 0.75)


CASES: Final[Mapping[str, Case]] = {
    "nothing changed": _unchanged,
    "the same skew, towards another class": _other_class,
    "twice the flips, which cancel out": _twice_the_flips,
    "half the flips, same skew": _half_the_flips,
    "a true change from .05 to .075": _larger,
}


def skew_changes(repeats: int) -> Iterator[Row]:
    """Yield how often a skew is called changed at a level of .01 / .05, on the same images and on other images."""
    yield "case, images, classes", ("same images", "other images")
    for name, case in CASES.items():
        for n, classes in ((300, 10), (2000, 10), (2000, 100), (2000, 1000)):
            yield (
                f"{name}, {n:,}, {classes:,}",
                [_called(case, n, classes, repeats, paired) for paired in (True, False)],
            )


def _called(case: Case, n: int, classes: int, repeats: int, paired: bool) -> str:
    generator, found = np.random.default_rng(_SEED), []
    for _ in range(repeats):
        before, now = (Transitions.between(*predicted) for predicted in case(generator, n, classes))
        found.append(skew_change([before], [now], n, n, paired=paired))
    return " / ".join(f"{np.mean(np.array(found) <= level):.3f}" for level in (0.01, 0.05))


# What a limit is compared with, as shares of all images.
_LIMIT: Final = 0.05
_SHARES: Final = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.07, 0.1, 0.2)


def early_stopping(_repeats: int) -> Iterator[Row]:
    """Yield images on average, and wrong verdicts, by the true asr, with looks after chunks and after each image.

    The limit is 0.05, alpha 0.01. Computed exactly, whatever `_repeats` is.
    """
    names = ("images", "of all", "wrong", "of Wald's test", "times as many")
    yield "images, hits", [f"{name}{looks}" for looks in ("", ", each image") for name in names]
    for population in (50_000, 5_000):
        at_limit = largest_passing(population, _LIMIT)
        totals = sorted({*(round(share * population) for share in _SHARES), at_limit, at_limit + 1})
        for total in totals:
            each = range(1, population)
            cells = [*_stopped(population, total, [chunk.stop for chunk in chunks(population)])]
            yield f"{population:,}, {total:,}", [*cells, *_stopped(population, total, each)]


def _stopped(population: int, total: int, at: Sequence[int], alpha: float = 0.01) -> tuple[str, ...]:
    most = largest_passing(population, _LIMIT)
    ours, known = (
        stopping(population, total, most, at, decision)
        for decision in (early_stop(population, _LIMIT, alpha), wald(population, total, _LIMIT, alpha))
    )
    of_all, wrong = f"{ours.images / population:.2%}", f"{ours.wrong:.1e}"
    # Next to the limit, hardly anything can be told before the last image.
    compared = ("", "") if total - most in (0, 1) else (f"{known.images:,.0f}", f"{ours.images / known.images:.2f}")
    return f"{ours.images:,.0f}", of_all, wrong, *compared


TABLES: Final[Mapping[str, Callable[[int], Iterator[Row]]]] = {
    "differences": differences,
    "skews": skews,
    "corrected-skews": corrected_skews,
    "ladders": ladders,
    "gaps": gaps,
    "skew-changes": skew_changes,
    "false-alarms": false_alarms,
    "delays": delays,
    "seeds": seeds,
    "seed-rules": seed_rules,
    "area-changes": area_changes,
    "early-stopping": early_stopping,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print tables in Markdown, row by row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulations", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], help=f"of {', '.join(TABLES)}; default: all")
    parser.add_argument("--repeats", type=int, default=1000, help="simulated datasets for each figure of a simulation")
    given = parser.parse_args(arguments)
    for name in given.tables or TABLES:
        rows = TABLES[name](given.repeats)
        heading = next(rows)
        source = "computed exactly" if TABLES[name] is early_stopping else f"{given.repeats:,} datasets a figure"
        sys.stdout.write(f"\n{name}, {source}\n\n")
        for label, cells in itertools.chain([heading, ("---", ["---"] * len(heading[1]))], rows):
            sys.stdout.write(f"| {label} | {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
