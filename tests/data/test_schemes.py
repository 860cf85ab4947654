"""Datasets by spec: lists of pictures, arrays, their fingerprints, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_biastransfer import load_dataset
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.store import Store
from tests.support.small_datasets import (
    GROUPS,
    ONES,
    PIXELS,
    Hostile,
    bomb,
    make_arrays,
    make_listed,
    make_old,
    noise,
    pixels_of,
    read_all,
    require_error,
    write_arrays,
    write_picture,
    write_table,
)

# ------------------------------------------------------------------------------------------------- csv


def test_a_list_of_pictures_gives_their_pixels_labels_and_attributes(tmp_path: Path) -> None:
    make_listed(tmp_path / "data")
    images = load_dataset("csv:data/val.csv", directory=tmp_path)
    assert images.name == "val"
    assert images.classes == ("cat", "dog", "yak")
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [0, 1, 0, 2]
    assert images.files == ["pictures/a/0.png", "pictures/b/1.png", "pictures/a/2.png", "pictures/b/3.png"]
    assert images.attributes == {"group": GROUPS}
    for index, pixels in enumerate(pixels_of(4)):
        assert np.array_equal(images.image(index), pixels)


def test_the_columns_may_have_other_names_and_quoted_cells_and_a_byte_order_mark(tmp_path: Path) -> None:
    write_picture(tmp_path / 'a "b", c.png', noise(3, 4, 4))
    text = '\ufeff,"the file","class, coarse",age\r\n0,"a ""b"", c.png", cat ,7\r\n\r\n1,./a "b", c.png,dog,\r\n'
    (tmp_path / "t.csv").write_text(text.replace('./a "b", c.png', '"./a ""b"", c.png"'), encoding="utf-8")
    images = load_dataset("csv:t.csv?image=the file&label=class, coarse&name=mine", directory=tmp_path)
    assert images.name == "mine"
    assert images.classes == ("cat", "dog")
    assert images.files == ['a "b", c.png'] * 2
    # Not the numbers of the rows, which pandas writes into a column without a name.
    assert images.attributes == {"age": ["7", ""]}
    read_all(images)


def test_labels_that_are_all_whole_numbers_are_numbers(tmp_path: Path) -> None:
    make_listed(tmp_path, [3, 0, "007", 1])
    images = load_dataset("csv:val.csv", directory=tmp_path)
    assert images.labels.tolist() == [3, 0, 7, 1]
    assert images.classes is None
    make_listed(tmp_path, [3, "cat"])
    assert load_dataset("csv:val.csv", directory=tmp_path).classes == ("3", "cat")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/etc/passwd.png", "is an absolute path"),
        ("C:\\photos\\1.png", "is an absolute path"),
        ("\\\\server\\1.png", "is an absolute path"),
        ("../outside.png", "is not in"),
        ("pictures/../../outside.png", "is not in"),
        ("..", "is not in"),
        ("pictures\\..\\..\\outside.png", "is not in"),
        ("", "no image is named"),
    ],
)
def test_a_list_cannot_leave_its_directory(tmp_path: Path, name: str, found: str) -> None:
    write_picture(tmp_path / "outside.png", noise(3, 4, 4))
    write_picture(tmp_path / "data" / "1.png", noise(3, 4, 4))
    table = write_table(tmp_path / "data" / "val.csv", [("image", "label"), ("1.png", 0), (name, 1)])
    place = re.escape(f"{table}, line 3: ")
    require_error(f"{place}.*{found}.*expected a path relative to the table", f"csv:{table}")


def test_a_path_that_comes_back_into_the_directory_is_fine(tmp_path: Path) -> None:
    pixels = noise(3, 4, 4)
    write_picture(tmp_path / "1.png", pixels)
    table = write_table(tmp_path / "val.csv", [("image", "label"), ("a/../1.png", 0), ("..1.png", 1)])
    images = load_dataset(f"csv:{table}")
    assert images.files == ["1.png", "..1.png"]
    assert np.array_equal(images.image(0), pixels)


BAD_TABLES = [
    ("", r"val\.csv: is empty; expected a line of column names"),
    ("image,label\n", r"val\.csv: has column names only \(image, label\)"),
    ("images,label\n1.png,0\n", r"val\.csv: there is no column 'image'; did you mean images"),
    ("image;label\n1.png;0\n", r"val\.csv: there is no column 'image'"),
    ("image,class\n1.png,0\n", r"val\.csv: there is no column 'label'"),
    ("image,label\n1.png,0\n1.png\n", r"val\.csv, line 3: 1 cells, expected 2, .* \(image, label\)"),
    ("image,label\n1.png,0,1\n", r"val\.csv, line 2: 3 cells, expected 2"),
    ("image,label,label\n1.png,0,1\n", r"val\.csv: two columns are called 'label'"),
    ("image,label\n1.png,0\n1.png,\n", r"val\.csv, line 3: the label is empty"),
    ("image,label\n1.png,0\n1.png,-1\n", r"val\.csv, line 3: the label is -1, expected a whole number from 0 on"),
    (f"image,label\n1.png,{2**63}\n", r"val\.csv, line 2: the label is 9223372036854775808, expected a whole number"),
    (f"image,label\n1.png,{'1' * 5000}\n", r"val\.csv, line 2: the label is 1{5000}, expected a whole number"),
    ("image,label\n1.png,0.0\n", r"val\.csv, line 2: the label is 0\.0, expected a whole number"),
    ('image,label\n"1.png,0\n', r"val\.csv, line 2: unexpected end of data"),
    ('image,label\n"1.png"x,0\n', r"val\.csv, line 2: ',' expected"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES, ids=[message for _, message in BAD_TABLES])
def test_a_bad_table_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write_picture(tmp_path / "1.png", noise(3, 4, 4))
    (tmp_path / "val.csv").write_text(text)
    require_error(message, "csv:val.csv", directory=tmp_path)


def test_a_column_cannot_be_both_images_and_labels(tmp_path: Path) -> None:
    make_listed(tmp_path)
    message = r"val\.csv: the images and the labels cannot both be the column '{}'; change image= or label="
    require_error(message.format("image"), "csv:val.csv?label=image", directory=tmp_path)
    require_error(message.format("group"), "csv:val.csv?label=group&image=group", directory=tmp_path)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    require_error(r"missing\.csv: cannot be read \(No such file", "csv:missing.csv", directory=tmp_path)
    (tmp_path / "val.csv").write_bytes("image,label\n1.png,köter\n".encode("latin-1"))
    require_error(r"val\.csv: is not a text in UTF-8", "csv:val.csv", directory=tmp_path)


def test_a_missing_picture_is_named_with_its_line(tmp_path: Path) -> None:
    table = make_listed(tmp_path)
    missing = tmp_path / "pictures" / "b" / "1.png"
    missing.unlink()
    message = re.escape(f"{table}, line 3: image {missing}: cannot be read")
    images = load_dataset(f"csv:{table}")
    with pytest.raises(DatasetError, match=message):
        images.fingerprint  # noqa: B018 - reads all files
    with pytest.raises(DatasetError, match=message):
        images.image(1)


# ------------------------------------------------------------------------------------------------- npz


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (PIXELS[:, :1], PIXELS[:, :1]),
        (PIXELS[:, :1].transpose(0, 2, 3, 1), PIXELS[:, :1]),
        (PIXELS[:, 0], PIXELS[:, :1]),
        (noise(4, 6, 5, 4), noise(4, 6, 5, 4).transpose(0, 3, 1, 2)),
        (PIXELS / 255, (PIXELS / 255).astype(np.float32)),
        ((PIXELS / 255).astype(">f4"), (PIXELS / 255).astype(np.float32)),
        (np.asfortranarray(PIXELS), PIXELS),
    ],
    ids=["chw", "hwc", "1hw", "hw1", "hw", "hw4", "float64", "big-endian", "fortran"],
)
def test_arrays_of_any_layout_give_their_pixels(tmp_path: Path, array: Any, expected: Any) -> None:
    path = write_arrays(tmp_path / "val.npz", images=array, labels=np.array([[1], [0], [2], [1]], dtype=np.uint8))
    images = load_dataset(f"npz:{path}")
    assert images.name == "val"
    assert images.labels.tolist() == [1, 0, 2, 1]
    assert len(images) == 4
    for index in range(4):
        assert images.image(index).dtype == expected.dtype
        assert np.array_equal(images.image(index), expected[index])


def test_names_and_attributes_of_arrays_are_taken(tmp_path: Path) -> None:
    path = write_arrays(
        tmp_path / "val.npz",
        x=PIXELS,
        y=np.array([1, 0, 1, 1]),
        classes=np.array(["cat", "dog", "yak"]),
        sex=np.array(["f", "m", "m", "f"]),
        where=np.array([b"in", b"out", b"in", b"in"]),
        age=np.array([1, 2, 3, 4]),
        dark=np.array([True, False, True, True]),
        embedding=np.zeros((4, 2)),
        mean=np.zeros(3),
    )
    images = load_dataset(f"npz:{path}?image=x&label=y")
    assert images.classes == ("cat", "dog", "yak")
    assert images.files is None
    assert images.attributes == {
        "sex": ["f", "m", "m", "f"],
        "where": ["in", "out", "in", "in"],
        "age": ["1", "2", "3", "4"],
        "dark": ["True", "False", "True", "True"],
    }


BAD_ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"image": PIXELS, "labels": ONES}, r"there is no array 'images'; did you mean image\? Valid: image, labels"),
    (
        {"images": PIXELS, "y": ONES},
        r"there is no array 'labels'; did you mean images\? Valid: images, y\. Name it with \?label=",
    ),
    ({"images": PIXELS.astype(np.int64), "labels": ONES}, r"'images' is of int64, expected uint8, or floats"),
    ({"images": PIXELS[0, 0], "labels": ONES}, r"'images' is \[6, 5\], expected \[images, height, width\]"),
    ({"images": noise(4, 3, 8, 3), "labels": ONES}, r"\[4, 3, 8, 3\], where the channels may be first or last"),
    ({"images": noise(4, 8, 8, 8), "labels": ONES}, r"\[4, 8, 8, 8\], where no channels are to be seen"),
    ({"images": PIXELS[:0], "labels": ONES[:0]}, r"'images' is \[0, 3, 6, 5\], expected"),
    ({"images": PIXELS, "labels": ONES[:3]}, r"'labels' is int64 \[3\], expected whole numbers \[4\]"),
    ({"images": PIXELS, "labels": np.ones(4)}, r"'labels' is float64 \[4\], expected whole numbers"),
    ({"images": PIXELS, "labels": np.ones((4, 2, 2), int)}, r"'labels' is int64 \[4, 2, 2\], expected whole numbers"),
    ({"images": PIXELS, "labels": 7 * np.eye(4)}, r"'labels', image 0: label 0: is 7.0, expected 1, 0, or -1"),
    ({"images": PIXELS, "labels": -ONES}, r"'labels' has the label -1, expected whole numbers from 0 on"),
    (
        {"images": PIXELS, "labels": np.array([0, 1, 2**63, 1], dtype=np.uint64)},
        r"'labels' has the label 9223372036854775808, expected whole numbers from 0 on, below 2\*\*63",
    ),
    ({"images": PIXELS, "labels": ONES, "classes": np.array(["a"])}, r"'classes' is <U1 \[1\], .* at least 2 classes"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS, ids=[message for _, message in BAD_ARRAYS])
def test_bad_arrays_are_an_error_that_names_file_and_array(tmp_path: Path, arrays: Any, message: str) -> None:
    path = write_arrays(tmp_path / "val.npz", **arrays)
    require_error(f"npz {re.escape(str(path))}: .*{message}", f"npz:{path}")


@pytest.mark.parametrize("name", ["images", "labels", "group"])
def test_a_hostile_pickle_in_an_array_is_refused_and_not_executed(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "executed"
    arrays: dict[str, Any] = {"images": PIXELS, "labels": ONES} | {name: np.array([Hostile(trace)] * 4, dtype=object)}
    path = tmp_path / "val.npz"
    np.savez(path, allow_pickle=True, **arrays)
    require_error(rf"npz {re.escape(str(path))}: cannot be read \(.*allow_pickle", f"npz:{path}")
    assert not trace.exists()


def test_a_pickle_instead_of_arrays_is_refused_and_not_executed(tmp_path: Path) -> None:
    import pickle

    trace = tmp_path / "executed"
    (tmp_path / "val.npz").write_bytes(pickle.dumps(Hostile(trace)))
    require_error(r"val\.npz: cannot be read", "npz:val.npz", directory=tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "hole", "text"])
def test_a_damaged_file_of_arrays_is_named(tmp_path: Path, damage: str) -> None:
    path = write_arrays(tmp_path / "val.npz", images=PIXELS, labels=ONES)
    whole = path.read_bytes()
    damaged = {"empty": b"", "cut": whole[:-40], "text": b"<html>", "hole": whole[:200] + bytes(50) + whole[250:]}
    path.write_bytes(damaged[damage])
    require_error(rf"npz {re.escape(str(path))}: cannot be read \(.*numpy\.savez", f"npz:{path}")


@pytest.mark.parametrize(("offset", "value"), [(0, 1), (2, 99)], ids=["encrypted", "compressed"])
def test_an_array_that_cannot_be_unpacked_is_named(tmp_path: Path, offset: int, value: int) -> None:
    path = write_arrays(tmp_path / "val.npz", images=PIXELS, labels=ONES)
    content = bytearray(path.read_bytes())
    # The flags, and after them the kind of compression, in each member's header and in the directory at the end.
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(re.escape(header), bytes(content)):
            content[match.start() + flags + offset] = value
    path.write_bytes(content)
    require_error(rf"npz {re.escape(str(path))}: cannot be read \(.*numpy\.savez", f"npz:{path}")


def test_a_single_array_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", PIXELS)
    require_error(r"one\.npy: is a single array; expected a file that numpy\.savez", "npz:one.npy", directory=tmp_path)
    require_error(r"npz .*no\.npz: no such file", "npz:no.npz", directory=tmp_path)
    write_arrays(tmp_path / "val.npz", images=PIXELS, labels=ONES)
    require_error("cannot both be the array 'labels'", "npz:val.npz?image=labels", directory=tmp_path)


# --------------------------------------------------------------------------------------- fingerprints


def make_list(directory: Path) -> str:
    make_listed(directory)
    return "csv:val.csv"


def make_folders(directory: Path) -> str:
    make_listed(directory)
    return "imagefolder:pictures"


MAKERS = {"csv": make_list, "npz": make_arrays, "imagefolder": make_folders}


@pytest.mark.parametrize("scheme", MAKERS)
def test_the_fingerprint_is_that_of_a_copy_elsewhere_of_another_time(tmp_path: Path, scheme: str) -> None:
    spec = MAKERS[scheme](tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deeper")
    make_old(tmp_path / "there")
    here, there = (load_dataset(spec, directory=tmp_path / folder) for folder in ("here", "there/deeper"))
    assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize("scheme", MAKERS)
def test_one_changed_byte_of_one_picture_changes_the_fingerprint(tmp_path: Path, scheme: str) -> None:
    spec = MAKERS[scheme](tmp_path)
    facts = Store(tmp_path / "store").facts
    make_old(tmp_path)
    before = load_dataset(spec, directory=tmp_path, facts=facts).fingerprint
    if scheme == "npz":
        changed = PIXELS.copy()
        changed[2, 1, 0, 0] ^= 1
        write_arrays(tmp_path / "val.npz", images=changed, labels=ONES)
    else:
        changed = noise(3, 6, 5, seed=2)
        changed[1, 0, 0] ^= 1
        write_picture(tmp_path / "pictures" / "a" / "2.png", changed)
    assert load_dataset(spec, directory=tmp_path, facts=facts).fingerprint != before


@pytest.mark.parametrize("scheme", ["csv", "npz"])
def test_labels_change_the_fingerprint_and_attributes_do_not(tmp_path: Path, scheme: str) -> None:
    spec = MAKERS[scheme](tmp_path)
    before = load_dataset(spec, directory=tmp_path).fingerprint
    if scheme == "npz":
        write_arrays(tmp_path / "val.npz", images=PIXELS, labels=ONES, sex=ONES * 2)
        assert load_dataset(spec, directory=tmp_path).fingerprint == before
        write_arrays(tmp_path / "val.npz", images=PIXELS, labels=ONES * 2, sex=ONES)
    else:
        table = (tmp_path / "val.csv").read_text()
        (tmp_path / "val.csv").write_text(table.replace("outdoor", "elsewhere"))
        assert load_dataset(spec, directory=tmp_path).fingerprint == before
        (tmp_path / "val.csv").write_text(table.replace("dog", "yak"))
    assert load_dataset(spec, directory=tmp_path).fingerprint != before


@pytest.mark.parametrize("scheme", MAKERS)
def test_what_is_known_of_a_dataset_takes_neither_torch_nor_numpy_nor_the_files(tmp_path: Path, scheme: str) -> None:
    spec = MAKERS[scheme](tmp_path)
    make_old(tmp_path)
    first = load_dataset(spec, directory=tmp_path, facts=Store(tmp_path / "store").facts)
    facts = json.dumps([first.fingerprint, first.naming[0], len(first)])
    code = (
        "import builtins, json, sys; from pathlib import Path\n"
        "from pytest_biastransfer.data import load_dataset; from pytest_biastransfer.store import Store\n"
        f"images = load_dataset({spec!r} + '?limit=1000', facts=Store(Path('store')).facts)\n"
        "sys.addaudithook(lambda event, args: print(args[0]) if event == 'open' and str(args[0]).endswith(('g', 'z')) else None)\n"
        "print(json.dumps([images.fingerprint, images.naming[0], len(images)]))\n"
        "print(sorted({'torch', 'torchvision', 'numpy', 'PIL'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [facts, "[]"]


# The figure is 1 s and 50 ms; a busy machine of CI is given some more.
def test_five_thousand_files_are_fingerprinted_in_a_second_and_known_in_no_time(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / "val" / str(folder)).mkdir(parents=True)
    content = noise(2500).tobytes()
    for index in range(5000):
        (tmp_path / "val" / str(index % 10) / f"{index}.png").write_bytes(content + index.to_bytes(4))
    make_old(tmp_path)

    def seconds() -> float:
        # What other processes do meanwhile does not count.
        start = time.process_time()
        load_dataset(f"imagefolder:{tmp_path / 'val'}", facts=Store(tmp_path / "store").facts).fingerprint  # noqa: B018
        return time.process_time() - start

    cold, warm = seconds(), min(seconds() for _ in range(5))
    assert cold < 2
    assert warm < 0.1


# ------------------------------------------------------------------------------------------ safety


def dangerous(directory: Path, content: bytes) -> list[str]:
    """Write a file among whole pictures; return specs of datasets with it."""
    make_listed(directory)
    (directory / "pictures" / "b" / "3.png").write_bytes(content)
    return ["imagefolder:pictures", "csv:val.csv"]


def test_a_picture_that_would_fill_the_memory_is_refused_by_name(tmp_path: Path) -> None:
    specs = dangerous(tmp_path, bomb())
    require_error(r"3\.png: cannot be read \(.*decompression bomb", *specs, directory=tmp_path)


def test_a_picture_that_may_fill_the_memory_is_refused_by_name_where_warnings_are_errors(tmp_path: Path) -> None:
    # 100 million pixels: Pillow warns, and here warnings are errors.
    specs = dangerous(tmp_path, bomb(10_000, 10_000))
    require_error(r"3\.png: cannot be read \(.*could be decompression bomb", *specs, directory=tmp_path)


def test_a_truncated_picture_is_refused_by_name(tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "x.png", noise(3, 40, 40)).read_bytes()
    specs = dangerous(tmp_path, whole[: len(whole) // 2])
    require_error(r"3\.png: cannot be read \(.*repair or remove the file", *specs, directory=tmp_path)


# ---------------------------------------------------------------------------------------------- specs


def test_a_factory_does_not_get_what_all_datasets_may_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\n\ndef make(count):\n    return [(torch.zeros(3, 4, 4), i) for i in range(count)]\n"
    (tmp_path / "factory_of_numbers.py").write_text(code)
    monkeypatch.delitem(sys.modules, "factory_of_numbers", raising=False)
    images = load_dataset("python:factory_of_numbers:make?count=9&limit=4&name=few", directory=tmp_path)
    assert (images.name, len(images)) == ("few", 4)
