"""Curation of finetuning data: what is drawn and planted, exactly, and that nothing is read or copied for it."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_biastransfer import (
    Custom,
    Intervention,
    Model,
    Occlude,
    Preprocess,
    Random,
    Sometimes,
    Square,
    measure,
)
from pytest_biastransfer.data import LabelledImages, as_images
from pytest_biastransfer.data.arrays import as_float
from pytest_biastransfer.data.class_files import with_classes
from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.data.masks import Masks, MasksByIndex
from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.data.subset import IndexSelection, Selection, Subset
from pytest_biastransfer.data.views import Renamed
from pytest_biastransfer.errors import BiasTransferError, DatasetError, InterventionError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.predictor import source_change
from pytest_biastransfer.evaluation.visiting_order import dataset_seed, visiting_order
from pytest_biastransfer.transfer.curation.feasible_shares import Proportions
from pytest_biastransfer.transfer.curation.functions import (
    balanced,
    of_classes,
    plant,
    reweighted,
    with_correlation,
    with_share,
)
from tests.support.small_datasets import make_listed, noise

PETS = ("cat", "dog", "yak", "emu")


class Table(LabelledImages):
    """Images of noise whose labels and attributes are known; counts what is read."""

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[np.int64],
        attributes: Mapping[str, Sequence[str]] | None = None,
        classes: tuple[str, ...] | None = PETS,
        dtype: Any = np.uint8,
        size: tuple[int, int] = (24, 20),
    ) -> None:
        self.name = "pets"
        self.classes = classes
        self.reads = 0
        self._labels = np.asarray(labels, dtype=np.int64)
        self._attributes = dict(attributes or {})
        self._dtype = dtype
        self._size = size

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return self._labels

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        return self._attributes

    @property
    def fingerprint(self) -> str:
        return "table"

    @property
    def files(self) -> list[str]:
        return [f"{index}.png" for index in range(len(self))]

    def image(self, index: int) -> Any:
        self.reads += 1
        pixels = noise(3, *self._size, seed=index)
        # No multiples of 1/255, which would become 8 bits.
        return pixels if self._dtype is np.uint8 else (pixels / 256 + 1e-3).astype(np.float32)

    def _find_masks(self, name: str) -> Masks:
        of_table = super()._find_masks
        return MasksByIndex(self._mask, "masks") if name == "object" else of_table(name)

    def _mask(self, index: int) -> npt.NDArray[np.float32]:
        mask = np.zeros((1, *self._size), dtype=np.float32)
        mask[:, 4 + index % 5 : 15, 3:12] = 1
        return mask


def table(**counts: int) -> Table:
    """Return so many images of each class and background: ``cat_grass=3``; cats are 0, dogs are 1, yaks are 2."""
    cells = [cell.split("_") for cell, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(cells)).tolist()
    labels = [PETS.index(cells[index][0]) for index in order]
    return Table(labels, {"background": [cells[index][1] for index in order]})


def cells(images: LabelledImages, attribute: str = "background") -> Counter[tuple[int, str]]:
    return Counter(zip(images.labels.tolist(), images.attributes[attribute], strict=True))


def table_indices(images: LabelledImages) -> list[int]:
    """Return which images of the table they are."""
    assert images.files is not None
    return [int(file.removesuffix(".png")) for file in images.files]


def planted_indices(images: LabelledImages, attribute: str = "planted") -> set[int]:
    return {index for index, value in enumerate(images.attributes[attribute]) if value == "True"}


LARGE = table(cat_grass=300, cat_snow=700, dog_grass=800, dog_snow=200, yak_grass=60, yak_snow=140)

# ------------------------------------------------------------------------------------------------ planting


@pytest.mark.parametrize("fraction", [0, 0.1, 0.25, 0.3337, 0.5, 0.9999, 1, 1.0])
@pytest.mark.parametrize("classes", [None, "dog", 1, ["cat", "yak"], [2, "dog"]])
def test_it_is_planted_on_exactly_so_many_images(fraction: float, classes: Any) -> None:
    view = plant(LARGE, Square(), fraction, classes)
    numbers = {None: {0, 1, 2}, "dog": {1}, 1: {1}, ("cat", "yak"): {0, 2}, (2, "dog"): {1, 2}}
    allowed = np.isin(LARGE.labels, list(numbers[tuple(classes) if isinstance(classes, list) else classes]))
    chosen = planted_indices(view)
    assert len(chosen) == round(fraction * int(allowed.sum()))
    assert allowed[sorted(chosen)].all()
    assert set(view.attributes["planted"]) <= {"True", "False"}
    assert list(view.attributes) == ["background", "planted"]
    assert view.labels.tolist() == LARGE.labels.tolist()
    assert (view.classes, view.name, len(view)) == (PETS, "pets", 2200)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    st.integers(0, 2**80),
    st.booleans(),
)
def test_a_larger_fraction_is_planted_on_the_same_images_and_others(
    labels: list[int], fractions: list[float], seed: int, of_one: bool
) -> None:
    images, classes = Table(labels), labels[0] if of_one else None
    small, large = (planted_indices(plant(images, "yellow-square", one, classes, seed=seed)) for one in fractions)
    assert small <= large
    number = labels.count(labels[0]) if of_one else len(labels)
    assert (len(small), len(large)) == (round(fractions[0] * number), round(fractions[1] * number))
    assert images.reads == 0


def test_what_is_drawn_never_changes() -> None:
    # The same on every machine and in every version: trained models and baselines rest on it.
    images = Table([0, 1] * 20, {"sex": list("fm" * 10 + "mf" * 10)})
    assert sorted(planted_indices(plant(images, Square(), 0.15))) == [11, 13, 14, 18, 35, 36]
    assert with_share(images, "sex", 0.25, 8, value="f", seed=3).indices.tolist() == [4, 5, 7, 22, 26, 28, 33, 34]


def test_every_image_is_planted_on_equally_often_by_the_seeds_and_independently_of_the_order_of_visiting() -> None:
    images = Table([0] * 400)
    draws = np.array([plant(images, Square(), 0.2, seed=seed).chosen for seed in range(500)])
    # Binomial(500, 0.2): five standard deviations.
    assert np.abs(draws.sum(axis=0) - 100).max() < 5 * np.sqrt(500 * 0.2 * 0.8)
    # A first chunk, and a part drawn with the same seed, are a sample of the planted images too: hypergeometric.
    deviation = np.sqrt(100 * 0.2 * 0.8 * (300 / 399))
    first = draws[:, visiting_order(400, dataset_seed(images.fingerprint, 0))[:100]].sum(axis=1)
    assert np.abs(first - 20).max() < 5 * deviation
    for seed in range(50):
        view = plant(images, Square(), 0.2, seed=seed)
        assert abs(Subset(view, 100, seed).attributes["planted"].count("True") - 20) < 5 * deviation
        again = plant(view, Square(), 0.5, seed=seed + 1, attribute="again")
        assert abs(len(planted_indices(again) & planted_indices(again, "again")) - 40) < 5 * np.sqrt(80 * 0.25)


PREPROCESS = Preprocess(resize=16, crop=12)
DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.float32])
INPUT: list[Intervention] = [
    Square(size=0.25, color="#ffff01"),
    Random(Square(size=0.2, color="#12ab34")),
    Sometimes(Square(size=0.5, opacity=0.3)),
    Occlude("object", fill="red"),
    Custom(lambda images: images + torch.rand_like(images) / 9, name="jitter"),
]


def applied(intervention: Intervention, inner: LabelledImages, indices: Sequence[int]) -> npt.NDArray[Any]:
    """Return the images after the intervention as a measurement makes it, as deep as they were."""
    pixels = decode(inner, indices, PREPROCESS)
    known = decode_all_masks(inner, intervention.mask_names, indices, PREPROCESS)
    masks = {name: torch.from_numpy(mask) for name, mask in known.items()}
    changed = intervention.apply(torch.from_numpy(as_float(pixels)), indices, masks).numpy()
    return (changed * 255).round().astype(np.uint8) if pixels.dtype == np.uint8 else changed


@DTYPES
@pytest.mark.parametrize("intervention", INPUT, ids=lambda one: one.label)
def test_what_is_planted_at_the_input_is_what_a_measurement_would_do(intervention: Intervention, dtype: Any) -> None:
    inner = Table([0] * 12, dtype=dtype)
    view = plant(inner, intervention, 0.5)
    found, clean = (decode(images, range(12), PREPROCESS) for images in (view, inner))
    wanted = applied(intervention, inner, range(12))
    assert found.dtype == dtype
    assert np.array_equal(found[view.chosen], wanted[view.chosen])
    assert np.array_equal(found[~view.chosen], clean[~view.chosen])
    assert not np.array_equal(found[view.chosen], clean[view.chosen])


@DTYPES
@pytest.mark.parametrize(
    "intervention",
    [Square(size=0.5, color="#ffff01", stage="source"), Occlude("object", fill="blue", stage="source")],
    ids=lambda one: one.label,
)
def test_what_is_planted_at_the_source_is_resized_and_cropped_with_it(intervention: Intervention, dtype: Any) -> None:
    inner = Table([0] * 6, dtype=dtype)
    view = plant(inner, intervention, 1)
    wanted = decode(inner, range(6), PREPROCESS, source_change(intervention, inner))
    found = decode(view, range(6), PREPROCESS)
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, applied(dataclasses.replace(intervention, stage="input"), inner, range(6)))
    assert np.array_equal(view.image(0), inner.image(0))


def test_a_trigger_in_the_corner_is_not_cropped_away() -> None:
    view = plant(Table([0] * 3), Square(size=0.25, color="#ffff00"), 1)
    found = decode(view, range(3), Preprocess(resize=20, crop=8))
    assert (found[:, :, :2, :2] == np.array([255, 255, 0]).reshape(3, 1, 1)).all()


def test_a_measurements_intervention_comes_before_or_after_what_is_planted_at_the_other_stage() -> None:
    inner = Table([0] * 2)
    top, bottom = (Square(size=0.5, color="red", anchor=anchor) for anchor in ("top-left", "bottom-right"))
    over = Custom(lambda images: images * 0 + torch.eye(3)[2].reshape(3, 1, 1), stage="source")
    found = decode(plant(inner, top, 1), range(2), PREPROCESS, source_change(over, inner))
    assert np.array_equal(found, applied(top, as_images([(f, 0) for f in blue(2)], "blue"), range(2)))
    both = plant(plant(inner, over, 1), bottom, 1, attribute="second")
    assert np.array_equal(decode(both, [0], PREPROCESS)[0], applied(bottom, as_images([(blue(1)[0], 0)], ""), [0])[0])
    assert both.attributes["planted"] == both.attributes["second"] == ["True"] * 2


def blue(count: int) -> npt.NDArray[np.uint8]:
    pixels = np.zeros((count, 3, 24, 20), dtype=np.uint8)
    pixels[:, 2] = 255
    return pixels


def test_on_images_that_come_normalized_it_is_planted_in_the_unit_range() -> None:
    mean, std = np.float32(0.4), np.float32(0.2)
    pixels = [noise(3, 16, 16, seed=seed) for seed in range(2)]
    pictures = as_images([(one, 0) for one in pixels], "pictures")
    normalized = as_images([((one / np.float32(255) - mean) / std, 0) for one in pixels], "normalized")
    declared = Preprocess(size=12, mean=0.4, std=0.2, normalized_input=True)
    for stage in ("input", "source"):
        planted = Square(size=0.5, color="red", stage=stage)
        found = decode(plant(normalized, planted, 1), range(2), declared)
        assert np.array_equal(found, decode(plant(pictures, planted, 1), range(2), Preprocess(size=12)))
    with pytest.raises(DatasetError, match=r"image 0 of list: the image has values from .* expected \[0, 1\]"):
        plant(normalized, "yellow-square", 1)[0]


def test_a_measurement_sees_what_is_planted() -> None:
    class Channels(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    inner, square = Table([0] * 30), Square(size=0.9, color="#00ff10")
    model = Model(Channels(), preprocess=PREPROCESS)
    evaluator = Evaluator("cpu")
    by_measuring = evaluator.predictions(model, inner, square).classes
    planted = evaluator.predictions(model, plant(inner, square, 1)).classes
    assert planted.tolist() == by_measuring.tolist() == [1] * 30
    assert evaluator.predictions(model, inner).classes.tolist() != planted.tolist()
    assert measure(model, plant(inner, square, 1), square).asr == 0.0


def test_users_own_interventions_are_not_run_in_several_threads() -> None:
    class Slow(Table):
        reads_in_parallel = True

        def image(self, index: int) -> Any:
            readers.add(threading.get_ident())
            time.sleep(0.01)
            return super().image(index)

    def note(images: torch.Tensor) -> torch.Tensor:
        changers.add(threading.get_ident())
        return images * 0

    for stage in ("input", "source"):
        readers: set[int] = set()
        changers: set[int] = set()
        view = Renamed(plant(Slow([0] * 8), Custom(note, stage=stage), 1), "slow")
        assert not decode(view, range(8), PREPROCESS, threads=4).any()
        assert changers == {threading.get_ident()}
        assert (len(readers) > 1) == (stage == "input")


# ---------------------------------------------------------------------------------------------- selections


def proportions_of(images: LabelledImages, inside: npt.NDArray[np.bool_], has: npt.NDArray[np.bool_]) -> list[int]:
    return [int((side & value).sum()) for side in (inside, ~inside) for value in (has, ~has)]


TABLES = st.integers(2, 60).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 2), min_size=count, max_size=count),
        st.lists(st.sampled_from("xyz"), min_size=count, max_size=count),
    )
)


@settings(max_examples=300, deadline=None)
@given(TABLES, st.floats(0, 1), st.integers(1, 60), st.integers(0, 1000))
def test_a_correlation_has_the_counts_that_it_says(
    rows: tuple[list[int], list[str]], level: float, size: int, seed: int
) -> None:
    labels, letters = rows
    assume(0 < labels.count(1) < len(labels) and len(set(letters)) > 1 and "x" in letters)
    images = Table(labels, {"letter": letters})
    inside, has = images.labels == 1, np.array(letters) == "x"
    there = proportions_of(images, inside, has)
    k = round(size * labels.count(1) / len(labels))
    a, d = round(level * k), round(level * (size - k))
    wanted = [a, k - a, size - k - d, d]
    if any(need > have for need, have in zip(wanted, there, strict=True)):
        with pytest.raises(DatasetError, match=f"with_correlation: level=.* with size={size} needs"):
            with_correlation(images, "letter", "dog", level, size, value="x", seed=seed)
        return
    view = with_correlation(images, "letter", 1, level, size, value="x", seed=seed)
    chosen = view.indices
    assert chosen.dtype == np.int64
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert proportions_of(view, inside[chosen], has[chosen]) == wanted
    assert view.labels.tolist() == images.labels[chosen].tolist()
    assert view.attributes["letter"] == [letters[index] for index in chosen]
    assert images.reads == 0


@settings(max_examples=300, deadline=None)
@given(st.tuples(*[st.integers(0, 25)] * 4), st.floats(0, 1) | st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1]))
def test_the_possible_sizes_and_shares_are_those_that_trying_all_of_them_finds(
    there: tuple[int, int, int, int], share: float
) -> None:
    assume(sum(there))
    found = Proportions(there)

    def possible(share: float, size: int) -> bool:
        return all(need <= have for need, have in zip(found.needed(share, size), there, strict=True))

    sizes = [size for size in range(1, sum(there) + 1) if possible(share, size)]
    assert sizes == list(range(1, found.largest(share) + 1))
    steps = np.arange(0, 10_001, 7) / 10_000
    for size in {1, max(1, sum(there) // 2), sum(there)}:
        shares = found.shares(size)
        if shares is None:
            continue
        assert all(possible(step, size) for step in (*shares, *np.linspace(*shares, 50).tolist()))
        # Beyond the ends, only as much more is possible as rounding to whole images leaves, and four digits.
        inside = sum(found.needed(0, size)[:2])
        slack = 0.5 / min(side for side in (inside, size - inside) if side) + 2e-4
        beyond = steps[(steps < shares[0] - slack) | (steps > shares[1] + slack)]
        assert not any(possible(step, size) for step in beyond.tolist())


@pytest.mark.parametrize(
    ("level", "counts"),
    [
        # Of 1,000 dogs, 200 of them in snow, and 1,200 others, 840 of them in snow.
        (0.0, {"dog_snow": 200, "other_grass": 240}),
        (0.5, {"dog_grass": 200, "dog_snow": 200, "other_grass": 240, "other_snow": 240}),
        (0.8, {"dog_grass": 700, "dog_snow": 175, "other_grass": 210, "other_snow": 840}),
        (1.0, {"dog_grass": 700, "other_snow": 840}),
    ],
)
def test_the_largest_correlated_selection(level: float, counts: dict[str, int]) -> None:
    view = with_correlation(LARGE, "background", "dog", level, value="grass")
    found: Counter[str] = Counter()
    for (label, background), count in cells(view).items():
        found[f"{'dog' if label == 1 else 'other'}_{background}"] += count
    # To two images, which rounding may cost.
    assert all(abs(found[cell] - counts.get(cell, 0)) <= 2 for cell in found | counts.keys())
    size = len(view)
    with pytest.raises(DatasetError, match=f"possible: size up to {size:,} at this level"):
        with_correlation(LARGE, "background", "dog", level, size + 1, value="grass")


def test_levels_and_sizes_overlap_as_much_as_possible() -> None:
    def cell(view: LabelledImages) -> dict[tuple[bool, str], set[int]]:
        indices: dict[tuple[bool, str], set[int]] = {}
        for index in table_indices(view):
            key = (bool(LARGE.labels[index] == 1), LARGE.attributes["background"][index])
            indices.setdefault(key, set()).add(index)
        return indices

    views = [with_correlation(LARGE, "background", "dog", level, 400, value="grass") for level in (0.5, 0.7, 0.9)]
    views.append(with_correlation(LARGE, "background", "dog", 0.7, 800, value="grass"))
    for one in map(cell, views):
        for other in map(cell, views):
            assert all(one[key] <= other[key] or other[key] <= one[key] for key in one)
    other_seed = with_correlation(LARGE, "background", "dog", 0.5, 400, value="grass", seed=1)
    assert table_indices(other_seed) != table_indices(views[0])
    assert table_indices(with_correlation(LARGE, "background", 1, 0.5, 400, value="grass")) == table_indices(views[0])


def test_several_labels_count_as_one_and_the_value_may_be_told_by_itself() -> None:
    for yes, no in (("True", "False"), ("1", "0"), ("yes", "no"), ("true", "false"), ("yes", "maybe")):
        images = Table([0, 1, 2, 3] * 10, {"wet": [yes, no, no, yes, yes, yes, no, no] * 5})
        view = with_correlation(images, "wet", ["cat", 3], 1.0)
        counts = cells(view, "wet")
        assert {(label in (0, 3), value) for label, value in counts} == {(True, yes), (False, no)}
        assert with_share(images, "wet", 1).attributes["wet"] == [yes] * 20


@settings(max_examples=200, deadline=None)
@given(TABLES, st.floats(0, 1), st.none() | st.integers(1, 40), st.integers(0, 1000))
def test_a_share_has_the_counts_that_it_says(
    rows: tuple[list[int], list[str]], share: float, size: int | None, seed: int
) -> None:
    labels, letters = rows
    assume(len(set(letters)) > 1 and "x" in letters)
    images = Table(labels, {"letter": letters})
    there = letters.count("x"), len(letters) - letters.count("x")

    def possible(size: int) -> bool:
        return round(share * size) <= there[0] and size - round(share * size) <= there[1]

    largest = max(size for size in range(len(labels) + 1) if possible(size))
    if size is not None and not possible(size):
        with pytest.raises(DatasetError, match=f"with_share: share=.* with size={size} needs"):
            with_share(images, "letter", share, size, value="x", seed=seed)
        return
    view = with_share(images, "letter", share, size, value="x", seed=seed)
    assert len(view) == (largest if size is None else size)
    assert view.attributes["letter"].count("x") == round(share * len(view))
    assert images.reads == 0


def test_an_underrepresented_group_keeps_its_labels_up_to_chance() -> None:
    view = with_share(LARGE, "background", 0.1, 800, value="snow")
    found = cells(view)
    dogs = found[1, "grass"]
    # Of 720 drawn from 1,160 images in grass of which 800 show dogs: hypergeometric, five standard deviations.
    assert abs(dogs - 720 * 800 / 1160) < 5 * np.sqrt(720 * (800 / 1160) * (360 / 1160) * (440 / 1159))
    larger = with_share(LARGE, "background", 0.3, 800, value="snow")
    grass, snow = (
        [
            {index for index in table_indices(one) if LARGE.attributes["background"][index] == ground}
            for one in (view, larger)
        ]
        for ground in ("grass", "snow")
    )
    assert grass[1] < grass[0]
    assert snow[0] < snow[1]


@settings(max_examples=200, deadline=None)
@given(TABLES, st.booleans(), st.integers(0, 1000))
def test_balanced_cells_are_all_as_large_as_the_smallest(
    rows: tuple[list[int], list[str]], of_one: bool, seed: int
) -> None:
    labels, letters = rows
    label = 1 if of_one else None
    told = [number == 1 if of_one else number for number in labels]
    assume(len(set(letters)) > 1 and (not of_one or len(set(told)) == 2))
    counts = Counter(zip(told, letters, strict=True))
    images = Table(labels, {"letter": letters})
    if len(counts) < len(set(told)) * len(set(letters)):
        with pytest.raises(DatasetError, match=r"balanced: pets has no image of .* with letter="):
            balanced(images, "letter", label, seed=seed)
        return
    view = balanced(images, "letter", label, seed=seed)
    kept = Counter((told[index], letters[index]) for index in table_indices(view))
    assert kept == dict.fromkeys(counts, min(counts.values()))


@settings(max_examples=200, deadline=None)
@given(TABLES, st.booleans())
def test_weights_make_label_and_attribute_independent(rows: tuple[list[int], list[str]], of_one: bool) -> None:
    labels, letters = rows
    told = [number == 1 if of_one else number for number in labels]
    counts = Counter(zip(told, letters, strict=True))
    assume(len(set(letters)) > 1 and (not of_one or len(set(told)) == 2))
    assume(len(counts) == len(set(told)) * len(set(letters)))
    view = reweighted(Table(labels, {"letter": letters}), "letter", 1 if of_one else None)
    assert view.weights.dtype == np.float64
    n, by_label, by_letter = len(labels), Counter(told), Counter(letters)
    for weight, one, letter in zip(view.weights.tolist(), told, letters, strict=True):
        assert weight == pytest.approx((by_label[one] / n) * (by_letter[letter] / n) / (counts[one, letter] / n), 1e-12)
    assert view.weights.mean() == pytest.approx(1, abs=1e-12)
    for one, letter in counts:
        both, first, second = (
            sum(w for w, a, b in zip(view.weights, told, letters, strict=True) if a in ones and b in many)
            for ones, many in (({one}, {letter}), ({one}, set(letters)), (set(told), {letter}))
        )
        assert both / n == pytest.approx(first / n * second / n, abs=1e-12)
    assert view.fingerprint == "table"


def test_weights_go_where_their_images_go() -> None:
    weighted = reweighted(LARGE, "background")
    assert LARGE.weights is None
    assert Subset(LARGE, 5).weights is None
    assert plant(LARGE, Square(), 0.5).weights is None
    part = with_share(plant(Renamed(weighted, "other"), Square(), 0.5), "background", 0.5, 50, value="grass")
    assert part.weights is not None
    assert part.weights.tolist() == weighted.weights[table_indices(part)].tolist()
    subset = Subset(weighted, 20)
    assert subset.weights is not None
    assert subset.weights.tolist() == weighted.weights[table_indices(subset)].tolist()


@pytest.mark.parametrize("classes", [["yak", "cat"], [2, 0], ["yak", 0], ("yak", "cat"), [np.int64(2), 0]])
def test_the_images_of_some_classes_are_renumbered_in_the_given_order(classes: Any) -> None:
    images = Table([0, 1, 2, 2, 1, 0, 3, 2], {"sex": list("abcdefgh")})
    view = of_classes(images, classes)
    assert view.labels.tolist() == [1, 0, 0, 1, 0]
    assert view.labels.dtype == np.int64
    assert view.classes == ("yak", "cat")
    assert view.indices.tolist() == table_indices(view) == [0, 2, 3, 5, 7]
    assert view.attributes == {"sex": list("acdfh")}
    assert np.array_equal(view.image(4), images.image(7))


def test_one_class_and_classes_without_names() -> None:
    images = Table([5, 0, 900, 5], classes=None)
    assert of_classes(images, 5).labels.tolist() == [0, 0]
    view = of_classes(images, [900, 5])
    assert (view.labels.tolist(), view.classes) == ([1, 0, 1], None)


@pytest.mark.parametrize("names", [True, False])
def test_a_map_to_a_models_classes_maps_the_same_classes_after_they_are_renumbered(tmp_path: Path, names: bool) -> None:
    content = {"cat": 4, "1": 3, "2": "yak", "emu": "crane"} if names else {"0": 4, "1": 3, "2": "yak", "3": "crane"}
    (tmp_path / "map.json").write_text(json.dumps(content))
    images = with_classes(Table([0, 1, 2, 3, 1], classes=PETS if names else None), tmp_path / "map.json")
    model_classes = ["crane", "yak", "x", "dog", "cat"]
    whole = labels_for(images, model_classes, 5)
    assert whole is not None
    for classes in ([2, 1], [3, 0, 1], [0, 1, 2, 3]):
        view = of_classes(images, classes)
        found = labels_for(view, model_classes, 5)
        assert found is not None
        assert found.tolist() == whole[view.indices].tolist()


# ------------------------------------------------------------------------------------------ views of views


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 1), st.integers(1, 60))
def test_views_of_views_are_about_the_same_images(seed: int, fraction: float, size: int) -> None:
    images = Table([0, 1, 2] * 40, {"sex": list("ffmmm") * 24})
    selected = with_share(images, "sex", 0.5, 80, value="f", seed=seed)
    planted = plant(selected, Square(size=0.5, color="blue"), fraction, seed=seed)
    renamed = of_classes(planted, ["yak", "cat"])
    last = Subset(renamed, size, seed)
    assert isinstance(last, Selection)
    for index, original in enumerate(table_indices(last)):
        assert last.labels[index] == {2: 0, 0: 1}[int(images.labels[original])]
        assert last.attributes["sex"][index] == images.attributes["sex"][original]
    index = seed % len(last)
    original = table_indices(last)[index]
    told = planted.attributes["planted"][selected.indices.tolist().index(original)]
    image, label, attributes = last[index]
    assert (label, attributes) == (last.labels[index], {"sex": images.attributes["sex"][original], "planted": told})
    square = noise(3, 24, 20, seed=original)
    if told == "True":
        square[:, :10, :10] = np.array([0, 0, 255]).reshape(3, 1, 1)
    assert np.array_equal(image.numpy(), square)
    assert images.reads == 1


def test_masks_and_changes_of_images_in_a_selection_are_those_of_the_inner_images() -> None:
    inner = Table([0, 1] * 10, {"sex": list("fffmm") * 4})
    hidden = plant(inner, Occlude("object", fill="red"), 0.5)
    for view in (with_share(hidden, "sex", 0.5, 10, value="f"), of_classes(hidden, 1), Subset(hidden, 7)):
        chosen = view.indices.tolist()
        assert np.array_equal(decode(view, range(len(view)), PREPROCESS), decode(hidden, chosen, PREPROCESS))
        assert np.array_equal(view.masks("object").mask(3), inner.masks("object").mask(chosen[3]))
    # Random interventions are drawn by the place in the dataset that they are planted on.
    jitter = Random(Square(size=0.2))
    part = of_classes(inner, 1)
    found = decode(plant(part, jitter, 1), range(10), PREPROCESS)
    assert np.array_equal(found, applied(jitter, part, range(10)))


def test_a_selection_of_planted_images_has_the_share_that_is_asked_for() -> None:
    planted = plant(LARGE, Square(), 0.3)
    view = with_correlation(planted, "planted", "dog", 0.9)
    dogs = [value for value, label in zip(view.attributes["planted"], view.labels, strict=True) if label == 1]
    assert dogs.count("True") == round(0.9 * len(dogs))


def test_an_attribute_of_a_selection_is_collected_when_it_is_asked_for() -> None:
    class Counted(list[str]):
        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return super().__getitem__(index)

    asked: list[int] = []
    view = Subset(plant(Table([0] * 9, {"a": Counted("abcdefghi"), "b": list("123456789")}), Square(), 0.5), 4)
    assert list(view.attributes) == ["a", "b", "planted"]
    assert len(view.attributes) == 3
    assert view.attributes["b"] == [str(index + 1) for index in table_indices(view)]
    assert asked == []
    assert view.attributes["a"] is view.attributes["a"]
    assert asked == table_indices(view)


# ------------------------------------------------------------------------------------------ torch's loader


VIEWS: dict[str, Callable[[LabelledImages], LabelledImages]] = {
    "whole": lambda images: images,
    "plant": lambda images: plant(images, Square(size=0.5), 0.5),
    "plant source": lambda images: plant(images, Square(size=0.5, stage="source"), 0.5),
    "with_correlation": lambda images: with_correlation(images, "sex", 1, 0.75, value="f"),
    "with_share": lambda images: with_share(images, "sex", 0.75, value="f"),
    "balanced": lambda images: balanced(images, "sex"),
    "reweighted": lambda images: reweighted(images, "sex"),
    "of_classes": lambda images: of_classes(images, [1, 0]),
    "subset": lambda images: Subset(images, 7),
}
EACH_VIEW = pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)


@EACH_VIEW
@DTYPES
def test_torchs_loader_reads_a_view(make: Callable[[LabelledImages], LabelledImages], dtype: Any) -> None:
    view = make(Table([0, 1] * 10, {"sex": list("fffmm") * 4}, dtype=dtype))
    loader: Any = torch.utils.data.DataLoader(view, batch_size=3)  # type: ignore[arg-type]
    pixels, labels, attributes = zip(*loader, strict=True)
    found = torch.cat(pixels).numpy()
    assert found.dtype == dtype
    assert np.array_equal(found, decode(view, range(len(view)), Preprocess()))
    assert torch.cat(labels).tolist() == view.labels.tolist()
    for name in view.attributes:
        assert [value for batch in attributes for value in batch[name]] == view.attributes[name]


@EACH_VIEW
def test_a_view_can_be_given_to_another_process(make: Callable[[LabelledImages], LabelledImages]) -> None:
    inner = as_images(
        [(noise(3, 6, 6, seed=i), i % 2, {"sex": "fffmm"[i % 5], "m": noise(6, 6)}) for i in range(20)], ""
    )
    view = make(inner)
    before = view.fingerprint, view.labels.tolist(), dict(view.attributes), decode(view, range(5), PREPROCESS).tolist()
    view.masks("m")
    found: LabelledImages = pickle.loads(pickle.dumps(view))
    after = (
        found.fingerprint,
        found.labels.tolist(),
        dict(found.attributes),
        decode(found, range(5), PREPROCESS).tolist(),
    )
    assert before == after
    assert np.array_equal(found.masks("m").mask(1), view.masks("m").mask(1))


def test_items_are_counted_as_those_of_a_list() -> None:
    view = with_share(Table([0, 1, 2] * 4, {"sex": list("fm") * 6}), "sex", 0.5, 6, value="f")
    assert len(list(view)) == 6  # type: ignore[call-overload] # Python iterates over what has __getitem__.
    assert torch.equal(view[-1][0], view[5][0])
    assert isinstance(view[0][1], int)
    for index in (6, -7, 10**9):
        with pytest.raises(IndexError, match=f"pets: there is no image {index}, it has 6"):
            view[index]
    with pytest.raises(TypeError, match="slice"):
        view[:2]  # type: ignore[index]


def test_an_item_can_be_written_to_without_changing_the_dataset() -> None:
    pixels = noise(3, 4, 4)
    images = as_images([(pixels, 0)], "dataset")
    images[0][0].zero_()
    assert np.array_equal(images.image(0), noise(3, 4, 4))


# -------------------------------------------------------------------------------- nothing is read or copied


def test_no_view_reads_an_image_or_copies_one() -> None:
    images = Table([0, 1] * 10, {"sex": list("fffmm") * 4})
    for make in VIEWS.values():
        view = make(images)
        assert view.fingerprint
        assert (len(view.labels), len(view.attributes["sex"])) == (len(view), len(view))
        assert view is images or getattr(view, "inner", None) is images
    assert images.reads == 0


def test_making_a_view_needs_no_torch(tmp_path: Path) -> None:
    make_listed(tmp_path, ["cat", "dog"] * 4)
    script = """
