"""Figures that equal a limit in exact arithmetic meet it; one image more does not."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.judgement.verdict import holds
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.metrics.statistics.sequential import most_hits

shares = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))
limits = st.integers(0, 10_000).map(lambda number: Fraction(number, 10_000))


@given(shares, limits)
def test_differences_of_shares_are_judged_as_fractions(counts: tuple[int, int, int], limit: Fraction) -> None:
    first, second, n = counts
    exact = Fraction(first - second, n)
    observed = Estimate(first / n - second / n, low=-1, high=1)
    assert holds("point", observed, float(limit)) is (exact <= limit)
    assert holds("point", observed, float(limit), "at least") is (exact >= limit)
    assert holds("point", observed, float(limit), "size at most") is (abs(exact) <= limit)


@given(st.integers(1, 5000), limits)
def test_early_stopping_judges_counts_as_fractions(n: int, limit: Fraction) -> None:
    (most,) = most_hits(np.array([n]), float(limit), "point", 0.95)
    assert most == math.floor(limit * n)


def test_what_is_undefined_meets_no_limit() -> None:
    assert not is_at_most(math.nan, 1.0)
    assert is_at_most(np.array([0.4 - 0.1, 0.3001, math.nan]), 0.3).tolist() == [True, False, False]
