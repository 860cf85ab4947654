"""Contingency tables: equal to scipy and to counting by hand, unknown labels, the emptiest cells, mistakes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import contingency as scipy_contingency

from pytest_biastransfer.data.label_table import LabelTable
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.transfer import contingency

PIXELS = np.zeros((3, 1, 1), dtype=np.uint8)


class Dataset(list[Any]):
    """Images in memory, with the names of their classes."""

    classes = ("cat", "dog", "eel")


def dataset(labels: Any, values: Any, kind: type[list[Any]] = list) -> list[Any]:
    return kind((PIXELS, label, {"ground": value}) for label, value in zip(labels, values, strict=True))


pairs = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), min_size=4, max_size=40).filter(
    lambda found: len({value for _, value in found}) > 1
)


@given(pairs)
def test_counts_and_expectations_are_those_of_scipy(found: list[tuple[int, str]]) -> None:
    labels, values = zip(*found, strict=True)
    table = contingency(dataset(labels, values), "ground")
    reference = scipy_contingency.crosstab(labels, values)
    assert table.values == tuple(reference.elements[1])
    np.testing.assert_array_equal(table.counts, reference.count)
    np.testing.assert_allclose(table.expected, scipy_contingency.expected_freq(reference.count), atol=1e-9)
    assert table.cells[0].images == reference.count.min()
    assert sum(cell.images for cell in table.cells) == len(found)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 0, -1]), st.sampled_from([1, 0, -1]), st.sampled_from([1, 0, -1])),
        min_size=6,
        max_size=40,
    )
)
def test_unknown_labels_are_left_out_of_their_row(found: list[tuple[int, int, int]]) -> None:
    # Each state at least once, so that -1 does not seem to stand for no.
    rows = [*found, (1, 0, 1), (0, 1, 0), (1, 1, 1)]
    labels = [dict(zip(("cat", "dog", "grass"), row, strict=True)) for row in rows]
    table = contingency(dataset(labels, ["x", "y"] * (len(rows) // 2) + ["x"] * (len(rows) % 2)), "grass")
    assert (table.labels, table.values) == (("cat", "dog"), ("False", "True"))
    for place in range(2):
        count = Counter((row[place], row[2]) for row in rows)
        assert table.counts[place].tolist() == [count[1, 0], count[1, 1]]
        known = {state: count[0, state] + count[1, state] for state in (0, 1)}
        total = sum(known.values())
        assert table.unknown[place] == len(rows) - total
        positives = count[1, 0] + count[1, 1]
        assert table.expected[place] == pytest.approx([positives * known[0] / total, positives * known[1] / total])
    one = contingency(dataset(labels, ["x"] * len(rows)), "grass", ["cat", "dog"])
    assert one.labels == ("cat or dog", "not cat or dog")
    either = [1 if 1 in row[:2] else min(row[:2]) for row in rows]
    count = Counter(zip(either, (row[2] for row in rows), strict=True))
    assert one.counts.tolist() == [[count[1, 0], count[1, 1]], [count[0, 0], count[0, 1]]]


@given(st.lists(st.lists(st.sampled_from([1, 0, -1]), min_size=3, max_size=3), min_size=1, max_size=10))
def test_any_of_several_labels_is_true_false_or_unknown(rows: list[list[int]]) -> None:
    table = LabelTable(np.array(rows, dtype=np.int8))
    expected = [1 if 1 in row[1:] else -1 if -1 in row[1:] else 0 for row in rows]
    found = table.any_of([1, 2])
    assert found.tolist() == expected
    assert found.dtype == np.int8


def test_the_emptiest_cells_are_named_and_classes_without_images_are_rows() -> None:
    labels = [0] * 1200 + [1] * 50
    values = ["grass"] * 1199 + ["snow"] * 51
    table = contingency(dataset(labels, values, Dataset), "ground")
    assert str(table).splitlines() == [
        "Dataset, by ground",
        "       grass  snow",
        "  cat  1,199     1",
        "  dog      0    50",
        "  eel      0     0",
        "  emptiest: dog with ground='grass': 0 images, 48 if they were independent",
        "            eel with ground='grass': 0 images, 0 if they were independent",
        "            eel with ground='snow': 0 images, 0 if they were independent",
    ]
    plain = json.loads(json.dumps(table.to_json()))
    assert plain["labels"][1] == {
        "label": "dog",
        "images": [0, 50],
        "expected": pytest.approx([47.96, 2.04]),
        "unknown": 0,
    }
    chosen = contingency(dataset(labels, values, Dataset), "ground", 1)
    assert chosen.labels == ("dog", "not dog")
    assert chosen.counts.tolist() == [[0, 50], [1199, 1]]


def test_unknown_ones_are_counted() -> None:
    labels = [{"cat": 1, "dog": -1}, {"cat": 0, "dog": 1}, {"cat": 0, "dog": 0}]
    text = str(contingency(dataset(labels, "xyx"), "ground"))
    assert text.endswith("\n  unknown, left out: 1 of dog")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grond",), "contingency: list has no attribute 'grond'; did you mean ground"),
        (("ground", 7), "contingency: no image of list has the label 7"),
    ],
)
def test_what_cannot_be_counted(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        contingency(dataset([0, 1, 0], "xyx"), *arguments)
