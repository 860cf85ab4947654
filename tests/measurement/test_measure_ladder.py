"""Ladders measured without pytest: all strengths, and those that bisection needs."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer import Square, Tint, ladder, measure, measure_ladder
from pytest_biastransfer.data import as_images
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.judgement.ladder_verdict import breaks_a_limit, judge_ladder
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.measurement.measure_ladder import measure_ladder_loaded, most_measured
from pytest_biastransfer.models import as_model

BRIGHTEST = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def images(blues: list[float]) -> list[tuple[torch.Tensor, int]]:
    """Return images that are the later red under a yellow tint the bluer they are."""
    return [(torch.tensor([0.3, 0.2, 0.3 + blue]).reshape(3, 1, 1).expand(3, 4, 4), 2) for blue in blues]


def test_each_strength_is_an_ordinary_measurement() -> None:
    dataset, tints = images([0.01, 0.2, 0.44, 0.7] * 5), ladder(Tint(), "strength", [0.1, 0.3, 0.4])
    measured = measure_ladder(BRIGHTEST, dataset, tints, target=0, control=BRIGHTEST, confidence=0.9)
    for strength, step in zip(tints.strengths, tints.steps, strict=True):
        alone = measure(BRIGHTEST, dataset, step, target=0, control=BRIGHTEST, confidence=1 - 0.1 / 3)
        assert measured.at(strength).estimates == alone.estimates
        assert measured.at(strength).asr.low == alone.asr.low
    assert measured.curve("asr") == [0.25, 0.5, 0.75]
    assert (measured.mean("asr"), measured.mean("asr").confidence) == (0.5, 0.9)
    assert "asr 0.250 0.500 0.750 at strength 0.1 0.3 0.4" in repr(measured)


@pytest.fixture(scope="module")
def strengths() -> list[float]:
    return [0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.4]


@settings(max_examples=25, deadline=None)
@given(
    blues=st.lists(st.floats(0.01, 0.69), min_size=2, max_size=10),
    limits=st.dictionaries(st.sampled_from(["asr", "skew"]), st.floats(0, 1), min_size=1),
    count=st.integers(2, 7),
    data=st.data(),
)
def test_bisection_finds_the_same_as_all_strengths(
    strengths: list[float], blues: list[float], limits: dict[str, float], count: int, data: st.DataObject
) -> None:
    tints = ladder(Tint(), "strength", strengths[:count])
    least = data.draw(st.sampled_from([None, *tints.strengths[1:]]))
    expectation = Expectation(tuple(limits.items()), min_strength=least)
    arguments = evaluator_for("cpu", None), as_model(BRIGHTEST, "model"), as_images(images(blues), "dataset"), tints
    full = measure_ladder_loaded(*arguments)
    some = measure_ladder_loaded(*arguments, breaks=partial(breaks_a_limit, expectation))
    assert len(some.measured) <= most_measured(count)
    expected, bisected = judge_ladder(expectation, full), judge_ladder(expectation, some)
    assert bisected.holds == expected.holds
    # More flip at stronger strengths, so that the smallest strength that breaks any of the limits is the same.
    first = min((one for one in expected.breaking if one is not None), default=None)
    assert min((one for one in bisected.breaking if one is not None), default=None) == first
    for limit, position in zip(bisected.limits, bisected.positions, strict=True):
        assert position is not None
        assert limit.observed == full.curve(limit.metric)[position]


def test_a_ladder_of_another_kind_has_means_of_what_is_no_flip() -> None:
    squares = ladder(Square(color="yellow"), "size", [0.25, 0.5])
    measured = measure_ladder(BRIGHTEST, images([0.01, 0.3]), squares)
    drops = [float(measured.at(size).accuracy_drop) for size in (0.25, 0.5)]
    assert measured.mean("accuracy_drop") == sum(drops) / 2
