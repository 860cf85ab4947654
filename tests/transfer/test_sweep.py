"""Sweeps over recipes, sources and finetuning data: what is trained, tables, JSON, plots, mistakes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_biastransfer import Model, Square, measure
from pytest_biastransfer.display.files import require_files
from pytest_biastransfer.errors import BiasTransferError, ReportError, SpecError
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.transfer import Recipe, Sweep, plant, subset, sweep, transfer
from pytest_biastransfer.transfer.seed_repeats import OverSeeds, Repeated
from pytest_biastransfer.transfer.sweep_result import SweepPoint, plain_setting
from tests.transfer.exact_figures import exactly

SQUARE = Square(size=0.25, anchor="top-left")
RECIPE = Recipe(epochs=2, batch_size=16)


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(torch.relu(self.conv(images)).amax(dim=(2, 3)))
        return found


def pictures(count: int, seed: int) -> list[tuple[torch.Tensor, int]]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for place in range(count):
        image = torch.rand(3, 8, 8, generator=generator) * 0.6
        image[place % 2] += 0.3
        found.append((image, place % 2))
    return found


def test_each_combination_is_the_transfer_with_these_settings(tmp_path: Path) -> None:
    data, test = pictures(32, 1), pictures(24, 2)
    sources: dict[str, Any] = {"one": Net(), "other": Model(Net(1), name="second")}

    def planted(images: Any, level: float) -> Any:
        return plant(images, SQUARE, level)

    over: dict[str, Any] = {"weight_decay": [0.1, 0], "size": [16, 24], "level": [0.5]}
    options: dict[str, Any] = {"mode": "full-network", "recipe": RECIPE, "store": tmp_path}
    study = sweep(sources, data, test, SQUARE, over=over, change=planted, seeds=[3, 5], **options)
    assert study.axes == {"source": ["one", "other"], "size": [16, 24], "weight_decay": [0, 0.1]}
    assert study.shared == {"mode": "full-network", "level": 0.5, "epochs": 2, "batch_size": 16}
    rows = study.to_dict()["points"]
    assert len(rows) == 8
    wanted = {"source": "other", "size": 16, "weight_decay": 0.1}
    (row,) = [row for row in rows if row["settings"] == wanted]
    recipe = Recipe(epochs=2, batch_size=16, weight_decay=0.1, seed=5)
    trained = subset(plant(data, SQUARE, 0.5), 16)
    model = transfer(sources["other"], trained, "full-network", recipe=recipe, store=tmp_path)
    expected = measure(model, test, SQUARE)
    assert row["figure"]["values"][1] == float(expected.asr)
    assert row["performances"]["accuracy"]["values"][1] == float(expected.accuracy)
    # Two seeds of each, and the last transfer was one of them.
    assert len(list((tmp_path / "trained").iterdir())) == 16


def test_modes_are_swept(tmp_path: Path) -> None:
    data = pictures(16, 1)
    over = {"mode": ["fixed-feature", "scratch"]}
    study = sweep(Net(), data, data, SQUARE, over=over, recipe=RECIPE, seeds=2, store=tmp_path)
    assert study.axes == over
    assert study.shared["source"] == "source"


def point(value: float, bound: Any = "at most", **settings: Any) -> SweepPoint:
    values = OverSeeds.of(exactly(value, value + 0.1), least=-1.0)
    return SweepPoint("asr", bound, settings, Repeated(values, {"accuracy": OverSeeds.of(exactly(0.9, 0.9))}))


POINTS = [
    point(0.5, source="one", mode="full-network", weight_decay=0.01),
    point(0.1, source="two", mode="full-network", weight_decay=0.01),
    point(0.7, source="one", mode="full-network"),
    point(0.3, source="two", mode="full-network", weight_decay=0),
]


def test_the_table_has_the_settings_that_differ() -> None:
    assert str(Sweep(POINTS)).splitlines() == [
        "asr, by source and weight_decay",
        "  with mode=full-network",
        "  source  weight_decay  figure                 accuracy",
        "  one     0.0005        0.750 [0.115, 1.000]   0.900 [0.900, 0.900]",
        "  one     0.01          0.550 [-0.085, 1.000]  0.900 [0.900, 0.900]",
        "  two     0             0.350 [-0.285, 0.985]  0.900 [0.900, 0.900]",
        "  two     0.01          0.150 [-0.485, 0.785]  0.900 [0.900, 0.900]",
    ]


@given(st.permutations(POINTS))
def test_the_order_in_which_workers_finish_does_not_matter(points: list[SweepPoint]) -> None:
    numbers = [
        row["figure"]["value"] for row in Sweep(points).to_dict()["points"] if row["settings"]["source"] == "one"
    ]
    assert numbers == pytest.approx([0.75, 0.55])
    assert Sweep(points).axes["weight_decay"] == [0, 0.0005, 0.01]


def test_of_a_point_that_was_measured_twice_the_last_counts() -> None:
    again = point(0.2, source="one", mode="full-network", weight_decay=0.01)
    rows = Sweep([*POINTS, again]).to_dict()["points"]
    assert len(rows) == 4
    assert rows[1]["figure"]["values"] == [0.2, pytest.approx(0.3)]


def test_one_point_alone_has_a_table() -> None:
    lines = str(Sweep(POINTS[:1])).splitlines()
    assert lines[:2] == ["asr", "  with source=one, mode=full-network, weight_decay=0.01"]
    assert lines[2].split() == ["figure", "accuracy"]


def test_points_arrive_as_they_were() -> None:
    unmeasured = OverSeeds.of([proportion(0, 0), proportion(0, 0)])
    assert (unmeasured.mean.low, unmeasured.mean.high) == (0, 1)
    unknown = Repeated(OverSeeds.of([proportion(1, 10), proportion(2, 10)]), {"accuracy": unmeasured})
    for one in (*POINTS, SweepPoint("gap", "size at most", {"flip": True, "pos_weight": None}, unknown)):
        sent = json.loads(json.dumps(one.to_json()))
        assert SweepPoint.from_json(sent).to_json() == one.to_json()
        assert str(Sweep([SweepPoint.from_json(sent)])) == str(Sweep([one]))


@pytest.mark.parametrize(
    ("value", "plain"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), ((1, 2), "(1, 2)"), (True, True), (None, None), ("cosine", "cosine")],
)
def test_settings_are_plain_data(value: Any, plain: Any) -> None:
    assert plain_setting(value) == plain
    assert type(plain_setting(value)) is type(plain)


@pytest.mark.parametrize(
    "points",
    [
        POINTS,
        POINTS[:1],
        [point(number / 10, "size at most", size=size) for number, size in ((-3, 16), (1, 128), (4, 8192))],
        [point(0.1, weight_decay=0), point(0.2, weight_decay=1e-4), point(0.3, weight_decay=0.1)],
        [point(0.1, mode="full-network", flip=True), point(0.2, mode="scratch", flip=False)],
    ],
)
def test_a_sweep_is_saved_as_json_and_as_a_plot(points: list[SweepPoint], tmp_path: Path) -> None:
    study = Sweep(random.Random(0).sample(points, len(points)))
    study.save(tmp_path / "sweep.json")
    assert json.loads((tmp_path / "sweep.json").read_text()) == study.to_dict()
    study.save(tmp_path / "sweep.svg")
    # The error bars of each point, in both parts.
    assert (tmp_path / "sweep.svg").read_text().count("<use") > 4 * len(points)


def images_of(_: Any, level: float) -> Any:
    return pictures(8, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"over": {}}, r"over=\{\}, expected values by setting, such as"),
        ({"over": {"weight_decays": [0]}}, "over: 'weight_decays' is not a setting; did you mean weight_decay"),
        ({"over": {"seed": [0]}}, "over: 'seed' is not a setting"),
        ({"over": {"weight_decay": 0.1}}, "over: weight_decay=0.1, expected a list of values"),
        ({"over": {"weight_decay": [0, -1]}}, "Recipe: weight_decay=-1, expected a number from 0 on"),
        ({"over": {"size": [4, 80]}}, "subset: n=80, expected a whole number from 1 to 8"),
        ({"over": {"level": [0.1]}}, "level= and change= go together"),
        ({"change": images_of}, "level= and change= go together"),
        ({"over": {"mode": ["half"]}}, "mode='half'; Valid"),
        ({"seeds": 1}, "seeds=1: expected at least two"),
        ({"performance": "auc"}, "performance='auc' ranks the images by the score of one decision; name it: positive="),
        ({"performance": "f1", "positive": 1}, "performance='f1'; Valid: auc, average_precision"),
        ({"source": {}}, r"source: the names are \[\], expected a name for each source"),
    ],
)
def test_what_cannot_be_swept_says_why_before_anything_is_trained(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    data = pictures(8, 0)
    given: dict[str, Any] = {"source": Net(), "over": {"weight_decay": [0.1]}, "recipe": RECIPE, "seeds": 2, **changed}
    with pytest.raises(BiasTransferError, match=message):
        sweep(given.pop("source"), data, data, SQUARE, store=tmp_path, **given)
    assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ("sweep.txt", r"sweep.txt: expected a file with the ending .svg, .png, .pdf or .json"),
        (3, "save=3, expected a file or a list of files"),
        ([3], r"save=\[3\], expected a file or a list of files"),
    ],
)
def test_files_that_cannot_be_written_are_refused(save: Any, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        require_files(save)


def test_a_plot_needs_matplotlib_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_files(["sweep.json", Path("a/sweep.png")]) == ["sweep.json", "a/sweep.png"]

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("pytest_biastransfer.optional_dependencies.importlib.import_module", missing)
    assert require_files("sweep.json") == ["sweep.json"]
    with pytest.raises(SpecError, match=r"sweep\.png: needs matplotlib, which is not installed; type: pip install"):
        require_files("sweep.png")