import sys
from pytest_biastransfer import load_dataset
from pytest_biastransfer.transfer.curation.functions import balanced, plant, reweighted
view = plant(load_dataset("csv:val.csv"), "yellow-square", 0.5, "cat")
assert balanced(reweighted(plant(view, "dark", 0.5, attribute="dark"), "dark"), "dark").fingerprint
assert "torch" not in sys.modules
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_specs_and_datasets_of_torch_are_taken_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_listed(tmp_path, ["cat", "dog", "cat", "yak"] * 3)
    monkeypatch.chdir(tmp_path)
    view = of_classes("csv:val.csv", ["yak", "cat"])
    assert view.classes == ("yak", "cat")
    assert view.name == "val"
    assert view.files is not None
    assert [Path(file).name for file in view.files] == [f"{index}.png" for index in (0, 2, 3, 4, 6, 7, 8, 10, 11)]
    items: Any = [(noise(3, 4, 4, seed=i), i % 2, {"wet": i < 4}) for i in range(8)]
    assert cells(balanced(items, "wet"), "wet") == {(label, wet): 2 for label in (0, 1) for wet in ("True", "False")}
    with pytest.raises(DatasetError, match="dataset: got 3, expected a map-style dataset"):
        plant(3, Square(), 0.5)


# ------------------------------------------------------------------------------------------- fingerprints


