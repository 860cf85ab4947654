"""Pictures are opened in the formats that images are kept in, whatever their files are called, and start nothing."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from PIL import EpsImagePlugin, Image

from pytest_biastransfer import Stencil, allow_picture_formats, load_dataset, picture_files
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.picture_decoding import read_encoded, read_picture
from pytest_biastransfer.errors import BiasTransferError, DatasetError, InterventionError
from pytest_biastransfer.evaluation.side_by_side import side_by_side
from pytest_biastransfer.picture_files import FORMATS
from tests.support.small_datasets import noise, write_picture, write_table
from tests.support.systems import posix

if TYPE_CHECKING:
    import datasets


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    """Import it where the tests run: every worker collects this file, and one runs it."""
    global datasets  # noqa: PLW0603
    import datasets


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
REFUSED = r"its format is EPS, and only JPEG, PNG, .* are opened; .*: bias_picture_formats = EPS"


@pytest.fixture(autouse=True)
def _only_the_usual_formats() -> Iterator[None]:
    before = allow_picture_formats()
    yield
    allow_picture_formats(*before)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that is there once Pillow has started the program that it starts for EPS."""
    trace, program = tmp_path / "started", tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    monkeypatch.chdir(tmp_path)
    return trace


def disguised(path: Path, content: bytes = EPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_pillow_itself_starts_the_program(trace: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError), Image.open(disguised(Path("cat.png"))) as picture:
        picture.load()
    assert trace.exists()


class Lazy:
    """A dataset whose code opens files itself, with whatever it has imported."""

    def __init__(self, opened: Callable[[Any], Any], path: Path) -> None:
        self.opened = opened
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.opened(self.path), 0


def folder() -> LabelledImages:
    disguised(Path("val/cat/1.png"))
    return load_dataset("imagefolder:val")


def table() -> LabelledImages:
    disguised(Path("1.jpg"))
    return load_dataset(f"csv:{write_table(Path('val.csv'), [('image', 'label'), ('1.jpg', 'cat')])}")


def hub_folder() -> LabelledImages:
    disguised(Path("pets/cat/1.png"))
    disguised(Path("pets/dog/1.png"))
    return load_dataset("hf:pets")


def hub_table(**features: Any) -> LabelledImages:
    columns: dict[str, Any] = {"image": [{"bytes": EPS, "path": None}], "label": [0]}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat"]), **features}
    columns["label"] = [0] if isinstance(kinds["label"], datasets.ClassLabel) else [{"bytes": EPS, "path": None}]
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).save_to_disk("pets")
    datasets.enable_progress_bars()
    return load_dataset("hf:pets")


def users_folder() -> LabelledImages:
    disguised(Path("val/cat/1.png"))
    return as_images(torchvision.datasets.ImageFolder("val"), "fixture bias_dataset")


def named_formats() -> LabelledImages:
    return as_images(
        Lazy(lambda path: Image.open(io.BytesIO(path.read_bytes()), formats=["EPS"]), disguised(Path("1.png"))),
        "fixture",
    )


def users_open_file() -> LabelledImages:
    return as_images(Lazy(lambda path: Image.open(io.BytesIO(path.read_bytes())), disguised(Path("1.png"))), "fixture")


def torchvisions() -> LabelledImages:
    disguised(Path("eurosat/2750/AnnualCrop/1.jpg"))
    return load_dataset("torchvision:EuroSAT?root=.")


@pytest.mark.parametrize(
    "made",
    [folder, table, hub_folder, hub_table, users_folder, named_formats, users_open_file, torchvisions],
    ids=lambda made: made.__name__,
)
def test_a_picture_that_starts_a_program_is_refused_in_every_dataset(trace: Path, made: Any) -> None:
    images = made()
    with pytest.raises(DatasetError, match=REFUSED):
        images.image(0)
    assert not trace.exists()


def test_a_column_of_pictures_is_no_column_of_labels(trace: Path) -> None:
    images = hub_table(label=datasets.Image())
    with pytest.raises(DatasetError, match=r"the column 'label' has Image\(.*expected whole numbers or names"):
        images.labels  # noqa: B018 - reads all of them
    assert not trace.exists()


