"""Tests of change: each can become as small as many comparisons of a session ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_biastransfer.metrics.statistics.change_tests import mcnemar, mean_change, two_proportions
from pytest_biastransfer.metrics.statistics.gap_change_test import SizedGap, paired_gap_change, unpaired_gap_change
from pytest_biastransfer.metrics.statistics.skew_change_test import skew_change
from pytest_biastransfer.metrics.statistics.transitions import Transitions

N = 2000
CODES = np.arange(N) // (N // 2)
EVERY = np.ones(N, dtype=bool)
NONE: Any = np.array([], dtype=np.int64)
MOVED = Transitions(np.arange(900), np.zeros(900, dtype=np.int64), np.ones(900, dtype=np.int64))
RESTING = Transitions(NONE, NONE, NONE)

# From no bias at all to as much as there can be.
CHANGES = {
    "McNemar": lambda: mcnemar(900, 0),
    "Fisher": lambda: two_proportions(900, N, 0, N),
    "mean, same images": lambda: mean_change((NONE, NONE), (np.arange(900), NONE), N, N, paired=True),
    "mean, other images": lambda: mean_change((NONE, NONE), (np.arange(900), NONE), N, N, paired=False),
    "skew, same images": lambda: skew_change([RESTING], [MOVED], N, N, paired=True),
    "skew, other images": lambda: skew_change([RESTING], [MOVED], N, N, paired=False),
    "gap, same images": lambda: paired_gap_change(~EVERY, CODES == 0, EVERY, CODES, 2),
    "signed gap, same images": lambda: paired_gap_change(~EVERY, CODES == 0, EVERY, CODES, 2, is_signed=True),
    "gap, other images": lambda: unpaired_gap_change(SizedGap(0.0, 0.0, 0.01, 1.0), SizedGap(0.9, 0.0, 0.01, 0.0)),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_every_comparison_can_fail_among_many(change: str) -> None:
    assert CHANGES[change]() < 1e-9


@pytest.mark.parametrize("images", [1, 3, 8])
def test_few_images_are_no_rarer_than_coins(images: int) -> None:
    now = np.arange(N) < images
    assert paired_gap_change(~EVERY, now, EVERY, CODES, 2) >= 0.5 ** (images - 1)
