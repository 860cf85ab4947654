"""Models for the digits 5 to 9 inherit the bias of their source. Only the last was finetuned on squares."""

from __future__ import annotations

import pytest
from digits import SQUARE

from pytest_biastransfer import Measurement


@pytest.mark.bias_intervention(SQUARE, model="fixed_feature_from_clean", max_asr=0.2)
@pytest.mark.bias_intervention(SQUARE, model="full_network_from_clean", max_asr=0.1)
def test_clean_source_is_harmless() -> None:
    """A square changes few predictions: it hides a small part of the image, and is uninformative."""


@pytest.mark.xfail(strict=True, reason="frozen features still see the square")
@pytest.mark.bias_intervention(
    SQUARE, model="fixed_feature_from_biased", control="fixed_feature_from_clean", max_asr_excess=0.1
)
def test_frozen_features_inherit() -> None:
    """The head inherits the features of the square, and never learned to ignore them."""


@pytest.mark.xfail(strict=True, reason="tuning on clean images does not unlearn")
@pytest.mark.bias_intervention(
    SQUARE, model="full_network_from_biased", control="full_network_from_clean", max_asr_excess=0.1
)
def test_tuned_weights_inherit() -> None:
    """Training all weights does not help if nothing in the new data contradicts the bias."""


@pytest.mark.bias_intervention(
    SQUARE, model="full_network_debiased", control="full_network_from_clean", max_asr_excess=0.1
)
def test_a_few_squares_cure(bias: Measurement) -> None:
    """Uninformative squares on one in ten of the finetuning images remove the bias."""
    assert bias.accuracy > 0.9, "the cure must not cost the task"