def test_a_picture_that_starts_a_program_is_refused_as_a_mask(trace: Path) -> None:
    write_picture(Path("1.png"), noise(3, 8, 8))
    disguised(Path("m.png"))
    images = load_dataset(f"csv:{write_table(Path('val.csv'), [('image', 'label', 'mask'), ('1.png', 0, 'm.png')])}")
    with pytest.raises(DatasetError, match=rf"the mask .*m\.png: {REFUSED}"):
        images.masks("mask").mask(0)
    in_items = as_images([(noise(3, 8, 8), 0, {"mask": Image.open(io.BytesIO(EPS))})], "fixture")
    with pytest.raises(DatasetError, match=REFUSED):
        in_items.masks("mask")
    assert not trace.exists()


def test_a_picture_that_starts_a_program_is_refused_as_a_stencil_and_by_show(trace: Path) -> None:
    with pytest.raises(InterventionError, match=rf"Stencil: path='logo\.png': {REFUSED}"):
        Stencil(str(disguised(Path("logo.png"))))
    stencil = Stencil(str(write_picture(Path("whole.png"), noise(3, 8, 8))))
    with pytest.raises(DatasetError, match=REFUSED):
        side_by_side(stencil, Path("logo.png"))
    assert not trace.exists()


# Of the formats that Pillow can both write and read, those that are not opened: 13 or more, by version.
Image.init()
OTHERS = sorted({*Image.SAVE} & {*Image.OPEN} - {*FORMATS, "HDF5", "GRIB", "BUFR", "WMF"})


def written(name: str) -> bytes:
    file = io.BytesIO()
    mode = {"MSP": "1", "XBM": "1", "SPIDER": "F", "TGA": "RGB"}.get(name, "RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        Image.fromarray(noise(32, 32, 3)).convert(mode).save(file, name)
    return file.getvalue()


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_refused_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    try:
        content = written(name)
    except (OSError, KeyError, ValueError, AttributeError) as error:
        pytest.skip(f"this Pillow cannot write {name}: {error}")
    for suffix in (".png", *[suffix for suffix, kind in Image.EXTENSION.items() if kind == name][:1]):
        path = disguised(tmp_path / f"a{suffix}", content)
        with pytest.raises(DatasetError, match=rf"^image {re.escape(str(path))}: (its format is|cannot be read)"):
            read_picture(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some are deprecated
            picture = Image.open(path)
        with picture, pytest.raises(DatasetError, match=f"its format is {picture.format}"):
            as_images([(picture, 0)], "fixture").image(0)


@pytest.mark.parametrize("name", ["BUFR", "GRIB", "HDF5", "WMF", "FITS", "PSD", "FLI", "GBR", "QOI", "XPM"])
def test_formats_that_leave_reading_to_others_are_named(name: str) -> None:
    prefixes = {
        "BUFR": b"BUFR",
        "GRIB": b"GRIB\0\0\0\1",
        "HDF5": b"\x89HDF\r\n\x1a\n",
        "WMF": b"\xd7\xcd\xc6\x9a\0\0",
        "FITS": b"SIMPLE",
        "PSD": b"8BPS",
        "FLI": b"\0\0\0\0\x11\xaf" + bytes(8) + b"\3\0",
        "GBR": b"\0\0\0\x14\0\0\0\2",
        "QOI": b"qoif",
        "XPM": b"/* XPM */",
    }
    with pytest.raises(DatasetError, match=rf"its format is (GBR or |XBM or )?{name}, and only"):
        read_encoded(prefixes[name] + bytes(64), "image 3")


@pytest.mark.parametrize("name", [*FORMATS, "MPO"])
def test_the_usual_formats_are_opened_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(np.full((8, 8, 3), 85, np.uint8))
    options: dict[str, Any] = {"save_all": True, "append_images": [picture]} if name == "MPO" else {}
    picture.save(tmp_path / "a.eps", name, **options)
    image = read_picture(tmp_path / "a.eps")
    assert image.shape == (3, 8, 8)
    assert np.abs(image.astype(int) - 85).max() <= 2
    with Image.open(tmp_path / "a.eps") as opened:
        assert opened.format == name
        assert np.array_equal(as_images([(opened, 0)], "fixture").image(0), image)


def test_other_formats_are_opened_where_they_are_allowed(tmp_path: Path) -> None:
    pixels: npt.NDArray[np.uint8] = noise(3, 8, 8)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "a.png", "TGA")
    assert allow_picture_formats("tga") == ()
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)
    assert np.array_equal(as_images(Lazy(Image.open, tmp_path / "a.png"), "fixture").image(0), pixels)
    assert allow_picture_formats() == ("TGA",)
    allow_picture_formats("AVFI")
    with pytest.raises(BiasTransferError, match=r"'AVFI' is not a format that Pillow reads; did you mean AVIF\?"):
        read_picture(tmp_path / "a.png")


