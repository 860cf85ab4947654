"""Subsets, concatenations and mixtures: which images they have, with which labels, and that none is read for them."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_biastransfer import Model, Occlude, Preprocess, Square, measure
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.label_table import LabelTable
from pytest_biastransfer.data.labelled_images import several_labels
from pytest_biastransfer.data.masks import Masks, MasksByIndex
from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.data.subset import Subset
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.transfer import (
    balanced,
    concat,
    mixture,
    of_classes,
    plant,
    reweighted,
    subset,
    with_correlation,
    with_share,
)

quick = settings(max_examples=30, deadline=None)


class Table(LabelledImages):
    """Images of one level each, with classes or with several labels; reading one without leave is an error."""

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[Any],
        names: tuple[str, ...] | None = ("cat", "dog"),
        name: str = "pets",
        may_be_read: bool = True,
        attributes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        states = np.asarray(labels)
        self.name = name
        self._table = LabelTable(states.astype(np.int8), names) if states.ndim == 2 else None
        self._states = states.astype(np.int64)
        self.classes = names if self._table is None else None
        self._attributes = dict(attributes or {})
        self._may_be_read = may_be_read

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        if self._table is not None:
            raise several_labels(self)
        return self._states

    @property
    def label_table(self) -> LabelTable | None:
        return self._table

    @property
    def fingerprint(self) -> str:
        return f"{self.name} {self._states.tolist()}"

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        return self._attributes

    def image(self, index: int) -> Any:
        assert self._may_be_read
        # The level says of which dataset the image is, and which it is.
        return np.full((3, 8, 8), (sum(map(ord, self.name)) + index) % 250 + 3, dtype=np.uint8)

    def _find_masks(self, name: str) -> Masks:
        if name != "object":
            return super()._find_masks(name)
        return MasksByIndex(lambda index: np.full((1, 8, 8), index % 2, np.float32), f"masks of {self.name}")

    def __len__(self) -> int:
        return len(self._states)


def levels(images: LabelledImages) -> list[int]:
    return [int(images.image(index)[0, 0, 0]) for index in range(len(images))]


ONE_CLASS = Table([0, 1, 1]), Table([1, 0], name="more")
STATES = Table(np.array([[1, 0], [0, -1]])), Table(np.array([[1, 1], [-1, 0], [0, 0]]), name="more")


# ----------------------------------------------------------------------------------------- subsets


@quick
@given(st.integers(1, 40), st.integers(0, 99), st.booleans())
def test_a_subset_is_that_of_a_spec_and_larger_ones_contain_it(n: int, seed: int, several: bool) -> None:
    labels = np.arange(80).reshape(40, 2) % 3 - 1 if several else np.arange(40) % 2
    images = Table(labels, may_be_read=False)
    chosen, more = subset(images, n, seed), subset(images, min(n + 7, 40), seed)
    assert len(chosen) == n
    assert set(chosen.indices.tolist()) <= set(more.indices.tolist())
    assert chosen.fingerprint == Subset(images, n, seed).fingerprint
    if several:
        assert chosen.label_table is not None
        assert np.array_equal(chosen.label_table.states, labels[chosen.indices])
    else:
        assert np.array_equal(chosen.labels, labels[chosen.indices])


# ---------------------------------------------------------------------------------- concatenations


def test_images_labels_and_attributes_are_one_after_the_other() -> None:
    first = Table([0, 1], attributes={"ground": ["grass", "snow"], "only": ["x", "y"]})
    second = Table([1, 1, 0], name="more", attributes={"ground": ["a", "b", "c"]})
    both = concat(first, second)
    assert levels(both) == levels(first) + levels(second)
    assert both.labels.tolist() == [0, 1, 1, 1, 0]
    assert (both.classes, both.name, len(both)) == (("cat", "dog"), "pets + more", 5)
    assert dict(both.attributes) == {"ground": ["grass", "snow", "a", "b", "c"]}
    assert both.weights is None
    assert both.label_table is None


def test_classes_in_another_order_are_renumbered() -> None:
    other = Table([0, 1, 2], ("yak", "cat", "dog"), name="other")
    both = concat(Table([0, 1, 2], ("dog", "yak", "cat")), other)
    assert both.classes is not None
    assert [both.classes[label] for label in both.labels] == ["dog", "yak", "cat", "yak", "cat", "dog"]


@quick
@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 999))
def test_labels_in_another_order_are_those_of_their_names(names: list[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.integers(-1, 2, (3, 4)), generator.integers(-1, 2, (5, 4))
    both = concat(Table(first, ("a", "b", "c", "d")), Table(second, tuple(names), name="other")).label_table
    assert both is not None
    assert both.names == ("a", "b", "c", "d")
    assert np.array_equal(both.states[:3], first)
    for number, name in enumerate(both.names):
        assert np.array_equal(both.states[3:, number], second[:, names.index(name)])


def test_labels_without_names_are_those_of_their_positions() -> None:
    both = concat(Table(np.array([[1, 0]]), None), Table(np.array([[0, -1]]), None, name="other"))
    assert both.label_table is not None
    assert both.label_table.states.tolist() == [[1, 0], [0, -1]]
    with pytest.raises(DatasetError, match="has several labels for each image"):
        _ = both.labels


def test_weights_of_images_without_any_are_one() -> None:
    first = Table([0, 0, 1], attributes={"ground": ["a", "b", "a"]})
    own = reweighted(Table([0, 0, 0, 1, 1, 1], attributes={"ground": list("aabbba")}), "ground")
    weights = concat(own, first).weights
    assert weights is not None
    assert weights.tolist() == [*own.weights.tolist(), 1, 1, 1]


def test_what_is_planted_and_masked_is_that_of_each_part() -> None:
    first, second = Table([0] * 4), Table([1] * 4, name="more")
    trigger = Occlude("object", fill="white")
    both = concat(plant(first, trigger, 0.5), plant(second, Square(size=1, color="black", stage="source"), 0.5))
    parts = [decode(part, range(4), Preprocess()) for part in both.parts]
    assert np.array_equal(decode(both, range(8), Preprocess()), np.concatenate(parts))
    masks = decode_all_masks(both, ["object"], range(8), Preprocess())["object"]
    assert masks[:, 0, 0, 0].tolist() == [0, 1, 0, 1] * 2
    masked = concat(first, second).masks("object").fingerprint
    assert masked != concat(second, first).masks("object").fingerprint
    assert Counter(both.attributes["planted"]) == {"True": 4, "False": 4}


def test_a_measurement_of_a_concatenation_is_of_all_images() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    first, second = Table(np.arange(30) % 2), Table(np.arange(50) % 2, name="more")
    measured = [measure(Model(net), images, Square(size=0.9)) for images in (first, second, concat(first, second))]
    changed = [round(each.asr * len(images)) for each, images in zip(measured, (first, second), strict=False)]
    assert round(measured[2].asr * 80) == sum(changed)
    assert measured[2].n == 80


# --------------------------------------------------------------------------------------- mixtures


@quick
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(0, 9),
)
def test_each_dataset_has_its_share(sizes: list[tuple[int, int]], n: int, seed: int) -> None:
    total = sum(share for _, share in sizes)
    assume(total)
    parts = [
        (Table([0] * size, name=str(number), attributes={"of": [str(number)] * size}), share / total)
        for number, (size, share) in enumerate(sizes)
    ]
    if any(math.floor(share * n) > len(part) for part, share in parts):
        with pytest.raises(DatasetError, match=r"needs .* images of .*; possible: n up to"):
            mixture(parts, n, seed=seed)
    largest = mixture(parts, seed=seed)
    for mixed in [largest, *([mixture(parts, n, seed=seed)] if n <= len(largest) else [])]:
        counts = Counter(mixed.attributes["of"])
        for number, (_, share) in enumerate(parts):
            assert abs(counts[str(number)] - share * len(mixed)) < 1
        assert len(set(mixed.indices.tolist())) == len(mixed) == sum(counts.values())
    # With two images more, which may both be rounded down, some dataset has too few.
    assert any(share * (len(largest) + 1) > len(part) for part, share in parts)


def test_a_larger_share_contains_the_images_of_a_smaller_one() -> None:
    grass, snow = Table([0] * 100), Table([1] * 100, name="snow")
    chosen = [set(mixture([(grass, 1 - share), (snow, share)], 60).indices.tolist()) for share in (0, 0.1, 0.5, 1)]
    for share, images in zip((0, 0.1, 0.5, 1), chosen, strict=True):
        assert len([index for index in images if index >= 100]) == round(share * 60)
    for small, large in itertools.pairwise(chosen):
        assert {index for index in small if index >= 100} <= {index for index in large if index >= 100}
    assert chosen[1] != set(mixture([(grass, 0.9), (snow, 0.1)], 60, seed=1).indices.tolist())


def test_the_numbering_does_not_depend_on_the_shares() -> None:
    first, other = Table([0, 1]), Table([0, 1], ("dog", "cat"), name="other")
    mixed = mixture([(first, 0), (other, 1.0)])
    assert mixed.classes == ("cat", "dog")
    assert mixed.labels.tolist() == [1, 0]


# ------------------------------------------------------------------------------------------- views


@pytest.mark.parametrize("pair", [ONE_CLASS, STATES], ids=["classes", "labels"])
@pytest.mark.parametrize("make", [
    lambda first, second: subset(first, 2, 1),
    concat,
    lambda first, second: mixture([(first, 0.5), (second, 0.5)]),
], ids=["subset", "concat", "mixture"])  # fmt: skip
def test_torchs_loader_and_other_processes_read_a_view(
    make: Callable[..., LabelledImages], pair: tuple[Table, Table]
) -> None:
    view = make(*pair)
    copied = pickle.loads(pickle.dumps(view))
    assert copied.fingerprint == view.fingerprint
    assert levels(copied) == levels(view)
    images, labels, _ = next(iter(torch.utils.data.DataLoader(view, batch_size=len(view))))  # type: ignore[arg-type]
    assert (images[:, 0, 0, 0]).tolist() == levels(view)
    table = view.label_table
    assert labels.tolist() == (view.labels if table is None else table.states).tolist()


def test_no_image_is_read_and_fingerprints_differ_with_what_decides() -> None:
    first, second = (Table([0, 1] * 5, may_be_read=False, name=name) for name in ("pets", "more"))
    swapped = Table([0, 1] * 5, ("dog", "cat"), may_be_read=False, name="more")
    views = [
        first,
        subset(first, 5),
        subset(first, 5, seed=1),
        subset(first, 6),
        concat(first, second),
        concat(second, first),
        # Renumbered, and so with other labels.
        concat(first, swapped),
        mixture([(first, 0.5), (second, 0.5)], 6),
        mixture([(first, 0.5), (second, 0.5)], 6, seed=1),
        mixture([(second, 0.5), (first, 0.5)], 6),
    ]
    assert len({view.fingerprint for view in views}) == len(views)
    assert concat(first).fingerprint == subset(first, 10).fingerprint == first.fingerprint


FEW = [(np.zeros((3, 2, 2), np.uint8), 0)] * 3


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: subset(FEW, 4), "subset: n=4, expected a whole number from 1 to 3, all images of"),
        (lambda: subset(FEW, 0), "subset: n=0, expected"),
        (lambda: subset(FEW, True), "subset: n=True, expected"),
        (lambda: subset(FEW, 0.5), "subset: n=0.5, expected"),  # type: ignore[arg-type]
        (lambda: subset(FEW, 2, seed=-1), "subset: seed=-1, expected a whole number from 0"),
        (concat, "concat: got no dataset"),
        (lambda: concat(ONE_CLASS[0], STATES[1]), "concat: pets has one class for each image, and more several labels"),
        (
            lambda: concat(Table([0]), Table([0], ("cat", "cow"), name="farm")),
            "concat: pets has the classes cat, dog, and farm the classes cat, cow; expected the same classes",
        ),
        (
            lambda: concat(STATES[0], Table(np.array([[1]]), ("cat",), name="one")),
            "concat: pets has the labels cat, dog, and one the labels cat; expected the same labels, in any order",
        ),
        (lambda: concat(Table([0]), Table([0], None, name="numbers")), "and numbers numbers as classes; expected the"),
        (
            lambda: concat(Table([0, 1], ("a", "a", "b")), Table([0, 1], ("a", "b", "a"), name="twice")),
            "twice has a name twice, the classes a, b, a, so its labels cannot be renumbered",
        ),
        (lambda: mixture([]), r"mixture: parts=\[\], expected pairs of a dataset and its share"),
        (lambda: mixture([FEW]), "(?s)mixture: parts=.*expected pairs"),  # type: ignore[list-item]
        (lambda: mixture([(FEW, 0.5), (FEW, 0.4)]), r"mixture: the shares 0.5 \+ 0.4 add up to 0.9, expected 1"),
        (
            lambda: mixture([(FEW, 90), (FEW, 10)]),
            r"mixture: share=90, expected a number from 0 to 1; did you mean 0.9",
        ),
        (
            lambda: mixture([(FEW, 1)], 4),
            "mixture: n=4 with a share of 1 needs 4 images of .*, which has 3; possible: n up to 3",
        ),
        (lambda: mixture([(FEW, 1)], 2.5), "mixture: n=2.5, expected a whole number above 0"),  # type: ignore[arg-type]
        (lambda: mixture([(ONE_CLASS[0], 1.0), (STATES[0], 0.0)]), "mixture: pets has one class"),
    ],
)
def test_what_does_not_fit_is_named(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ask()


def test_lists_and_views_are_combined() -> None:
    both = concat(FEW, as_images(FEW, "few"))
    assert (len(both), both.labels.tolist()) == (6, [0] * 6)


# --------------------------------------------------------------------------- several labels an image


def random_states(seed: int, count: int = 200, unknown: float = 0.1) -> npt.NDArray[np.int8]:
    """Return two labels that are correlated; some are unknown."""
    generator = np.random.default_rng(seed)
    first = generator.random(count) < 0.4
    second = np.where(first, generator.random(count) < 0.7, generator.random(count) < 0.3)
    states = np.stack([first, second], axis=1).astype(np.int8)
    states[generator.random(states.shape) < unknown] = -1
    return states


def states_in(view: LabelledImages) -> npt.NDArray[np.int8]:
    table = view.label_table
    assert table is not None
    return table.states


@quick
@given(st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_one_label_is_correlated_with_another_and_unknown_ones_are_left_out(seed: int, level: float) -> None:
    images = Table(random_states(seed), may_be_read=False)
    chosen = with_correlation(images, "cat", "dog", level)
    cats, dogs = states_in(chosen).T
    assert not (states_in(chosen) == -1).any()
    assert int(cats[dogs == 1].sum()) == round(level * int(dogs.sum()))
    assert int((cats[dogs == 0] == 0).sum()) == round(level * int((dogs == 0).sum()))


def test_cells_of_two_labels_are_balanced_and_weighted() -> None:
    images = Table(random_states(3), may_be_read=False)
    even = Counter(map(tuple, states_in(balanced(images, "cat", "dog")).tolist()))
    states = random_states(3)
    smallest = min(Counter(map(tuple, states[(states != -1).all(axis=1)].tolist())).values())
    assert even == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], smallest)
    weighted = reweighted(images, "cat", "dog")
    cats, dogs = states_in(weighted).T
    shares = [np.average(cats[dogs == state], weights=weighted.weights[dogs == state]) for state in (0, 1)]
    assert shares[0] == pytest.approx(shares[1])
    assert len(weighted) == int((states != -1).all(axis=1).sum())
    some = with_share(images, "cat", 0.25, 40)
    assert Counter(states_in(some)[:, 0].tolist()) == {1: 10, 0: 30}


def test_an_attribute_of_that_name_counts_before_a_label() -> None:
    states = random_states(0, unknown=0.0)
    images = Table(states, attributes={"cat": ["yes" if index % 2 else "no" for index in range(200)]})
    chosen = with_share(images, "cat", 0.5, 100, value="yes")
    assert Counter(chosen.attributes["cat"]) == {"yes": 50, "no": 50}


def test_a_trigger_is_planted_on_images_with_a_label() -> None:
    states = random_states(1)
    planted = plant(Table(states, may_be_read=False), Square(), 0.5, classes="dog")
    assert not planted.chosen[states[:, 1] != 1].any()
    assert int(planted.chosen.sum()) == round(0.5 * int((states[:, 1] == 1).sum()))
    either = plant(Table(states, may_be_read=False), Square(), 1.0, classes=["cat", 1])
    assert np.array_equal(either.chosen, (states == 1).any(axis=1))


TWO = Table(random_states(0))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: with_correlation(TWO, "cat", "dogs", 0.5),
            "with_correlation: label='dogs': pets has no label 'dogs'; did",
        ),
        (
            lambda: with_correlation(TWO, "cats", "dog", 0.5),
            "attribute='cats': pets has no label 'cats'; did you mean cat",
        ),
        (lambda: balanced(TWO, "cat"), "balanced: pets has several labels for each image; say which: label="),
        (lambda: reweighted(TWO, "cat", "cat"), "reweighted: pets has no image of"),
        (lambda: of_classes(TWO, "cat"), "of_classes: pets has several labels for each image, and no class"),
        (lambda: plant(TWO, Square(), 0.5, classes=[]), r"plant: classes=\[\], expected a label or several"),
        (
            lambda: plant(Table(np.array([[0, 1]])), Square(), 0.5, classes="cat"),
            "plant: pets has no image with 'cat'",
        ),
        (
            lambda: with_correlation(Table(np.array([[-1, 1], [0, -1]])), "cat", "dog", 0.5),
            "with_correlation: pets has no image of which label='dog' and attribute='cat' is known",
        ),
        (
            lambda: with_correlation(TWO, "cat", "dog", 1.0, size=190),
            "needs .* images of 'dog' with cat='True', the dataset pets has .*; possible: size up to",
        ),
    ],
)
def test_labels_that_do_not_fit_are_named(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ask()
