"""Datasets of torchvision and of Hugging Face's library, on files that the libraries themselves wrote or would read."""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import importlib
import importlib.metadata
import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torchvision
from PIL import Image

from pytest_biastransfer import load_dataset
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.data.hub_images import HubImages
from pytest_biastransfer.data.schemes import torchvision_datasets
from pytest_biastransfer.errors import DatasetError, SpecError
from pytest_biastransfer.store import Store
from tests.support.small_datasets import Hostile, Pixels, bomb, noise, write_picture

if TYPE_CHECKING:
    import datasets


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    """Import it where the tests run: every worker collects this file, and one runs it."""
    global datasets  # noqa: PLW0603
    import datasets


def require_error(message: str, spec: str, kind: type[Exception] = DatasetError, directory: Path | None = None) -> None:
    with pytest.raises(kind, match=message):
        load_dataset(spec, directory=directory).labels  # noqa: B018 - reads the images


def make_old(directory: Path) -> None:
    for path in directory.rglob("*"):
        os.utime(path, (time.time() - 600,) * 2)


def as_rgb(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def require_same(ours: LabelledImages, theirs: Any) -> None:
    """Compare with what the library itself returns."""
    assert len(ours) == len(theirs)
    assert ours.labels.tolist() == [theirs[index][1] for index in range(len(theirs))]
    for index in range(len(theirs)):
        assert np.array_equal(ours.image(index), as_rgb(theirs[index][0]))


# ------------------------------------------------------------------------------------------ torchvision


def write_mnist(root: Path, name: str, count: int, kind: str = "MNIST") -> None:
    """Write images and labels in the format of the original files."""
    raw = root / kind / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    images, labels = noise(count, 28, 28, seed=count), noise(count, seed=count) % 10
    (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
    (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


def mnist(root: Path) -> Path:
    write_mnist(root, "train", 7)
    write_mnist(root, "t10k", 5)
    return root


@pytest.mark.parametrize(("split", "train"), [("train", True), ("test", False)])
def test_a_dataset_with_a_training_part_is_that_of_torchvision(tmp_path: Path, split: str, train: bool) -> None:
    mnist(tmp_path / "data")
    ours = load_dataset(f"torchvision:MNIST?root=data&split={split}", directory=tmp_path)
    theirs = torchvision.datasets.MNIST(tmp_path / "data", train=train)
    require_same(ours, theirs)
    assert ours.classes == tuple(theirs.classes)
    assert ours.files is None
    assert ours.name == f"MNIST {split}"


def test_keys_that_a_dataset_passes_on_to_its_base_are_taken(tmp_path: Path) -> None:
    raw = tmp_path / "EMNIST" / "raw"
    write_mnist(tmp_path, "emnist-letters-test", 4, "EMNIST")
    assert raw.is_dir()
    ours = load_dataset(f"torchvision:EMNIST?root={tmp_path}&split=letters&train=0")
    require_same(ours, torchvision.datasets.EMNIST(tmp_path, split="letters", train=False))


def test_a_dataset_without_splits_is_that_of_torchvision(tmp_path: Path) -> None:
    for label, name in enumerate(["Forest", "River"]):
        for index in range(3):
            write_picture(tmp_path / "eurosat" / "2750" / name / f"{name}_{index}.jpg", noise(3, 6, 6, seed=label))
    ours = load_dataset(f"torchvision:EuroSAT?root={tmp_path}")
    require_same(ours, torchvision.datasets.EuroSAT(tmp_path))
    assert ours.classes == ("Forest", "River")
    assert ours.files is not None
    assert ours.files[:2] == [f"eurosat/2750/Forest/Forest_{index}.jpg" for index in range(2)]
    require_error("EuroSAT has no splits; remove split=", f"torchvision:EuroSAT?root={tmp_path}&split=test", SpecError)


def imagenette(root: Path) -> Path:
    for wnid, seed in [("n03888257", 0), ("n01440764", 1)]:
        for index in range(2):
            path = root / "imagenette2-160" / "val" / wnid / f"{wnid}_{index}.JPEG"
            write_picture(path, noise(3, 6, 6, seed=seed))
    return root


def test_of_the_synonyms_of_a_class_the_first_is_its_name(tmp_path: Path) -> None:
    ours = load_dataset(f"torchvision:Imagenette?root={imagenette(tmp_path)}&split=val&size=160px")
    theirs = torchvision.datasets.Imagenette(tmp_path, split="val", size="160px")
    require_same(ours, theirs)
    # As torchvision's models name them.
    assert ours.classes == ("tench", "parachute")
    assert set(ours.classes) <= set(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    assert ours.files is not None
    assert ours.files[0] == "imagenette2-160/val/n01440764/n01440764_0.JPEG"


def test_a_number_among_the_keys_is_one(tmp_path: Path) -> None:
    base = tmp_path / "dtd" / "dtd"
    for index, name in enumerate(["banded", "dotted"]):
        write_picture(base / "images" / name / f"{name}_0.jpg", noise(3, 5, 5, seed=index))
    (base / "labels").mkdir()
    (base / "labels" / "test3.txt").write_text("dotted/dotted_0.jpg\nbanded/banded_0.jpg\n")
    ours = load_dataset(f"torchvision:DTD?root={tmp_path}&split=test&partition=3")
    require_same(ours, torchvision.datasets.DTD(tmp_path, split="test", partition=3))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "torchvision:CIFAR01?root=.",
            "'CIFAR01' is none of torchvision's classification datasets; did you mean CIFAR10",
        ),
        ("torchvision:VOCDetection?root=.", "'VOCDetection' is none of torchvision's classification datasets"),
        ("torchvision:LSUN?root=.", "torchvision's LSUN cannot be used: it unpickles a file"),
        ("torchvision:ImageFolder?root=.", "torchvision's ImageFolder cannot be used: use imagefolder:DIR"),
        ("torchvision:MNIST", r"add &root= with the directory"),
        ("torchvision:MNIST?root=.&split=val", "split='val', but MNIST has the splits train and test"),
        ("torchvision:MNIST?root=.&train=1&split=test", "MNIST does not take 'train'; Valid: .*split"),
        ("torchvision:MNIST?root=.&spilt=test", "MNIST does not take 'spilt'; did you mean split"),
        ("torchvision:MNIST?root=.&loader=os", "MNIST does not take 'loader'"),
        ("torchvision:MNIST?root=.&transform=os", "MNIST does not take 'transform'"),
        ("torchvision:MNIST?root=.&download=yes", "download='yes', expected 1 or 0"),
    ],
)
def test_a_spec_that_torchvision_could_not_follow_is_an_error(tmp_path: Path, spec: str, message: str) -> None:
    mnist(tmp_path)
    require_error(message, spec, SpecError, tmp_path)


def test_every_dataset_that_is_named_is_there_and_takes_a_root() -> None:
    for name in sorted(torchvision_datasets._CLASSES | torchvision_datasets._REFUSED.keys()):
        assert hasattr(torchvision.datasets, name)
    for name in torchvision_datasets._CLASSES:
        assert "root" in torchvision_datasets._parameters(getattr(torchvision.datasets, name))


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "SVHN", "STL10", "SEMEION", "Flowers102", "GTSRB", "USPS"])
def test_missing_data_are_an_error_that_says_how_to_download_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    message = rf"torchvision's {name}: .*data; to download it, add &download=1 to the spec"
    require_error(message, f"torchvision:{name}?root=data", directory=tmp_path)
    require_error(message, f"torchvision:{name}?root=other/data", directory=tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_a_split_that_there_is_not_is_told_by_torchvision(tmp_path: Path) -> None:
    message = r"torchvision's Imagenette: Unknown value 'test' for argument split\. Valid values are .*val"
    require_error(message, f"torchvision:Imagenette?root={imagenette(tmp_path)}&split=test&size=160px")


def test_a_download_that_fails_is_an_error_that_names_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    message = r"torchvision's USPS: .*(refused|urlopen).*looked in .*usps$"
    require_error(message, f"torchvision:USPS?root={tmp_path}/usps&download=1")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the files in the temporary directory."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_dataset_is_downloaded_only_if_the_spec_says_so(
    tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        " ".join([str(label), *(f"{place}:{(place + label) % 3 - 1}" for place in range(1, 257))])
        for label in (3, 1, 10)
    ]
    content = bz2.compress("\n".join(lines).encode())
    (tmp_path / "published.bz2").write_bytes(content)
    published = [f"{site}/published.bz2", "usps.t.bz2", hashlib.md5(content).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", {"test": published})
    (tmp_path / "data").mkdir()
    require_error("add &download=1", "torchvision:USPS?root=data&split=test", directory=tmp_path)
    assert list((tmp_path / "data").iterdir()) == []
    images = load_dataset("torchvision:USPS?root=data&split=test&download=1", directory=tmp_path)
    assert images.labels.tolist() == [2, 0, 9]
    again = load_dataset("torchvision:USPS?root=data&split=test", directory=tmp_path)
    require_same(again, torchvision.datasets.USPS(tmp_path / "data", train=False))
    assert again.fingerprint == images.fingerprint


def test_a_dataset_that_torchvision_cannot_download_says_so(tmp_path: Path) -> None:
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013" / "notes.txt").write_text("")
    spec = f"torchvision:FER2013?root={tmp_path}"
    with pytest.raises(DatasetError, match=r"torchvision's FER2013: .*looked in ") as caught:
        load_dataset(spec).labels  # noqa: B018 - reads the images
    assert "download=1" not in str(caught.value)
    require_error("torchvision cannot download FER2013; remove download=1", f"{spec}&download=1", SpecError)


def test_a_hostile_pickle_in_place_of_cifar_is_refused_and_not_executed(tmp_path: Path) -> None:
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in ["test_batch", "batches.meta", *(f"data_batch_{number}" for number in range(1, 6))]:
        (base / name).write_bytes(pickle.dumps(Hostile(tmp_path / "executed")))
    require_error("torchvision's CIFAR10: Dataset not found or corrupted", f"torchvision:CIFAR10?root={tmp_path}")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_files_of_torchvision_are_an_error_that_names_the_dataset(tmp_path: Path, damage: str) -> None:
    path = mnist(tmp_path) / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-99], "text": b"<html>not found</html>"}[damage])
    require_error("torchvision's MNIST: .*looked in ", f"torchvision:MNIST?root={tmp_path}&split=test")


