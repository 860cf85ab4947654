"""Interventions that differ from image to image: by the place of an image in its dataset, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer import Circle, Grayscale, Noise, Random, Sometimes, Square, Text, Tint
from pytest_biastransfer.errors import InterventionError

quick = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_so_many_images_are_changed(probability: float) -> None:
    changed = Sometimes(Square(size=1, color="white"), probability=probability).apply(torch.zeros(4000, 1, 2, 2))
    # Four standard deviations of a binomial.
    width = 4 * (probability * (1 - probability) / 4000) ** 0.5
    assert float(changed.mean()) == pytest.approx(probability, abs=width)
    assert set(changed.flatten().tolist()) == {0.0, 1.0}


def test_with_a_probability_of_one_all_images_are_changed() -> None:
    images = torch.rand(20, 3, 8, 8)
    assert torch.equal(Sometimes(Grayscale(), probability=1).apply(images), Grayscale().apply(images))


def test_an_image_is_drawn_by_seed_and_place() -> None:
    images = torch.zeros(200, 1, 2, 2)
    first = Sometimes(Square(size=1), seed=1).apply(images)
    assert torch.equal(first, Sometimes(Square(size=1), seed=1).apply(images))
    assert not torch.equal(first, Sometimes(Square(size=1), seed=2).apply(images))
    order = np.random.default_rng(0).permutation(200).tolist()
    assert torch.equal(Sometimes(Square(size=1), seed=1).apply(images, order), first[order])


def test_what_is_inside_is_seeded_by_the_same_places() -> None:
    images = torch.full((50, 3, 8, 8), 0.5)
    noisy, sometimes = Noise(seed=3).apply(images), Sometimes(Noise(seed=3)).apply(images)
    changed = (sometimes != images).flatten(1).any(dim=1)
    assert 10 < int(changed.sum()) < 40
    assert torch.equal(sometimes[changed], noisy[changed])


@quick
@given(st.floats(0.1, 0.6), st.sampled_from([0.0, 0.1, 0.2]), st.integers(0, 99), st.integers(20, 40))
def test_a_shape_is_anywhere_but_in_the_margin(size: float, margin: float, seed: int, side: int) -> None:
    square = Square(size=size, margin=margin, color="white")
    changed = Random(square, seed=seed).apply(torch.zeros(30, 1, side, side + 7))[:, 0]
    extent, border = round(size * side), round(margin * side)
    assert (changed.sum(dim=(1, 2)) == extent * extent).all()
    corners = [tuple(drawn.nonzero().min(dim=0).values.tolist()) for drawn in changed]
    most = max(side - extent - 2 * border, 0), max(side + 7 - extent - 2 * border, 0)
    for top, left in corners:
        assert border <= top <= border + most[0]
        assert border <= left <= border + most[1]
    assert len(set(corners)) > min(10, most[0])


def test_all_places_are_equally_likely() -> None:
    changed = Random(Square(size=0.25, color="white")).apply(torch.zeros(4000, 1, 8, 8))
    tops = changed.any(dim=3)[:, 0].float().argmax(dim=1)
    counts = torch.bincount(tops, minlength=7).tolist()
    assert all(count == pytest.approx(4000 / 7, abs=4 * (4000 / 7) ** 0.5) for count in counts)


def test_a_random_place_is_that_of_an_anchor() -> None:
    images = torch.rand(12, 3, 30, 40)
    for placed in (Circle(size=0.3, angle=20, opacity=0.5, blend="screen"), Text("Ab", size=0.5, angle=30)):
        changed = Random(placed).apply(images)
        alone = torch.cat([Random(placed).apply(images[i : i + 1], [i]) for i in range(12)])
        assert torch.equal(changed, alone)
        assert not torch.equal(Random(placed, seed=1).apply(images), changed)


def test_whether_and_where_are_drawn_independently() -> None:
    both = Sometimes(Random(Square(size=0.1, color="white")), probability=0.3)
    changed = both.apply(torch.zeros(3000, 1, 20, 20))[:, 0]
    drawn = changed.flatten(1).any(dim=1)
    tops = changed[drawn].any(dim=2).float().argmax(dim=1).double()
    # With the same draw for both, all squares would be in the upper third.
    assert float(tops.mean()) == pytest.approx(8.5, abs=1)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Sometimes("blur"), "Sometimes: got 'blur', expected an intervention"),  # type: ignore[arg-type]
        (lambda: Sometimes(Grayscale(), probability=0), "Sometimes: probability=0, expected a number above 0"),
        (lambda: Sometimes(Grayscale(), seed=-1), "Sometimes: seed=-1, expected a whole number from 0 on"),
        (lambda: Random(Grayscale()), r"Random: got Grayscale\(\), expected a shape, Stencil"),  # type: ignore[arg-type]
        (lambda: Random(Square(), seed=0.5), "Random: seed=0.5, expected a whole number"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        declare()


def test_the_stage_is_that_of_what_is_inside() -> None:
    assert Sometimes(Tint(stage="source")).stage == "source"
    assert Random(Square(stage="source")).stage == "source"
    assert (Sometimes(Tint(stage="source")) | Grayscale(stage="source")).stage == "source"
    with pytest.raises(InterventionError, match="several stages"):
        Sometimes(Tint(stage="source")) | Grayscale()
