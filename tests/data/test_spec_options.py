"""What a spec may say about any dataset: how many images, which attributes, whose classes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer import Model, Square, load_dataset, measure
from pytest_biastransfer.data import LabelledImages, as_images, class_files
from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.data.permutation import permutation
from pytest_biastransfer.data.subset import Subset
from pytest_biastransfer.errors import DatasetError, SpecError
from tests.support.small_datasets import (
    GROUPS,
    LABELS,
    PIXELS,
    Pixels,
    make_arrays,
    make_listed,
    make_old,
    noise,
    read_all,
    require_error,
    write_picture,
    write_table,
)

# ---------------------------------------------------------------------------------- a part of the images


def unread(count: int) -> Any:
    """Return a dataset whose images cannot be read."""

    class Unread(LabelledImages):
        name, classes = "unread", None

        @property
        def labels(self) -> Any:
            return np.arange(count)

        @property
        def fingerprint(self) -> str:
            return f"whole {count}"

        def image(self, index: int) -> Any:
            raise AssertionError

        def __len__(self) -> int:
            return count

    return Unread()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 400), st.integers(0, 2**70))
def test_a_part_has_the_right_number_of_images_in_the_datasets_order(count: int, limit: int, seed: int) -> None:
    subset = Subset(unread(count), limit, seed)
    chosen = subset.labels.tolist()
    assert len(subset) == len(chosen) == min(limit, count)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(count))
    assert (subset.fingerprint == subset.inner.fingerprint) == (limit >= count)


def test_every_image_is_drawn_equally_often_by_the_seeds_and_none_by_all() -> None:
    draws = np.array([np.isin(np.arange(50), Subset(unread(50), 10, seed).labels) for seed in range(1000)])
    # Binomial(1000, 0.2): five standard deviations.
    assert np.abs(draws.sum(axis=0) - 200).max() < 5 * np.sqrt(1000 * 0.2 * 0.8)
    # Neither are those that are drawn together: at most 1,225 pairs of Binomial(1000, 10 * 9 / (50 * 49)).
    together = (draws.T.astype(int) @ draws)[np.triu_indices(50, 1)]
    expected = 1000 * 90 / 2450
    assert np.abs(together - expected).max() < 6 * np.sqrt(expected)


def test_the_drawn_images_never_change() -> None:
    # The same on every machine and in every version: baselines rest on it.
    assert Subset(unread(1000), 5).labels.tolist() == sorted([410, 821, 366, 503, 254])
    outputs = [splitmix64(7 + index * 0x9E3779B97F4A7C15) for index in range(1, 101)]
    assert permutation(100, seed=7).tolist() == sorted(range(100), key=outputs.__getitem__)


def splitmix64(state: int) -> int:
    state %= 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_a_part_of_a_dataset_has_its_pixels_labels_files_and_attributes(tmp_path: Path) -> None:
    make_listed(tmp_path, LABELS * 5)
    whole = load_dataset("csv:val.csv", directory=tmp_path)
    subset = load_dataset("csv:val.csv?limit=7&seed=3", directory=tmp_path)
    assert whole.files is not None
    assert subset.files is not None
    places = [whole.files.index(file) for file in subset.files]
    assert len(places) == len(subset) == 7
    assert places == sorted(places)
    assert subset.labels.tolist() == whole.labels[places].tolist()
    assert subset.attributes["group"] == [whole.attributes["group"][position] for position in places]
    assert subset.classes == whole.classes
    assert all(np.array_equal(subset.image(index), whole.image(position)) for index, position in enumerate(places))
    prints = [load_dataset(f"csv:val.csv{query}", directory=tmp_path).fingerprint for query in ("", "?limit=20")]
    prints += [
        load_dataset(f"csv:val.csv?limit={n}&seed={s}", directory=tmp_path).fingerprint
        for n, s in [(7, 3), (7, 4), (6, 3)]
    ]
    assert prints[0] == prints[1] == whole.fingerprint
    assert len(set(prints)) == 4
    assert prints[2] == subset.fingerprint


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit='0', expected a whole number above 0"),
        ("limit=-3", "limit='-3', expected a whole number above 0"),
        ("limit=ten", "limit='ten', expected a whole number above 0"),
        ("limit=1.5", "limit='1.5', expected a whole number above 0"),
        ("limit=3&seed=-1", "seed='-1', expected a whole number"),
        ("limit=3&seed=x", "seed='x', expected a whole number"),
        ("limit=3&seed=" + "1" * 19, f"seed='{'1' * 19}', expected a whole number of at most 18 digits"),
        ("limit=3&seed=" + "1" * 5000, "expected a whole number of at most 18 digits"),
        ("seed=3", "seed=3 draws a subset of the images; add &limit="),
        ("limits=3", "unknown key 'limits'; did you mean limit"),
    ],
)
def test_a_part_that_makes_no_sense_is_an_error(tmp_path: Path, query: str, message: str) -> None:
    make_listed(tmp_path)
    require_error(re.escape(message), f"csv:val.csv?{query}", directory=tmp_path, kind=SpecError)


# ------------------------------------------------------------------------------------------ attributes


def join(directory: Path, rows: Sequence[Sequence[object]], spec: str = "imagefolder:pictures") -> LabelledImages:
    write_table(directory / "more.csv", rows)
    return load_dataset(f"{spec}?attributes=more.csv", directory=directory)


def test_attributes_are_joined_by_file_name_whole_or_last_part(tmp_path: Path) -> None:
    make_listed(tmp_path)
    rows = [("file", "background", "age"), ("b/3.png", "w", 3), ("0.png", "x", 0), ("elsewhere.png", "", 9)]
    images = join(tmp_path, [*rows, ("./a/2.png", "y", 2), ("1.png", "z", 1)])
    assert images.files == ["a/0.png", "a/2.png", "b/1.png", "b/3.png"]
    assert images.attributes == {"background": ["x", "y", "z", "w"], "age": ["0", "2", "1", "3"]}
    assert images.fingerprint == load_dataset("imagefolder:pictures", directory=tmp_path).fingerprint
    subset = load_dataset("imagefolder:pictures?attributes=more.csv&limit=2&seed=1", directory=tmp_path)
    assert subset.files is not None
    assert subset.attributes["age"] == [Path(file).stem for file in subset.files]


def test_attributes_of_a_table_come_beside_those_that_are_there(tmp_path: Path) -> None:
    make_listed(tmp_path)
    rows = [("file", "age"), *((f"{index}.png", index) for index in range(4))]
    assert join(tmp_path, rows, "csv:val.csv").attributes == {"group": GROUPS, "age": ["0", "1", "2", "3"]}


FILES = ["a/0.png", "a/2.png", "b/1.png", "b/3.png"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("file", "age"), ("a/0.png", 1)], r"no row for 3 of 4 images, the first is a/2\.png; .* column 'file'"),
        (
            [("file", "age"), *((file, 1) for file in FILES), ("a/0.png", 2)],
            r"line 6: a second row for a/0\.png; the first is in line 2",
        ),
        ([("file", "age"), *((file, 1) for file in FILES), ("0.png", 2)], r"line 6: a second row for a/0\.png"),
        ([("file",), ("a/0.png",)], r"has the column 'file' only; expected the names of the files"),
    ],
)
def test_a_table_that_does_not_fit_the_images_is_an_error(tmp_path: Path, rows: Any, message: str) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=rf"more\.csv(, |: ){message}"):
        join(tmp_path, rows).attributes  # noqa: B018 - reads the table


def test_a_last_part_that_two_files_share_does_not_tell_which_is_meant(tmp_path: Path) -> None:
    for folder in "ab":
        write_picture(tmp_path / "pictures" / folder / "1.png", noise(3, 4, 4))
    with pytest.raises(DatasetError, match=r"no row for 2 of 2 images, the first is a/1\.png"):
        join(tmp_path, [("file", "age"), ("1.png", 1)]).attributes  # noqa: B018 - reads the table
    assert join(tmp_path, [("file", "age"), ("b/1.png", 1), ("a/1.png", 2)]).attributes == {"age": ["2", "1"]}


def test_an_attribute_that_is_there_already_is_an_error(tmp_path: Path) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=r"more\.csv: val has an attribute 'group' already"):
        join(tmp_path, [("file", "group"), ("a/0.png", 1)], "csv:val.csv").attributes  # noqa: B018 - reads the table


def test_images_without_names_cannot_be_joined(tmp_path: Path) -> None:
    make_arrays(tmp_path)
    with pytest.raises(DatasetError, match=r"more\.csv: cannot be joined with val, whose images are not files"):
        join(tmp_path, [("file", "age"), ("a/0.png", 1)], "npz:val.npz").attributes  # noqa: B018 - reads the table


def test_attributes_of_items_are_their_scalars(tmp_path: Path) -> None:
    extras = {"sex": "f", "age": 3, "weight": 1.5, "dark": True, "site": np.int64(7), "box": np.zeros(4), "none": None}
    images = as_images([(PIXELS[0], 0, extras), (PIXELS[1], 1, extras | {"sex": "m"})], "dataset")
    values = {"sex": ["f", "m"], "age": ["3"] * 2, "weight": ["1.5"] * 2, "dark": ["True"] * 2, "site": ["7"] * 2}
    assert images.attributes == values
    assert as_images([(PIXELS[0], 0), (PIXELS[1], 1, "f")], "dataset").attributes == {}


def test_an_attribute_that_only_some_items_have_is_an_error() -> None:
    images = as_images([(PIXELS[0], 0, {"sex": "f"}), (PIXELS[1], 1, {"age": 3})], "dataset")
    assert images.labels.tolist() == [0, 1]
    with pytest.raises(DatasetError, match="dataset: item 1 of list has no attribute 'sex', which others have"):
        images.attributes  # noqa: B018 - collects them


# --------------------------------------------------------------------------------------- names and maps


def with_classes(
    directory: Path, content: object, *, name: str = "classes.json", spec: str = "csv:val.csv"
) -> LabelledImages:
    (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return load_dataset(f"{spec}?classes={name}", directory=directory)


def test_a_file_of_names_sets_the_numbering(tmp_path: Path) -> None:
    make_listed(tmp_path)
    plain = load_dataset("csv:val.csv", directory=tmp_path)
    images = with_classes(tmp_path, ["yak", "bird", "dog", "cat"])
    assert images.classes == ("yak", "bird", "dog", "cat")
    assert images.labels.tolist() == [3, 2, 3, 0]
    assert images.fingerprint != plain.fingerprint
    same = with_classes(tmp_path, "cat\ndog\nyak\nzebra\n", name="names.txt")
    assert same.labels.tolist() == plain.labels.tolist()
    assert same.fingerprint == plain.fingerprint
    indices = labels_for(images, ["cat", "dog", "bird", "yak"], 4)
    assert indices is not None
    assert indices.tolist() == [0, 1, 0, 3]


def test_a_file_of_names_names_the_numbers(tmp_path: Path) -> None:
    make_listed(tmp_path, [1, 0, 2, 1])
    images = with_classes(tmp_path, ["cat", "dog", "yak"])
    assert images.labels.tolist() == [1, 0, 2, 1]
    assert images.classes == ("cat", "dog", "yak")
    indices = labels_for(images, ["yak", "dog", "bird", "cat"], 4)
    assert indices is not None
    assert indices.tolist() == [1, 3, 0, 1]
    with pytest.raises(DatasetError, match=r"classes\.json: names 2 classes, but image 2 of val has the label 2"):
        with_classes(tmp_path, ["cat", "dog"]).labels  # noqa: B018 - reads the labels


MODEL = ["bird", "domestic cat", "dog", "crane", "crane"]


@pytest.mark.parametrize(
    ("labels", "content", "model_classes", "expected"),
    [
        (LABELS, {"cat": "domestic cat", "dog": "dog", "yak": "bird"}, MODEL, [1, 2, 1, 0]),
        (LABELS, {"cat": 4, "dog": 3, "yak": 0, "unicorn": 0}, MODEL, [4, 3, 4, 0]),
        (LABELS, {"cat": 2, "dog": "dog", "2": 0}, MODEL, [2, 2, 2, 0]),
        (LABELS, {"cat": 1, "dog": 2, "yak": 0}, None, [1, 2, 1, 0]),
        ([5, 0, 5, 7], {"0": "dog", "5": 3, "7": 0}, MODEL, [3, 2, 3, 0]),
        # A name is one even if it looks like a number.
        (["1", "x", "1", "x"], {"1": 4, "x": 0}, None, [4, 0, 4, 0]),
    ],
)
def test_a_map_tells_the_models_classes(
    tmp_path: Path, labels: list[Any], content: Any, model_classes: list[str] | None, expected: list[int]
) -> None:
    make_listed(tmp_path, labels)
    images, plain = with_classes(tmp_path, content), load_dataset("csv:val.csv", directory=tmp_path)
    indices = labels_for(images, model_classes, 5)
    assert indices is not None
    assert indices.tolist() == expected
    # The dataset's own labels and names stay what they are, and a part has the map too.
    assert images.labels.tolist() == plain.labels.tolist()
    assert images.classes == plain.classes
    assert images.fingerprint == plain.fingerprint
    assert images.naming != plain.naming
    of_subset = labels_for(Subset(images, 2), model_classes, 5)
    assert of_subset is not None
    assert len(of_subset) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cat": 1, "dog": 2}, "does not say which class of the model 'yak' is, the label of image 3 of val"),
        (
            {"cat": "cta", "dog": 2, "yak": 0},
            "the model has no class called 'cta'; did you mean crane? Valid: bird, crane, dog",
        ),
        ({"cat": "crane", "dog": 2, "yak": 0}, "the model has two classes called 'crane'; map to the number"),
        ({"cat": 5, "dog": 2, "yak": 0}, "there is no class 5, the model has the classes 0 to 4"),
        ({"cat": -1, "dog": 2, "yak": 0}, "there is no class -1, the model has the classes 0 to 4"),
        ({"cat": 1, "0": 2, "dog": 2, "yak": 0}, "'0' is the class number 0, which is mapped by its other name too"),
    ],
)
def test_a_map_that_does_not_fit_is_an_error_that_names_it(tmp_path: Path, content: Any, message: str) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=r"classes\.json: " + re.escape(message)):
        labels_for(with_classes(tmp_path, content), MODEL, 5)


def test_a_map_to_names_needs_a_model_with_names(tmp_path: Path) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=r"maps to 'dog', but the model does not name its classes"):
        labels_for(with_classes(tmp_path, {"cat": "dog"}), None, 5)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("[", "classes.json", "is not JSON"),
        ("[" * 100_000, "classes.json", "is not JSON"),
        ('{"cat": ' + "1" * 5000 + "}", "classes.json", "is not JSON"),
        ("3", "classes.json", "expected one name a line; or in a .json file a list of names, or an object"),
        ("[]", "classes.json", "expected one name a line"),
        ("{}", "classes.json", "expected one name a line"),
        ('["cat", 3]', "classes.json", "expected one name a line"),
        ('{"cat": true}', "classes.json", "expected one name a line"),
        ('{"cat": 1.0}', "classes.json", "expected one name a line"),
        ('{"cat": 1, "cat": 2}', "classes.json", "'cat' is mapped twice"),
        ("", "names.txt", "expected one name a line"),
        ("cat\n\ndog", "names.txt", "expected one name a line"),
        ('["cat", " "]', "classes.json", "expected one name a line"),
        ('["cat", "dog"]', "classes.json", "val has the class 'yak', which is named there not; Valid: cat, dog"),
        ('["cat", "dog", "yak", "dog"]', "classes.json", "val has the class 'dog', which is named there twice"),
    ],
)
def test_a_bad_file_of_classes_is_an_error_that_names_it(tmp_path: Path, content: str, name: str, message: str) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=rf"{name}: {re.escape(message)}"):
        read_all(with_classes(tmp_path, content, name=name))


def test_a_missing_file_of_classes_is_named(tmp_path: Path) -> None:
    make_listed(tmp_path)
    require_error(r"classes .*no\.txt: cannot be read", "csv:val.csv?classes=no.txt", directory=tmp_path)
    with pytest.raises(DatasetError, match=r"classes .*: cannot be read \(embedded null"):
        class_files.with_classes(unread(3), Path("n\0o.txt"))


def test_names_may_have_a_byte_order_mark_blanks_and_empty_lines_after_them(tmp_path: Path) -> None:
    make_listed(tmp_path)
    (tmp_path / "names.txt").write_bytes("\ufeffcat\r\n dog \r\nyak\t\r\n \r\n\r\n".encode())
    assert load_dataset("csv:val.csv?classes=names.txt", directory=tmp_path).classes == ("cat", "dog", "yak")


def test_a_bad_name_is_told_with_its_place(tmp_path: Path) -> None:
    make_listed(tmp_path)
    with pytest.raises(DatasetError, match=r"names\.txt: expected one name a line; .*; found '' as name 2"):
        with_classes(tmp_path, "cat\n\ndog\n", name="names.txt")


def brightest(classes: Sequence[str] | None = ("red", "green", "blue")) -> Model:
    """Return a model that answers with the brightest channel."""
    return Model(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), classes=classes)


def plain(color: int) -> Pixels:
    """Return an image of one colour, which the model tells."""
    pixels = np.zeros((3, 8, 8), dtype=np.uint8)
    pixels[color] = 255
    return pixels


@pytest.mark.parametrize("classes", [None, ("red", "green", "blue")])
def test_accuracy_of_a_model_with_other_classes_through_a_map(tmp_path: Path, classes: Sequence[str] | None) -> None:
    # Warm are red and green things, cold are blue ones: a dataset of two classes, and a model of three.
    colors, labels = [0, 0, 1, 2, 2, 2, 2, 0], ["warm", "warm", "warm", "warm", "cold", "cold", "cold", "cold"]
    for index, color in enumerate(colors):
        write_picture(tmp_path / f"{index}.png", plain(color))
    rows = [(f"{index}.png", label) for index, label in enumerate(labels)]
    write_table(tmp_path / "val.csv", [("image", "label"), *rows])
    spec = f"csv:{tmp_path}/val.csv?classes={tmp_path}/map.json"

    def measured(content: Any) -> Any:
        (tmp_path / "map.json").write_text(json.dumps(content))
        make_old(tmp_path)
        return measure(
            brightest(classes), spec, Square(size=0.9, color="green"), device="cpu", store=tmp_path / "store"
        )

    # As red: images 0 and 1 of four; as blue: 4, 5 and 6 of four.
    first = measured({"warm": 0, "cold": 2})
    assert float(first.accuracy) == 5 / 8
    assert float(first.intervened_accuracy) == 0
    assert [flip.label for flip in first.flips] == ["warm", "warm", "warm", "cold", "cold", "cold", "cold"]
    assert first.class_names == (("0", "1", "2") if classes is None else classes)
    # Another map with the same images must not be answered with what was known of the first.
    second = measured({"warm": 1, "cold": 2})
    assert second.computed == 0
    assert float(second.accuracy) == 4 / 8
    assert float(second.intervened_accuracy) == 4 / 8
    assert float(measured({"warm": 0, "cold": 2}).accuracy) == 5 / 8
