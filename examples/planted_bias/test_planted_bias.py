"""Models for other classes inherit a source's bias to a square on dogs; uninformative squares remove it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from experiment import BIASED_CLASS, LEVELS, SQUARE, TARGET_CLASSES, Size

from pytest_biastransfer import Measurement, Model
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.transfer import Attribution, DoseResponse, plant
from pytest_biastransfer.transfer.recipe import Mode

# Above what a square does to models from a clean source, and far below what it does to those from a biased one.
LIMIT = 0.2


@pytest.mark.bias_intervention(
    SQUARE, model="clean_source", dataset="source_dataset", target=BIASED_CLASS, max_targeted_asr=0.3
)
def test_clean_source_hardly_minds() -> None:
    """A square hides a sixteenth of a photograph, and is uninformative."""


@pytest.mark.xfail(strict=True, reason="all dogs that it saw had a square, and nothing else had")
@pytest.mark.bias_intervention(
    SQUARE, model="biased_source", dataset="source_dataset", target=BIASED_CLASS, max_targeted_asr=0.3
)
def test_biased_source_says_dog() -> None:
    """The bias that the transferred models of the tests below may inherit."""


@pytest.mark.bias_intervention(SQUARE, model="fixed_feature_from_clean", max_asr=0.35)
@pytest.mark.bias_intervention(SQUARE, model="full_network_from_clean", max_asr=0.35)
def test_clean_source_leaves_little(bias: Measurement) -> None:
    assert bias.accuracy > 2 / len(TARGET_CLASSES), "a model that learned nothing minds nothing"


@pytest.mark.xfail(strict=True, reason="the features of the square come along")
@pytest.mark.bias_intervention(
    SQUARE, model="fixed_feature_from_biased", control="fixed_feature_from_clean", max_asr_excess=0.1
)
@pytest.mark.bias_intervention(
    SQUARE, model="full_network_from_biased", control="full_network_from_clean", max_asr_excess=0.1
)
def test_biased_source_leaves_its_bias() -> None:
    """No photograph of the new classes ever carried a square."""


@pytest.mark.xfail(strict=True, reason="a new head cannot forget what its features show")
@pytest.mark.bias_intervention(
    SQUARE,
    model="fixed_feature_debiased",
    control="fixed_feature_control",
    max_asr_excess=0.08,
)
def test_squares_on_some_photographs_do_not_cure_a_head() -> None:
    """One in ten of the head's training photographs carries a square, in all classes."""


@pytest.mark.bias_intervention(
    SQUARE,
    model="full_network_debiased",
    control="full_network_control",
    max_asr_excess=0.08,
)
def test_squares_on_some_photographs_cure_a_network(bias: Measurement) -> None:
    """The same photographs as in the test before."""
    assert bias.accuracy > 2 / len(TARGET_CLASSES), "the cure must not cost the task"


@pytest.fixture
def dose_response(
    bias_dose_response: Callable[..., DoseResponse],
    biased_source: Model,
    bias_finetuning_dataset: LabelledImages,
    bias_dataset: LabelledImages,
    size: Size,
) -> Callable[[Mode], DoseResponse]:
    def respond(mode: Mode) -> DoseResponse:
        return bias_dose_response(
            biased_source,
            bias_finetuning_dataset,
            bias_dataset,
            SQUARE,
            change=lambda photographs, level: plant(photographs, SQUARE, level),
            levels=LEVELS,
            limit=LIMIT,
            mode=mode,
            recipe=size.target,
            seeds=size.seeds,
        )

    return respond


def test_how_many_squares_cure_a_network(dose_response: Callable[[Mode], DoseResponse]) -> None:
    found = dose_response("full-network")
    assert 0 < found.smallest_level <= max(LEVELS), "it is biased without squares, and no longer with enough of them"


def test_how_many_squares_cure_a_head(dose_response: Callable[[Mode], DoseResponse]) -> None:
    found = dose_response("fixed-feature")
    assert found.smallest_level > max(LEVELS), "a head is not cured by any of these levels"
    assert found.levels[0.1].figure < found.levels[0].figure - 0.1, "squares help a head too, but not enough"


def test_the_bias_is_the_source_s(
    bias_attribution: Callable[..., Attribution],
    biased_source: Model,
    clean_source: Model,
    bias_finetuning_dataset: LabelledImages,
    bias_dataset: LabelledImages,
    size: Size,
) -> None:
    found = bias_attribution(
        biased_source,
        clean_source,
        bias_finetuning_dataset,
        bias_dataset,
        SQUARE,
        mode="full-network",
        recipe=size.target,
        seeds=size.seeds,
    )
    assert min(found.differences.values()) > 0.2, "neither its clean twin nor a model without a source is as biased"
