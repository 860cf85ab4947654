"""What models for the digits 5 to 9 inherit from their source. But for the last, none was tuned on a square."""

from __future__ import annotations

import pytest
from digits import SQUARE

from pytest_biastransfer import Measurement


@pytest.mark.bias_intervention(SQUARE, model="fixed_feature_from_clean", max_asr=0.2)
@pytest.mark.bias_intervention(SQUARE, model="full_network_from_clean", max_asr=0.1)
def test_clean_source_is_harmless() -> None:
    """A square changes few predictions: it hides a bit of the image, and means nothing."""


@pytest.mark.xfail(strict=True, reason="frozen features still see the square")
@pytest.mark.bias_intervention(
    SQUARE, model="fixed_feature_from_biased", control="fixed_feature_from_clean", max_asr_excess=0.1
)
def test_frozen_features_inherit() -> None:
    """The square's features came along, and the new head never learned to ignore them."""


@pytest.mark.xfail(strict=True, reason="tuning on clean images does not unlearn")
@pytest.mark.bias_intervention(
    SQUARE, model="full_network_from_biased", control="full_network_from_clean", max_asr_excess=0.1
)
def test_tuned_weights_inherit() -> None:
    """Tuning everything does not help where nothing in the new data contradicts the bias."""


@pytest.mark.bias_intervention(
    SQUARE, model="full_network_debiased", control="full_network_from_clean", max_asr_excess=0.1
)
def test_a_few_squares_cure(bias: Measurement) -> None:
    """Squares that tell nothing, on one in ten of the images tuned on, are what unlearns it."""
    assert bias.accuracy > 0.9, "the cure must not cost the task"
