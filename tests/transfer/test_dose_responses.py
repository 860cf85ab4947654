"""Several sources over the levels of a dose: one table and plot, which is no worse than another, and performances."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from torch import nn

from pytest_biastransfer import Gap, Model, Square, measure, measure_gaps
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, ReportError, TransferError
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer import (
    DoseResponse,
    DoseResponses,
    Recipe,
    dose_response,
    plant,
    subset,
    sweep,
    transfer,
)
from pytest_biastransfer.transfer.question import Question
from pytest_biastransfer.transfer.seed_repeats import OverSeeds, Repeated
from pytest_biastransfer.transfer.transfer_model import evaluator_for
from tests.transfer.exact_figures import exactly


def found(*values: float) -> Repeated:
    return Repeated(OverSeeds.of(exactly(*values), least=-1.0), {"accuracy": OverSeeds.of(exactly(0.9, 0.8))})


def responses(bound: Bound, limit: float | None = None, **sources: dict[float, Repeated]) -> DoseResponses:
    return DoseResponses({name: DoseResponse("gap", levels, limit, bound) for name, levels in sources.items()})


SIGNED = responses(
    "size at most",
    ours={0: found(0.5, 0.52, 0.51), 1: found(-0.1, 0.1, 0.02), 2: found(-0.42, -0.4, -0.41)},
    control={0: found(0.2, 0.22, 0.21), 1: found(0.1, 0.11, 0.1), 2: found(-0.2, -0.21, -0.22)},
)


def test_of_signed_gaps_the_sizes_are_compared() -> None:
    worse = SIGNED.worse_by("ours", "control")
    assert worse[0] == pytest.approx(0.3)
    assert worse[2] == pytest.approx(0.2)
    expected = stats.ttest_ind([0.42, 0.4, 0.41], [0.2, 0.21, 0.22], equal_var=False).confidence_interval(0.95)
    assert (worse[2].low, worse[2].high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert SIGNED.smallest_level("ours", "control") == 1
    assert SIGNED.smallest_certain_level("ours", "control") == math.inf
    assert SIGNED.smallest_level("ours", "control", margin=0.3 + 1e-9) == 0
    assert SIGNED.smallest_certain_level("ours", "control", margin=0.23) == 1
    assert SIGNED.smallest_certain_level("ours", "control", margin=0.35) == 0
    assert SIGNED.smallest_level("control", "ours") == 0
    # 2 is certain, and 1 is not: that 0 is, too, counts for nothing.
    assert SIGNED.smallest_certain_level("control", "ours") == 2


def test_one_level_of_the_other_may_be_what_all_are_compared_with() -> None:
    assert SIGNED.worse_by("ours", "control", at=0)[2] == pytest.approx(0.2)
    assert SIGNED.smallest_level("ours", "control", at=0) == 1
    assert SIGNED.smallest_certain_level("ours", "control", at=0, margin=0.1) == math.inf
    assert SIGNED.smallest_certain_level("ours", "control", at=0, margin=0.25) == 1
    with pytest.raises(TransferError, match=r"at=0.3; the levels are 0, 1, 2"):
        SIGNED.worse_by("ours", "control", at=0.3)
    with pytest.raises(TransferError, match="there is no source 'controls'; did you mean control"):
        SIGNED.smallest_level("ours", "controls")


def test_of_a_ratio_the_lower_one_is_worse() -> None:
    ratios = responses(
        "at least", 0.8, ours={0: found(0.5, 0.5), 1: found(0.9, 0.9)}, control={0: found(0.8, 0.8), 1: found(0.9, 0.9)}
    )
    assert ratios.worse_by("ours", "control")[0] == pytest.approx(0.3)
    assert ratios.smallest_level("ours", "control") == 1
    assert ratios["ours"].smallest_level == ratios["ours"].smallest_certain_level == 1
    assert ratios["control"].smallest_level == 0


def test_the_table_names_the_sources() -> None:
    assert str(SIGNED).splitlines() == [
        "gap, by source and level",
        "  source   level  figure                   accuracy",
        "  ours     0      +0.510 [+0.485, +0.535]  0.850 [0.215, 1.000]",
        "  ours     1      +0.007 [-0.243, +0.257]  0.850 [0.215, 1.000]",
        "  ours     2      -0.410 [-0.435, -0.385]  0.850 [0.215, 1.000]",
        "  control  0      +0.210 [+0.185, +0.235]  0.850 [0.215, 1.000]",
        "  control  1      +0.103 [+0.089, +0.118]  0.850 [0.215, 1.000]",
        "  control  2      -0.210 [-0.235, -0.185]  0.850 [0.215, 1.000]",
        "  That ours is no worse than control is certain at none of these levels.",
    ]
    limited = responses(
        "at most", 0.3, ours={0: found(0.5, 0.6)}, control={0: found(0.1, 0.1)}, third={0: found(0.6, 0.6)}
    )
    assert str(limited).splitlines()[-4:] == [
        "  ours: None of these levels is certainly enough for 0.3.",
        "  control: 0 is enough for 0.3: 0.100 [0.100, 0.100].",
        "  third: None of these levels is certainly enough for 0.3.",
        "  That ours is no worse than control is certain at none of these levels. "
        "That ours is no worse than third is certain at none of these levels.",
    ]
    better = responses(
        "at most",
        ours={0: found(0.5, 0.6), 1: found(0.3, 0.3), 2: found(0.1, 0.1)},
        control={0: found(0.1, 0.1), 1: found(0.4, 0.4), 2: found(0.3, 0.3)},
    )
    assert better.sentence == "ours is no worse than control from 1 on."


def test_they_are_saved_as_json_and_as_one_plot(tmp_path: Path) -> None:
    SIGNED.save(tmp_path / "dose.json")
    plain = json.loads((tmp_path / "dose.json").read_text())
    assert plain == SIGNED.to_dict()
    assert plain["sources"]["ours"]["levels"][2]["figure"]["values"] == [-0.42, -0.4, -0.41]
    SIGNED.save(tmp_path / "dose.svg")
    SIGNED["ours"].save(tmp_path / "one.svg")
    count = (tmp_path / "dose.svg").read_text().count("<use")
    assert count > (tmp_path / "one.svg").read_text().count("<use") + 6
    with pytest.raises(ReportError, match=r"dose\.txt: expected a file with the ending .svg, .png, .pdf or .json"):
        SIGNED.save(tmp_path / "dose.txt")


class Net(nn.Module):
    def __init__(self, outputs: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.fc(torch.relu(self.conv(images)).amax(dim=(2, 3)))
        return 9 * outputs - 2


def pictures(count: int = 60) -> list[tuple[torch.Tensor, dict[str, int], dict[str, str]]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.rand(3, 8, 8, generator=generator),
            {"red": -1 if place % 7 == 0 else place % 2, "green": place % 3 == 0},
            {"side": "ab"[place % 4 < 2]},
        )
        for place in range(count)
    ]


@pytest.mark.parametrize("outputs", ["sigmoid", "softmax", "probabilities"])
@pytest.mark.parametrize("asked", [Square(), Gap("side", "fpr", positive="red", min_group_size=3)])
def test_performances_are_those_of_scikit_learn(outputs: Any, asked: Any) -> None:
    data = pictures()
    module = nn.Sequential(Net(2), nn.Sigmoid()) if outputs == "probabilities" else Net(2)
    model = Model(module, outputs=outputs, classes=["red", "green"])
    logits = module(model.preprocess.normalize(torch.stack([image for image, _, _ in data]))).detach().double().numpy()
    states = np.array([label["red"] for _, label, _ in data])
    known = states != -1
    scores = logits[:, 0] - logits[:, 1] if outputs == "softmax" else logits[:, 0]
    positive = None if isinstance(asked, Gap) else "red"
    for performance, reference in (
        ("auc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
    ):
        question = Question.of(as_images(data, "data"), asked, positive=positive, performance=performance)  # type: ignore[arg-type]
        measured = question.performances(evaluator_for("cpu", None), model)
        assert list(measured) == ["accuracy", performance]
        figure = measured[performance]
        assert figure == pytest.approx(reference(states[known], scores[known]), abs=1e-9)
        # The images are few, which the intervals over seeds have to know.
        assert figure.low < figure < figure.high
        accuracy = measured["accuracy"]
        correct = stats.binomtest(round(accuracy * accuracy.n), accuracy.n).proportion_ci()
        assert (accuracy.low, accuracy.high, accuracy.n) == pytest.approx((correct.low, correct.high, known.sum()))
        narrower = question.performances(evaluator_for("cpu", None), model, 0.8)
        for name, own in measured.items():
            assert own.low < narrower[name].low < own < narrower[name].high < own.high


def test_several_sources_are_trained_on_the_same_images(tmp_path: Path) -> None:
    data = [(image, int(label["green"]), side) for image, label, side in pictures()]
    options: dict[str, Any] = {"recipe": Recipe(epochs=1, batch_size=16), "seeds": 2, "store": tmp_path}

    def planted(images: Any, level: float) -> Any:
        return plant(images, Square(), level)

    gap = Gap("side", "accuracy", positive=1, between=("a", "b"))
    sources: dict[str, Any] = {"ours": Net(2), "control": Model(Net(2, 1), name="other")}
    both = dose_response(sources, data, data, gap, change=planted, levels=[0.5, 0], performance="auc", **options)
    assert list(both.responses) == ["ours", "control"]
    for name, source in sources.items():
        alone = dose_response(source, data, data, gap, change=planted, levels=[0, 0.5], performance="auc", **options)
        assert alone.to_dict() == both[name].to_dict()
    assert "auc" in str(both).splitlines()[1].split()
    with pytest.raises(BiasTransferError, match=r"source: the names are \[''\], expected a name for each source"):
        dose_response({"": Net(2)}, data, data, gap, change=planted, levels=[0], **options)


def test_thresholds_are_found_on_other_images(tmp_path: Path) -> None:
    data, validation = pictures(), pictures(40)[::-1]
    recipe = Recipe(epochs=1, batch_size=16)
    gap = Gap("side", "fpr", positive="red", operating_point="prevalence", min_group_size=3)
    options: dict[str, Any] = {"recipe": recipe, "seeds": 2, "store": tmp_path, "levels": [0]}

    def as_it_is(images: Any, _: float) -> Any:
        return images

    found = dose_response(Net(2), data, data, gap, change=as_it_is, calibration_dataset=validation, **options)
    assert found.question == "fpr of red at prevalence by side, threshold from list"
    model = transfer(Net(2), data, recipe=recipe.with_seed(1), store=tmp_path)
    arguments: dict[str, Any] = {"positive": "red", "operating_point": "prevalence", "min_group_size": 3}
    expected = measure_gaps(model, data, "side", calibration_dataset=validation, **arguments)
    assert found.levels[0].values[1] == float(expected.gap)
    with pytest.raises(
        BiasTransferError, match=r"calibration_dataset= is for gaps .*, and Square\(.*is an intervention"
    ):
        dose_response(Net(2), data, data, Square(), change=as_it_is, calibration_dataset=validation, **options)
    other = Gap("side", "fpr", positive="red")
    with pytest.raises(BiasTransferError, match="fpr of red by side has operating_point='argmax'"):
        dose_response(Net(2), data, data, other, change=as_it_is, calibration_dataset=validation, **options)


def test_the_threshold_is_that_of_the_models(tmp_path: Path) -> None:
    data = pictures()
    options: dict[str, Any] = {"recipe": Recipe(epochs=1, batch_size=16), "seeds": 2, "store": tmp_path}
    arguments: dict[str, Any] = {"positive": "red", "over": {"size": [40]}, **options}
    study = sweep(Net(2), data, data, Square(), threshold=0.9, **arguments)
    trained = subset(data, 40)
    model = transfer(Net(2), trained, recipe=options["recipe"].with_seed(0), threshold=0.9, store=tmp_path)
    expected = measure(model, data, Square(), positive="red")
    assert study.points[0].found.values[0] == float(expected.asr)
    assert study.points[0].found.performances["accuracy"].values[0] == float(expected.accuracy)
