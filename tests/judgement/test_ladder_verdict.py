"""The judgement of ladders whose figures are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.judgement.ladder_verdict import judge_ladder, shown_position
from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion

COUNTS = st.lists(st.integers(0, 100), min_size=2, max_size=6)


def ladder_of(
    counts: Sequence[int | None], n: int = 100, early: Mapping[int, Mapping[str, bool]] | None = None
) -> LadderMeasurement:
    """Return a ladder of which so many of n images flip at each strength; None for those that were not measured."""
    estimates = [None if count is None else proportion(count, n) for count in counts]
    measurements: list[Any] = [
        None if one is None else SimpleNamespace(estimate=dict.fromkeys(["asr", "skew"], one).__getitem__, early=None)
        for one in estimates
    ]
    for position, verdicts in (early or {}).items():
        measurements[position].early = verdicts
    mean = Estimate(0.25, low=0.2, high=0.3, confidence=0.95, n=n)
    return LadderMeasurement(
        "", "size", [0.1 * (1 + index) for index in range(len(counts))], measurements, {"asr": mean}, 0.95
    )


@given(COUNTS, st.integers(0, 100), st.data())
def test_the_limit_has_to_hold_at_each_required_strength(counts: list[int], limit: int, data: st.DataObject) -> None:
    ladder = ladder_of(counts)
    required = data.draw(st.integers(1, len(counts)))
    least = None if required == len(counts) else ladder.strengths[required]
    expectation = Expectation((("asr", limit / 100),), min_strength=least)
    verdict = judge_ladder(expectation, ladder)
    breaking = [index for index, count in enumerate(counts) if count > limit]
    assert verdict.breaking == (breaking[0] if breaking else None,)
    assert verdict.holds == (not any(index < required for index in breaking))
    (judged,), (position,) = verdict.limits, verdict.positions
    assert position is not None
    assert position < required
    assert judged.observed == counts[position] / 100
    if verdict.holds:
        assert counts[position] == max(counts[:required])
    else:
        assert position == breaking[0]
    assert shown_position(expectation, ladder) == (breaking[0] if breaking else len(counts) - 1)


@pytest.mark.parametrize(
    ("rule", "limit", "breaking"),
    [("point", 0.2, 2), ("certain", 0.2, 1), ("significant", 0.2, 3), ("certain", 0.3, 2)],
)
def test_the_rule_judges_the_interval_of_each_strength(rule: Any, limit: float, breaking: int) -> None:
    verdict = judge_ladder(Expectation((("asr", limit),), rule=rule), ladder_of([5, 15, 25, 60]))
    assert verdict.breaking == (breaking,)


def test_a_strength_that_would_never_be_certain_says_how_many_images_it_takes() -> None:
    with pytest.raises(BiasTransferError, match=r"max_asr=0.01 can never pass with rule='certain' and n = 100"):
        judge_ladder(Expectation((("asr", 0.01),), rule="certain"), ladder_of([0, 5]))
    with pytest.raises(BiasTransferError, match=r"max_mean_asr=0.01 can never pass with rule='certain' and n = 100"):
        judge_ladder(Expectation((), means=(("asr", 0.01),), rule="certain"), ladder_of([0, 5]))


@pytest.mark.parametrize(
    ("limit", "rule", "is_met"),
    [(0.25, "point", True), (0.24, "point", False), (0.29, "certain", False), (0.3, "certain", True), (0.2, "significant", True), (0.19, "significant", False)],
)  # fmt: skip
def test_a_mean_is_judged_by_its_own_interval(limit: float, rule: Any, is_met: bool) -> None:
    verdict = judge_ladder(Expectation((), means=(("asr", limit),), rule=rule), ladder_of([10, 40]))
    assert verdict.holds == is_met
    assert (verdict.limits[0].metric, verdict.positions, verdict.breaking) == ("mean_asr", (None,), ())


def test_of_a_bisection_the_strengths_next_to_the_smallest_breaking_one_decide() -> None:
    early = {1: {"asr": True, "skew": True}, 2: {"asr": False}}
    ladder = ladder_of([None, 5, 30, None], early=early)
    expectation = Expectation((("asr", 0.1), ("skew", 0.1)))
    broken = judge_ladder(expectation, ladder)
    assert not broken.holds
    assert (broken.breaking, broken.positions) == ((2, None), (2, 2))
    # The second limit was not decided where the first one is broken.
    assert [limit.holds for limit in broken.limits] == [False, None]
    within = judge_ladder(Expectation(expectation.limits, min_strength=ladder.strengths[2]), ladder)
    assert within.holds
    assert within.positions == (1, 1)
    assert [limit.at for limit in within.limits] == ["size 0.2", "size 0.2"]


def test_a_limit_that_is_undecided_beyond_the_required_strengths_holds() -> None:
    early = {2: {"asr": True, "skew": True}, 3: {"asr": False}}
    ladder = ladder_of([None, None, 5, 30], early=early)
    limits = (("asr", 0.1), ("skew", 0.1))
    verdict = judge_ladder(Expectation(limits, min_strength=ladder.strengths[2]), ladder)
    assert verdict.holds
    assert (verdict.breaking, verdict.positions) == ((3, None), (2, 2))
