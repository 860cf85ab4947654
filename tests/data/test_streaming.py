"""hf:...?streaming=1&limit=N: the first N examples of a stream, read once and kept in the store."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_biastransfer import load_dataset
from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.store import Store
from tests.data.test_library_schemes import (
    PICTURES,
    cache_on_the_hub,
    folders,
    in_subprocess,
    make_dataset,
    one_parquet,
    parquet,
    saved,
    saved_splits,
    spec_of,
    write_table,
)
from tests.support.hub_server import COMMIT, hub_of
from tests.support.small_datasets import make_old, read_all, require_error, write_picture

if TYPE_CHECKING:
    import datasets


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    """Import it where the tests run, also for the functions of the other module."""
    global datasets  # noqa: PLW0603
    import datasets

    importlib.import_module("tests.data.test_library_schemes").datasets = datasets  # type: ignore[attr-defined]


FORMS: dict[str, Callable[[Path], None]] = {
    "parquet": parquet, "one_parquet": one_parquet, "saved": saved, "saved_splits": saved_splits,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_first_examples_are_those_of_the_whole_dataset(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "pets")
    whole = load_dataset(spec_of(form), directory=tmp_path)
    images = load_dataset(f"{spec_of(form)}&streaming=1&limit=4", directory=tmp_path)
    assert len(images) == 4
    assert images.labels.tolist() == [0, 1, 1, 0]
    assert (images.name, images.classes, images.files) == (
        "pets",
        ("cat", "dog"),
        [f"{index}.png" for index in range(4)],
    )
    assert images.attributes == {name: values[:4] for name, values in whole.attributes.items()}
    for index in range(4):
        np.testing.assert_array_equal(images.image(index), PICTURES[index])
    # All examples are the dataset itself, for the cache of predictions too.
    everything = load_dataset(f"{spec_of(form)}&streaming=1&limit=1000", directory=tmp_path)
    assert everything.fingerprint == whole.fingerprint != images.fingerprint


def test_they_are_those_that_the_library_streams(tmp_path: Path) -> None:
    parquet(tmp_path / "pets")
    streamed = datasets.load_dataset(
        str(tmp_path / "pets"), split="test", streaming=True, cache_dir=str(tmp_path / "c")
    )
    images = load_dataset(f"{spec_of('parquet')}&streaming=1&limit=4", directory=tmp_path)
    for index, row in enumerate(itertools.islice(streamed, 4)):
        np.testing.assert_array_equal(images.image(index), np.asarray(row["picture"]).transpose(2, 0, 1))
        assert images.labels[index] == row["label"]


def test_pictures_in_folders_and_a_list_of_metadata_are_streamed(tmp_path: Path) -> None:
    folders(tmp_path / "pets")
    images = load_dataset("hf:pets?split=test&streaming=1&limit=3", directory=tmp_path)
    assert images.files == ["test/cat/0.PNG", "test/cat/1.PNG", "test/dog/2.PNG"]
    assert (images.classes, images.labels.tolist()) == (("cat", "dog"), [0, 0, 1])
    rows = [{"file_name": f"{index}.png", "label": index % 2, "sex": "fm"[index % 2]} for index in range(3)]
    for row, pixels in zip(rows, PICTURES, strict=False):
        write_picture(tmp_path / "listed" / str(row["file_name"]), pixels)
    (tmp_path / "listed" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = load_dataset("hf:listed?streaming=1&limit=2", directory=tmp_path)
    assert (images.labels.tolist(), images.attributes["sex"]) == ([0, 1], ["f", "m"])
    np.testing.assert_array_equal(images.image(1), PICTURES[1])


def test_the_examples_are_read_once_and_known_without_the_library(tmp_path: Path) -> None:
    parquet(tmp_path / "pets")
    make_old(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from pytest_biastransfer.data import load_dataset; from pytest_biastransfer.store import Store\n"
        f"images = load_dataset({spec_of('parquet')!r} + '&streaming=1&limit=2', facts=Store(Path('store')).facts)\n"
        "print(images.fingerprint, images.classes, len(images), images.labels.tolist()[0])\n"
        "print(sorted({'torch', 'datasets', 'pyarrow'} & sys.modules.keys()))\n"
    )
    first, used = in_subprocess(code, tmp_path)
    assert "datasets" in used
    (kept,) = (tmp_path / "store" / "facts" / "streamed").iterdir()
    make_old(kept)
    assert in_subprocess(code, tmp_path)[0] == first
    # The files of the store look old by now, and are known by their times.
    assert in_subprocess(code, tmp_path) == [first, "[]"]
    assert list((tmp_path / "store" / "facts" / "streamed").iterdir()) == [kept]
    # A changed file of the source is another dataset.
    (tmp_path / "pets" / "data" / "test-00000-of-00002.parquet").unlink()
    assert in_subprocess(code, tmp_path)[0] != first


def test_only_the_rows_that_are_needed_are_read(tmp_path: Path) -> None:
    """A second shard that is damaged does no harm to the examples of the first."""
    parquet(tmp_path / "pets")
    (tmp_path / "pets" / "data" / "test-00001-of-00002.parquet").write_bytes(b"PAR1 damaged")
    read_all(load_dataset(f"{spec_of('parquet')}&streaming=1&limit=3", directory=tmp_path))
    require_error(
        r"spec 'hf:pets.*: .*pets cannot be read \(", f"{spec_of('parquet')}&streaming=1&limit=4", directory=tmp_path
    )


def test_what_is_kept_may_be_removed(tmp_path: Path) -> None:
    one_parquet(tmp_path / "pets")
    make_old(tmp_path)
    for _ in range(2):
        store = Store(tmp_path / "store")
        images = load_dataset("hf:pets?label=label&streaming=1&limit=2", directory=tmp_path, facts=store.facts)
        read_all(images)
        (kept,) = (tmp_path / "store" / "facts" / "streamed").iterdir()
        for path in kept.iterdir():
            path.unlink()
        kept.rmdir()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("streaming=1", r"streaming=1 reads the first examples; add &limit= with their number"),
        ("streaming=1&limit=2&seed=1", r"seed= draws images at random, and streaming=1 reads the first; remove one"),
        ("streaming=yes&limit=2", r"streaming='yes', expected 1 or 0"),
        ("streaming=1&limit=0", r"limit='0', expected a whole number above 0"),
        ("streaming=1&limit=2&download=1", r"download= is for repositories on the hub, and .*pets is a directory"),
    ],
)
def test_a_stream_that_makes_no_sense_is_an_error(tmp_path: Path, query: str, message: str) -> None:
    one_parquet(tmp_path / "pets")
    require_error(message, f"hf:pets?label=label&{query}", directory=tmp_path, kind=SpecError)
    assert len(load_dataset("hf:pets?label=label&streaming=0", directory=tmp_path)) == 5


def test_a_split_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    parquet(tmp_path / "pets")
    require_error(
        r"there is no split 'dev'; add or change split=, to one of train, test",
        "hf:pets?split=dev&streaming=1&limit=2", directory=tmp_path,
    )  # fmt: skip


def test_a_table_cannot_have_other_pictures_streamed(tmp_path: Path) -> None:
    outside = write_picture(tmp_path / "outside.png", PICTURES[0])
    (tmp_path / "pets").mkdir()
    for path in (str(outside), "../outside.png"):
        data = make_dataset().cast_column(
            "picture", datasets.Features({"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
        )
        data = data.map(lambda row, path=path: {"picture": {"bytes": None, "path": path}}).cast_column(
            "picture", datasets.Image()
        )
        write_table(data, tmp_path / "pets" / "train.parquet")
        require_error(
            "is neither in the dataset nor in ", "hf:pets?label=label&streaming=1&limit=2", directory=tmp_path
        )


def test_repositories_in_the_hubs_cache_are_streamed(tmp_path: Path) -> None:
    for name, make in {"pets": parquet, "animals": folders}.items():
        cache_on_the_hub(tmp_path / "hf" / "hub" / f"datasets--lab--{name}", make)
    code = (
        "from pytest_biastransfer.data import load_dataset\n"
        "for spec in ('hf:lab/pets?split=test&label=label', 'hf:lab/animals?split=test'):\n"
        "    images = load_dataset(spec + '&streaming=1&limit=2')\n"
        "    print(images.name, images.labels.tolist(), images.image(1).shape)\n"
    )
    assert in_subprocess(code, tmp_path) == [
        "lab/pets@0123456789 [0, 1] (3, 8, 9)", "lab/animals@0123456789 [0, 0] (3, 8, 9)",
    ]  # fmt: skip


def test_a_repository_that_is_not_cached_is_not_asked_for(tmp_path: Path) -> None:
    require_error(
        "lab/none is not in the hub's cache", "hf:lab/none?streaming=1&limit=2", directory=tmp_path, kind=SpecError
    )


# ------------------------------------------------------------------------------- streams of the hub

HUB = (
    "from pathlib import Path; from pytest_biastransfer.data import load_dataset\n"
    "from pytest_biastransfer.errors import BiasTransferError; from pytest_biastransfer.store import Store\n"
    "images = load_dataset({spec!r}, facts=Store(Path('store')).facts)\n"
    "try:\n"
    "    print(images.name, images.labels.tolist(), images.image(1).sum(), images.fingerprint)\n"
    "except BiasTransferError as error:\n"
    "    print(type(error).__name__, error)\n"
)


def with_hub(spec: str, address: str, directory: Path) -> str:
    """Load a dataset where the hub is at an address; return its figures, or the error."""
    # The library reads these variables when it is imported, and reports what it downloads to stderr.
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(directory / "hf"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", HUB.format(spec=spec)]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


REMOTE = f"hf:lab/pets?split=test&label=label&streaming=1&limit=2&download=1&revision={COMMIT}"


def test_a_repository_is_streamed_without_its_other_files_and_then_kept(tmp_path: Path) -> None:
    parquet(tmp_path / "repository")
    whole = load_dataset(f"hf:{tmp_path / 'repository'}?split=test&label=label&streaming=1&limit=2")
    with hub_of(tmp_path / "repository") as (address, downloaded):
        line = with_hub(REMOTE, address, tmp_path)
    assert line == f"lab/pets@0123456789 [0, 1] {PICTURES[1].sum()} {whole.fingerprint}"
    assert "data/test-00000-of-00002.parquet" in downloaded
    # The library may read the columns of another split, but not the rows that are not needed.
    assert "data/test-00001-of-00002.parquet" not in downloaded
    # The hub is not there any more.
    assert with_hub(REMOTE, address, tmp_path) == line


def add_script(repository: Path) -> None:
    (repository / "pets.py").write_text("raise SystemExit(1)")


def add_address(repository: Path) -> None:
    card = "---\nconfigs:\n- config_name: x\n  data_files: https://example.org/x.parquet\n---\n"
    (repository / "README.md").write_text(card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_script, "pets.py of lab/pets would be run to load the dataset, and is not"),
        (add_address, "refers to files elsewhere, which are not downloaded"),
        (None, "there is no split 'dev'; add or change split=, to one of train, test"),
    ],
)
def test_a_repository_that_cannot_be_streamed_is_an_error(
    tmp_path: Path, change: Callable[[Path], None] | None, message: str
) -> None:
    parquet(tmp_path / "repository")
    spec = REMOTE if change else REMOTE.replace("split=test", "split=dev")
    if change:
        change(tmp_path / "repository")
    with hub_of(tmp_path / "repository") as (address, downloaded):
        line = with_hub(spec, address, tmp_path)
    assert line.startswith(f"DatasetError spec {spec!r}: ")
    assert message in line
    assert {name for name in downloaded if name.endswith((".py", ".parquet"))} == set()


def test_single_pictures_of_a_repository_are_not_streamed(tmp_path: Path) -> None:
    folders(tmp_path / "repository")
    with hub_of(tmp_path / "repository") as (address, downloaded):
        line = with_hub(REMOTE.replace("&label=label", ""), address, tmp_path)
    assert "cannot stream hf://datasets/lab/pets@" in line
    assert "expected Parquet or Arrow; remove streaming=1, to download all files" in line
    assert downloaded == []


def test_a_stream_of_the_hub_needs_a_commit(tmp_path: Path) -> None:
    for spec in (REMOTE.partition("&revision")[0], REMOTE.replace(COMMIT, "main")):
        require_error(r"download=1 needs &revision= with a commit of lab/pets, 40 digits", spec, kind=SpecError)
