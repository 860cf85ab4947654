"""Simulated seeds of one training beside a baseline of several: false alarms, and the worsenings that are found.

In all cases an image flips if the sum of what is hard about it for every seed and of what is for one seed exceeds a
threshold, which is the seed's own: a model with crossed random effects of seeds and images, on the scale of the probit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtri

from pytest_biastransfer.metrics.statistics.change_tests import mcnemar
from pytest_biastransfer.metrics.statistics.seed_change_test import beside_most, beyond_seeds, root_scale

LEVEL: Final = 0.01
# The share of the variance that seeds have in common: of 10 % flips, 5.6 % are no flips of another seed.
COMMON: Final = 2 / 3
SEEDS: Final = (1, 2, 3, 5, 10)
_SEED: Final = 0

Asrs = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Asrs]


class Session(NamedTuple):
    """A new model and the accepted seeds: the flips of each, and the p-values of the new one beside each seed.

    Attributes
    ----------
    flips
        How many images the new model flips, and then each seed.
    p_values
        Of McNemar's test beside each seed; 1 if the new model is not worse than it.
    differences
        The mean and the standard error over images of the difference from the mean of the first k seeds, by k.
    images
        Their number.
    """

    flips: Sequence[int]
    p_values: Sequence[float]
    differences: Mapping[int, tuple[float, float]]
    images: int


def normal_seeds(mean: float, deviation: float) -> Draw:
    """Return draws of asr that are normal."""
    return lambda generator, n: np.clip(generator.normal(mean, deviation, n), 1e-7, 1 - 1e-7)


def skewed_seeds(mean: float, deviation: float) -> Draw:
    """Return draws of asr from a beta distribution: of rare flips, most seeds have few and some have many."""
    both = mean * (1 - mean) / deviation**2 - 1
    return lambda generator, n: np.clip(generator.beta(mean * both, (1 - mean) * both, n), 1e-7, 1 - 1e-7)


def session(generator: np.random.Generator, images: int, draw: Draw, worse_by: float) -> Session:
    """Simulate one new model, whose asr is larger than that of a further seed by `worse_by`, and the accepted seeds."""
    asr = draw(generator, max(SEEDS) + 1)
    asr[0] = min(asr[0] + worse_by, 1 - 1e-7)
    common = generator.standard_normal(images, dtype=np.float32) * COMMON**0.5
    flips = np.stack(
        [
            common + generator.standard_normal(images, dtype=np.float32) * (1 - COMMON) ** 0.5 < threshold
            for threshold in ndtri(asr).astype(np.float32)
        ]
    )
    now, seeds = flips[0], flips[1:]
    newly, no_longer = (now & ~seeds).sum(1), (~now & seeds).sum(1)
    p_values = [
        mcnemar(int(more), int(fewer)) if more > fewer else 1.0 for more, fewer in zip(newly, no_longer, strict=True)
    ]
    differences = {}
    for k in SEEDS:
        by_image = now - seeds[:k].mean(0)
        differences[k] = float(by_image.mean()), float(by_image.std() / images**0.5)
    return Session(flips.sum(1).tolist(), p_values, differences, images)


def p_value(one: Session, k: int) -> float:
    """Return the p-value of becoming worse than the first k seeds, as the baseline has it; 1 if it is not worse."""
    by_image = beside_most(one.p_values[:k])
    return by_image if k == 1 else max(p_of_seeds(one, k), by_image)


def p_of_seeds(one: Session, k: int, scale: Any = None) -> float:
    """Return the p-value over the seeds alone; 1 if the new model is not worse."""
    now, *seeds = (count / one.images for count in one.flips[: k + 1])
    if now <= np.mean(seeds):
        return 1.0
    return beyond_seeds(now, seeds, resolution=1 / one.images, scale=scale or root_scale(one.images))


def p_of_every_seed(one: Session, k: int) -> float:
    """Return it if the new model had to be worse by image than every seed, instead of most of them."""
    return max(p_of_seeds(one, k), *one.p_values[:k])


def p_of_mixed_model(one: Session, k: int) -> float:
    """Return the p-value of a mixed model by REML: where seeds vary by less than the images explain, those alone count.

    That is what an estimate of a variance that cannot be negative does in a balanced design.
    """
    difference, error = one.differences[k]
    figures = [count / one.images for count in one.flips[1 : k + 1]]
    over_seeds = (np.var(figures, ddof=1) * (1 + 1 / k)) ** 0.5
    if difference <= 0:
        return 1.0
    if over_seeds < error:
        return float(2 * stats.norm.sf(difference / error))
    return float(2 * stats.t.sf(difference / over_seeds, k - 1))


def called_worse(
    images: int, draw: Draw, worse_by: float, repeats: int, rules: Sequence[Callable[[Session, int], float]]
) -> list[list[float]]:
    """Return how often each rule calls a model worse, for each number of seeds from two on, the first rule from one."""
    generator = np.random.default_rng(_SEED)
    sessions = [session(generator, images, draw, worse_by) for _ in range(repeats)]
    return [
        [float(np.mean([rule(one, k) <= LEVEL for one in sessions])) for k in SEEDS[bool(number) :]]
        for number, rule in enumerate(rules)
    ]


def seeds(repeats: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield how often a further seed is called worse: an innocent one, and one that is worse by some deviations."""
    yield "images, worse by", [f"{k} seed{'s' * (k > 1)}" for k in SEEDS]
    for images in (5000, 50_000):
        for deviations in (0, 3, 5, 10):
            shares = called_worse(images, normal_seeds(0.1, 0.006), 0.006 * deviations, repeats, [p_value])[0]
            yield f"{images:,}, {deviations} sd", [f"{share:.3f}" for share in shares]


def _on_plain_scale(one: Session, k: int) -> float:
    return max(p_of_seeds(one, k, scale=float), beside_most(one.p_values[:k]))


CASES: Final[Mapping[str, tuple[int, Draw]]] = {
    ".1, sd .006": (5000, normal_seeds(0.1, 0.006)),
    ".1, sd .05, skewed": (5000, skewed_seeds(0.1, 0.05)),
    ".01, sd .002, skewed": (5000, skewed_seeds(0.01, 0.002)),
    ".01, sd .01, skewed": (5000, skewed_seeds(0.01, 0.01)),
    ".001, sd .0005, skewed": (5000, skewed_seeds(0.001, 0.0005)),
    ".001, sd .001, skewed": (50_000, skewed_seeds(0.001, 0.001)),
    ".1, no sd": (5000, normal_seeds(0.1, 1e-9)),
    ".001, no sd": (5000, normal_seeds(0.001, 1e-9)),
}


def seed_rules(repeats: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield how often an innocent seed, and one worse by five deviations, is called worse by several rules."""
    rules = {
        "as it is": p_value,
        "seeds alone": p_of_seeds,
        "by image than every seed": p_of_every_seed,
        "plain scale": _on_plain_scale,
        "REML": p_of_mixed_model,
    }
    yield "asr, rule", [f"{k} seeds" for k in SEEDS[1:]]
    for name, (images, draw) in CASES.items():
        deviation = float(np.std(draw(np.random.default_rng(_SEED), 10_000)))
        innocent = called_worse(images, draw, 0.0, repeats, list(rules.values()))
        worse = called_worse(images, draw, 5 * deviation, repeats, list(rules.values()))
        for number, rule in enumerate(rules):
            cells = zip(innocent[number], worse[number], strict=True)
            yield f"{name}, {rule}", [f"{level:.3f} / {power:.3f}" for level, power in cells][number == 0 :]
