"""Gray pictures of more than 8 bits: their declared values of black and white, as formulas and in datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_biastransfer import Preprocess, load_dataset
from pytest_biastransfer.data.gray_values import CenteredWindow, ValueRange, declared_window
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.errors import DatasetError, SpecError
from pytest_biastransfer.specs.spec import Spec
from tests.support.small_datasets import noise, require_error, write_picture, write_table

DEEP = np.array([[0, 300, 1000], [32768, 40000, 65535]], np.uint16)
FINITE = st.floats(-1e5, 1e5)


def in_dicoms_words(x: float, center: float, width: float) -> float:
    """Return the value of PS3.3 C.11.2.1.2.1 with an output from 0 to 1, written as it stands there."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


@given(FINITE, FINITE, st.floats(1, 1e5).filter(lambda width: width == 1 or width > 1.001))
def test_a_window_is_the_linear_one_of_dicom(x: float, center: float, width: float) -> None:
    (value,) = CenteredWindow(center, width).apply(np.array([x]))
    expected = in_dicoms_words(x, center, width)
    # At the ends of a narrow window, its slope enlarges the rounding of the numbers.
    assert value == pytest.approx(expected, abs=1e-9 if width > 2 else 1e-6) or width == 1
    if width == 1:
        assert value == expected


@pytest.mark.parametrize(
    ("center", "width", "black", "white"),
    # The examples of the standard: 0 and 4095; of a width of 1, there is nothing between.
    [(2048, 4096, 0, 4095), (2048, 1, 2047.5, 2047.5 + 1e-6), (0, 100, -50, 49), (0, 1, -0.5, -0.5 + 1e-6)],
)
def test_the_ends_of_a_window_are_those_of_the_standard(
    center: float, width: float, black: float, white: float
) -> None:
    values = CenteredWindow(center, width).apply(np.array([black - 1, black, white, white + 1]))
    assert values.tolist() == [0, 0, 1, 1]


