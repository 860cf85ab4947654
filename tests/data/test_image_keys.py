"""Keys of images by their content: of files, arrays and objects, in views of them, and where there are none."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from pytest_biastransfer.data import image_keys as module
from pytest_biastransfer.data.concatenation import Concatenation
from pytest_biastransfer.data.image_keys import KEY_BYTES, image_keys
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.loading import as_images, load_dataset
from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.data.views import Renamed, View


def keys_of(images: LabelledImages) -> list[bytes]:
    raw = base64.b64decode(image_keys(images))
    assert len(raw) == KEY_BYTES * len(images)
    return [raw[start : start + KEY_BYTES] for start in range(0, len(raw), KEY_BYTES)]


def items(count: int) -> list[tuple[np.ndarray, int]]:
    return [(np.full((3, 4, 4), index, dtype=np.uint8), index % 2) for index in range(count)]


def objects(count: int) -> LabelledImages:
    return as_images(items(count), "a test")


def folder(path: Path, count: int, classes: tuple[str, ...] = ("cat", "dog")) -> LabelledImages:
    for index in range(count):
        file = path / classes[index % len(classes)] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(np.full((4, 4, 3), index, dtype=np.uint8)).save(file)
    return load_dataset(f"imagefolder:{path}")


def arrays(path: Path, count: int) -> LabelledImages:
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), dtype=np.uint8)
    np.savez(path / f"{count}.npz", images=pixels, labels=np.arange(count) % 2)
    return load_dataset(f"npz:{path / f'{count}.npz'}")


def test_an_image_that_is_appended_leaves_the_other_keys_as_they_are(tmp_path: Path) -> None:
    for few, many in (
        (objects(6), objects(8)),
        (arrays(tmp_path, 6), arrays(tmp_path, 8)),
        (folder(tmp_path / "few", 6), folder(tmp_path / "many", 8)),
    ):
        keys = keys_of(few)
        assert len(set(keys)) == 6
        assert set(keys) < set(keys_of(many))


def test_a_class_that_is_added_in_front_does_not_change_the_keys_of_files(tmp_path: Path) -> None:
    before = keys_of(folder(tmp_path, 6))
    folder(tmp_path, 1, ("ant",))
    assert set(before) < set(keys_of(load_dataset(f"imagefolder:{tmp_path}")))


def test_another_label_is_another_image() -> None:
    relabelled = as_images([(image, 1 - label) for image, label in items(6)], "a test")
    assert not set(keys_of(objects(6))) & set(keys_of(relabelled))


def test_views_have_the_keys_of_their_images() -> None:
    images = objects(6)
    keys = keys_of(images)
    assert keys_of(Renamed(images, "other")) == keys
    assert keys_of(IndexSelection(images, np.array([1, 4]))) == [keys[1], keys[4]]
    assert keys_of(Concatenation([images, objects(2)])) == keys + keys[:2]


class Darker(View):
    """Images that a view changes."""

    @property
    def fingerprint(self) -> str:
        return f"darker {self.inner.fingerprint}"


def test_images_that_a_view_changes_have_no_keys() -> None:
    assert image_keys(Darker(objects(6))) == ""
    assert image_keys(Concatenation([objects(6), Darker(objects(2))])) == ""


def test_too_many_images_have_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 5)
    assert image_keys(objects(5))
    assert image_keys(objects(6)) == ""