def test_a_picture_bomb_in_torchvisions_files_is_refused_by_name(tmp_path: Path) -> None:
    (imagenette(tmp_path) / "imagenette2-160/val/n01440764/n01440764_1.JPEG").write_bytes(bomb())
    message = r"item 1 of Imagenette \(.*n01440764_1\.JPEG\): cannot be read .*bomb"
    require_error(message, f"torchvision:Imagenette?root={tmp_path}&split=val&size=160px")


def test_what_is_known_of_a_dataset_of_torchvision_takes_no_torchvision(tmp_path: Path) -> None:
    mnist(tmp_path / "data")
    make_old(tmp_path)
    spec = "torchvision:MNIST?root=data&split=test"
    first = load_dataset(spec, directory=tmp_path, facts=Store(tmp_path / "store").facts)
    facts = json.dumps([first.fingerprint, first.naming[0], len(first)])
    code = (
        "import json, sys; from pathlib import Path\n"
        "from pytest_biastransfer.data import load_dataset; from pytest_biastransfer.store import Store\n"
        f"images = load_dataset({spec!r}, facts=Store(Path('store')).facts)\n"
        "print(json.dumps([images.fingerprint, images.naming[0], len(images)]))\n"
        "print(sorted({'torch', 'torchvision', 'numpy', 'PIL'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [facts, "[]"]


def test_the_fingerprint_of_a_dataset_of_torchvision_is_that_of_its_images(tmp_path: Path) -> None:
    facts = Store(tmp_path / "store").facts
    mnist(tmp_path / "here")
    shutil.copytree(mnist(tmp_path / "here"), tmp_path / "there" / "deeper")
    make_old(tmp_path)

    def fingerprint(root: str, split: str = "test") -> str:
        return load_dataset(f"torchvision:MNIST?root={root}&split={split}", directory=tmp_path, facts=facts).fingerprint

    before = fingerprint("here")
    assert before == fingerprint("there/deeper") != fingerprint("here", "train")
    path = tmp_path / "here" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert fingerprint("here") != before


# --------------------------------------------------------------------------------------- Hugging Face

NAMES = ["cat", "dog"]
SEX = ["f", "m", "f", None, "m"]
PICTURES = [noise(3, 8, 9, seed=seed) for seed in range(5)]


def encoded(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, format="PNG")
    return file.getvalue()


def make_dataset(**changes: Any) -> Any:
    """Return a dataset with a picture, a class, and other columns, some of which are no attributes."""
    features = {
        "picture": datasets.Image(),
        "label": datasets.ClassLabel(names=NAMES),
        "sex": datasets.Value("string"),
        "age": datasets.Value("int32"),
        "dark": datasets.Value("bool"),
        "site": datasets.ClassLabel(names=["Ulm", "Bonn"]),
        "boxes": datasets.Sequence(datasets.Value("float32")),
    }
    columns: dict[str, Any] = {
        "picture": [{"bytes": encoded(pixels), "path": f"{place}.png"} for place, pixels in enumerate(PICTURES)],
        "label": [0, 1, 1, 0, 1],
        "sex": SEX,
        "age": [1, 2, 3, 4, 5],
        "dark": [True] * 5,
        "site": [0, 1, 0, 1, 0],
        "boxes": [[0.25, 0.5]] * 5,
    }
    features |= {name: feature for name, (feature, _) in changes.items()}
    columns |= {name: column for name, (_, column) in changes.items()}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def quietly(save: Any, *arguments: Any, **options: Any) -> None:
    datasets.disable_progress_bars()
    save(*arguments, **options)
    datasets.enable_progress_bars()


def saved(path: Path) -> None:
    quietly(make_dataset().save_to_disk, path)


def saved_splits(path: Path) -> None:
    splits = {"train": make_dataset().select([0]), "test": make_dataset()}
    quietly(datasets.DatasetDict(splits).save_to_disk, path)


def parquet(path: Path) -> None:
    (path / "data").mkdir(parents=True)
    quietly(make_dataset().select([0]).to_parquet, path / "data" / "train-00000-of-00001.parquet")
    quietly(make_dataset().select([0, 1, 2]).to_parquet, path / "data" / "test-00000-of-00002.parquet")
    quietly(make_dataset().select([3, 4]).to_parquet, path / "data" / "test-00001-of-00002.parquet")


def one_parquet(path: Path) -> None:
    path.mkdir(parents=True)
    quietly(make_dataset().to_parquet, path / "train.parquet")


FORMS = {"saved": saved, "saved_splits": saved_splits, "parquet": parquet, "one_parquet": one_parquet}


def spec_of(form: str, directory: str = "pets") -> str:
    split = "?split=test&" if form in ("saved_splits", "parquet") else "?"
    # Two columns are classes: the one that is called label is meant.
    return f"hf:{directory}{split}label=label"


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_in_a_directory_gives_its_pixels_labels_and_attributes(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "pets")
    images = load_dataset(spec_of(form), directory=tmp_path)
    assert images.name == "pets"
    assert images.labels.tolist() == [0, 1, 1, 0, 1]
    assert images.classes == ("cat", "dog")
    assert images.files == [f"{index}.png" for index in range(5)]
    assert images.attributes == {
        "sex": ["f", "m", "f", "", "m"],
        "age": ["1", "2", "3", "4", "5"],
        "dark": ["True"] * 5,
        "site": ["Ulm", "Bonn", "Ulm", "Bonn", "Ulm"],
    }
    for index, pixels in enumerate(PICTURES):
        assert np.array_equal(images.image(index), pixels)


def test_all_forms_of_the_same_images_have_the_same_fingerprint(tmp_path: Path) -> None:
    for form, make in FORMS.items():
        make(tmp_path / form)
    make_old(tmp_path)
    assert len({load_dataset(spec_of(form, form), directory=tmp_path).fingerprint for form in FORMS}) == 1
    other = make_dataset(label=(datasets.ClassLabel(names=NAMES), [0, 1, 1, 0, 0]))
    quietly(other.save_to_disk, tmp_path / "other")
    assert load_dataset("hf:other?label=label", directory=tmp_path).fingerprint != (
        load_dataset(spec_of("saved", "saved"), directory=tmp_path).fingerprint
    )


def test_pictures_in_folders_are_those_of_the_library(tmp_path: Path) -> None:
    for index, pixels in enumerate(PICTURES):
        write_picture(tmp_path / "pets" / "test" / NAMES[index % 2] / f"{index}.png", pixels)
    images = load_dataset("hf:pets", directory=tmp_path)
    theirs = datasets.load_dataset(str(tmp_path / "pets"), split="test", cache_dir=str(tmp_path / "cache"))
    require_same(images, [(row["image"], row["label"]) for row in theirs])
    assert images.files is not None
    assert images.files[0] == "test/cat/0.png"


def test_images_that_are_read_by_several_threads_are_the_same(tmp_path: Path) -> None:
    saved(tmp_path / "pets")
    images = load_dataset(spec_of("saved"), directory=tmp_path)
    assert images.reads_in_parallel
    with ThreadPoolExecutor(8) as pool:
        for index, image in enumerate(pool.map(images.image, list(range(5)) * 40)):
            assert np.array_equal(image, PICTURES[index % 5])


def test_labels_may_be_names_or_numbers(tmp_path: Path) -> None:
    texts, numbers = datasets.Value("string"), datasets.Value("int64")
    data = make_dataset(breed=(texts, ["pug", "tabby", "pug", "beagle", "pug"]), code=(numbers, [7, 0, 7, 0, 0]))
    quietly(data.save_to_disk, tmp_path / "pets")
    named, plain = (load_dataset(f"hf:pets?label={column}", directory=tmp_path) for column in ("breed", "code"))
    assert named.classes == ("beagle", "pug", "tabby")
    assert named.labels.tolist() == [1, 2, 1, 0, 1]
    assert plain.classes is None
    assert plain.labels.tolist() == [7, 0, 7, 0, 0]


def test_a_label_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    table = make_dataset(code=(datasets.Value("uint64"), [0, 1, 2, 1, 0])).data.table
    arrow, column = importlib.import_module("pyarrow"), table.column_names.index("code")
    table = table.set_column(column, "code", arrow.array([0, 1, 2**63, 1, 0], arrow.uint64()))
    (tmp_path / "pets").mkdir()
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "pets" / "train.parquet")
    message = r"'code': has the label 9223372036854775808, expected whole numbers from 0 on, below 2\*\*63"
    require_error(message, "hf:pets?label=code", directory=tmp_path)


