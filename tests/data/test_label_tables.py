"""Several yes-or-no labels of each image, from all sources, unknown ones among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer.data import LabelledImages, as_images, load_dataset
from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.store import Facts, StoreDirectory
from tests.support.small_datasets import noise, write_picture, write_table

NAMES = ("smiling", "young")
STATES = [[1, 0], [0, -1], [1, 1], [0, 0]]
PIXELS = [torch.from_numpy(np.array(noise(3, 4, 4))) for _ in STATES]


def table_of(images: LabelledImages) -> tuple[Any, list[list[int]]]:
    table = images.label_table
    assert table is not None
    return table.names, table.states.tolist()


class Listed(list[Any]):
    """A dataset with attributes."""


@pytest.mark.parametrize(
    ("labels", "names", "states"),
    [
        ([dict(zip(NAMES, row, strict=True)) for row in STATES], NAMES, STATES),
        (
            [{"young": 0, "smiling": True}, {"smiling": 0.0}, {"young": 1, "smiling": 1}],
            ("young", "smiling"),
            [[0, 1], [-1, 0], [1, 1]],
        ),
        ([{"smiling"}, set(), {"young", "smiling"}], NAMES, [[1, 0], [0, 0], [1, 1]]),
        ([["young"], [], ["smiling", "young"]], NAMES, [[0, 1], [0, 0], [1, 1]]),
        ([torch.tensor(row) for row in STATES], None, STATES),
        ([torch.tensor([1.0, float("nan")]), torch.tensor([0.0, 1.0])], None, [[1, -1], [0, 1]]),
        ([np.array([True, False]), np.array([False, False])], None, [[1, 0], [0, 0]]),
        ([[1, None], [0, 1]], None, [[1, -1], [0, 1]]),
        ([[0, 2], [1], []], None, [[1, 0, 1], [0, 1, 0], [0, 0, 0]]),
        ([torch.tensor([1]), torch.tensor([0])], None, [[1], [0]]),
    ],
)
def test_what_an_item_may_have_as_labels(labels: Any, names: Any, states: Any) -> None:
    images = as_images(list(zip(PIXELS, labels, strict=False)), "dataset")
    assert table_of(images) == (names, states)
    assert len(images) == len(labels)
    with pytest.raises(DatasetError, match=r"has several labels for each image .*positive="):
        images.labels  # noqa: B018
    assert images.label_text(0) == ", ".join(
        name for name, state in zip(names or map(str, range(9)), states[0], strict=False) if state == 1
    )
    again = as_images(list(zip(PIXELS, labels, strict=False)), "dataset")
    assert again.fingerprint == images.fingerprint
    other = as_images(list(zip(PIXELS, reversed(labels), strict=False)), "dataset")
    assert other.fingerprint != images.fingerprint


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1, 0], [0, 1, -1]], r"item 1 of list: the labels are \(0, 1, -1\), those of the first image \(1, 0\)"),
        ([[1, 0, 0], {"smiling": 1}], "item 1 of list: the labels are .*expected one form for all"),
        ([{"smiling": 2}, {"smiling": 1}], "item 0 of list: label 'smiling': is 2, expected 1, 0, or -1"),
        ([torch.tensor([1, 5]), torch.tensor([1, 0])], "item 0 of list: label 1: is 5, expected"),
        (
            [[1, -1], [-1, 1]],
            r"item 0 of list: the labels of this dataset are 1 and -1, and never 0; .*\(labels \+ 1\) // 2",
        ),
        ([["smiling"], ["young", 3]], "item 1 of list: label 0: is 'young', expected 1, 0"),
    ],
)
def test_what_cannot_be_labels(labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        as_images(list(zip(PIXELS, labels, strict=False)), "dataset").fingerprint  # noqa: B018


def test_the_names_of_positions_come_from_the_dataset() -> None:
    for attribute in ("classes", "attr_names", "label_names"):
        dataset = Listed(zip(PIXELS, map(torch.tensor, STATES), strict=True))
        # CelebA's list ends with an empty name.
        setattr(dataset, attribute, [*NAMES, ""])
        assert table_of(as_images(dataset, "dataset")) == (NAMES, STATES)


def test_a_selection_has_the_labels_of_its_images() -> None:
    images = as_images(
        list(zip(PIXELS, [dict(zip(NAMES, row, strict=True)) for row in STATES], strict=True)), "dataset"
    )
    selected = IndexSelection(images, np.array([1, 3]))
    assert table_of(selected) == (NAMES, [STATES[1], STATES[3]])
    image, label, _ = images[1]
    assert image.shape == (3, 4, 4)
    assert isinstance(label, torch.Tensor)
    assert label.tolist() == STATES[1]


def test_a_table_names_several_columns(tmp_path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        write_picture(tmp_path / f"{number}.png", pixels.numpy())
    cells = {1: "1", 0: "0", -1: ""}
    rows = [(f"{number}.png", *map(cells.__getitem__, row), number) for number, row in enumerate(STATES)]
    table = write_table(tmp_path / "val.csv", [("image", *NAMES, "age"), *rows])
    images = load_dataset(f"csv:{table}?label=smiling,young")
    assert table_of(images) == (NAMES, STATES)
    assert images.attributes == {"age": ["0", "1", "2", "3"]}
    with pytest.raises(DatasetError, match=r"val\.csv: there is no column 'old'"):
        load_dataset(f"csv:{table}?label=smiling,old")
    bad = write_table(tmp_path / "bad.csv", [("image", *NAMES), ("0.png", 1, 7)])
    with pytest.raises(DatasetError, match=r"bad\.csv, line 2: young: is '7', expected 1, 0, or -1 for unknown"):
        load_dataset(f"csv:{bad}?label=smiling,young")


def test_arrays_of_labels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5), dtype=np.uint8)
    np.savez(tmp_path / "val.npz", images=pixels, labels=np.array(STATES), classes=np.array(NAMES))
    facts = Facts(StoreDirectory(tmp_path / "store"))
    for _ in range(2):
        # The second time from the cached index.
        assert table_of(load_dataset(f"npz:{tmp_path / 'val.npz'}", facts=facts)) == (NAMES, STATES)
    np.savez(tmp_path / "unnamed.npz", images=pixels, labels=np.array(STATES))
    (tmp_path / "names.txt").write_text("smiling\nyoung\n")
    assert table_of(load_dataset(f"npz:{tmp_path / 'unnamed.npz'}?classes={tmp_path / 'names.txt'}")) == (NAMES, STATES)
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    for file, names in (("unnamed", "three"), ("val", "names")):
        named = load_dataset(f"npz:{tmp_path / file}.npz?classes={tmp_path / names}.txt")
        with pytest.raises(
            DatasetError, match=r"\.txt: names . labels, and .*; expected a name for each label, of labels"
        ):
            named.label_table  # noqa: B018
    floats = np.where(np.array(STATES) < 0, np.nan, np.array(STATES))
    np.savez(tmp_path / "val.npz", images=pixels, labels=floats)
    assert table_of(load_dataset(f"npz:{tmp_path / 'val.npz'}")) == (None, STATES)


def test_sequences_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    pictures = [Image.fromarray(pixel.permute(1, 2, 0).numpy()) for pixel in PIXELS]
    for feature, cells, names in (
        (datasets.Sequence(datasets.Value("int64")), STATES, None),
        (datasets.Sequence(datasets.Value("string")), [["smiling"], [], ["smiling", "young"], []], NAMES),
        (datasets.Sequence(datasets.ClassLabel(names=list(NAMES))), [[0], [], [0, 1], []], NAMES),
    ):
        features = datasets.Features({"image": datasets.Image(), "label": feature})
        directory = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        datasets.Dataset.from_dict({"image": pictures, "label": cells}, features=features).save_to_disk(directory)
        found_names, found = table_of(load_dataset(f"hf:{directory}"))
        assert found_names == names
        assert found == (STATES if names is None else [[1, 0], [0, 0], [1, 1], [0, 0]])
    features = datasets.Features({"image": datasets.Image(), **{name: datasets.Value("int8") for name in NAMES}})
    columns = {name: [row[position] for row in STATES] for position, name in enumerate(NAMES)}
    datasets.Dataset.from_dict({"image": pictures, **columns}, features=features).save_to_disk(tmp_path / "columns")
    assert table_of(load_dataset(f"hf:{tmp_path / 'columns'}?label=smiling,young")) == (NAMES, STATES)
