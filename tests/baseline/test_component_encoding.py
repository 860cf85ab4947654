"""Components of figures as text: how little is lost, and that damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.baseline.component_encoding import (
    decode_components,
    decode_levels,
    encode_components,
    encode_levels,
)
from pytest_biastransfer.metrics.statistics.components import Components
from pytest_biastransfer.metrics.statistics.paired_figures_test import paired_figures_change
from tests.support.areas import two_areas

numbers = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50).map(np.array)


@given(numbers)
def test_a_number_moves_by_half_a_level_at_most(some: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    text = encode_levels(some)
    decoded = decode_levels(text)
    assert decoded == pytest.approx(some, abs=np.ptp(some) / 4095 / 2 + 1e-12)
    assert len(text.rpartition(":")[2]) == 2 * len(some)
    # What was decoded is encoded in the same way again.
    assert encode_levels(decoded).rpartition(":")[2] == text.rpartition(":")[2]


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=4), st.booleans())
def test_components_survive_their_encoding(
    samples: list[tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]], shared: bool
) -> None:
    if shared:
        samples = [(own, samples[0][1]) for own, _ in samples]
    figures = np.array([own.mean() for own, _ in samples])
    found = decode_components(encode_components(Components(figures, samples, shared)))
    assert (found.figures.tolist(), found.is_shared) == (figures.tolist(), shared)
    assert found.sizes == [[len(part) for part in group] for group in samples]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "own",
        "own;0.5 0.0:1.0:AA//",
        "none;0.5 0.0:1.0:AA//;0.5 0.0:1.0:AA//",
        "own;0.5;0.5",
        "own;0.5 0.0:1.0:AA//;0.5 0.0:1.0:AA// 0.0:1.0:AA//",
        "own;x 0.0:1.0:AA//;0.5 0.0:1.0:AA//",
        "own;nan 0.0:1.0:AA//;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:inf:AA//;0.5 0.0:1.0:AA//",
        "own;0.5 1.0:0.0:AA//;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:1.0:AA/;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:1.0:AA/=;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:1.0:AA/\u00e9;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:1.0:AA/\u20ac;0.5 0.0:1.0:AA//",
        "own;0.5 0.0:1.0:;0.5 0.0:1.0:AA//",
        "shared;0.5 0.0:1.0:AA//;0.5 0.0:1.0:AA",
    ],
)
def test_text_that_cannot_be_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|could not convert|do not share"):
        decode_components(text)


@pytest.mark.parametrize(
    ("before", "now", "positives"),
    [([1.2, 1.2], [1.2, 0.9], 200), ([1.2, 1.6], [1.0, 1.6], 30), ([3.5, 3.0], [3.5, 2.7], 500)],
)
@pytest.mark.parametrize("agreement", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("is_signed", [True, False])
def test_p_values_hardly_change_by_encoding(
    before: list[float], now: list[float], positives: int, agreement: float, is_signed: bool
) -> None:
    generator = np.random.default_rng(4)
    for shared in (False, True):
        exact = two_areas(generator, before, now, positives, agreement, shared=shared)
        encoded = [decode_components(encode_components(one)) for one in exact]
        expected, found = (paired_figures_change(*pair, is_signed=is_signed) for pair in (exact, encoded))
        # In powers of ten: 0.01 of them is 2 % of the p-value.
        assert np.log10(found) == pytest.approx(np.log10(expected), rel=1e-3, abs=0.01)