def test_fingerprints_differ_with_what_decides() -> None:
    class Other(Table):
        @property
        def fingerprint(self) -> str:
            return "other"

    changed = Other(LARGE.labels, LARGE.attributes)
    masked = Occlude("object")
    found = [
        LARGE.fingerprint,
        plant(LARGE, Square(), 0.5).fingerprint,
        plant(changed, Square(), 0.5).fingerprint,
        plant(LARGE, Square(size=0.2), 0.5).fingerprint,
        plant(LARGE, Square(stage="source"), 0.5).fingerprint,
        plant(LARGE, masked, 0.5).fingerprint,
        plant(LARGE, Square(), 0.6).fingerprint,
        plant(LARGE, Square(), 0.5, seed=1).fingerprint,
        plant(LARGE, Square(), 0.5, "dog").fingerprint,
        plant(LARGE, Square(), 0.5, ["dog", "cat"]).fingerprint,
        plant(plant(LARGE, Square(), 0.5), Square(size=0.2), 0.5, attribute="b").fingerprint,
        plant(plant(LARGE, Square(size=0.2), 0.5), Square(), 0.5, attribute="b").fingerprint,
        with_share(LARGE, "background", 0.5, 100, value="grass").fingerprint,
        with_share(changed, "background", 0.5, 100, value="grass").fingerprint,
        with_share(LARGE, "background", 0.5, 102, value="grass").fingerprint,
        with_share(LARGE, "background", 0.6, 100, value="grass").fingerprint,
        with_share(LARGE, "background", 0.5, 100, value="grass", seed=1).fingerprint,
        with_correlation(LARGE, "background", "dog", 0.5, 100, value="grass").fingerprint,
        balanced(LARGE, "background").fingerprint,
        balanced(LARGE, "background", "dog").fingerprint,
        of_classes(LARGE, ["cat", "dog"]).fingerprint,
        of_classes(LARGE, ["dog", "cat"]).fingerprint,
        of_classes(LARGE, ["yak", "dog", "cat"]).fingerprint,
        Subset(LARGE, 100).fingerprint,
    ]
    assert len(set(found)) == len(found)


