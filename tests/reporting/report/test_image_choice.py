"""Which flipped images a report shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.reporting.report.image_choice import choice_of


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
