"""What was probably meant is named: a path without its scheme, a percentage in place of a share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import pytest_biastransfer as bt
from pytest_biastransfer.data import as_images, load_dataset
from pytest_biastransfer.errors import BiasTransferError, MarkerError, SpecError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.models import as_model
from pytest_biastransfer.models.loading import load_model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.plugin.collection.markers import cases_of
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.strategies import patches
from pytest_biastransfer.transfer import plant


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("pets.pt", "checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=N"),
        ("/models/pets.PTH", "checkpoint:/models/pets.PTH?arch=torchvision:resnet18&num_classes=N"),
        (r"C:\models\pets.ckpt", r"checkpoint:C:\models\pets.ckpt?arch=torchvision:resnet18&num_classes=N"),
        ("runs/best.safetensors?arch=timm:vit&size=224", "checkpoint:runs/best.safetensors?arch=timm:vit&size=224"),
        ("pets.pt2", "export:pets.pt2"),
        ("pets.onnx?size=224", "onnx:pets.onnx?size=224"),
        ("data/val", "imagefolder:data/val"),
        ("data/val?limit=5", "imagefolder:data/val?limit=5"),
        (r"D:\data\val", r"imagefolder:D:\data\val"),
        ("val", "imagefolder:val"),
        ("lists/val.csv", "csv:lists/val.csv"),
        ("arrays.npz", "npz:arrays.npz"),
        ("tuned", "hf:tuned"),
    ],
)
def test_a_path_without_its_scheme_is_answered_with_its_spec(tmp_path: Path, text: str, suggestion: str) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").touch()
    with pytest.raises(SpecError) as error:
        Spec.parse(text, tmp_path)
    assert str(error.value) == f"spec {text!r}: expected scheme:rest?key=value, did you mean {suggestion}?"
    # What is suggested can be parsed.
    assert Spec.parse(suggestion, tmp_path).scheme == suggestion.partition(":")[0]


@pytest.mark.parametrize("load", [load_model, load_dataset])
def test_what_looks_like_no_path_is_answered_with_examples(load: Any) -> None:
    with pytest.raises(SpecError, match=r"expected .*, such as torchvision:resnet18 or imagefolder:data/val$"):
        load("resnet18")


def test_a_path_object_is_answered_with_its_spec() -> None:
    with pytest.raises(BiasTransferError, match=r"or a spec such as 'checkpoint:pets\.pt\?arch="):
        as_model(Path("pets.pt"), "fixture transferred_model")
    with pytest.raises(BiasTransferError, match=r"or a spec such as 'imagefolder:data/val'$"):
        as_images(Path("data/val"), "fixture bias_dataset")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"max_asr": 5}, "max_asr=5, expected a number from 0 to 1; did you mean 0.05?"),
        ({"max_skew": 30}, "max_skew=30, expected a number from 0 to 1; did you mean 0.3?"),
        ({"max_asr_excess": -12.5}, "max_asr_excess=-12.5, expected a number from -1 to 1; did you mean -0.125?"),
        ({"max_accuracy_drop": "5%"}, "max_accuracy_drop='5%', expected a number from -1 to 1; did you mean 0.05?"),
        # As likely a misplaced point, or something else altogether.
        ({"max_asr": 1.5}, "max_asr=1.5, expected a number from 0 to 1"),
        ({"max_asr": 224}, "max_asr=224, expected a number from 0 to 1"),
        ({"max_asr": 1, "confidence": 95}, "confidence=95, * such as 0.95; did you mean 0.95?"),
        ({"max_asr": 1, "early_stop": 5}, "early_stop=5, * such as True or 0.01; did you mean 0.05?"),
        ({"max_asr": 1, "max_regression": 2}, "max_regression=2, * such as 0.01; did you mean 0.02?"),
    ],
)
def test_a_percentage_in_a_marker_is_answered_with_the_share(keywords: dict[str, Any], message: str) -> None:
    mark = pytest.mark.bias_intervention("yellow-square", **keywords).mark
    with pytest.raises(MarkerError) as error:
        cases_of([mark], "test_it", BUILT_IN)
    begin, _, end = message.partition(" * ")
    assert str(error.value).startswith(f"test_it: bias_intervention: {begin}")
    assert str(error.value).endswith(end or begin)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bt.Square(size=25), r"size=25, .*; did you mean 0\.25\?$"),
        (lambda: bt.Square(size=0.2, opacity=50), r"opacity=50, .*; did you mean 0\.5\?$"),
        (lambda: bt.Sometimes(bt.Square(), probability=10), r"probability=10, .*; did you mean 0\.1\?$"),
        (lambda: bt.Square(size=-5), "size=-5, expected a number above 0 and at most 1$"),
        (lambda: bt.Rectangle(size=0.2, aspect=-2), "aspect=-2, expected a number above 0$"),
        (lambda: Preprocess(size=224, crop_pct=87.5), r"crop_pct=87\.5, .*; did you mean 0\.875\?$"),
        (lambda: patches(max_size=25), r"max_size=25, .*; did you mean 0\.25\?$"),
        (lambda: plant([(torch.zeros(3, 4, 4), 0)], "yellow-square", fraction=10), r"fraction=10, .* 0\.1\?$"),
    ],
)
def test_a_percentage_elsewhere_is_answered_with_the_share(make: Any, message: str) -> None:
    with pytest.raises(BiasTransferError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["-o", "bias_alpha=5"], "0.05"), (["--bias-early-stop=1%"], "0.01"), (["--bias-early-stop=2.5"], "0.025")],
)
def test_a_percentage_in_the_settings_is_answered_with_the_share(
    pytester: pytest.Pytester, arguments: list[str], meant: str
) -> None:
    result = pytester.runpytest_inprocess("-p", "no:xdist", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*such as 0.01; did you mean {meant}?"])