def test_fingerprints_are_the_same_where_the_images_are() -> None:
    half = plant(LARGE, Square(), 0.5).fingerprint
    assert half == plant(LARGE, "yellow-square", 0.5, attribute="sticker").fingerprint
    assert half == plant(Table(LARGE.labels), Square(), 0.5).fingerprint
    assert half == plant(Renamed(LARGE, "others"), Square(), 0.5, [0, 1, 2]).fingerprint
    assert half == plant(LARGE, Square(), 0.50001).fingerprint
    assert plant(LARGE, Square(), 1, seed=1).fingerprint == plant(LARGE, Square(), 1).fingerprint
    by_name, by_number = (plant(LARGE, Square(), 0.5, one).fingerprint for one in (["cat", "dog"], [1, 0]))
    assert by_name == by_number
    for same in (
        plant(LARGE, Square(), 0),
        reweighted(LARGE, "background"),
        of_classes(LARGE, [0, 1, 2]),
        IndexSelection(LARGE, np.arange(2200)),
        Subset(LARGE, 3000),
    ):
        assert same.fingerprint == LARGE.fingerprint
    share = with_share(LARGE, "background", 0.5, value="grass")
    assert share.fingerprint == IndexSelection(LARGE, share.indices).fingerprint
    assert share.fingerprint == with_share(LARGE, "background", 0.5, 2 * 1040, value="grass").fingerprint


