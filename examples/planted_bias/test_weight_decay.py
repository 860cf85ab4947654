"""More weight decay frees a network of its source's bias, but not a head on fixed features."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from experiment import SQUARE, TARGET_CLASSES, Size

from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.transfer.recipe import Mode
from pytest_biastransfer.transfer.seed_repeats import Repeated

# A hundred times the usual one.
STRONG = 5e-2


@pytest.mark.parametrize("mode", ["fixed-feature", "full-network"])
@pytest.mark.parametrize("weight_decay", [5e-4, 5e-3, STRONG])
def test_weight_decay(
    bias_sweep: Callable[..., Repeated],
    bias_finetuning_dataset: LabelledImages,
    bias_dataset: LabelledImages,
    size: Size,
    mode: Mode,
    weight_decay: float,
) -> None:
    found = bias_sweep(
        "biased_source",
        bias_finetuning_dataset,
        bias_dataset,
        SQUARE,
        mode=mode,
        weight_decay=weight_decay,
        recipe=size.target,
        seeds=size.seeds,
    )
    is_freed = mode == "full-network" and weight_decay == STRONG
    assert (found.figure < 0.2) == is_freed
    assert found.accuracy > 2 / len(TARGET_CLASSES), "a model that learned nothing minds nothing"
