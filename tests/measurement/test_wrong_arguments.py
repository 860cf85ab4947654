"""What a first user of the functions mistakes: each mistake is one error of this package that says what to type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import pytest
import torch
from torchvision.models import resnet18

from pytest_biastransfer import BiasTransferError, Model, Square, ladder, measure, measure_ladder, scan
from pytest_biastransfer.transfer import attribute_bias, dose_response, transfer

MODULE: Final = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
MODEL: Final = Model(MODULE, classes=["red", "green", "blue"], name="brightest")
IMAGES: Final = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 8, 8), 0)] * 8
LOADER: Final[Any] = torch.utils.data.DataLoader(IMAGES)  # type: ignore[arg-type]

MISTAKES: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "a class for a model": (
        lambda: measure(torch.nn.Flatten, IMAGES, "dark"),  # type: ignore[arg-type]
        "model: got <class .*; Flatten is a class: call it, as in Flatten",
    ),
    "a function for a model": (
        lambda: measure(resnet18, IMAGES, "dark"),
        "model: got <function .*; resnet18 is a function: call it, as in resnet18",
    ),
    "weights for a model": (
        lambda: measure(MODULE.state_dict(), IMAGES, "dark"),  # type: ignore[arg-type]
        "model: got OrderedDict.*; these are weights: make the module, and call its load_state_dict",
    ),
    "a loader": (lambda: measure(MODEL, LOADER, "dark"), "dataset: got .*; pass the dataset of the loader"),
    "a class for an intervention": (
        lambda: measure(MODEL, IMAGES, Square),  # type: ignore[arg-type]
        "intervention: got <class .*; Square is a class: call it, as in Square",
    ),
    "a ladder for an intervention": (
        lambda: measure(MODEL, IMAGES, ladder(Square(), "size", [0.1, 0.2])),  # type: ignore[arg-type]
        "intervention: got Ladder.*measure_ladder",
    ),
    "an intervention for a ladder": (
        lambda: measure_ladder(MODEL, IMAGES, "dark"),  # type: ignore[arg-type]
        r"ladder: got 'dark', expected .*ladder\(Square\(\), 'size', ",
    ),
    "a name of a class that has none": (
        lambda: measure(MODULE, IMAGES, "dark", target="red"),
        "target='red': the classes of the model have no names; give a number from 0 to 2, or name them",
    ),
    "a label outside": (
        lambda: measure(MODEL, [(IMAGES[0][0], 7)], "dark"),
        r"image 0 of list has the label 7, but the model brightest has only 3 classes \(0 to 2\)",
    ),
    "a number for a store": (
        lambda: measure(MODEL, IMAGES, "dark", store=3),  # type: ignore[arg-type]
        "store=3, expected a directory",
    ),
    "one name for a scan": (lambda: scan(MODEL, IMAGES, interventions="dark"), r"interventions='dark', .*\['dark', "),
    "an unknown name in a scan": (
        lambda: scan(MODEL, IMAGES, interventions=["drak"]),
        "no intervention is named 'drak'; did you mean dark",
    ),
    "settings for a recipe": (
        lambda: attribute_bias(MODEL, MODEL, IMAGES, IMAGES, "dark", recipe={"epochs": 1}),  # type: ignore[arg-type]
        r"recipe=\{'epochs': 1\}, expected Recipe",
    ),
    "no settings for a recipe": (
        lambda: transfer(MODEL, IMAGES, recipe={}),  # type: ignore[arg-type]
        r"recipe=\{\}, expected Recipe",
    ),
    "a name for a change": (
        lambda: dose_response(MODEL, IMAGES, IMAGES, "dark", change="plant", levels=[0, 1]),
        "change='plant', expected a function of the images and a level",
    ),
    "a file in no directory": (
        lambda: measure(MODEL, IMAGES, "dark").save("nowhere/result.json"),
        "result.json: cannot be written .No such file or directory.",
    ),
    "a plot in no directory": (
        lambda: measure(MODEL, IMAGES, "dark").save("nowhere/result.svg"),
        "result.svg: cannot be written .No such file or directory.",
    ),
    "a figure for axes": (
        lambda: measure(MODEL, IMAGES, "dark").plot(axes=mpl.figure.Figure()),  # type: ignore[arg-type]
        "Measurement.plot.axes=<Figure .*, expected axes of matplotlib",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_that_says_what_to_type(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = MISTAKES[mistake]
    with pytest.raises(BiasTransferError, match=message):
        call()


def test_a_scan_takes_registered_names() -> None:
    assert set(scan(MODEL, IMAGES, interventions=["dark", "blur"]).measurements) == {"dark", "blur"}