def test_the_columns_need_not_be_named_where_only_one_fits(tmp_path: Path) -> None:
    quietly(make_dataset().remove_columns("site").rename_column("label", "kind").save_to_disk, tmp_path / "pets")
    assert load_dataset("hf:pets", directory=tmp_path).labels.tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("split=tset", "there is no split 'tset'; add or change split=, to one of train, test"),
        ("label=label", "there are several splits; add or change split=, to one of train, test"),
        ("split=test&label=lable", "there is no column 'lable'; did you mean label"),
        ("split=test&image=age", r"the column 'age' has Value\(.*expected pictures"),
        (
            "split=test&label=boxes",
            r"'boxes' of image 0: label 0: is 0.25, expected 1, 0, or -1 for unknown",
        ),
        ("split=test&label=picture", r"the column 'picture' has .*, expected whole numbers or names; name the column"),
        ("split=test&label=sex", "'sex': the label of image 3 is None"),
        ("split=test&label=dark", "'dark': the label of image 0 is True"),
    ],
)
@pytest.mark.parametrize("form", ["saved_splits", "parquet"])
def test_a_split_or_column_that_does_not_fit_is_an_error(tmp_path: Path, form: str, query: str, message: str) -> None:
    FORMS[form](tmp_path / "pets")
    require_error(f"spec 'hf:pets.*{message}", f"hf:pets?{query}", directory=tmp_path)


