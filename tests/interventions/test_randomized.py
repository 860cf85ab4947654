"""Interventions that differ from image to image: by the place of an image in its dataset, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer import Blur, Circle, Grayscale, Noise, Occlude, OneOf, Random, Sometimes, Square, Text, Tint
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.parsing import from_table, read

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
        (lambda: OneOf(["blur"]), "OneOf: got 'blur', expected a list of interventions"),  # type: ignore[list-item]
        (lambda: OneOf("blur"), "OneOf: got 'blur', expected a list"),  # type: ignore[arg-type]
        (lambda: OneOf([]), "OneOf: got an empty list, expected at least one"),
        (lambda: OneOf([Square()], seed=True), "OneOf: seed=True, expected a whole number"),
        (
            lambda: OneOf([Square(), Square(stage="source")]),
            "OneOf: interventions of several stages: Square.* is not of stage 'input'",
        ),
        (lambda: Random(Grayscale()), r"Random: got Grayscale\(\), expected a shape, Stencil"),  # type: ignore[arg-type]
        (lambda: Random(Square(), seed=0.5), "Random: seed=0.5, expected a whole number"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        declare()


def test_the_stage_is_that_of_what_is_inside() -> None:
    assert Sometimes(Tint(stage="source")).stage == "source"
    assert OneOf((Tint(stage="source"), Square(stage="source"))).stage == "source"
    assert Random(Square(stage="source")).stage == "source"
    assert (Sometimes(Tint(stage="source")) | Grayscale(stage="source")).stage == "source"
    with pytest.raises(InterventionError, match="several stages"):
        Sometimes(Tint(stage="source")) | Grayscale()


def grays(count: int) -> tuple[Square, ...]:
    """Return interventions that paint the whole image, each in another level."""
    return tuple(Square(size=1, color=(level, level, level)) for level in range(20, 20 + count))


def test_all_of_several_are_equally_likely() -> None:
    changed = OneOf(grays(7)).apply(torch.zeros(7000, 1, 2, 2))
    counts = (changed[:, 0, 0, 0] * 255).round().int().bincount().tolist()[20:]
    # Four standard deviations of a binomial.
    assert all(count == pytest.approx(1000, abs=4 * (7000 / 7 * 6 / 7) ** 0.5) for count in counts)


@quick
@given(st.integers(1, 9), st.integers(0, 99), st.permutations(range(40)), st.integers(1, 40))
def test_each_image_has_its_choice_in_every_order_and_batch(
    count: int, seed: int, order: list[int], batch: int
) -> None:
    one_of, images = OneOf(grays(count), seed=seed), torch.rand(40, 3, 4, 5)
    together = one_of.apply(images)
    for start in range(0, 40, batch):
        indices = order[start : start + batch]
        assert torch.equal(one_of.apply(images[indices], indices), together[indices])


def test_what_is_chosen_is_drawn_independently_of_whether_and_where() -> None:
    rarely = Sometimes(OneOf(grays(4)), probability=0.25).apply(torch.zeros(4000, 1, 1, 1)).flatten()
    counts = (rarely[rarely > 0] * 255).round().int().bincount().tolist()[20:]
    assert all(count == pytest.approx(250, abs=4 * (1000 / 4) ** 0.5) for count in counts)
    assert OneOf([Random(Square(size=0.1)), Noise()]).apply(torch.zeros(9, 3, 20, 20)).flatten(1).any(dim=1).all()


def test_masks_of_all_are_needed_and_given_to_each() -> None:
    one_of = OneOf([Occlude("cat", fill="white"), Square(size=1, color="white"), Occlude("dog", fill="white")])
    assert one_of.mask_names == ("cat", "dog")
    masks = {"cat": torch.zeros(60, 1, 2, 2), "dog": torch.zeros(60, 1, 2, 2)}
    masks["cat"][::2], masks["dog"][1::2] = 1, 1
    changed = one_of.apply(torch.zeros(60, 1, 2, 2), masks=masks)[:, 0, 0, 0]
    paints = [(masks["cat"], 0), (torch.ones(60, 1, 2, 2), 1), (masks["dog"], 2)]
    alone = [OneOf(grays(3)).apply(torch.zeros(60, 1, 2, 2))[:, 0, 0, 0]]
    chosen = (alone[0] * 255).round().int() - 20
    expected = torch.stack([mask[:, 0, 0, 0] for mask, _ in paints])[chosen.long(), torch.arange(60)]
    assert torch.equal(changed, expected)
    with pytest.raises(InterventionError, match="the mask 'dog' is missing"):
        one_of.apply(torch.zeros(60, 1, 2, 2), masks={"cat": masks["cat"]})


def test_a_choice_is_written_and_read_and_has_a_label() -> None:
    one_of = OneOf([Square(size=0.5), Grayscale()], seed=2)
    assert one_of.label == "oneof-square-0.5-or-grayscale-2"
    assert read(repr(one_of)) == one_of
    assert read("OneOf([Square(size=0.5), Grayscale()], seed=2)").fingerprint == one_of.fingerprint
    assert read("Blur() | OneOf([Grayscale() | Square()])") == Blur() | OneOf([Grayscale() | Square()])
    table = {"type": "OneOf", "interventions": [{"type": "Square", "size": 0.5}, {"type": "Grayscale"}], "seed": 2}
    assert from_table(table, "pyproject.toml", Path()) == one_of
    others = [OneOf([Grayscale(), Square(size=0.5)], seed=2), OneOf([Square(size=0.5)], seed=2), OneOf([Square()])]
    assert len({one_of.fingerprint, *(other.fingerprint for other in others)}) == 4
