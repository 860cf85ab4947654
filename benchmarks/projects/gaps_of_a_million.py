"""All gaps of 1,000,000 predictions and 10 groups. Prints the milliseconds of the median run of each metric."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from pytest_biastransfer.metrics.area_gaps import auc_gaps
from pytest_biastransfer.metrics.prevalence import at_prevalence
from pytest_biastransfer.metrics.rate_gaps import hits_and_among, rate_gaps

IMAGES, GROUPS, RUNS = 1_000_000, 10, 7
NAMES = [f"group {code}" for code in range(GROUPS)]


def main() -> None:
    """Time a metric of each kind."""
    generator = np.random.default_rng(0)
    codes = generator.integers(GROUPS, size=IMAGES)
    positive = generator.random(IMAGES) < 0.3
    scores = (generator.normal(size=IMAGES) + positive).astype(np.float32)
    chosen = scores > 0.5

    def rate() -> object:
        return rate_gaps("fpr", *hits_and_among("fpr", chosen, positive, chosen == positive), codes, NAMES)

    def prevalence() -> object:
        marked = at_prevalence(scores, int(np.count_nonzero(positive)))
        return rate_gaps("fpr", *hits_and_among("fpr", marked, positive, marked == positive), codes, NAMES)

    found = {
        "rate": _median(rate),
        "prevalence": _median(prevalence),
        "auc": _median(lambda: auc_gaps(scores, positive, codes, NAMES)),
        "auc_shared": _median(lambda: auc_gaps(scores, positive, codes, NAMES, negatives="shared")),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _median(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return median(times)


if __name__ == "__main__":
    main()
