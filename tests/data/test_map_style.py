"""Datasets: the right pixels, labels and fingerprints, and one clear error for each thing that is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from pytest_biastransfer import Preprocess, Square, load_dataset
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.arrays import as_8_bit
from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.data.picture_decoding import read_picture
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.data.schemes.image_folder import ImageFolder
from pytest_biastransfer.errors import DatasetError, SpecError
from pytest_biastransfer.evaluation.predictor import source_change

Pixels = npt.NDArray[np.uint8]
AS_THEY_ARE = Preprocess()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(pixels: Pixels) -> Image.Image:
    """Return a picture of [3, height, width] or [height, width]."""
    return Image.fromarray(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0))


def decoded(dataset: Any, preprocess: Preprocess = AS_THEY_ARE) -> npt.NDArray[Any]:
    images = as_images(dataset, "dataset")
    return decode(images, range(len(images)), preprocess)


# -------------------------------------------------------------------------------- what a dataset holds

RGB = noise(3, 6, 5)
GRAY = noise(1, 6, 5)
UNIT = RGB.astype(np.float32) / np.float32(255)

KINDS: dict[str, tuple[Any, Pixels]] = {
    "picture": (picture(RGB), RGB),
    "gray picture": (picture(GRAY[0]), GRAY.repeat(3, axis=0)),
    "uint8 tensor": (torch.from_numpy(RGB), RGB),
    "uint8 array": (RGB, RGB),
    "gray uint8 tensor": (torch.from_numpy(GRAY), GRAY),
    "float tensor": (torch.from_numpy(UNIT), RGB),
    "float array": (UNIT, RGB),
    "float64 tensor": (torch.from_numpy(RGB / 255), RGB),
    "float64 array": (RGB / 255, RGB),
    "gray float tensor": (torch.from_numpy(GRAY).float() / 255, GRAY),
    "black": (torch.zeros(3, 6, 5), np.zeros_like(RGB)),
    "white": (np.ones((3, 6, 5)), np.full_like(RGB, 255)),
    "ToTensor": (torchvision.transforms.functional.to_tensor(picture(RGB)), RGB),
    "tv_tensor": (torchvision.tv_tensors.Image(torch.from_numpy(RGB)), RGB),
    "transposed": (torch.from_numpy(RGB.transpose(0, 2, 1).copy()).transpose(1, 2), RGB),
    "backwards": (RGB[:, ::-1].copy()[:, ::-1], RGB),
    "with gradient": (torch.from_numpy(UNIT).requires_grad_(), RGB),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_8_bits_of_any_kind_is_decoded_to_its_pixels(kind: str) -> None:
    image, expected = KINDS[kind]
    batch = decoded([(image, 0), (image, 0)])
    assert batch.dtype == np.uint8
    assert np.array_equal(batch, np.stack([expected, expected]))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_pictures_of_all_8_bit_modes_are_converted_as_torchvisions_loader_does(mode: str) -> None:
    image = picture(RGB).convert(mode)
    assert image.mode == mode
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decoded([(image, 0)])[0], expected)


def test_a_palette_with_transparency_is_decoded_without_a_warning_of_pillow() -> None:
    image = picture(RGB).convert("P")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    image.info["transparency"] = bytes(range(256))
    assert np.array_equal(decoded([(image, 0)])[0], expected)


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", "u2"), ("I", "i4"), ("F", "f4")])
def test_pictures_of_more_than_8_bits_are_refused_instead_of_clipped_to_white(mode: str, dtype: str) -> None:
    image = Image.fromarray(np.array([[0, 256, 20_000, 65_535]], dtype))
    assert image.mode == mode
    with pytest.raises(DatasetError, match=re.escape(mode)):
        decoded([(image, 0)])


def test_floats_between_the_levels_of_8_bits_stay_floats() -> None:
    image = np.random.default_rng(0).random((3, 6, 5))
    for given_image in (image, torch.from_numpy(image), torch.from_numpy(image).float()):
        batch = decoded([(given_image, 0)])
        assert batch.dtype == np.float32
        assert np.array_equal(batch[0], image.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    image = torch.rand(3, 6, 5).to(dtype)
    batch = decoded([(image, 0)])
    assert batch.dtype == np.float32
    assert np.array_equal(batch[0], image.float().numpy())


def test_pictures_and_floats_in_one_batch_become_floats_of_the_same_scale() -> None:
    image = np.random.default_rng(0).random((3, 6, 5), dtype=np.float32)
    batch = decoded([(picture(RGB), 0), (image, 0)])
    assert batch.dtype == np.float32
    assert np.array_equal(batch, np.stack([UNIT, image]))


@pytest.mark.parametrize("kind", KINDS)
def test_decoded_pixels_are_contiguous_as_those_that_come_from_the_store(kind: str) -> None:
    # A transform that draws a number a pixel draws them in the order of the memory.
    image, _ = KINDS[kind]
    for preprocess in (AS_THEY_ARE, Preprocess(size=4), Preprocess(crop=3)):
        strides = decoded([(image, 0), (image, 0)], preprocess).strides
        assert list(strides) == sorted(strides, reverse=True)


def test_images_are_decoded_in_the_order_that_is_asked_for() -> None:
    pictures = [noise(3, 4, 4, seed=seed) for seed in range(5)]
    images = as_images([(image, 0) for image in pictures], "dataset")
    assert np.array_equal(decode(images, [4, 0, 2], AS_THEY_ARE), np.stack([pictures[i] for i in (4, 0, 2)]))


def test_images_of_several_sizes_are_brought_to_the_declared_one() -> None:
    pictures = [picture(noise(3, 6, 5)), picture(noise(3, 9, 12)), picture(noise(3, 4, 30))]
    batch = decoded([(image, 0) for image in pictures], Preprocess(size=4))
    transform = v2.Compose([v2.Resize(4), v2.CenterCrop(4)])
    assert np.array_equal(batch, np.stack([np.asarray(transform(image)).transpose(2, 0, 1) for image in pictures]))


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3.0).long()])
def test_a_label_of_any_whole_number_type_is_taken(label: Any) -> None:
    images = as_images([(RGB, label), [GRAY, 0], (RGB, 1, {"sex": "f"})], "dataset")
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [3, 0, 1]
    assert len(images) == 3


def test_datasets_of_torch_are_taken_as_they_are() -> None:
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(noise(4, 3, 6, 5)), torch.arange(4))
    subset = torch.utils.data.Subset(tensors, [2, 0])
    images = as_images(subset, "dataset")
    assert images.labels.tolist() == [2, 0]
    assert np.array_equal(decode(images, [0, 1], AS_THEY_ARE), noise(4, 3, 6, 5)[[2, 0]])
    assert images.name == "Subset"
    assert as_images(images, "dataset") is images


class Named(list[tuple[Any, int]]):
    """A dataset that names its classes."""

    classes: Any = ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["cat", "dog"], True),
        (("cat", "dog", "unused"), True),
        (["cat"], False),  # fewer names than labels
        ("cd", False),
        ({"cat": 0, "dog": 1}, False),
        (None, False),
    ],
)
def test_the_names_of_a_dataset_are_taken_if_its_labels_number_them(names: Any, taken: bool) -> None:
    dataset = Named([(RGB, 0), (RGB, 1)])
    dataset.classes = names
    assert as_images(dataset, "dataset").classes == (tuple(names) if taken else None)


def test_of_synonyms_the_first_is_the_name() -> None:
    # As in torchvision's ImageNet.
    dataset = Named([(RGB, 0), (RGB, 1)])
    dataset.classes = [("cat", "kitty"), ("dog",)]
    assert as_images(dataset, "dataset").classes == ("cat", "dog")


# ------------------------------------------------------------------------------------------ 8 bits


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.floats(-9e-4, 9e-4))
def test_all_multiples_of_a_255th_become_8_bits_in_spite_of_rounding(levels: list[int], off: float) -> None:
    pixels = np.array(levels, dtype=np.uint8)
    unit = ((pixels + off) / 255).astype(np.float32)
    assert np.array_equal(as_8_bit(unit), pixels)
    assert as_8_bit(pixels) is pixels


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.floats(1.2e-3, 0.5), st.integers(0, 29))
def test_one_value_between_the_levels_keeps_all_floats(levels: list[int], off: float, place: int) -> None:
    unit = np.array(levels, dtype=np.float32)
    unit[place % len(unit)] += np.float32(off) if unit[place % len(unit)] < 255 else -np.float32(off)
    unit /= np.float32(255)
    assert as_8_bit(unit) is unit


@pytest.mark.parametrize("value", [256 / 255, 2.0, -1.0, -1 / 255, float("nan"), float("inf"), -float("inf")])
def test_what_is_not_in_the_unit_range_is_never_wrapped_into_8_bits(value: float) -> None:
    unit = np.array([0.0, value, 1.0], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert as_8_bit(unit) is unit


# ---------------------------------------------------------------------------------------- normalized


def normalized(pixels: Pixels) -> torch.Tensor:
    image: torch.Tensor = v2.Normalize(MEAN, STD)(torch.from_numpy(pixels).float() / 255)
    return image


def test_normalized_images_are_named_with_what_to_declare_and_then_decoded_exactly() -> None:
    pixels = noise(4, 3, 6, 5)
    dataset = [(normalized(image), 0) for image in pixels]
    message = r"image 0 of list: .* values from -[\d.]+ to [\d.]+, expected \[0, 1\].*normalized_input=True"
    with pytest.raises(DatasetError, match=message):
        decoded(dataset)
    batch = decoded(dataset, Preprocess(normalized_input=True, mean=MEAN, std=STD))
    assert batch.dtype == np.uint8
    assert np.array_equal(batch, pixels)


def test_normalized_images_are_resized_as_they_were_before() -> None:
    pixels = noise(1, 3, 12, 10)
    declared = Preprocess(size=6, normalized_input=True, mean=MEAN, std=STD)
    assert np.array_equal(
        decoded([(normalized(pixels[0]), 0)], declared), decoded([(pixels[0], 0)], Preprocess(size=6))
    )


def test_images_normalized_with_other_numbers_than_declared_are_an_error() -> None:
    with pytest.raises(DatasetError, match=r"expected \[0, 1\]"):
        decoded([(normalized(RGB), 0)], Preprocess(normalized_input=True, mean=0.5, std=0.5))


def test_a_picture_where_normalized_images_were_declared_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"picture of 8 bits.*normalized_input=True.*remove that"):
        decoded([(picture(RGB), 0)], Preprocess(normalized_input=True, mean=MEAN, std=STD))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("declared", [AS_THEY_ARE, Preprocess(normalized_input=True, mean=MEAN, std=STD)])
def test_an_image_with_nan_or_infinite_values_is_an_error(value: float, declared: Preprocess) -> None:
    image = normalized(RGB) if declared.normalized_input else torch.from_numpy(UNIT.copy())
    image[1, 2, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DatasetError, match="image 0 of list: the image has NaN or infinite values"):
            decoded([(image, 0)], declared)


# -------------------------------------------------------------------------------- changes of the source


def test_a_change_of_the_source_is_given_each_image_with_its_index_before_it_is_resized() -> None:
    pictures = [noise(3, 12, 10, seed=seed) for seed in range(3)]
    images = as_images([(item, 0) for item in pictures], "dataset")
    changed = []

    def change(image: Any, index: int) -> Any:
        changed.append((image.tolist(), index))
        return image.astype(np.float32) / 255

    unchanged = decode(images, [2, 0], Preprocess(size=6), change)
    assert changed == [(pictures[2].tolist(), 2), (pictures[0].tolist(), 0)]
    assert np.array_equal(unchanged, decode(images, [2, 0], Preprocess(size=6)))


@pytest.mark.parametrize("kind", ["picture", "float"])
def test_a_square_drawn_on_the_source_is_resized_with_it(kind: str) -> None:
    pixels = noise(3, 24, 20)
    image: Any = picture(pixels) if kind == "picture" else pixels.astype(np.float32) / np.float32(255)
    square = Square(size=0.5, color="red", stage="source")
    images = as_images([(image, 0)], "dataset")
    batch = decode(images, [0], Preprocess(size=10), source_change(square, images))
    painted = pixels.copy()
    painted[:, :10, :10] = np.array([255, 0, 0]).reshape(3, 1, 1)
    expected = decoded(
        [(picture(painted) if kind == "picture" else painted.astype(np.float32) / 255, 0)], Preprocess(size=10)
    )
    assert batch.dtype == expected.dtype
    assert np.abs(batch - expected).max() <= 1e-6


# ----------------------------------------------------------------------------------------- imagefolder

FORMATS: dict[str, dict[str, Any]] = {
    "photo.jpg": {},
    "photo.jpeg": {"progressive": True},
    "drawing.png": {},
    "old.bmp": {},
    "scan.tif": {},
    "scan.tiff": {"compression": "tiff_deflate"},
    "web.webp": {"lossless": True},
    "plain.ppm": {},
}


def save(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def make_folder(directory: Path) -> Path:
    """Write a folder with all that may lie in one; only some of the files are pictures."""
    for index, (name, options) in enumerate(FORMATS.items()):
        save(directory / "cat" / name, picture(noise(3, 7 + index, 9, seed=index)), **options)
    save(directory / "dog" / "10.PNG", picture(RGB))
    save(directory / "dog" / "9.Jpg", picture(RGB).convert("CMYK"))
    save(directory / "dog" / "deeper" / "b" / "1.png", picture(RGB).convert("P"))
    save(directory / "dog" / "deeper" / "a" / "2.png", picture(RGB).convert("RGBA"))
    save(directory / "dog" / "deeper-still" / "1.png", picture(GRAY[0]))
    save(directory / "Zebra" / "plain.pgm", picture(GRAY[0]))
    save(directory / "Zebra" / "é.png", picture(GRAY[0]))
    (directory / "cat" / "labels.txt").write_text("not a picture")
    (directory / "cat" / ".hidden").write_text("not a picture")
    save(directory / "cat" / "animation.gif", picture(RGB))
    (directory / "readme.md").write_text("not a class")
    save(directory / "stray.png", picture(RGB))
    return directory


def test_an_imagefolder_is_that_of_torchvision(tmp_path: Path) -> None:
    directory = make_folder(tmp_path / "val")
    theirs = torchvision.datasets.ImageFolder(directory)
    ours = load_dataset(f"imagefolder:{directory}")
    assert len(ours) == len(theirs) == 15
    assert ours.classes == tuple(theirs.classes)
    assert ours.labels.dtype == np.int64
    assert ours.labels.tolist() == theirs.targets
    for index in range(len(theirs)):
        expected = np.asarray(theirs[index][0]).transpose(2, 0, 1)
        assert np.array_equal(ours.image(index), expected), theirs.samples[index]


def test_torchvisions_imagefolder_as_a_dataset_gives_the_same_pixels_and_labels(tmp_path: Path) -> None:
    directory = make_folder(tmp_path / "val")
    ours, wrapped = ImageFolder(directory), as_images(torchvision.datasets.ImageFolder(directory), "dataset")
    assert wrapped.classes == ours.classes
    assert wrapped.labels.tolist() == ours.labels.tolist()
    every = range(len(ours))
    size = Preprocess(size=6)
    assert np.array_equal(decode(wrapped, every, size), decode(ours, every, size))


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "1.png", picture(RGB))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    ours = ImageFolder(tmp_path / "val")
    assert ours.classes == ("cat",)
    assert np.array_equal(ours.image(0), RGB)


def test_an_imagefolder_is_named_after_its_directory_and_found_from_another(tmp_path: Path) -> None:
    make_folder(tmp_path / "data" / "val")
    images = load_dataset("imagefolder:data/val", directory=tmp_path)
    assert images.name == "val"
    assert len(images) == 15


def test_reading_labels_and_fingerprint_of_an_imagefolder_needs_no_torch(tmp_path: Path) -> None:
    make_folder(tmp_path / "val")
    code = (
        "import sys; from pytest_biastransfer import load_dataset; images = load_dataset('imagefolder:val')\n"
        "images.labels, images.classes, images.fingerprint, len(images)\n"
        "print(sorted({'torch', 'torchvision', 'PIL.Image'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such directory"),
        ([], "no pictures; expected one folder a class with .bmp"),
        (["stray.png"], "no pictures"),
        (["cat/notes.txt"], "no pictures"),
    ],
)
def test_a_folder_without_pictures_in_folders_is_an_error_that_names_it(
    tmp_path: Path, files: list[str] | None, message: str
) -> None:
    directory = tmp_path / "val"
    if files is not None:
        directory.mkdir()
    for name in files or ():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("")
    with pytest.raises(DatasetError, match=f"imagefolder {re.escape(str(directory))}: {re.escape(message)}"):
        load_dataset(f"imagefolder:{directory}")


def test_a_spec_that_asks_for_something_else_is_an_error() -> None:
    with pytest.raises(SpecError, match="unknown scheme 'imagefolders'; did you mean imagefolder"):
        load_dataset("imagefolders:data/val")
    with pytest.raises(SpecError, match="unknown key 'size'"):
        load_dataset("imagefolder:data/val?size=3")


def test_a_python_spec_calls_the_users_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\n\ndef make(count=1, word=''):\n    return [(torch.zeros(3, 4, 4), len(word))] * count\n"
    (tmp_path / "factory_of_images.py").write_text(code)
    monkeypatch.delitem(sys.modules, "factory_of_images", raising=False)
    images = load_dataset("python:factory_of_images:make?count=5&word=abc", directory=tmp_path)
    assert images.labels.tolist() == [3] * 5


# ---------------------------------------------------------------------------------------- fingerprints


def folder_changed(directory: Path, change: str) -> None:
    cat = directory / "cat"
    if change == "one byte":
        content = bytearray((cat / "plain.ppm").read_bytes())
        content[-1] ^= 1
        (cat / "plain.ppm").write_bytes(content)
    elif change == "one picture less":
        (cat / "old.bmp").unlink()
    elif change == "one picture more":
        shutil.copy(cat / "old.bmp", cat / "old2.bmp")
    elif change == "another class":
        (cat / "old.bmp").rename(directory / "dog" / "old.bmp")
    elif change == "another order":
        (cat / "old.bmp").rename(cat / "zzz.bmp")
    elif change == "a class before":
        save(directory / "Aardvark" / "1.png", picture(RGB))
    elif change == "two pictures swapped":
        (cat / "old.bmp").rename(cat / "kept")
        (cat / "scan.tif").rename(cat / "old.bmp")
        (cat / "kept").rename(cat / "scan.tif")


CHANGES = [
    "one byte",
    "one picture less",
    "one picture more",
    "another class",
    "another order",
    "a class before",
    "two pictures swapped",
]


def test_every_change_of_files_or_labels_gives_an_imagefolder_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    prints = [ImageFolder(make_folder(tmp_path / "unchanged")).fingerprint]
    for change in CHANGES:
        directory = make_folder(tmp_path / change)
        folder_changed(directory, change)
        prints.append(ImageFolder(directory).fingerprint)
    assert len(set(prints)) == len(CHANGES) + 1


def test_the_same_files_elsewhere_at_another_time_have_the_same_fingerprint(tmp_path: Path) -> None:
    here = make_folder(tmp_path / "here")
    there = tmp_path / "there" / "deeper" / "test"
    shutil.copytree(here, there)
    for path in there.rglob("*.*"):
        os.utime(path, (1, 1))
    (there / "cat" / "labels.txt").write_text("another text that is not a picture")
    assert ImageFolder(there).fingerprint == ImageFolder(here).fingerprint


def test_equal_items_have_equal_fingerprints_whatever_they_are_held_in() -> None:
    pixels = noise(4, 3, 6, 5)
    held: list[Any] = [
        [(image, label) for label, image in enumerate(pixels)],
        tuple([torch.from_numpy(image), label] for label, image in enumerate(pixels)),
        [(picture(image), torch.tensor(label), "attribute") for label, image in enumerate(pixels)],
        torch.utils.data.TensorDataset(torch.from_numpy(pixels), torch.arange(4)),
    ]
    assert len({as_images(dataset, "dataset").fingerprint for dataset in held}) == 1


def test_every_change_of_pixels_labels_or_order_gives_a_dataset_a_fingerprint_of_its_own() -> None:
    pixels = noise(3, 3, 6, 5)
    plain = [(image, 0) for image in pixels]
    brighter = pixels.copy()
    brighter[1, 2, 3, 4] ^= 1
    held: list[list[tuple[Any, int]]] = [
        plain,
        [(image, 0) for image in brighter],
        [*plain[:2], (pixels[2], 1)],
        plain[::-1],
        plain[:2],
        [*plain, plain[0]],
        [(image.transpose(0, 2, 1), 0) for image in pixels],
        [(image.reshape(3, 5, 6), 0) for image in pixels],
        [(image.astype(np.float32) / 255, 0) for image in pixels],
    ]
    assert len({as_images(dataset, "dataset").fingerprint for dataset in held}) == len(held)


# --------------------------------------------------------------------------------------------- labels


def labelled(labels: Sequence[int], names: Sequence[str] | None = None) -> LabelledImages:
    dataset = Named([(RGB, label) for label in labels])
    dataset.classes = names
    return as_images(dataset, "dataset")


CAT_DOG = ["cat", "dog"]


@pytest.mark.parametrize(
    ("labels", "names", "model_names", "outputs", "expected"),
    [
        # By name, in whatever order and among however many others.
        ([0, 1, 1], CAT_DOG, ["bird", "dog", "cat"], 3, [2, 1, 1]),
        ([0, 1, 1], CAT_DOG, CAT_DOG, 2, [0, 1, 1]),
        ([0, 0], CAT_DOG, ["dog", "cat"], 2, [1, 1]),
        # The dataset knows a class that the model does not: the numbers mean something else.
        ([0, 1], [*CAT_DOG, "yak"], CAT_DOG, 2, None),
        ([0, 1], ["n02121620", "n02084071"], CAT_DOG, 2, None),
        # Where the model names none: as they are, if their number fits.
        ([0, 1], CAT_DOG, None, 2, [0, 1]),
        ([0, 1], CAT_DOG, None, 3, None),
        ([4, 1], None, None, 5, [4, 1]),
        # Where only the model names its classes, the dataset's numbers may be in any order.
        ([0, 1], None, CAT_DOG, 2, None),
        ([0, 1], None, ["a", "b", "c"], 3, None),
        ([0, 2], None, ["0", "1", "2"], 3, [0, 2]),
        ([0, 2], None, ["0", "10", "2"], 3, None),
    ],
)
def test_labels_are_told_in_the_numbering_of_the_model_or_not_at_all(
    labels: list[int],
    names: list[str] | None,
    model_names: list[str] | None,
    outputs: int,
    expected: list[int] | None,
) -> None:
    indices = labels_for(labelled(labels, names), model_names, outputs)
    assert (None if indices is None else indices.tolist()) == expected


@pytest.mark.parametrize("model_names", [None, CAT_DOG])
def test_a_label_beyond_the_outputs_is_an_error_that_names_the_image(model_names: list[str] | None) -> None:
    message = r"image 2 of Named has the label 7, but the model has only 2 classes \(0 to 1\)"
    with pytest.raises(DatasetError, match=message):
        labels_for(labelled([0, 1, 7]), model_names, 2)


def test_labels_of_classes_that_share_a_name_stay_what_they_are() -> None:
    # As "crane", the bird and the machine, and "maillot" among the classes of ImageNet.
    names = ["crane", "dog", "crane"]
    indices = labels_for(labelled([0, 1, 2], names), names, 3)
    assert indices is not None
    assert indices.tolist() == [0, 1, 2]


def test_a_name_that_two_classes_of_the_model_share_is_not_guessed() -> None:
    assert labels_for(labelled([0, 1], ["crane", "dog"]), ["crane", "dog", "crane"], 3) is None


# --------------------------------------------------------------------------------------------- errors


class NoLength:
    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        return RGB, 0


class Stream(torch.utils.data.IterableDataset[tuple[Pixels, int]]):
    def __iter__(self) -> Iterator[tuple[Pixels, int]]:
        yield RGB, 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "dataset: list is empty, expected at least one image"),
        (NoLength(), "dataset: NoLength has no length; expected a map-style dataset"),
        (Stream(), "dataset: Stream has no length; expected a map-style dataset"),
        (None, r"dataset: got None, expected a map-style dataset of \(image, label\)"),
        (iter([(RGB, 0)]), "dataset: got <list_iterator.*expected a map-style dataset"),
        (3, "dataset: got 3, expected a map-style dataset"),
    ],
)
def test_what_is_no_dataset_is_an_error(dataset: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        as_images(dataset, "dataset")


ITEMS: list[tuple[Any, str]] = [
    (RGB, r"is a ndarray; expected \(image, label\) or \(image, label, attributes\)"),
    ({"image": RGB, "label": 0}, r"is a dict; expected \(image, label\)"),
    ((RGB,), r"is a tuple; expected \(image, label\)"),
    ((RGB, 0, {}, 1), r"is a tuple; expected \(image, label\)"),
    ((RGB, "cat"), "the label is 'cat', expected a whole number from 0 on"),
    ((RGB, -1), "the label is -1, expected a whole number from 0 on"),
    ((RGB, 1.0), r"the label is 1\.0"),
    ((RGB, True), "the label is True"),
    ((RGB, None), "the label is None"),
    ((RGB, torch.tensor([0.5, 1])), r"label 0: is 0.5, expected 1, 0, or -1 for unknown"),
    ((RGB, torch.tensor([[0, 1]])), r"the label is tensor\(\[\[0, 1\]\]\)"),
    ((RGB, torch.tensor(1.0)), r"the label is tensor\(1\.\)"),
    ((RGB, {"smiling": "yes"}), r"label 'smiling': is 'yes', expected 1, 0, or -1 for unknown"),
    (("photo.jpg", 0), r"the image is str; expected a PIL image, or a uint8 or float tensor \[channels"),
    ((None, 0), "the image is NoneType; expected a PIL image"),
    ((RGB.tolist(), 0), "the image is list; expected a PIL image"),
    ((RGB.astype(np.int64), 0), r"the image is int64 \[3, 6, 5\]; expected a PIL image"),
    ((torch.from_numpy(RGB).int(), 0), r"the image is int32 \[3, 6, 5\]"),
    ((RGB > 100, 0), r"the image is bool \[3, 6, 5\]"),
    ((RGB[0], 0), r"the image is uint8 \[6, 5\]"),
    ((RGB[None], 0), r"the image is uint8 \[1, 3, 6, 5\]"),
    ((UNIT[0], 0), r"the image is float32 \[6, 5\]"),
    ((RGB.transpose(1, 2, 0), 0), r"the image is \[6, 5, 3\], with the channels last; expected \[channels"),
    ((torch.rand(6, 5, 1), 0), r"the image is \[6, 5, 1\], with the channels last"),
]


@pytest.mark.parametrize(("item", "message"), ITEMS, ids=[message for _, message in ITEMS])
def test_a_wrong_item_is_named_with_what_was_found_and_expected(item: Any, message: str) -> None:
    images = as_images([(RGB, 0), item], "dataset")
    with pytest.raises(DatasetError, match=f"dataset: item 1 of list.* ?{message}"):
        images.labels  # noqa: B018 - reads all items
    with pytest.raises(DatasetError, match="dataset: item 1 of list"):
        images.image(1)


@pytest.mark.parametrize(("first", "second"), [(0, torch.tensor([0, 1])), ([1, 0], 1), ({"a"}, 3)])
def test_class_numbers_and_several_labels_do_not_mix(first: Any, second: Any) -> None:
    with pytest.raises(DatasetError, match=r"item 1 of list: has .*; expected one form for all items"):
        as_images([(RGB, first), (RGB, second)], "dataset").labels  # noqa: B018 - reads all items


@pytest.mark.parametrize(
    "image", [np.empty((3, 0, 0), np.uint8), np.empty((3, 4, 0), np.float32), np.empty((0, 4, 4), np.float32)]
)
def test_an_image_without_pixels_is_an_error(image: Any) -> None:
    with pytest.raises(DatasetError):
        decoded([(image, 0)])


def test_images_of_several_sizes_are_an_error_that_says_what_to_declare() -> None:
    message = r"image 1 of list is 4×4 pixels, image 0 is 6×5; declare one size with the model: Preprocess\(size"
    with pytest.raises(DatasetError, match=message):
        decoded([(RGB, 0), (noise(3, 4, 4), 0)])
    with pytest.raises(DatasetError, match="image 1 of list is 4×8 pixels, image 0 is 4×4"):
        decoded([(noise(3, 6, 6), 0), (noise(3, 4, 8), 0)], Preprocess(resize=4))


def test_images_of_different_channels_are_an_error() -> None:
    with pytest.raises(DatasetError, match="image 1 of list has 1 channels, image 0 has 3; expected the same"):
        decoded([(RGB, 0), (GRAY, 0)], Preprocess(size=4))


@pytest.mark.parametrize("value", [-0.1, 1.1, 255.0])
def test_floats_that_are_not_in_the_unit_range_are_an_error(value: float) -> None:
    image = UNIT.copy()
    image[0, 0, 0] = value
    with pytest.raises(DatasetError, match=rf"image 1 of list: .*{value:.3g}.*expected \[0, 1\]"):
        decoded([(UNIT, 0), (image, 0)])


def shuffled_pixels(image: torch.Tensor) -> torch.Tensor:
    return image.flatten()[torch.randperm(image.numel())].reshape(image.shape)


class Augmented(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """A training set, with the transforms of training."""

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.images = torch.from_numpy(noise(64, 3, 12, 12))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), 0


@pytest.mark.parametrize(
    "transform",
    [
        shuffled_pixels,
        v2.RandomCrop(8),
        v2.RandomResizedCrop(8),
        v2.ColorJitter(brightness=0.5),
        v2.RandomHorizontalFlip(),
        v2.RandomErasing(p=0.3),
    ],
    ids=lambda transform: getattr(transform, "__name__", type(transform).__name__),
)
def test_random_augmentation_in_the_dataset_is_noticed(transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        images = as_images(Augmented(transform), "dataset")
        message = r"item \d+ of Augmented.* differs each time.* remove random augmentations"
        with pytest.raises(DatasetError, match=message):
            images.labels  # noqa: B018 - reads all items


# --------------------------------------------------------------------------------------- broken files


def broken(whole: bytes) -> dict[str, bytes]:
    return {"empty": b"", "half": whole[: len(whole) // 2], "text": b"<html>not found</html>", "zeros": bytes(99)}


@pytest.mark.parametrize("damage", ["empty", "half", "text", "zeros"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    directory = make_folder(tmp_path / "val")
    path = directory / "cat" / name
    path.write_bytes(broken(path.read_bytes())[damage])
    images = ImageFolder(directory)
    theirs = torchvision.datasets.ImageFolder(directory)
    index = [file for file, _ in theirs.samples].index(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about broken metadata
        said = r": is an HTML page; download" if damage == "text" else r": cannot be read \(.*repair or remove"
        with pytest.raises(DatasetError, match=re.escape(str(path)) + said):
            images.image(index)
        wrapped = as_images(theirs, "dataset")
        with pytest.raises(DatasetError, match=rf"item {index} of ImageFolder \({re.escape(str(path))}\): cannot be"):
            wrapped.labels  # noqa: B018 - reads all items


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_short_is_an_error_or_gives_the_whole_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save(path, picture(noise(3, 10, 12)), **FORMATS[name])
    whole, expected = path.read_bytes(), read_picture(path)
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about broken metadata
        # Anywhere in the first and in the last bytes, at every fifth in between.
        for length in sorted({*range(len(whole))[:40], *range(0, len(whole), 5), *range(len(whole))[-10:]}):
            path.write_bytes(whole[:length])
            outcomes.append(what_reading_does(path, expected))
    assert set(outcomes) <= {"the whole picture", "an error that names the file"}


def what_reading_does(path: Path, expected: npt.NDArray[Any]) -> str:
    try:
        image = read_picture(path)
    except DatasetError as error:
        return "an error that names the file" if str(path) in str(error) else str(error)
    except Exception as error:  # noqa: BLE001 - whatever else Pillow raises
        return repr(error)
    return "the whole picture" if np.array_equal(image, expected) else "other pixels"


def test_a_file_that_disappeared_is_named(tmp_path: Path) -> None:
    directory = make_folder(tmp_path / "val")
    images = ImageFolder(directory)
    (directory / "cat" / "old.bmp").unlink()
    path = re.escape(str(directory / "cat" / "old.bmp"))
    with pytest.raises(DatasetError, match=f"image {path}: cannot be read"):
        images.fingerprint  # noqa: B018 - reads all files
    with pytest.raises(DatasetError, match=f"image {path}: cannot be read"):
        [images.image(index) for index in range(len(images))]


def test_a_picture_that_would_fill_the_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    save(tmp_path / "val" / "cat" / "bomb.png", picture(RGB))
    for images in (ImageFolder(tmp_path / "val"), as_images(torchvision.datasets.ImageFolder(tmp_path / "val"), "d")):
        with pytest.raises(DatasetError, match=r"bomb\.png.* cannot be read .*decompression bomb"):
            images.image(0)


def test_an_error_of_the_users_own_dataset_is_not_hidden() -> None:
    class Buggy(Named):
        def __getitem__(self, index: Any) -> Any:
            raise KeyError("the column 'img' is missing")

    with pytest.raises(KeyError, match="column 'img'"):
        as_images(Buggy([(RGB, 0)]), "dataset").labels  # noqa: B018 - reads all items
