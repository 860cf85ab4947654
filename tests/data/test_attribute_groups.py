"""Groups of images: intersections of attributes, intervals of numbers, and missing values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.attribute_groups import groups_of
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.errors import DatasetError


def dataset(rows: Sequence[Mapping[str, Any]]) -> LabelledImages:
    return as_images([(torch.full((3, 2, 2), 0.5), 0, dict(row)) for row in rows], "dataset")


genders = st.sampled_from(["female", "male", "", None])
ages = st.one_of(st.integers(20, 80), st.sampled_from([40, 60, float("nan"), None]))


@given(st.lists(st.tuples(genders, ages), min_size=2, max_size=30))
def test_groups_are_intersections_of_values_and_intervals(rows: list[tuple[str | None, float | None]]) -> None:
    expected: list[str | None] = []
    for gender, age in rows:
        if not gender or age is None or math.isnan(age):
            expected.append(None)
        else:
            expected.append(f"{gender} & {'<40' if age < 40 else '40-60' if age < 60 else '>=60'}")
    images = dataset([{"gender": gender, "age": age} for gender, age in rows])
    if len(set(expected) - {None}) < 2:
        with pytest.raises(DatasetError, match=r"expected at least two values|has no attribute"):
            groups_of(images, ("gender", "age"), {"age": [40, 60]})
        return
    groups = groups_of(images, ("gender", "age"), {"age": [40, 60]})
    assert [None if code < 0 else groups.names[code] for code in groups.codes] == expected
    assert set(groups.names) == set(expected) - {None}


def test_intervals_are_in_the_order_of_their_numbers() -> None:
    images = dataset([{"age": age} for age in (100, 5, 50, 59.9, 60, -1)])
    groups = groups_of(images, ("age",), {"age": [9.5, 60]})
    assert groups.names == ("<9.5", "9.5-60", ">=60")
    assert groups.codes.tolist() == [2, 0, 1, 1, 2, 0]


@pytest.mark.parametrize(
    ("attributes", "bins", "message"),
    [
        (("gender", "aeg"), {}, "has no attribute 'aeg'; did you mean age?"),
        (("gender",), {"gender": [1]}, "bins of gender: .* has the value 'female', expected numbers"),
        (("age",), {"age": [99]}, "all images of .* have age='<99'; expected at least two values"),
    ],
)
def test_groups_that_cannot_be(attributes: tuple[str, ...], bins: dict[str, list[float]], message: str) -> None:
    images = dataset([{"gender": "female", "age": 30}, {"gender": "male", "age": 50}])
    with pytest.raises(DatasetError, match=message):
        groups_of(images, attributes, bins)


def test_an_attribute_without_any_value_makes_no_groups() -> None:
    with pytest.raises(DatasetError, match="no image has a age; expected at least two values"):
        groups_of(dataset([{"age": None}, {"age": float("nan")}]), ("age",), {})


def test_groups_of_many_images_agree_with_a_loop() -> None:
    generator = np.random.default_rng(0)
    columns = [generator.choice(list("abcdef"), 500), generator.choice(list("xyz"), 500)]
    images = dataset([{"one": first, "two": second} for first, second in zip(*columns, strict=True)])
    groups = groups_of(images, ["one", "two"], {})
    assert len(groups.names) == 18
    assert [groups.names[code] for code in groups.codes] == [
        f"{first} & {second}" for first, second in zip(*columns, strict=True)
    ]


def test_labels_of_images_with_several_make_groups_and_unknown_ones_are_missing() -> None:
    states = [(1, 0), (0, 1), (-1, 1), (1, -1), (0, 0)]
    labels = [dict(zip(("ship", "frog"), row, strict=True)) for row in states]
    images = as_images([(np.zeros((3, 1, 1), dtype=np.uint8), label) for label in labels], "pictures")
    one = groups_of(images, ["ship"], {})
    assert (one.names, one.codes.tolist()) == (("False", "True"), [1, 0, -1, 1, 0])
    both = groups_of(images, ["ship", "frog"], {})
    assert both.names == ("False & False", "False & True", "True & False")
    assert both.codes.tolist() == [2, 1, -1, -1, 0]
    with pytest.raises(DatasetError, match="list has no attribute 'shop'; did you mean ship"):
        groups_of(images, ["shop"], {})


def test_an_attribute_comes_before_a_label_of_the_same_name() -> None:
    pixels = np.zeros((3, 1, 1), dtype=np.uint8)
    images = as_images([(pixels, {"ship": place % 2, "frog": 1}, {"ship": "large"}) for place in range(3)], "pictures")
    with pytest.raises(DatasetError, match="all images of list have ship='large'"):
        groups_of(images, ["ship"], {})
