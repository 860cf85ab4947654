"""DICOM files in folders and tables: their values are those of pydicom, and bad ones are refused by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_biastransfer import load_dataset
from pytest_biastransfer.errors import SpecError
from tests.support.dicom_scans import STORED, scan, write
from tests.support.small_datasets import require_error, write_table

if TYPE_CHECKING:
    import pydicom


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    """Import it where the tests run."""
    global pydicom  # noqa: PLW0603
    import pydicom


def folder(directory: Path, file: Any, name: str = "1.dcm") -> str:
    write(directory / "val" / "ill" / name, file)
    return f"imagefolder:{directory / 'val'}"


@pytest.mark.parametrize("name", ["1.dcm", "1.DCM", "1.png"])
def test_a_declared_window_is_that_of_pydicom(tmp_path: Path, name: str) -> None:
    file = scan(WindowCenter=40, WindowWidth=400)
    spec = folder(tmp_path, file, name)
    image = load_dataset(f"{spec}?window=40,400").image(0)
    hounsfield = STORED.astype(float) - 1024
    windowed = pydicom.pixels.processing.apply_windowing(hounsfield, file)
    expected = (windowed - windowed.min()) / (windowed.max() - windowed.min())
    assert image.dtype == np.float32
    assert image.shape == (3, 2, 4)
    for channel in image:
        np.testing.assert_allclose(channel, expected, atol=1e-6)
    np.testing.assert_array_equal(load_dataset(f"{spec}?window=file").image(0), image)
    np.testing.assert_allclose(
        load_dataset(f"{spec}?range=-1024,1024").image(0)[0], np.clip((hounsfield + 1024) / 2048, 0, 1), atol=1e-6
    )


def test_a_table_may_list_dicom_files(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", scan())
    path = write_table(tmp_path / "val.csv", [("image", "label"), ("1.dcm", "ill")])
    image = load_dataset(f"csv:{path}?window=40,400").image(0)
    np.testing.assert_array_equal(image, load_dataset(f"{folder(tmp_path, scan())}?window=40,400").image(0))


def test_the_first_of_several_windows_is_the_files(tmp_path: Path) -> None:
    spec = folder(tmp_path, scan(WindowCenter=[40, 600], WindowWidth=[400, 1600]))
    np.testing.assert_array_equal(
        load_dataset(f"{spec}?window=file").image(0), load_dataset(f"{spec}?window=40,400").image(0)
    )


def test_the_exact_window_of_a_file_has_no_terms_of_a_half(tmp_path: Path) -> None:
    spec = folder(tmp_path, scan(WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_array_equal(
        load_dataset(f"{spec}?window=file").image(0), load_dataset(f"{spec}?range=-160,240").image(0)
    )


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = load_dataset(f"{folder(tmp_path / 'a', scan())}?window=40,400").image(0)
    spec = folder(tmp_path / "b", scan(PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(load_dataset(f"{spec}?window=40,400").image(0), 1 - plain, atol=1e-6)


def test_slope_sign_and_bits_count(tmp_path: Path) -> None:
    values = np.array([[-50, 0, 1, 49]], np.int16)
    spec = folder(tmp_path, scan(values, PixelRepresentation=1, RescaleSlope=0.5, RescaleIntercept=3))
    image = load_dataset(f"{spec}?range=-22,27.5").image(0)
    np.testing.assert_allclose(image[0], (values * 0.5 + 3 + 22) / 49.5, atol=1e-6)


@pytest.mark.parametrize("query", ["", "?window=40,400", "?window=file"])
def test_color_stays_as_it_is(tmp_path: Path, query: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 3), dtype=np.uint8)
    image = load_dataset(f"{folder(tmp_path, scan(pixels))}{query}").image(0)
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))


def test_a_lossless_compression_changes_nothing(tmp_path: Path) -> None:
    compressed = scan()
    compressed.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    spec = folder(tmp_path / "a", compressed)
    np.testing.assert_array_equal(
        load_dataset(f"{spec}?window=40,400").image(0),
        load_dataset(f"{folder(tmp_path / 'b', scan())}?window=40,400").image(0),
    )


WINDOWED = "?window=40,400"
MISTAKES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "undeclared": (
        scan, "",
        r"1\.dcm: is a DICOM file with gray values from -1024 to 3071; declare which values are black and white in the "
        r"spec: range=BLACK,WHITE or window=CENTER,WIDTH$",
    ),
    "undeclared, with a window": (
        lambda: scan(WindowCenter=40, WindowWidth=400), "", r"WIDTH, or window=file for the window in each file",
    ),
    "8 bits": (lambda: scan(STORED.astype(np.uint8)), "", r"is a DICOM file with gray values from -1024 to -769"),
    "no window": (scan, "?window=file", r"1\.dcm: has no window of its own .* type window=CENTER,WIDTH"),
    "sigmoid": (
        lambda: scan(WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID"), "?window=file",
        r"its window is SIGMOID with a width of 400, expected LINEAR",
    ),
    "no width": (
        lambda: scan(WindowCenter=40, WindowWidth=0), "?window=file", r"its window is LINEAR with a width of 0, expected",
    ),
    "frames": (
        lambda: scan(NumberOfFrames=2, PixelData=STORED.tobytes() * 2), WINDOWED,
        r"1\.dcm: has 2 frames, expected one; save each frame as a file of its own",
    ),
    "no picture": (lambda: scan(PixelData=None), WINDOWED, r"has no picture \(no Pixel Data\)"),
    "palette": (
        lambda: scan(PhotometricInterpretation="PALETTE COLOR"), WINDOWED,
        r"its photometric interpretation is PALETTE COLOR, expected one of MONOCHROME1, MONOCHROME2, RGB",
    ),
    "bomb": (
        lambda: scan(Rows=60_000, Columns=60_000), WINDOWED, r"has 3,600,000,000 pixels, more than the [\d,]+ that are",
    ),
    "short": (lambda: scan(PixelData=b"\0\0"), WINDOWED, r"1\.dcm: cannot be read \(.*; repair or remove the file"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, mistake: str) -> None:
    make, query, message = MISTAKES[mistake]
    require_error(message, f"{folder(tmp_path, make())}{query}")


def test_a_compression_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    file = scan()
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + bytes(20)])
    decoder = get_decoder(pydicom.uid.JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    require_error(
        r"1\.dcm: its transfer syntax is JPEG-LS Lossless Image Compression, and no decoder of it is installed; install "
        r"one of those that pydicom uses \(.*\), or save the file uncompressed",
        f"{folder(tmp_path, file)}?window=40,400",
    )
    file.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    require_error(
        r"its transfer syntax is MPEG2.*, which pydicom does not read", f"{folder(tmp_path, file)}?window=40,400"
    )


def test_a_deflated_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    spec = folder(tmp_path, scan(syntax=pydicom.uid.DeflatedExplicitVRLittleEndian))
    require_error(r"1\.dcm: its transfer syntax is Deflated .*; save it uncompressed", f"{spec}?window=40,400")


def test_every_cut_of_a_file_is_an_error_or_the_picture(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    scan().save_as(buffer, enforce_file_format=True)
    whole, path = buffer.getvalue(), tmp_path / "val" / "ill" / "1.dcm"
    path.parent.mkdir(parents=True)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        require_error(r"1\.dcm: ", f"imagefolder:{tmp_path / 'val'}?window=40,400")


def test_what_is_no_dicom_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "val" / "ill").mkdir(parents=True)
    (tmp_path / "val" / "ill" / "1.dcm").write_bytes(b"\x89PNG")
    require_error(r"1\.dcm: is no DICOM file, it has no DICM at byte 128", f"imagefolder:{tmp_path / 'val'}?window=1,2")


def test_the_missing_library_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = folder(tmp_path, scan())
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(SpecError, match=r"1\.dcm: needs pydicom, .* pip install 'pytest-biastransfer\[medical\]'"):
        load_dataset(f"{spec}?window=40,400").image(0)
