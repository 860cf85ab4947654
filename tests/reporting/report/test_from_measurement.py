"""Which moves between classes a report lists."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.metrics.measurement import Flip
from pytest_biastransfer.reporting.report.from_measurement import MOST_MOVES, moves_of


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
