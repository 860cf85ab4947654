"""Searches for a planted shortcut, guided and by chance, from several seeds. Prints what each came to.

Arguments: the folder of the data, how many seeds, how many images.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from planted import PLANTED, normalized, planted_model, read_images  # type: ignore[import-not-found]

from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.evaluation.visiting_order import visiting_order
from pytest_biastransfer.interventions import Intervention
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.search.engine import search
from pytest_biastransfer.search.trials import Trials
from pytest_biastransfer.strategies import patches

BUDGET: Final = 200
LIMIT: Final = 0.5
STRONG: Final = 0.8
_BATCH: Final = 64


class Model:
    """Answers how many of the images an intervention flips, and how much of an image it changes."""

    def __init__(self, data: Path, images: int) -> None:
        self._module = planted_model(data)
        pictures, _, _ = read_images(data / "cifar10" / "test")
        self._images = pictures[torch.from_numpy(visiting_order(len(pictures), 0)[:images])]
        self._clean = self._classes(self._images)
        self._known: dict[Intervention, tuple[float, float]] = {}

    @torch.inference_mode()
    def _classes(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._module(normalized(batch)).argmax(dim=1) for batch in torch.split(images, _BATCH)])

    def asr(self, intervention: Intervention) -> tuple[float, float]:
        """Return the asr and the lower end of its interval; what another seed has asked for is known."""
        if intervention not in self._known:
            flips = int((self._classes(intervention.apply(self._images)) != self._clean).sum())
            count = len(self._images)
            self._known[intervention] = flips / count, proportion(flips, count).low
        return self._known[intervention]

    def area(self, intervention: Intervention) -> float:
        """Return the share of the pixels that are changed."""
        return float((intervention.apply(self._images[:2]) != self._images[:2]).any(dim=1).float().mean())


class FoundOne(Exception):
    """Something is above the limit: that is all that was asked for."""


def guided_until(seed: int, model: Model, limit: float) -> int:
    """Return how many interventions a search tries until one is above the limit, at most one more than the budget."""
    tried = 0

    def evaluate(intervention: Intervention) -> tuple[float, float]:
        nonlocal tried
        tried += 1
        value, surely = model.asr(intervention)
        if surely > limit:
            raise FoundOne
        return value, surely

    try:
        search(patches(), Trials(evaluate, model.area), limit=limit, budget=BUDGET, seed=seed)
    except FoundOne:
        return tried
    return BUDGET + 1


def by_chance(seed: int, surely: Callable[[Intervention], float], limit: float) -> int:
    """Return how many interventions it takes to draw one above the limit, at most one more than the budget."""
    drawn: set[Intervention] = set()
    numbers: list[int] = []

    @settings(
        max_examples=10 * BUDGET, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(patches())
    def draw(patch: Intervention) -> None:
        if not numbers and patch not in drawn and len(drawn) < BUDGET:
            drawn.add(patch)
            if surely(patch) > limit:
                numbers.append(len(drawn))

    seeded(seed)(draw)()
    return numbers[0] if numbers else BUDGET + 1


def main() -> None:
    """Search from each seed."""
    data, seeds, images = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    model = Model(data, images)
    guided, strong, chance, strong_chance, areas = [], [], [], [], []
    for seed in range(seeds):
        found = search(patches(), Trials(model.asr, model.area), limit=LIMIT, budget=BUDGET, seed=seed)
        guided.append(found.first.number if found.first else BUDGET + 1)
        areas.append(model.area(found.simplest.intervention) / model.area(PLANTED) if found.simplest else float("inf"))
        strong.append(guided_until(seed, model, STRONG))
        chance.append(by_chance(seed, lambda patch: model.asr(patch)[1], LIMIT))
        strong_chance.append(by_chance(seed, lambda patch: model.asr(patch)[1], STRONG))
        sys.stderr.write(f"seed {seed}: {guided[-1]}, {areas[-1]:g}, {found.simplest}; by chance {chance[-1]}; "
                         f"{STRONG:g}: {strong[-1]}, by chance {strong_chance[-1]}\n")  # fmt: skip
    result = {
        "planted": model.asr(PLANTED)[0],
        "found": 10 * sum(number <= BUDGET for number in guided) / seeds,
        "area": sorted(areas)[min(round(0.9 * seeds), seeds) - 1],
        "largest_area": max(areas),
        "evaluations": median(guided),
        "by_chance": median(chance),
        "strong": median(strong),
        "strong_by_chance": median(strong_chance),
        "strong_found": 10 * sum(number <= BUDGET for number in strong) / seeds,
        "strong_found_by_chance": 10 * sum(number <= BUDGET for number in strong_chance) / seeds,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    with freed_memory_kept():
        main()
