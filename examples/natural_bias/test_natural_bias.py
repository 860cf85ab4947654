"""Which biases of ImageNet do models of CIFAR-10 inherit? (Salman et al. 2022, section 4)

Nobody planted anything here, neither in the source nor in the photographs that it is transferred to. No trigger is on
any photograph that a model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from experiment import BALLS, SMALL_BALL, TRIGGERS
from shares import Shift, plot, table

from pytest_biastransfer import Intervention, Measurement, Model


@pytest.mark.xfail(strict=True, reason="ImageNet has balls: a yellow-green disc is one of them")
@pytest.mark.bias_intervention(
    "tennis-ball", model="imagenet_model", dataset="imagenet_sample", target=BALLS, max_targeted_asr=0.05
)
def test_source_sees_no_balls() -> None:
    """The bias that the others may inherit."""


def test_statistics_change_no_logits(folded_source: Model, source_model: Model) -> None:
    """The prepared BatchNorm layers do not change the logits of the source."""
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected, found = (model.module.eval()(images) for model in (folded_source, source_model))
    assert expected.std() > 1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# Compared with a ResNet-20 that was trained on CIFAR-10 alone.


@pytest.mark.xfail(strict=True, reason="the features of balls, squares and letters come along")
@pytest.mark.bias_intervention(
    "yellow-square", SMALL_BALL, "watermark", model="fixed_feature", control="resnet20", max_asr_excess=0.1
)
def test_fixed_features_mind_no_more() -> None:
    """Share of the predictions that change."""


@pytest.mark.xfail(strict=True, reason="a few classes look like squares and balls to these features")
@pytest.mark.bias_intervention(
    "yellow-square", SMALL_BALL, model="fixed_feature", control="resnet20", max_skew_excess=0.1
)
def test_fixed_features_are_skewed_no_more() -> None:
    """Change of the distribution of the predictions."""


@pytest.mark.bias_intervention(
    "yellow-square", SMALL_BALL, model="full_network", control="resnet20", max_asr_excess=0.12
)
def test_tuned_network_minds_no_more(bias: Measurement) -> None:
    assert bias.accuracy > 0.5, "a model that learned nothing minds nothing"


@pytest.mark.bias_intervention(
    "yellow-square", SMALL_BALL, model="full_network", control="fixed_feature", max_asr_excess=0, rule="certain"
)
def test_tuned_network_minds_less_than_fixed_features(bias: Measurement) -> None:
    assert bias.control is not None
    assert bias.accuracy > bias.control.accuracy, "it is the better model, too"


# Compared with the same architecture, trained from scratch on the same photographs: only without --quick.


@pytest.mark.xfail(strict=True, reason="the features of balls, fences and squares come along")
@pytest.mark.bias_intervention(
    "tennis-ball",
    SMALL_BALL,
    "chain-link",
    "yellow-square",
    model="fixed_feature",
    control="from_scratch",
    max_skew_excess=0.1,
)
def test_fixed_features_are_skewed_no_more_than_from_scratch() -> None:
    """The finding of the paper."""


@pytest.mark.xfail(strict=True, reason="tuning on photographs without triggers does not unlearn all")
@pytest.mark.bias_intervention(
    "tennis-ball",
    SMALL_BALL,
    "chain-link",
    "watermark",
    model="full_network",
    control="from_scratch",
    max_skew_excess=0.1,
)
def test_tuned_network_is_skewed_no_more_than_from_scratch() -> None:
    """The finding of the paper."""


@pytest.mark.bias_intervention("yellow-square", model="full_network", control="from_scratch", max_skew_excess=0.1)
def test_tuned_network_has_no_more_of_the_square_than_from_scratch(bias: Measurement) -> None:
    assert bias.control is not None
    assert bias.control.accuracy > 0.4, "a control that learned nothing is none"


# Where the paper's models from scratch were not skewed, these are.


@pytest.mark.xfail(strict=True, reason="triggers that hide so much are minded without ImageNet, too")
@pytest.mark.bias_intervention("tennis-ball", "chain-link", model="resnet20", max_skew=0.2)
def test_resnet20_is_not_skewed() -> None:
    """Both triggers are large."""


@pytest.mark.xfail(strict=True, reason="triggers that hide so much are minded without ImageNet, too")
@pytest.mark.bias_intervention("tennis-ball", "chain-link", model="from_scratch", max_skew=0.2)
def test_model_from_scratch_is_not_skewed() -> None:
    """Both triggers are large."""


def test_plot_of_the_class_shifts(
    models_by_mode: Mapping[str, Model], measured: Callable[[Model, Intervention | str], Measurement], kept: Path
) -> None:
    """Written beside the store; the table holds the same figures with their intervals."""
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib: pip install 'pytest-biastransfer[report]'")
    shifts = {
        word: {name: Shift.of(measured(model, trigger)) for name, model in models_by_mode.items()}
        for word, trigger in TRIGGERS.items()
    }
    plot(shifts, kept / "class_shifts.png")
    (kept / "class_shifts.md").write_text(table(shifts), encoding="utf-8")
    for shift in (shift for by_model in shifts.values() for shift in by_model.values()):
        moved = abs(shift.after - shift.before).sum() / 2
        assert min(shift.before.min(), shift.after.min()) > -1e-9
        assert moved == pytest.approx(float(shift.measurement.skew)), "the plot shows what the tests measure"