def test_a_column_that_cannot_be_told_is_an_error_that_lists_them(tmp_path: Path) -> None:
    data = make_dataset(mask=(datasets.Image(), [{"bytes": encoded(PICTURES[0]), "path": None}] * 5))
    quietly(data.save_to_disk, tmp_path / "pets")
    message = r"cannot tell which column has the pictures; add &image= with one of picture, label, .*, mask"
    require_error(message, "hf:pets?label=label", directory=tmp_path)
    assert len(load_dataset("hf:pets?label=label&image=mask", directory=tmp_path)) == 5


def test_unlabelled_images_are_an_error(tmp_path: Path) -> None:
    quietly(make_dataset(label=(datasets.ClassLabel(names=NAMES), [0, 1, -1, 0, 1])).save_to_disk, tmp_path / "pets")
    require_error("'label': the label of image 2 is -1", "hf:pets?label=label", directory=tmp_path)


def test_a_dataset_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    empty = make_dataset().data.table.slice(0, 0)
    importlib.import_module("pyarrow.parquet").write_table(empty, tmp_path / "tables" / "train.parquet")
    quietly(make_dataset().select([]).save_to_disk, tmp_path / "saved", num_shards=1)
    for name in ("tables", "saved"):
        # Some versions of the library cannot read it either.
        require_error(f"hf:{name}.*(is empty|cannot be read)", f"hf:{name}?label=label", directory=tmp_path)