@given(st.lists(FINITE, min_size=1), FINITE, st.floats(1, 1e5))
def test_a_range_is_linear_between_its_ends(values: list[float], black: float, width: float) -> None:
    expected = np.interp(values, [black, black + width], [0, 1])
    np.testing.assert_allclose(ValueRange(black, black + width).apply(np.array(values)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("range=0,65535&window=1,2", r"range= and window= both say which values are black; remove one of them"),
        ("range=0", r"range='0', expected two numbers, such as range=0,65535"),
        ("range=0,1,2", r"range='0,1,2', expected two numbers"),
        ("range=5,5", r"range='5,5', expected the value of black and a larger one of white"),
        ("range=0,inf", r"range='0,inf', expected two numbers"),
        ("window=lung", r"window='lung', expected two numbers, such as window=40,400 or window=file"),
        ("window=40,0.5", r"window='40,0\.5', expected the center and a width from 1 on"),
        ("window=nan,4", r"window='nan,4', expected two numbers"),
    ],
)
def test_a_window_that_makes_no_sense_is_an_error(query: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        declared_window(Spec.parse(f"imagefolder:val?{query}"))


def save(values: npt.NDArray[Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def folder(directory: Path, suffix: str = "png", values: npt.NDArray[Any] = DEEP) -> str:
    save(values, directory / "val" / "cat" / f"1.{suffix}")
    return f"imagefolder:{directory / 'val'}"


def table(directory: Path) -> str:
    save(DEEP, directory / "1.png")
    return f"csv:{write_table(directory / 'val.csv', [('image', 'label'), ('1.png', 'cat')])}"


def hub(directory: Path) -> str:
    import datasets

    save(DEEP, directory / "1.png")
    rows = {"image": [str(directory / "1.png")], "label": [0]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat"])})
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(directory / "saved")
    return f"hf:{directory / 'saved'}"


SCHEMES = {"imagefolder": folder, "csv": table, "hf": hub}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("query", "expected"),
    [("range=0,65535", DEEP / 65535), ("window=1000.5,1001", np.clip((DEEP - 1000.0) / 1000 + 0.5, 0, 1))],
)
def test_deep_pictures_are_read_with_all_their_bits(tmp_path: Path, scheme: str, query: str, expected: Any) -> None:
    images = load_dataset(f"{SCHEMES[scheme](tmp_path)}?{query}")
    image = images.image(0)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, np.broadcast_to(expected, (3, 2, 3)), atol=1e-7)
    # More values than 8 bits have reach the model.
    assert decode(images, [0], Preprocess(mean=0, std=1)).dtype == np.float32


@pytest.mark.parametrize("scheme", SCHEMES)
def test_deep_pictures_without_a_window_are_an_error_that_says_what_to_type(tmp_path: Path, scheme: str) -> None:
    spec = SCHEMES[scheme](tmp_path)
    require_error(
        r"1\.png.*mode I(;16)?, with gray values from 0 to 65535, more than 8 bits, which would be clipped; declare "
        r"which values are black and white in the spec: range=BLACK,WHITE or window=CENTER,WIDTH",
        spec,
    )
    require_error("has no window of its own, as DICOM files have", f"{spec}?window=file")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_window_is_a_part_of_the_fingerprint_and_of_each_images_hash(tmp_path: Path, scheme: str) -> None:
    spec = SCHEMES[scheme](tmp_path)
    known = [load_dataset(f"{spec}{query}") for query in ("", "?range=0,65535", "?range=0,6553", "?window=9,9")]
    assert len({images.fingerprint for images in known}) == 4
    digests = [images.content_digests() for images in known]
    assert len({digest[0] for digest in digests if digest is not None}) == 4
    assert load_dataset(f"{spec}?range=0,65535").fingerprint == known[1].fingerprint


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        ("tif", DEEP), ("tif", DEEP.astype(np.int32) - 1000), ("tif", DEEP.astype(np.float32) / 7 - 1), ("ppm", DEEP),
    ],
)  # fmt: skip
def test_tiffs_and_portable_maps_may_be_deep_too(tmp_path: Path, suffix: str, values: npt.NDArray[Any]) -> None:
    low, high = float(values.min()), float(values.max())
    image = load_dataset(f"{folder(tmp_path, suffix, values)}?range={low!r},{high!r}").image(0)
    np.testing.assert_allclose(image[0], (values - low) / (high - low), atol=1e-6)


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    values = np.array([[0, np.nan]], np.float32)
    for query in ("range=0,1", "window=1,1"):
        images = load_dataset(f"{folder(tmp_path, 'tif', values)}?{query}")
        with pytest.raises(DatasetError, match="NaN"):
            decode(images, [0], Preprocess(mean=0, std=1))


def test_gray_pictures_of_8_bits_beside_deep_ones_are_an_error_and_colors_stay(tmp_path: Path) -> None:
    spec = folder(tmp_path)
    pixels = noise(3, 2, 3)
    write_picture(tmp_path / "val" / "cat" / "2.png", pixels)
    np.testing.assert_array_equal(load_dataset(f"{spec}?range=0,65535").image(1), pixels)
    save(DEEP.astype(np.uint8), tmp_path / "val" / "cat" / "3.png")
    require_error(r"3\.png: the picture has gray values of 8 bits \(mode L\), and range=", f"{spec}?range=0,65535")


def test_a_deep_mask_is_to_be_saved_with_8_bits(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", noise(3, 2, 3))
    save(DEEP, tmp_path / "mask.png")
    path = write_table(tmp_path / "val.csv", [("image", "label", "object"), ("1.png", "cat", "mask.png")])
    with pytest.raises(DatasetError, match=r"the mask .*mask\.png: .*more than 8 bits.*; save it with 8 bits"):
        load_dataset(f"csv:{path}").masks("object").mask(0)
