"""Finetuned models inherit biases from the data of their source; small changes of the new data overwrite them.

After Wang and Russakovsky 2023 (arXiv 2303.06167): bias as a spurious correlation of a tint with the animals, seen in
the false-positive rates with and without the tint; and as underrepresentation of photographs with red and blue swapped,
seen in the areas under the ROC curve. The task, animal or vehicle, is that of the source, but the classes are new.
"""

from __future__ import annotations

from typing import Any

import pytest
from experiment import AUC_GAP, FINETUNING, FPR_GAP, Size, shifted, with_swapped

from pytest_biastransfer import Model


def fpr_gap(**given: Any) -> pytest.MarkDecorator:
    """Return the marker for the gap of false-positive rates."""
    return pytest.mark.bias_gap(
        "tint", "fpr", positive="animal", operating_point="prevalence", dataset="tinted_test", **given
    )


def auc_gap(**given: Any) -> pytest.MarkDecorator:
    """Return the marker for the gap of areas under the ROC curve."""
    return pytest.mark.bias_gap(
        "swapped", "auc", positive="animal", negatives="shared", dataset="swapped_test", **given
    )


def tuned(size: Size) -> dict[str, Any]:
    """Return how the models of an experiment are made: all weights tuned, several times."""
    return {"mode": "full-network", "recipe": FINETUNING, "seeds": size.seeds}


@fpr_gap(model="from_control", max_gap=0.15)
def test_correlated_data() -> None:
    """A correlation of 0.7 in the finetuning data alone causes a small gap."""


@pytest.mark.xfail(strict=True, reason="the source's shortcut came along")
@fpr_gap(model="from_biased", control="from_control", max_gap_excess=0.04)
def test_inherited_correlation() -> None:
    """The same finetuning from a source with a stronger correlation causes a larger gap."""


@fpr_gap(model="overwritten", max_gap=0.1)
def test_overwritten_by_a_shift() -> None:
    """Without a correlation in the finetuning data there is almost no gap: 20 points less are enough."""


@fpr_gap(model="reweighed", max_gap=0.1)
def test_overwritten_by_weights() -> None:
    """Reweighting the correlated data is as good."""


@pytest.mark.xfail(strict=True, reason="the source's features serve the rare group badly")
@auc_gap(model="from_narrow", control="from_broad", max_gap_excess=0.03)
def test_inherited_underrepresentation() -> None:
    """A group that is rare in the finetuning data has a larger gap if it was even rarer in the source's."""


@auc_gap(model="broadened", max_gap=0.05)
def test_overwritten_by_more_of_a_group() -> None:
    """Finetuning on equally many images of both groups closes the gap."""


def test_attribution(
    bias_attribution: Any, biased_source: Model, control_source: Model, tinted: Any, tinted_test: Any, size: Size
) -> None:
    """The gap from the biased source is larger than that from the control source, on average over seeds."""
    found = bias_attribution(
        biased_source,
        control_source,
        shifted(tinted, 0),
        tinted_test,
        FPR_GAP,
        **tuned(size),
    )
    assert found.from_source > 0.04


def test_twenty_points_are_enough(
    bias_dose_response: Any, biased_source: Model, control_source: Model, tinted: Any, tinted_test: Any, size: Size
) -> None:
    """With that much less correlation the gap is no larger than the control's, and the accuracy does not fall."""
    given = {"change": shifted, "levels": size.shifts, **tuned(size)}
    control = bias_dose_response(control_source, tinted, tinted_test, FPR_GAP, **given)
    found = bias_dose_response(
        biased_source, tinted, tinted_test, FPR_GAP, limit=float(control.levels[0.0].figure), **given
    )
    assert found.smallest_level in (0.1, 0.2)
    assert found.levels[0.2].accuracy > found.levels[0.0].accuracy - 0.02


def test_more_of_a_group_is_enough(
    bias_dose_response: Any, narrow_source: Model, broad_source: Model, swapped: Any, swapped_test: Any, size: Size
) -> None:
    """If the group is rare, the narrow source's models have a larger gap; otherwise no model has a gap."""
    given = {"change": with_swapped, "levels": size.shares, **tuned(size)}
    broad = bias_dose_response(broad_source, swapped, swapped_test, AUC_GAP, **given)
    found = bias_dose_response(narrow_source, swapped, swapped_test, AUC_GAP, limit=0.05, **given)
    rare, even = size.shares[0], size.shares[-1]
    assert found.levels[rare].figure > broad.levels[rare].figure + 0.02
    assert found.smallest_level < float("inf")
    assert found.levels[even].accuracy > found.levels[rare].accuracy
