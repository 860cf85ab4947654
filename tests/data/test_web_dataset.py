"""Shards of WebDataset: samples by name, labels, order, and damaged or hostile files."""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pytest_biastransfer import load_dataset
from pytest_biastransfer.data.tar_samples import samples_in
from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.store import Store
from tests.support.small_datasets import (
    Hostile,
    bomb,
    make_old,
    pixels_of,
    read_all,
    require_error,
    write_table,
)

Files = Sequence[tuple[str, bytes]]


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: Files, form: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sample(number: int, **others: bytes) -> Files:
    pixels = pixels_of(number + 1)[number]
    files = {"png": png(pixels), "cls": b"%d" % (number % 2), **others}
    return [(f"{number:04}.{suffix}", content) for suffix, content in files.items()]


def write_shards(directory: Path, count: int = 5) -> str:
    """Write samples 0 to `count` - 1 into two shards."""
    for name, numbers in (("val-1", range(3, count)), ("val-0", range(3))):
        write_shard(directory / "data" / f"{name}.tar", [file for number in numbers for file in sample(number)])
    return "webdataset:data"


@pytest.mark.parametrize("spec", ["webdataset:data", "webdataset:data/val-*.tar", "webdataset:{}/data/val-*.tar"])
def test_samples_come_in_the_order_of_shards_and_positions(tmp_path: Path, spec: str) -> None:
    write_shards(tmp_path)
    images = load_dataset(spec.format(tmp_path), directory=tmp_path)
    assert images.labels.tolist() == [0, 1, 0, 1, 0]
    assert images.classes is None
    assert (images.name, images.files) == (
        "data",
        ["val-0.tar/0000.png", "val-0.tar/0001.png", "val-0.tar/0002.png", "val-1.tar/0003.png", "val-1.tar/0004.png"],
    )
    # In any order, as a chunk reads them.
    for index in random.Random(0).sample(range(5), 5):
        np.testing.assert_array_equal(images.image(index), pixels_of(5)[index])


def test_one_shard_may_be_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    images = load_dataset("webdataset:data/val-1.tar?limit=1&seed=3", directory=tmp_path)
    assert (len(images), images.name) == (1, "val-1")


def test_samples_are_those_of_the_definition(tmp_path: Path) -> None:
    """A key ends at the first dot of the name, not of the directory; other files belong to no sample."""
    names = [
        "a.b/0001.png", "a.b/0001.cls", "a.b/0001.seg.PNG", "c/0001.png", "c/0001.json", "README", ".hidden",
        "__meta__.json", "c/__x__", "c/0002.cls",
    ]  # fmt: skip
    shard = write_shard(tmp_path / "1.tar", [(name, b"") for name in names])
    assert [(sample.key, list(sample.files)) for sample in samples_in(shard)] == [
        ("a.b/0001", ["png", "cls", "seg.png"]), ("c/0001", ["png", "json"]), ("c/0002", ["cls"]),
    ]  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_each_form_of_tar_are_read(tmp_path: Path, form: int) -> None:
    parent = "/".join(["directory"] * (12 if form == tarfile.USTAR_FORMAT else 40)) + ("" if form == 0 else "/ü")
    write_shard(tmp_path / "1.tar", [(f"{parent}/{name}", content) for name, content in sample(1)], form)
    images = load_dataset(f"webdataset:{tmp_path}")
    assert images.files == [f"1.tar/{parent}/0001.png"]
    np.testing.assert_array_equal(images.image(0), pixels_of(2)[1])


@pytest.mark.parametrize(
    ("query", "classes", "labels"),
    [
        ("", None, [7, 0]),
        ("?label=txt", ("cat", "dog"), [1, 0]),
        ("?label=json:label", ("fish", "yak"), [1, 0]),
        ("?label=json:number", None, [3, 5]),
        ("?label=place.txt", ("sea",), [0, 0]),
    ],
)
def test_labels_are_numbers_names_or_fields(tmp_path: Path, query: str, classes: Any, labels: list[int]) -> None:
    metadata = [
        {"label": "yak", "number": 3, "light": 0.5, "boxes": [1]},
        {"label": "fish", "number": 5, "light": None},
    ]
    files = [
        *sample(0, cls=b"7\n", txt=b" dog\n", json=json.dumps(metadata[0]).encode(), **{"place.txt": b"sea"}),
        *sample(1, cls=b"0", txt=b"cat", json=json.dumps(metadata[1]).encode(), **{"place.txt": b"sea"}),
    ]
    write_shard(tmp_path / "1.tar", files)
    images = load_dataset(f"webdataset:{tmp_path}{query}")
    assert (images.classes, images.labels.tolist()) == (classes, labels)
    # Fields that all samples have are attributes, for groups.
    assert images.attributes["light"] == ["0.5", ""]
    assert set(images.attributes) == {"label", "number", "light"} - {query.partition(":")[2]}