def test_what_the_user_opens_elsewhere_is_theirs(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "a.tga")
    opened = Image.open

    class Peeking(Lazy):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            with Image.open(self.path, formats=["TGA"]) as picture:
                return np.asarray(picture).transpose(2, 0, 1), 0

    assert as_images(Peeking(Image.open, tmp_path / "a.tga"), "fixture").image(0).shape == (3, 8, 8)
    assert Image.open is opened
    with Image.open(tmp_path / "a.tga") as picture:
        assert as_images([(picture.convert("RGB"), 0)], "fixture").image(0).shape == (3, 8, 8)


@posix
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        write_picture(tmp_path / "val" / name, noise(3, 8, 8))
    path = tmp_path / "val" / "cat" / "2.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    images = load_dataset("imagefolder:val", directory=tmp_path)
    with pytest.raises(DatasetError, match=rf"image {re.escape(str(path))}: cannot be read .*not a regular file"):
        images.fingerprint  # noqa: B018 - reads all files
    with pytest.raises(DatasetError, match=rf"image {re.escape(str(path))}.*is not a regular file"):
        images.image(1)
    with pytest.raises(InterventionError, match="not a regular file"):
        Stencil(str(path))


def test_a_session_opens_what_its_ini_file_names(pytester: pytest.Pytester) -> None:
    # The stencil is declared when the conftest is imported, before pytest is configured.
    Image.fromarray(noise(8, 8, 3)).save(pytester.path / "logo.tga")
    for label in ("cat", "dog"):
        write_picture(pytester.path / "val" / label / "1.png", noise(3, 16, 16))
    pytester.makeconftest(
        """
        import pytest, torch
        from pytest_biastransfer import Model, Stencil

        logo = Stencil("logo.tga", size=0.5)

        @pytest.fixture
        def transferred_model():
            return Model(torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten()), classes=["r", "g", "b"])
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from conftest import logo

        @pytest.mark.bias_intervention(logo, max_asr=1)
        def test_it(): pass
        """
    )
    dataset = ("-obias_dataset=imagefolder:val", "-pno:xdist")
    result = pytester.runpytest_inprocess(*dataset)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*path='logo.tga': its format is TGA, *bias_picture_formats = TGA"])
    pytester.runpytest_inprocess(*dataset, "-obias_picture_formats=TGA AVIF").assert_outcomes(passed=1)
    # No later session opens it.
    with pytest.raises(InterventionError, match="format is TGA"):
        Stencil("logo.tga")


def test_another_build_of_the_same_pillow_is_another_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder_of(record: str | None) -> str:
        class Pillow:
            version = "13.0.0"

            def read_text(self, name: str) -> str | None:
                return record if name == "RECORD" else None

        monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Pillow())
        return picture_files.decoder.__wrapped__()

    one = "pillow.libs/libjpeg-1.so.62,sha256=aa,5\nPIL/Image.py,sha256=cc,7\n"
    assert decoder_of(one) != decoder_of(one.replace("aa", "bb")) != decoder_of(None)
    # What an installer has compiled besides does not decide.
    assert decoder_of(one) == decoder_of(one + "PIL/__pycache__/Image.cpython-311.pyc,,\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830\n",
            "is a Git LFS pointer, its 46,830",
        ),
        (b"<!DOCTYPE html><html>404</html>", "is an HTML page; download the file itself"),
    ],
)
def test_what_stands_in_for_a_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "val" / "cat").mkdir(parents=True)
    (tmp_path / "val" / "cat" / "0.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"0\.jpg.* {message}"):
        load_dataset(f"imagefolder:{tmp_path / 'val'}").image(0)
