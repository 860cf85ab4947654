"""A model with a sigmoid for each label inherits a correlation of two labels; small changes of new data overwrite it.

After Wang and Russakovsky 2023 (arXiv 2303.06167): of pictures that show a vehicle and an animal, a biased source has
learnt that frogs are beside ships. The bias of the models made from it is the false-positive rate of "frog" in pictures
with a ship minus that in pictures without one. Finetuning data of several correlations keep it, remove it or turn it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from experiment import AUC_GAP, FINETUNING, FPR_GAP, GROUPS, INDEPENDENT, OVERWRITING, Size, correlated
from pictures import DECIDED, LABELS, SHORTCUT, Pictures

from pytest_biastransfer import Model, each


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


def tuned(size: Size) -> dict[str, Any]:
    """Return how the models of an experiment are made: all weights tuned, several times."""
    return {"mode": "full-network", "recipe": FINETUNING, "seeds": size.seeds, "performance": "auc"}


@pytest.fixture
def sources(biased_source: Model, control_source: Model) -> dict[str, Model]:
    return {"biased source": biased_source, "control source": control_source}


def test_gap_by_level(
    bias_dose_response: Any,
    sources: dict[str, Model],
    new_pictures: Pictures,
    bias_dataset: Any,
    validation_pictures: Any,
    size: Size,
    plots: Path,
) -> None:
    """The biased source's gap is larger; 20 points less bring it to the control's, and too much turns its sign."""
    found = bias_dose_response(
        sources,
        new_pictures,
        bias_dataset,
        FPR_GAP,
        change=correlated,
        levels=size.levels,
        calibration_dataset=validation_pictures,
        **tuned(size),
    )
    found.save(plots / "fpr_gap_by_level.png")
    biased, control = found["biased source"].levels, found["control source"].levels
    worse = found.worse_by("biased source", "control source", at=INDEPENDENT)
    assert worse[OVERWRITING] < 0.05 < worse[INDEPENDENT]
    for levels in (biased, control):
        assert levels[0.0].figure < -0.15 < 0.15 < levels[1.0].figure
    # The data that overwrite the bias cost no performance.
    auc = {level: biased[level].performances["auc"].mean for level in biased}
    assert auc[OVERWRITING] > auc[INDEPENDENT] - 0.02


def test_gap_within_groups_by_level(
    bias_dose_response: Any,
    sources: dict[str, Model],
    new_pictures: Pictures,
    bias_dataset: Any,
    size: Size,
    plots: Path,
) -> None:
    """How well frogs are ordered within pictures with a ship, and within others, differs little."""
    found = bias_dose_response(
        sources, new_pictures, bias_dataset, AUC_GAP, change=correlated, levels=size.levels, **tuned(size)
    )
    found.save(plots / "auc_gap_by_level.png")
    for source in sources:
        assert all(abs(level.figure) < 0.15 for level in found[source].levels.values())


@pytest.mark.parametrize("pictures_count", [125, 500, 2000])
@pytest.mark.parametrize("source", ["biased_source", "control_source"])
def test_number_of_pictures(
    bias_sweep: Any,
    source: str,
    pictures_count: int,
    new_pictures: Pictures,
    bias_dataset: Any,
    validation_pictures: Any,
    size: Size,
    plots: Path,
) -> None:
    """More pictures without a correlation free a model of its source's bias."""
    found = bias_sweep(
        source,
        new_pictures,
        bias_dataset,
        FPR_GAP,
        size=pictures_count,
        calibration_dataset=validation_pictures,
        save=plots / "fpr_gap_by_size.png",
        **tuned(size),
    )
    if pictures_count == 2000:
        assert abs(found.figure) < 0.15
    if source == "biased_source" and pictures_count == 125:
        assert found.figure > 0.15
