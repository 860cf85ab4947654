"""Which folders and files are classes and pictures, and which are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_biastransfer import load_dataset
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import DatasetError
from tests.support.small_datasets import noise, write_picture


def write(directory: Path, *files: str) -> str:
    for seed, file in enumerate(files):
        write_picture(directory / file, noise(3, 4, 4, seed=seed))
    return f"imagefolder:{directory}"


CLASSES = ("cat/0.png", "cat/1.png", "dog/0.png")
LITTER = (
    *(".ipynb_checkpoints/0-checkpoint.png", ".git/a.png", "__MACOSX/cat/._0.png", "__pycache__/a.png"),
    *("@eaDir/cat/0.png", "#recycle/old.png", "$RECYCLE.BIN/old.png", "System Volume Information/a.png"),
    *(
        "cat/._0.png",
        "cat/.hidden.png",
        "cat/.thumbnails/0.png",
        "dog/@eaDir/0.png/thumb.png",
        "dog/.ipynb_checkpoints/0.png",
    ),
)


def test_hidden_entries_and_litter_are_no_classes_and_no_pictures(tmp_path: Path) -> None:
    plain = load_dataset(write(tmp_path / "plain", *CLASSES))
    spec = write(tmp_path / "littered", *CLASSES, *LITTER)
    for name in (".DS_Store", "Thumbs.db", "cat/.DS_Store", "cat/desktop.ini", "dog/Thumbs.db", "notes.png"):
        (tmp_path / "littered" / name).write_bytes(b"\0\5\x16\7 no picture")
    for name in (".cache", "__MACOSX/dog"):
        (tmp_path / "littered" / name).mkdir(exist_ok=True)
    littered = load_dataset(spec)
    assert littered.classes == ("cat", "dog")
    assert littered.files == list(CLASSES)
    assert littered.fingerprint == plain.fingerprint


def test_names_that_only_look_like_litter_are_classes(tmp_path: Path) -> None:
    spec = write(tmp_path, "__background__/0.png", "_other/0.png", "cat.v2/0.png", "lost/0.png")
    assert load_dataset(spec).classes == ("__background__", "_other", "cat.v2", "lost")


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (("train/cat/0.png", "train/dog/0.png", "val/cat/0.png"), "train/ and val/"),
        (("Training/cat/0.png", "Testing/cat/0.png"), "Testing/ and Training/"),
        (("val/cat/0.png", "val/dog/0.png"), "val/"),
        (("train2017/0.png", "val2017/0.png"), "train2017/ and val2017/"),
        (("test_set/cat/0.png", "training_set/cat/0.png"), "test_set/ and training_set/"),
        (("train/cat/0.png", "test/cat/0.png", "annotations/0.png"), "test/ and train/"),
        (("train/cat/0.png", "val/cat/0.png", ".git/0.png"), "train/ and val/"),
    ],
)
def test_a_folder_above_the_parts_of_a_dataset_is_an_error_that_names_them(
    tmp_path: Path, files: tuple[str, ...], parts: str
) -> None:
    with pytest.raises(
        DatasetError, match=rf"imagefolder .*: {parts} are splits of a dataset, not classes; .* imagefolder:"
    ):
        load_dataset(write(tmp_path, *files))


@pytest.mark.parametrize(
    "files",
    [
        ("bus/0.png", "car/0.png", "train/0.png"),
        ("bus/old/0.png", "train/steam/0.png"),
        ("validated/0.png", "tested/0.png"),
        ("test tube/0.png", "train station/0.png"),
    ],
)
def test_a_class_may_be_called_train(tmp_path: Path, files: tuple[str, ...]) -> None:
    assert load_dataset(write(tmp_path, *files)).classes == tuple(sorted(file.partition("/")[0] for file in files))


def test_links_are_followed_as_torchvision_does(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "cat/0.png", "more/1.png")
    write(tmp_path / "val", "dog/0.png")
    (tmp_path / "val/cat").symlink_to(tmp_path / "elsewhere/cat")
    (tmp_path / "val/dog/more").symlink_to(tmp_path / "elsewhere/more")
    images = load_dataset(f"imagefolder:{tmp_path}/val")
    assert (images.files, images.labels.tolist()) == (["cat/0.png", "dog/0.png", "dog/more/1.png"], [0, 1, 1])


def test_a_link_to_a_folder_that_it_is_in_repeats_nothing(tmp_path: Path) -> None:
    write(tmp_path / "val", "cat/0.png", "dog/0.png")
    (tmp_path / "val/cat/again").symlink_to(tmp_path / "val/cat")
    (tmp_path / "val/dog/all").symlink_to(tmp_path / "val")
    with pytest.raises(
        DatasetError, match=r"imagefolder .*/val/cat/again: is a link to a folder that it is in; remove it"
    ):
        load_dataset(f"imagefolder:{tmp_path}/val")


def test_empty_folders_are_classes_of_a_model_that_names_them(tmp_path: Path) -> None:
    from pytest_biastransfer.data.label_mapping import labels_for, model_labels

    spec = write(tmp_path, "cat/0.png", "yak/0.png")
    (tmp_path / "dog").mkdir()
    images = load_dataset(spec)
    assert images.classes == ("cat", "dog", "yak")
    indices = labels_for(images, ["yak", "dog", "cat"], 3)
    assert indices is not None
    assert np.array_equal(indices, [2, 0])
    # A library that skips empty folders has other numbers.
    assert "1 of them without images (dog)" in model_labels(images, None, 4).reason


def test_an_object_of_torchvision_above_the_parts_of_a_dataset(tmp_path: Path) -> None:
    import torchvision

    write(tmp_path, "train/cat/0.png", "val/cat/0.png")
    with pytest.raises(DatasetError, match="dataset: train and val are splits of a dataset, not classes"):
        as_images(torchvision.datasets.ImageFolder(tmp_path), "dataset").classes  # noqa: B018 - reads the images