@pytest.mark.parametrize("damage", ["bomb", "cut"])
def test_broken_pictures_of_the_library_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    content = bomb() if damage == "bomb" else encoded(PICTURES[1])[:60]
    pictures = [{"bytes": content, "path": f"{index}.png"} for index in range(5)]
    quietly(make_dataset(picture=(datasets.Image(), pictures)).save_to_disk, tmp_path / "pets")
    images = load_dataset("hf:pets?label=label", directory=tmp_path)
    assert len(images) == 5
    with pytest.raises(DatasetError, match=r"spec 'hf:pets.*image 3 \(3\.png\): cannot be read"):
        images.image(3)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_of_the_library_are_an_error_that_names_the_directory(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "pets")
    for path in [*tmp_path.rglob("*.arrow"), *tmp_path.rglob("*.parquet")]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    require_error(rf"{re.escape(str(tmp_path))}/pets cannot be read \(", spec_of(form), directory=tmp_path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other/data.arrow", "sub/data.arrow", "..", "", "a\0", "a\\b", "C:x", 3]
)
@pytest.mark.parametrize("form", ["saved", "saved_splits"])
def test_a_saved_dataset_cannot_have_other_tables_read(tmp_path: Path, form: str, name: object) -> None:
    saved(tmp_path / "other")
    FORMS[form](tmp_path / "pets")
    # Also in a split that is not the one that is asked for: the library reads all.
    state = tmp_path / "pets" / ("train" if form == "saved_splits" else "") / "state.json"
    content = json.loads(state.read_text())
    state.write_text(json.dumps(content | {"_data_files": [*content["_data_files"], {"filename": name}]}))
    message = f"{re.escape(str(state))} refers to {re.escape(repr(name))}, expected a name without a directory; save"
    require_error(message, spec_of(form), directory=tmp_path)