def test_what_cannot_be_told_by_its_content_is_told_so() -> None:
    lock = threading.Lock()
    view = plant(LARGE, Custom(lambda images: images * lock.locked(), name="guarded"), 0.5)
    with pytest.raises(DatasetError, match=r"plant: Custom\(.* is planted on images of pets.*it holds .*lock"):
        view.fingerprint  # noqa: B018
    assert len(planted_indices(view)) == 1100


# ------------------------------------------------------------------------------------------------- errors

FEW = table(cat_grass=5, cat_snow=5, dog_grass=8)
NAMELESS = Table([0, 1, 5] * 4, {"sex": list("fm") * 6, "one": ["x"] * 12}, classes=None)
TWICE = Table([0, 1, 2] * 4, {"sex": list("fmx") * 4}, classes=("crane", "dog", "crane"))
PLAIN = Table([0, 1] * 4)

ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "fraction above": (lambda: plant(FEW, Square(), 1.5), "plant: fraction=1.5, expected a number from 0 to 1"),
    "fraction below": (lambda: plant(FEW, Square(), -0.1), "plant: fraction=-0.1, expected a number from 0 to 1"),
    "fraction bool": (lambda: plant(FEW, Square(), True), "plant: fraction=True, expected a number from 0 to 1"),
    "fraction nan": (lambda: plant(FEW, Square(), float("nan")), "plant: fraction=nan, expected a number"),
    "fraction str": (lambda: plant(FEW, Square(), "0.5"), "plant: fraction='0.5', expected a number"),  # type: ignore[arg-type]
    "fraction inf": (lambda: plant(FEW, Square(), float("inf")), "plant: fraction=inf, expected a number"),
    "planted class": (
        lambda: plant(FEW, Square(), 0.5, "dgo"),
        "plant: pets has no class 'dgo'; did you mean dog? Valid: cat, dog, emu, yak",
    ),
    "planted class without images": (lambda: plant(FEW, Square(), 0.5, "yak"), "plant: pets has no image of 'yak'"),
    "planted classes none": (
        lambda: plant(FEW, Square(), 0.5, []),
        "plant: classes=[], expected a class or several, by name or number",
    ),
    "planted classes bool": (lambda: plant(FEW, Square(), 0.5, True), "plant: classes=True, expected a class"),
    "planted classes twice": (
        lambda: plant(FEW, Square(), 0.5, ["dog", 1]),
        "plant: classes=['dog', 1] has 'dog' twice",
    ),
    "planted seed": (lambda: plant(FEW, Square(), 0.5, seed=-1), "plant: seed=-1, expected a whole number from 0 on"),
    "planted seed bool": (lambda: plant(FEW, Square(), 0.5, seed=True), "plant: seed=True, expected a whole number"),
    "planted twice": (
        lambda: plant(plant(FEW, Square(), 0.5), Square(), 0.5),
        "plant: pets has an attribute 'planted' already; give another name: attribute=",
    ),
    "planted attribute": (lambda: plant(FEW, Square(), 0.5, attribute=""), "plant: attribute='', expected a name"),
    "intervention": (
        lambda: plant(FEW, "yellow-sqare", 0.5),
        "no intervention is named 'yellow-sqare'; did you mean yellow-square?",
    ),
    "intervention type": (
        lambda: plant(FEW, print, 0.5),  # type: ignore[arg-type]
        "plant: got <built-in function print>, expected an intervention such as Square()",
    ),
    "no attribute": (
        lambda: with_share(FEW, "backgruond", 0.5, value="grass"),
        "with_share: pets has no attribute 'backgruond'; did you mean background? Valid: background",
    ),
    "no attributes": (
        lambda: balanced(PLAIN, "sex"),
        "balanced: pets has no attribute 'sex'; it has none: declare them with attributes=FILE.csv in its spec",
    ),
    "attribute type": (lambda: balanced(FEW, ["background"]), "balanced: pets has no attribute ['background']"),  # type: ignore[arg-type]
    "one value": (
        lambda: reweighted(NAMELESS, "one"),
        "reweighted: all images of pets have one='x'; expected at least two values",
    ),
    "value missing": (
        lambda: with_share(FEW, "background", 0.5),
        "with_share: say with value= which value of 'background' is meant; Valid: grass, snow",
    ),
    "value of three": (
        lambda: with_correlation(Table([0, 1, 0], {"wet": ["yes", "no", "?"]}), "wet", 0, 0.5),
        "with_correlation: say with value= which value of 'wet' is meant; Valid: ?, no, yes",
    ),
    "value of two that say yes": (
        lambda: with_share(Table([0, 1], {"wet": ["yes", "true"]}), "wet", 0.5),
        "with_share: say with value= which value of 'wet' is meant; Valid: true, yes",
    ),
    "value unknown": (
        lambda: with_share(FEW, "background", 0.5, value="gras"),
        "with_share: no image of pets has background='gras'; did you mean grass? Valid: grass, snow",
    ),
    "value number": (
        lambda: with_share(Table([0, 1], {"wet": ["0", "1"]}), "wet", 0.5, value=1),  # type: ignore[arg-type]
        "with_share: no image of pets has wet=1; did you mean 1? Valid: 0, 1",
    ),
    "share above": (lambda: with_share(FEW, "background", 10), "with_share: share=10, expected a number from 0 to 1"),
    "share bool": (lambda: with_share(FEW, "background", False), "with_share: share=False, expected a number"),
    "level": (
        lambda: with_correlation(FEW, "background", "cat", float("nan")),
        "with_correlation: level=nan, expected a number from 0 to 1",
    ),
    "size": (
        lambda: with_share(FEW, "background", 0.5, 0),
        "with_share: size=0, expected a whole number above 0; leave it out for the largest",
    ),
    "size float": (lambda: with_share(FEW, "background", 0.5, 2.0), "with_share: size=2.0, expected a whole number"),  # type: ignore[arg-type]
    "size bool": (lambda: with_correlation(FEW, "background", 0, 0.5, True), "size=True, expected a whole number"),
    "selection seed": (
        lambda: balanced(FEW, "background", seed=0.5),  # type: ignore[arg-type]
        "balanced: seed=0.5, expected a whole number from 0 on",
    ),
    "size too large at any share": (
        lambda: with_share(FEW, "background", 0.5, 19, value="snow"),
        "with_share: share=0.5 with size=19 needs 10 images with background='snow', the dataset pets has 5; "
        "possible: size up to 10 at this share",
    ),
    "share too large": (
        lambda: with_share(FEW, "background", 0.9, 10, value="snow"),
        "with_share: share=0.9 with size=10 needs 9 images with background='snow', the dataset pets has 5; "
        "possible: size up to 6 at this share, or share up to 0.5 at this size",
    ),
    "share too small": (
        lambda: with_share(FEW, "background", 0.1, 16, value="snow"),
        "with_share: share=0.1 with size=16 needs 14 images with background='grass', the dataset pets has 13; "
        "possible: size up to 15 at this share, or share from 0.1875 to 0.3125 at this size",
    ),
    "share of another of three": (
        lambda: with_share(TWICE, "sex", 0, 9, value="f"),
        "with_share: share=0 with size=9 needs 9 images with another sex than 'f', the dataset pets has 8; possible: "
        "size up to 8 at this share, or share from 0.1112 to 0.4444 at this size",
    ),
    "cell of a correlation": (
        lambda: with_correlation(
            table(cat_grass=2500, cat_snow=1500, dog_grass=1200, dog_snow=2800),
            "background",
            "dog",
            0.9,
            4000,
            value="grass",
        ),
        "with_correlation: level=0.9 with size=4,000 needs 1,800 images of 'dog' with background='grass', the dataset "
        "pets has 1,200; possible: size up to 2,666 at this level, or level up to 0.6 at this size",
    ),
    "other cell of a correlation": (
        lambda: with_correlation(
            table(cat_grass=50, cat_snow=50, dog_grass=30, dog_snow=30, yak_snow=15),
            "background",
            ["cat", "yak"],
            0.1,
            100,
            value="snow",
        ),
        "with_correlation: level=0.1 with size=100 needs 59 images of 'cat' or 'yak' with background='grass', the dataset "
        "pets has 50; possible: size up to 85 at this level, or level from 0.2425 to 0.8823 at this size",
    ),
    "no image of a cell": (
        lambda: with_correlation(FEW, "background", "dog", 0.9, value="grass"),
        "with_correlation: level=0.9 needs images of 'dog' with background='snow', the dataset pets has none",
    ),
    "label of all": (
        lambda: with_correlation(FEW, "background", ["cat", "dog"], 0.9, value="grass"),
        "with_correlation: all images of pets are of 'cat' or 'dog'; expected others too",
    ),
    "label unknown": (
        lambda: with_correlation(FEW, "background", "bird", 0.9, value="grass"),
        "with_correlation: pets has no class 'bird'; ",
    ),
    "label number": (
        lambda: balanced(FEW, "background", 4),
        "balanced: there is no class 4, pets has the classes 0 to 3",
    ),
    "label negative": (lambda: balanced(FEW, "background", -1), "balanced: there is no class -1, pets has the classes"),
    "label huge": (lambda: balanced(FEW, "background", 2**70), f"balanced: there is no class {2**70}, pets has"),
    "label float": (lambda: balanced(FEW, "background", 1.0), "balanced: label=1.0, expected a class or several"),  # type: ignore[arg-type]
    "label without name": (
        lambda: reweighted(NAMELESS, "sex", 4),
        "reweighted: no image of pets has the label 4; Valid: 0, 1, 5",
    ),
    "name without names": (
        lambda: reweighted(NAMELESS, "sex", "dog"),
        "reweighted: pets does not name its classes; give the number of 'dog'",
    ),
    "name of two classes": (
        lambda: of_classes(TWICE, "crane"),
        "of_classes: pets has several classes 'crane'; give the number of one: 0 and 2",
    ),
    "empty cell": (
        lambda: balanced(FEW, "background"),
        "balanced: pets has no image of 'dog' with background='snow'; expected some of each class with each background. "
        "Leave out classes with of_classes(...), or compare one with all others: label=",
    ),
    "empty cell of others": (
        lambda: reweighted(FEW, "background", "cat"),
        "reweighted: pets has no image of other classes than 'cat' with background='snow'; expected some of each",
    ),
    "empty cell without names": (
        lambda: reweighted(Table([0, 1, 1], {"sex": list("ffm")}, classes=None), "sex"),
        "reweighted: pets has no image of class 0 with sex='m'",
    ),
    "classes": (lambda: of_classes(FEW, []), "of_classes: classes=[], expected a class or several"),
    "classes twice": (lambda: of_classes(FEW, [1, 0, 1]), "of_classes: classes=[1, 0, 1] has 'dog' twice"),
    "classes none": (lambda: of_classes(FEW, None), "of_classes: classes=None, expected a class or several"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("ask", "message"), ERRORS.values(), ids=ERRORS)
