"""A model with a sigmoid for each label inherits a correlation of two labels; small changes of new data overwrite it.

After Wang and Russakovsky 2023 (arXiv 2303.06167): of pictures that show a vehicle and an animal, a biased source has
learnt that frogs are beside ships. The bias of the models made from it is the false-positive rate of "frog" in pictures
with a ship minus that in pictures without one. Finetuning data of several correlations keep it, remove it or turn it.
"""

from __future__ import annotations

from typing import Any

import pytest
from experiment import AUC, FINETUNING, FPR_GAP, GROUPS, INDEPENDENT, OVERWRITING, Size
from experiment import correlated as with_level
from pictures import DECIDED, LABELS, SHORTCUT

from pytest_biastransfer import Gap, Model, each


def fpr_gap(positive: Any = DECIDED, **given: Any) -> pytest.MarkDecorator:
    """Return the marker for the signed gap of false-positive rates, at a threshold from the validation pictures."""
    return pytest.mark.bias_gap(
        SHORTCUT,
        "fpr",
        positive=positive,
        between=GROUPS,
        operating_point="prevalence",
        calibration_dataset="validation_pictures",
        **given,
    )


@fpr_gap(model="from_control", max_gap=0.15)
def test_control_source_leaves_no_bias() -> None:
    """Finetuning data without a correlation give almost no gap where the source had none."""


@pytest.mark.xfail(strict=True, reason="the source's shortcut came along")
@fpr_gap(each("frog", "horse"), model="from_biased", control="from_control", max_gap_excess=0.03)
def test_biased_source_leaves_its_bias() -> None:
    """They do not remove it where the source had one. Horses, shown instead of frogs, have the opposite gap."""


@fpr_gap(model="overwritten", max_gap=0.15)
def test_overwritten_by_twenty_points() -> None:
    """Data with 20 points less correlation do."""


@pytest.mark.xfail(strict=True, reason="corrected too far")
@fpr_gap(model="overcorrected", max_gap=0.15)
def test_overwritten_by_fifty_points() -> None:
    """With 50 points less, the gap has the opposite sign."""


@pytest.mark.bias_gap(SHORTCUT, "auc", positive=each("frog", "horse"), model="overwritten", min_worst=0.7)
def test_performance_of_each_animal() -> None:
    """The model that was corrected tells each animal from the others, with a ship and without one."""


@pytest.mark.bias_gap(SHORTCUT, "auc", positive=DECIDED, between=GROUPS, model="from_biased", max_gap=0.1)
def test_order_within_each_group() -> None:
    """Within pictures with a ship, and within those without, the biased model orders frogs about equally well."""


@pytest.mark.bias_intervention("yellow-square", positive=each(*LABELS), model="overwritten", max_asr=0.2)
def test_no_label_depends_on_a_mark() -> None:
    """A mark that no data had changes few decisions of each label."""


def curves(
    respond: Any, gap: Gap, sources: dict[str, Model], data: tuple[Any, Any], size: Size, **given: Any
) -> dict[str, Any]:
    """Return a figure of the models from each source, by level of the new pictures."""
    options = {"change": with_level, "levels": size.levels, "mode": "full-network", "recipe": FINETUNING}
    return {name: respond(source, *data, gap, seeds=size.seeds, **options, **given) for name, source in sources.items()}


@pytest.fixture
def sources(biased_source: Model, control_source: Model) -> dict[str, Model]:
    return {"biased": biased_source, "control": control_source}


@pytest.fixture
def data(new_pictures: Any, bias_dataset: Any) -> tuple[Any, Any]:
    """What is finetuned on, and what is judged."""
    return new_pictures, bias_dataset


def test_gap_by_level(bias_dose_response: Any, sources: Any, data: Any, size: Size) -> None:
    """The biased source's gap is larger; 20 points less bring it to the control's, and too much turns its sign."""
    found = curves(bias_dose_response, FPR_GAP, sources, data, size)
    biased, control = found["biased"].levels, found["control"].levels
    assert biased[INDEPENDENT].figure > control[INDEPENDENT].figure + 0.05
    assert abs(biased[OVERWRITING].figure - control[INDEPENDENT].figure) < 0.1
    for levels in (biased, control):
        assert levels[0.0].figure < -0.15 < 0.15 < levels[1.0].figure


def test_performance_by_level(bias_dose_response: Any, sources: Any, data: Any, size: Size) -> None:
    """The data that overwrite the bias cost no performance."""
    found = curves(bias_dose_response, AUC, sources, data, size, metric="worst")
    biased = found["biased"].levels
    assert biased[OVERWRITING].figure > biased[INDEPENDENT].figure - 0.02