def test_names_of_classes_and_attributes_may_be_in_files(tmp_path: Path) -> None:
    spec = write_shards(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    rows = [(f"{number:04}.png", "ab"[number % 2]) for number in range(5)]
    write_table(tmp_path / "groups.csv", [("file", "group"), *rows])
    images = load_dataset(f"{spec}?classes=names.txt&attributes=groups.csv", directory=tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.attributes["group"] == ["a", "b", "a", "b", "a"]


def test_the_first_suffix_of_several_is_the_picture(tmp_path: Path) -> None:
    other = png(pixels_of(9)[8])
    write_shard(tmp_path / "1.tar", sample(0, webp=other))
    for query, expected in (("png;webp", pixels_of(1)[0]), ("webp;png", pixels_of(9)[8]), ("jpg;png", pixels_of(1)[0])):
        np.testing.assert_array_equal(load_dataset(f"webdataset:{tmp_path}?image={query}").image(0), expected)


def test_deep_pictures_in_shards_have_a_window(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2), 13107, np.uint16)).save(buffer, format="PNG")
    write_shard(tmp_path / "1.tar", sample(0, png=buffer.getvalue()))
    images = load_dataset(f"webdataset:{tmp_path}?range=0,65535")
    np.testing.assert_allclose(images.image(0), 0.2, atol=1e-7)
    assert images.fingerprint != load_dataset(f"webdataset:{tmp_path}?range=0,65536").fingerprint
    require_error(r"0000\.png' at byte 512: .*range=BLACK,WHITE", f"webdataset:{tmp_path}")


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    for name in ("here", "there"):
        write_shards(tmp_path / name)
    here = load_dataset("webdataset:data", directory=tmp_path / "here")
    # The same samples in one shard, of another form.
    files = [file for number in range(5) for file in sample(number)]
    write_shard(tmp_path / "one" / "all.tar", files, tarfile.PAX_FORMAT)
    assert load_dataset(f"webdataset:{tmp_path / 'one'}").fingerprint == here.fingerprint
    assert load_dataset("webdataset:data", directory=tmp_path / "there").fingerprint == here.fingerprint
    assert len(set(here.content_digests() or ())) == 5
    for changed in (sample(9), sample(0, cls=b"1")):
        write_shard(tmp_path / "one" / "all.tar", [*changed, *files[2:]])
        assert load_dataset(f"webdataset:{tmp_path / 'one'}").fingerprint != here.fingerprint


def test_the_index_is_made_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, opened = write_shards(tmp_path), []
    make_old(tmp_path)
    original = tarfile.open

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments[0])
        return original(*arguments, **options)

    monkeypatch.setattr(tarfile, "open", counted)
    for expected in (2, 2):
        images = load_dataset(spec, directory=tmp_path, facts=Store(tmp_path / "store").facts)
        read_all(images)
        assert len(opened) == expected
    write_shard(tmp_path / "data" / "val-1.tar", sample(7))
    images = load_dataset(spec, directory=tmp_path, facts=Store(tmp_path / "store").facts)
    assert images.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(images.image(3), pixels_of(8)[7])


def test_what_is_known_of_shards_takes_neither_torch_nor_numpy_nor_the_shards(tmp_path: Path) -> None:
    spec = write_shards(tmp_path)
    make_old(tmp_path)
    first = load_dataset(spec, directory=tmp_path, facts=Store(tmp_path / "store").facts)
    known = json.dumps([first.fingerprint, len(first), first.files])
    code = (
        "import json, sys; from pathlib import Path\n"
        "from pytest_biastransfer.data import load_dataset; from pytest_biastransfer.store import Store\n"
        f"images = load_dataset({spec!r}, facts=Store(Path('store')).facts)\n"
        "sys.addaudithook(lambda event, args: print(args[0]) if event == 'open' and str(args[0]).endswith('.tar') else None)\n"
        "print(json.dumps([images.fingerprint, len(images), images.files]))\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'pydicom'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [known, "[]"]


# ------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?label=json", r"label='json', expected a suffix such as cls or txt, or a field of the .json files"),
        ("?label=cls:x", r"label='cls:x', expected a suffix such as cls or txt"),
        ("?label=pyd", r"\.pyd files are pickles, which could run code, and are not read"),
        ("?image=jpg;pkl", r"\.pkl files are pickles"),
        ("?labels=cls", r"unknown key 'labels'; did you mean label\?"),
    ],
)
def test_a_spec_that_makes_no_sense_is_an_error(tmp_path: Path, query: str, message: str) -> None:
    require_error(message, f"{write_shards(tmp_path)}{query}", directory=tmp_path, kind=SpecError)


