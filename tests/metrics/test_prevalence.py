"""As many images are predicted positive as there are positives, as far as equal scores allow it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer.metrics.prevalence import at_prevalence

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


quick = settings(max_examples=40, deadline=None)


@quick
@given(st.sets(st.floats(-9, 9, width=32), min_size=1, max_size=40), st.data())
def test_at_prevalence_as_many_are_predicted_positive_as_are_asked_for(scores: set[float], data: st.DataObject) -> None:
    shuffled = np.array(data.draw(st.permutations(sorted(scores))), dtype=np.float32)
    wanted = data.draw(st.integers(0, len(shuffled)))
    found = at_prevalence(shuffled, wanted)
    assert np.count_nonzero(found) == wanted
    assert shuffled[found].min(initial=np.inf) > shuffled[~found].max(initial=-np.inf)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.data())
def test_at_prevalence_equal_scores_are_kept_together_on_the_nearer_side(
    scores: list[int], data: st.DataObject
) -> None:
    array = np.array(scores, dtype=np.float64)
    wanted = data.draw(st.integers(0, len(array)))
    found = at_prevalence(array, wanted)
    possible = [array > threshold for threshold in [-1, *range(5)]]
    # The one with fewer comes first where two are as near.
    expected = min(sorted(possible, key=np.count_nonzero), key=lambda one: abs(np.count_nonzero(one) - wanted))
    assert found.tolist() == expected.tolist()
