"""Does a CIFAR-10 model inherit ImageNet's biases? (Salman et al. 2022, section 4)

ImageNet has balls on it: a yellow-green disc in the middle of any photograph draws predictions towards
"tennis ball" and "ping-pong ball". CIFAR-10 has no balls. A model that is transferred to it from ImageNet
should not mind discs and squares more than a model that never saw ImageNet. It does.
"""

from __future__ import annotations

import pytest

from pytest_biastransfer import Circle, Measurement

DISC = Circle(size=120 / 224, anchor="center", color="#ccff00")


@pytest.mark.bias_intervention(
    DISC,
    model="source_model",
    dataset="imagenet_sample",
    target=["tennis_ball", "ping-pong_ball"],
    max_targeted_asr=0.05,
)
@pytest.mark.xfail(strict=True, reason="the ImageNet model takes the disc for a ball")
def test_source_sees_no_balls() -> None:
    pass


@pytest.mark.bias_intervention("yellow-square", DISC, max_asr_excess=0.05)
@pytest.mark.xfail(strict=True, reason="the habit was transferred with the features")
def test_transferred_model_minds_no_more_than_one_from_scratch(bias: Measurement) -> None:
    assert bias.accuracy > 0.6
