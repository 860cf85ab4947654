"""The file of an image: of a folder of pictures, of a part of it, and of images that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.image_names import image_name
from pytest_biastransfer.data.loading import load_dataset


def test_files_are_named_relative_to_the_dataset(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name / f"{number}.png")
    images = load_dataset(f"imagefolder:{tmp_path}")
    assert [image_name(images, index) for index in (0, 4)] == ["cat/0.png", "dog/1.png"]
    part = load_dataset(f"imagefolder:{tmp_path}?limit=2&seed=1")
    files = [image_name(part, index) for index in range(2)]
    assert all((tmp_path / file).is_file() for file in files)
    assert len(set(files)) == 2


def test_images_without_files_have_no_name() -> None:
    assert image_name(as_images([(torch.zeros(3, 8, 8), 0)], "images"), 0) == ""