@pytest.mark.parametrize("name", ["../other", "..", ".", "", "/other", "a::b", 3])
def test_a_saved_dataset_cannot_have_other_splits_read(tmp_path: Path, name: object) -> None:
    saved(tmp_path / "other")
    saved_splits(tmp_path / "pets")
    (tmp_path / "pets" / "dataset_dict.json").write_text(json.dumps({"splits": ["test", name]}))
    message = f"dataset_dict.json refers to {re.escape(repr(name))}, expected a name without a directory"
    require_error(message, spec_of("saved_splits"), directory=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is not JSON \(.*; save the dataset again with save_to_disk"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 5000, "is not JSON"),
        ("[]", "has no list '{}'; save the dataset again"),
        ("{}", "has no list '{}'"),
        ('{"splits": "test", "_data_files": {"filename": "a"}}', "has no list '{}'"),
        ('{"splits": [["test"]], "_data_files": [["a"]]}', r"refers to \['"),
    ],
)
@pytest.mark.parametrize(("file", "key"), [("test/state.json", "_data_files"), ("dataset_dict.json", "splits")])
def test_what_tells_of_a_saved_dataset_may_be_damaged(
    tmp_path: Path, file: str, key: str, text: str, message: str
) -> None:
    saved_splits(tmp_path / "pets")
    (tmp_path / "pets" / file).write_text(text)
    require_error(f"pets/{file} {message.format(key)}", spec_of("saved_splits"), directory=tmp_path)


def test_a_missing_or_too_deep_part_of_a_saved_dataset_is_an_error_that_names_the_directory(tmp_path: Path) -> None:
    saved_splits(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "dataset_info.json").write_text("[" * 100_000)
    require_error(r"pets cannot be read \(", spec_of("saved_splits"), directory=tmp_path)
    (tmp_path / "pets" / "train" / "state.json").unlink()
    require_error(r"pets cannot be read \(", spec_of("saved_splits"), directory=tmp_path)


def test_another_release_of_the_library_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "pets")
    make_old(tmp_path)
    prepared: list[str] = []
    find_out = HubImages._read_index

    def noted(images: HubImages) -> Any:
        prepared.append(images.name)
        return find_out(images)

    def load() -> None:
        facts = Store(tmp_path / "store").facts
        assert load_dataset(spec_of("saved"), directory=tmp_path, facts=facts).labels.tolist() == [0, 1, 1, 0, 1]

    monkeypatch.setattr(HubImages, "_read_index", noted)
    load()
    load()
    assert prepared == ["pets"]
    monkeypatch.setattr("importlib.metadata.version", lambda distribution: f"another {distribution}")
    load()
    assert prepared == ["pets"] * 2


def test_a_loading_script_is_not_run(tmp_path: Path) -> None:
    one_parquet(tmp_path / "pets")
    (tmp_path / "pets" / "pets.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    require_error(r"pets/pets\.py would be run to load the dataset, and is not", spec_of("one"), directory=tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "card", "message"),
    [
        (
            "README.md",
            "---\nconfigs:\n- config_name: a\n  data_files: https://localhost:9/x.parquet\n---\n",
            "elsewhere",
        ),
        (".huggingface.yaml", "configs:\n- config_name: a\n  data_files: http://localhost:9/x.parquet\n", "elsewhere"),
        (
            "README.md",
            "---\nconfigs:\n- config_name: a\n  data_files: ../other/*.parquet\n---\n",
            "which is not in there",
        ),
        (
            "README.md",
            "---\nconfigs:\n- config_name: a\n  data_files: '*.zip'\n---\n",
            "expected Parquet, Arrow or pictures",
        ),
        ("README.md", "---\nconfigs: [\n---\n", "cannot be read"),
    ],
)
def test_a_card_cannot_have_other_files_read(tmp_path: Path, name: str, card: str, message: str) -> None:
    for directory in ("pets", "other"):
        one_parquet(tmp_path / directory)
        write_picture(tmp_path / "pictures" / "cat" / "1.png", PICTURES[0])
        shutil.make_archive(str(tmp_path / directory / "archive"), "zip", tmp_path / "pictures")
    (tmp_path / "pets" / name).write_text(card)
    require_error(f"hf:pets.*{message}", spec_of("one"), directory=tmp_path)


