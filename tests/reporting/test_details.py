"""What a report chooses to show of a test: which flipped images, and which moves between classes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.metrics.measurement import Flip
from pytest_biastransfer.reporting.details import MOST_MOVES, choice_of, moves_of


@given(st.sets(st.integers(0, 5000), max_size=200), st.sets(st.integers(0, 5000), max_size=200), st.integers(0, 20))
def test_two_tests_choose_the_same_images_where_they_can(first: set[int], second: set[int], count: int) -> None:
    chosen, other = (set(choice_of(sorted(images), count)) for images in (first, second))
    assert len(chosen) == min(count, len(first))
    assert chosen <= first
    # Of images that both have, one that the first test chose is left out by the second only for others of its own.
    for index in (chosen & second) - other:
        assert len(other - first) >= 1, index


@given(st.integers(100, 50_000), st.integers(2, 16))
def test_they_are_spread_over_the_dataset(images: int, count: int) -> None:
    chosen = choice_of(range(images), count)
    assert chosen == sorted(chosen)
    gaps = [after - before for before, after in zip([0, *chosen], [*chosen, images], strict=True)]
    # Even distances would be images / count.
    assert max(gaps) <= 3 * images / count + 1


def flips(moves: Sequence[tuple[str, str, int]]) -> list[Flip]:
    pairs = [(before, after) for before, after, images in moves for _ in range(images)]
    return [Flip(index, before, before, after) for index, (before, after) in enumerate(pairs)]


def test_moves_of_single_images_are_counted_and_not_listed() -> None:
    listed, rare = moves_of(flips([("cat", "dog", 5), ("dog", "cat", 2), *(("ship", f"{n}", 1) for n in range(30))]))
    assert [(move.before, move.after, move.images) for move in listed] == [
        ("cat", "dog", 5),
        ("dog", "cat", 2),
        ("ship", "0", 1),
    ]
    assert rare == 29


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("ghij")), max_size=60))
def test_no_flip_is_lost(pairs: list[tuple[str, str]]) -> None:
    listed, rare = moves_of([Flip(index, "", before, after) for index, (before, after) in enumerate(pairs)])
    counts = {pair: pairs.count(pair) for pair in pairs}
    assert {(move.before, move.after): move.images for move in listed}.items() <= counts.items()
    assert len(listed) <= MOST_MOVES
    left_out = set(counts) - {(move.before, move.after) for move in listed}
    assert rare == sum(counts[pair] == 1 for pair in left_out)