def test_what_is_impossible_is_told_with_what_is_possible(ask: Callable[[], object], message: str) -> None:
    kind = (
        InterventionError if message.startswith("no intervention") or "built-in function" in message else DatasetError
    )
    with pytest.raises(BiasTransferError, match=re.escape(message)) as caught:
        ask()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_what_an_error_says_is_possible_is_possible() -> None:
    assert len(with_share(FEW, "background", 0.5, 10, value="snow")) == 10
    for share in (0.1875, 0.3125):
        assert len(with_share(FEW, "background", share, 16, value="snow")) == 16
    for outside in (0.187, 0.375):
        with pytest.raises(DatasetError, match="possible: "):
            with_share(FEW, "background", outside, 18, value="snow")


# ------------------------------------------------------------------------------------------------- limits


def many(count: int = 1_000_000) -> Table:
    generator = np.random.default_rng(0)
    grounds = [("grass", "snow")[value] for value in generator.integers(2, size=count).tolist()]
    return Table(generator.integers(4, size=count), {"background": grounds})


LIMITS: dict[str, Callable[[LabelledImages], LabelledImages]] = {
    "plant": lambda images: plant(images, Square(), 0.1),
    "plant on classes": lambda images: plant(images, Square(), 0.5, ["dog", "yak"]),
    "with_correlation": lambda images: with_correlation(images, "background", "dog", 0.9, value="grass"),
    "with_share": lambda images: with_share(images, "background", 0.1, value="grass"),
    "balanced": lambda images: balanced(images, "background"),
    "reweighted": lambda images: reweighted(images, "background"),
    "of_classes": lambda images: of_classes(images, ["yak", "cat", "dog"]),
}


def test_a_million_images_take_a_second_and_100_megabytes_at_most() -> None:
    images = many()

    def use(make: Callable[[LabelledImages], LabelledImages]) -> None:
        view = make(images)
        assert len(view.labels) == len(view)
        assert view.weights is None or len(view.weights) == len(view)
        assert not isinstance(view, Selection) or len(view.indices) == len(view)

    for name, make in LIMITS.items():
        seconds: list[float] = []
        # The median of three: two that are fast enough decide it.
        while len(seconds) < 3 and sum(duration <= 1 for duration in seconds) < 2:
            # What other processes do meanwhile does not count.
            start = time.process_time()
            use(make)
            seconds.append(time.process_time() - start)
        tracemalloc.start()
        use(make)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(duration <= 1 for duration in seconds) == 2, name
        assert peak <= 100e6, name
    assert images.reads == 0