def test_a_table_cannot_have_other_pictures_read(tmp_path: Path) -> None:
    outside = write_picture(tmp_path / "outside.png", PICTURES[0])
    for path in (str(outside), "../outside.png"):
        data = make_dataset(picture=(datasets.Image(), [{"bytes": None, "path": str(outside)}] * 5))
        data = data.cast_column(
            "picture", datasets.Features({"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
        )
        data = data.map(lambda row, path=path: {"picture": {"bytes": None, "path": path}}).cast_column(
            "picture", datasets.Image()
        )
        (tmp_path / "pets").mkdir(exist_ok=True)
        write_table(data, tmp_path / "pets" / "train.parquet")
        require_error("is neither in the dataset nor in ", "hf:pets?label=label", directory=tmp_path)


def write_table(data: Any, path: Path) -> None:
    """Write the table as it is: the library itself would put the pictures in."""
    importlib.import_module("pyarrow.parquet").write_table(data.data.table, path)


REVISION = "0123456789abcdef0123456789abcdef01234567"


def in_subprocess(code: str, directory: Path) -> list[str]:
    environment = os.environ | {"HF_HOME": str(directory / "hf"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def folders(path: Path) -> None:
    for index, pixels in enumerate(PICTURES):
        write_picture(path / "test" / NAMES[index > 1] / f"{index}.PNG", pixels)


def cache_on_the_hub(repository: Path, make: Callable[[Path], None]) -> None:
    """Have a repository in the hub's cache."""
    make(repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    (repository / "blobs").mkdir()
    # As the hub's own downloads are: links to files that are named by their content.
    for path in [path for path in (repository / "snapshots").rglob("*") if path.is_file()]:
        blob = repository / "blobs" / path.stem
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, path.parent))


def test_repositories_in_the_hubs_cache_are_found_and_their_commits_named_and_the_cache_left_alone(
    tmp_path: Path,
) -> None:
    for name, make in {"pets": parquet, "animals": folders}.items():
        cache_on_the_hub(tmp_path / "hf" / "hub" / f"datasets--lab--{name}", make)
    make_old(tmp_path)
    before = sorted((tmp_path / "hf").rglob("*"))
    code = (
        "import json, sys; from pathlib import Path\n"
        "from pytest_biastransfer.data import load_dataset; from pytest_biastransfer.store import Store\n"
        "for spec in ('hf:lab/pets?split=test&label=label', 'hf:lab/animals?split=test'):\n"
        "    images = load_dataset(spec, facts=Store(Path('store')).facts)\n"
        "    print(images.name, images.fingerprint, images.classes, len(images))\n"
        "    print(sorted({'torch', 'datasets', 'pyarrow', 'numpy'} & sys.modules.keys()))\n"
    )
    pixels = "    print(images.image(4).tolist())"
    pets, _, pixels_of_pets, animals, _, pixels_of_animals = in_subprocess(code + pixels, tmp_path)
    for first, name in ((pets, "pets"), (animals, "animals")):
        assert first.startswith(f"lab/{name}@0123456789 ")
        assert first.endswith(" ('cat', 'dog') 5")
    assert json.loads(pixels_of_pets) == json.loads(pixels_of_animals) == PICTURES[4].tolist()
    # Another time they are known; the library is needed for the pixels only.
    assert in_subprocess(code, tmp_path) == [pets, "[]", animals, "[]"]
    assert sorted((tmp_path / "hf").rglob("*")) == before
    assert any((tmp_path / "store" / "facts" / "datasets").iterdir())


def test_what_the_library_writes_goes_with_the_dataset_where_nothing_is_kept(tmp_path: Path) -> None:
    one_parquet(tmp_path / "pets")
    (tmp_path / "tmp").mkdir()
    code = (
        "import tempfile; tempfile.tempdir = 'tmp'\n"
        "from pathlib import Path; from pytest_biastransfer.data import load_dataset\n"
        "images = load_dataset('hf:pets?label=label'); images.labels\n"
        "print(len(list(Path('tmp').iterdir())), images.image(3).shape)"
    )
    assert in_subprocess(code, tmp_path) == ["1 (3, 8, 9)"]
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "hf").exists()


def test_a_repository_that_is_not_cached_is_not_asked_for(tmp_path: Path) -> None:
    require_error(
        "no directory .*lab/none, and lab/none is not in the hub's cache", "hf:lab/none?split=test", SpecError, tmp_path
    )


def test_the_missing_extra_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "pets")
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = re.escape("needs datasets, which is not installed; type: pip install 'pytest-biastransfer[hf]'")
    require_error(message, "hf:pets", SpecError, tmp_path)


def test_a_library_of_which_nothing_is_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        raise importlib.metadata.PackageNotFoundError(distribution)

    saved(tmp_path / "pets")
    monkeypatch.setattr("importlib.metadata.version", version)
    assert load_dataset("hf:pets?label=label", directory=tmp_path).labels.tolist() == [0, 1, 1, 0, 1]
    monkeypatch.setitem(sys.modules, "datasets", None)
    require_error("needs datasets, which is not installed; type: pip install", "hf:pets", SpecError, tmp_path)


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    require_error("hf:pets.*pets has no files", "hf:pets", directory=tmp_path)
    (tmp_path / "pets" / "notes.txt").write_text("nothing")
    require_error("hf:pets.*", "hf:pets", directory=tmp_path)


# ------------------------------------------------------------------------------------------ pictures as decoded there


def photograph(orientation: int | None, seed: int) -> Image.Image:
    picture = Image.fromarray(noise(6, 10, 3, seed=seed))
    if orientation is not None:
        picture.getexif()[0x0112] = orientation
    return picture


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return folders of pictures in many modes and formats, held in all ways."""
    directory = tmp_path_factory.mktemp("photographs")
    for orientation in (None, 0, *range(1, 9), 77):
        for suffix in ("jpg", "png", "webp", "tif"):
            path = directory / ("ab"[(orientation or 0) % 2]) / f"{orientation}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            picture = photograph(orientation, seed=orientation or 0)
            picture.save(path, exif=picture.getexif())
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "1"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.fromarray(noise(6, 10, 3, seed=3)).convert(mode).save(directory / "a" / f"{mode}.{suffix}")
    Image.fromarray(noise(6, 10, 3, seed=3)).convert("P").save(directory / "b" / "clear.png", transparency=5)
    return directory


@pytest.mark.parametrize("mode", [None, "L", "RGB", "RGBA", "CMYK", "1", "P"])
def test_pictures_are_those_that_datasets_itself_gives(photographs: Path, tmp_path: Path, mode: str | None) -> None:
    theirs = datasets.load_dataset("imagefolder", data_dir=str(photographs), split="train", cache_dir=str(tmp_path))
    theirs = theirs.cast_column("image", datasets.Image(mode=mode))
    theirs.save_to_disk(str(tmp_path / "saved"))
    kinds = ["hf:saved"] if mode else ["hf:saved", f"hf:{photographs}"]
    for spec in kinds:
        ours = load_dataset(spec, directory=tmp_path)
        assert len(ours) == len(theirs) == 51
        for index, picture in enumerate(theirs["image"]):
            assert np.array_equal(ours.image(index), as_rgb(picture)), (ours.files, index)


def test_the_mode_of_a_column_is_part_of_what_a_dataset_is_known_by(photographs: Path, tmp_path: Path) -> None:
    whole = datasets.load_dataset("imagefolder", data_dir=str(photographs), split="train", cache_dir=str(tmp_path))
    by_mode = {}
    for mode in (None, "L", "RGB", "YCbCr"):
        whole.cast_column("image", datasets.Image(mode=mode)).save_to_disk(str(tmp_path / f"{mode}"))
        by_mode[mode] = load_dataset(f"hf:{mode}", directory=tmp_path)
    assert len({images.fingerprint for images in by_mode.values()}) == 4
    with pytest.raises(DatasetError, match=r"Image\(mode='YCbCr'\), which is neither gray nor RGB"):
        by_mode["YCbCr"].image(0)


def test_folders_leave_the_orientation_alone_as_torchvision_does(photographs: Path) -> None:
    theirs = torchvision.datasets.ImageFolder(photographs)
    require_same(load_dataset(f"imagefolder:{photographs}"), theirs)


def test_names_in_a_column_are_numbered_by_the_models_library(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    pictures = [Image.fromarray(noise(4, 4, 3, seed=seed)) for seed in range(3)]
    rows = {"image": pictures, "label": ["10", "9", "cafe\u0301"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    images = load_dataset("hf:saved", directory=tmp_path)
    assert (images.classes, images.numbering) == (("10", "9", "caf\u00e9"), "sorted")
    declared = datasets.ClassLabel(names=["10", "9", "caf\u00e9"])
    rows["label"] = [0, 1, 2]
    features["label"] = declared
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "numbered"))
    assert load_dataset("hf:numbered", directory=tmp_path).numbering == "declared"