@pytest.mark.parametrize(
    ("files", "query", "message"),
    [
        (sample(0)[:1], "", r"1\.tar: sample '0000': has no \.cls, only \.png; name the suffix of the labels with label="),
        (sample(0)[1:], "", r"1\.tar: sample '0000': has no picture, only \.cls; name its suffix with image="),
        (sample(0), "?image=jpg", r"has no picture, only \.png, \.cls; name its suffix"),
        ([*sample(0), *sample(0)], "", r"sample '0000' has two files \.png, expected one"),
        (sample(0, cls=b"cat"), "", r"sample '0000': its \.cls is 'cat', expected a whole number; label=txt reads names"),
        (sample(0, cls=b"-1"), "", r"its \.cls is '-1', expected a whole number"),
        (sample(0, cls=b""), "", r"its \.cls is '', expected a whole number"),
        (sample(0, txt=b""), "?label=txt", r"'0000\.png' at byte 512: the label is empty"),
        (sample(0, txt=b"\xff"), "?label=txt", r"sample '0000', \.txt: is not a text in UTF-8"),
        (sample(0, txt=b" " * 2**21), "?label=txt", r"sample '0000', \.txt: has 2,097,152 bytes, expected at most"),
        (sample(0, json=b"{"), "?label=json:label", r"sample '0000': its \.json is not JSON"),
        (sample(0, json=b"[1]"), "?label=json:label", r"the field 'label' of its \.json is None, expected"),
        (sample(0, json=b'{"a": true}'), "?label=json:a", r"the field 'a' of its \.json is True, .*; the fields are a"),
        ([("README", b"x")], "", r"1\.tar: has no samples; expected files such as 0001\.jpg and 0001\.cls"),
        (sample(0, png=bomb()), "", r"1\.tar: '0000\.png' at byte 512: cannot be read"),
        (sample(0, png=b"%!PS-Adobe-3.0 EPSF-3.0\n"), "", r"'0000\.png' at byte 512: its format is EPS"),
    ],
)  # fmt: skip
def test_samples_that_cannot_be_used_are_named(tmp_path: Path, files: Files, query: str, message: str) -> None:
    write_shard(tmp_path / "1.tar", files)
    require_error(message, f"webdataset:{tmp_path}{query}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data", r"data: is a directory without \.tar files; expected uncompressed shards"),
        ("nowhere/*.tar", r"nowhere/\*\.tar: is neither a directory nor the pattern of a file"),
    ],
)
def test_missing_shards_are_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    require_error(message, f"webdataset:{name}", directory=tmp_path)


def test_a_compressed_shard_is_named(tmp_path: Path) -> None:
    for mode, kind in (("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")):
        with tarfile.open(tmp_path / "1.tar", mode):  # type: ignore[call-overload]
            pass
        require_error(rf"1\.tar: is compressed with {kind}, and images could not be read", f"webdataset:{tmp_path}")


def test_what_is_no_tar_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"no tar file" * 100):
        (tmp_path / "1.tar").write_bytes(content)
        require_error(r"1\.tar: is no tar file, or is damaged", f"webdataset:{tmp_path}")


def test_each_cut_of_a_shard_is_an_error(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "1.tar", [file for number in range(3) for file in sample(number)])
    whole = path.read_bytes()
    end = max(file.offset + file.size for one in samples_in(path) for file in one.files.values())
    for length in range(0, end, 97):
        path.write_bytes(whole[:length])
        require_error(
            r"1\.tar: is (damaged at byte [\d,]+ \(.*copy or write it again|no tar file)", f"webdataset:{tmp_path}"
        )
    # At the boundary between two files, too, where the library sees the end.
    for length in range(512, end, 512):
        path.write_bytes(whole[:length])
        require_error(r"1\.tar: is damaged at byte [\d,]+ ", f"webdataset:{tmp_path}")


def test_a_damaged_header_is_named_with_its_offset(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "1.tar", [file for number in range(3) for file in sample(number)])
    header = 512 + 512  # That of the second file: the first picture fits into one block.
    assert len(sample(0)[0][1]) <= 512
    content = bytearray(path.read_bytes())
    content[header + 3] ^= 1
    path.write_bytes(content)
    require_error(r"1\.tar: is damaged at byte 1,024 \(no header is there\)", f"webdataset:{tmp_path}")


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "device")],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    with tarfile.open(tmp_path / "1.tar", "w") as archive:
        member = tarfile.TarInfo("0000.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    require_error(
        rf"1\.tar: '0000\.png' at byte 0 is a {word}, expected files and directories", f"webdataset:{tmp_path}"
    )


def test_names_that_lead_elsewhere_write_nothing(tmp_path: Path) -> None:
    files = [(f"{parent}{name}", content) for parent in ("/tmp/../", "../../") for name, content in sample(0)]
    write_shard(tmp_path / "inner" / "data" / "1.tar", files)
    before = sorted(tmp_path.rglob("*"))
    images = load_dataset(f"webdataset:{tmp_path / 'inner' / 'data'}")
    read_all(images)
    assert len(images) == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", ["pyd", "pkl", "pickle", "pth"])
def test_pickles_beside_the_pictures_are_not_read(tmp_path: Path, suffix: str) -> None:
    trace = tmp_path / "trace"
    write_shard(tmp_path / "1.tar", sample(0, **{suffix: pickle.dumps(Hostile(trace))}))
    read_all(load_dataset(f"webdataset:{tmp_path}"))
    assert not trace.exists()


def test_a_shard_that_became_shorter_is_named(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "1.tar", sample(0))
    images = load_dataset(f"webdataset:{tmp_path}")
    read_all(images)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(Exception, match=r"'0000\.png' at byte 512: cannot be read \(.*ends before byte"):
        images.image(0)
