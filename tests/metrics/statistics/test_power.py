"""What a number of images can tell: against counting all outcomes, and against simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer.metrics.statistics.change_tests import mcnemar
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.power import (
    change_power,
    images_for,
    probability_at_most,
    sure_verdicts,
)


@given(st.integers(1, 200), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.sampled_from([0.8, 0.95]))
def test_sure_verdicts_are_those_of_all_counts(n: int, limit: float, confidence: float) -> None:
    found = sure_verdicts(limit, n, confidence)
    estimates = [proportion(count, n, confidence) for count in range(n + 1)]
    assert found.most_passing == max((k for k, one in enumerate(estimates) if one.high <= limit), default=-1)
    assert found.least_failing == min((k for k, one in enumerate(estimates) if one.low > limit), default=n + 1)


@pytest.mark.parametrize(("count", "n", "share"), [(-1, 5, 0.5), (0, 5, 0.5), (3, 5, 0.1), (5, 5, 0.5), (9, 5, 0.5)])
def test_probabilities_are_binomial(count: int, n: int, share: float) -> None:
    assert probability_at_most(count, n, share) == pytest.approx(stats.binom.cdf(count, n, share), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "newly", "no_longer", "alpha"),
    [(40, 0.2, 0.1, 0.05), (40, 0.5, 0.5, 0.05), (60, 0.1, 0.0, 0.01), (25, 0.0, 0.4, 0.2)],
)
def test_the_power_is_that_of_all_outcomes(n: int, newly: float, no_longer: float, alpha: float) -> None:
    total = 0.0
    for up in range(n + 1):
        for down in range(n + 1 - up):
            if mcnemar(up, down) <= alpha:
                total += stats.multinomial.pmf([up, down, n - up - down], n, [newly, no_longer, 1 - newly - no_longer])
    assert change_power(n, newly, no_longer, alpha) == pytest.approx(total, abs=1e-9)


def test_the_power_of_many_images_is_that_of_a_simulation() -> None:
    counts = np.random.default_rng(0).multinomial(5000, [0.009, 0.004, 0.987], size=2000)
    simulated = np.mean([mcnemar(int(up), int(down)) <= 0.01 for up, down, _ in counts])
    assert change_power(5000, 0.009, 0.004, 0.01) == pytest.approx(simulated, abs=0.035)


@pytest.mark.parametrize(("newly", "no_longer"), [(0.012, 0.004), (0.05, 0.0)])
def test_so_many_images_are_enough(newly: float, no_longer: float) -> None:
    found = images_for(0.9, newly, no_longer, 0.01)
    assert found is not None
    assert change_power(found, newly, no_longer, 0.01) >= 0.9
    assert change_power(found // 2, newly, no_longer, 0.01) < 0.9


def test_what_does_not_change_is_never_found() -> None:
    assert change_power(1000, 0.0, 0.0, 0.01) == 0.0
    assert images_for(0.9, 0.004, 0.004, 0.01) is None
