"""How often a rule decides: against the verdicts and probabilities that numpy and scipy give."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer.metrics.statistics.decision_power import decision_power, images_to_decide, telling_share
from pytest_biastransfer.metrics.statistics.power import probability_at_most, sure_verdicts

quick = settings(max_examples=60, deadline=None)
LIMITS = st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999])


@quick
@given(st.integers(1, 3000), LIMITS, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_power_is_that_of_the_verdicts(n: int, limit: float, confidence: float) -> None:
    verdicts = sure_verdicts(limit, n, confidence)
    passes = probability_at_most(verdicts.most_passing, n, telling_share("certain", limit))
    fails = 1 - probability_at_most(verdicts.least_failing - 1, n, telling_share("significant", limit))
    assert decision_power("certain", limit, n, confidence) == pytest.approx(passes, abs=1e-6)
    assert decision_power("significant", limit, n, confidence) == pytest.approx(fails, abs=1e-6)


@quick
@given(LIMITS, st.sampled_from(["certain", "significant"]))
def test_so_many_images_are_enough_and_half_are_not(limit: float, rule: str) -> None:
    found = images_to_decide(rule, limit, 0.9)
    assert decision_power(rule, limit, found) >= 0.9
    assert decision_power(rule, limit, found // 2) < 0.9


def test_the_observed_value_is_always_compared() -> None:
    assert decision_power("point", 0.05, 1) == 1.0
