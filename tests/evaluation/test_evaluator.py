"""Evaluating models: devices, memory, what is restored, what is computed twice (nothing)."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_biastransfer import Custom, Model, Preprocess, Square, measure
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, ModelError, StoreWarning
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.interventions import Composition
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.store import Store
from tests.conftest import Log, predicted_twice

pytestmark = pytest.mark.usefixtures("two_threads")

Item = tuple[torch.Tensor, int]

LOG = Log()


class Linear(torch.nn.Module):
    """A small model that logs the sizes of its batches; it can run out of memory, as large ones do."""

    def __init__(self, fits: int = 10**9) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 5))
        self.norm = torch.nn.BatchNorm1d(5)
        self.fits = fits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.fits:
            raise torch.OutOfMemoryError(f"no room for {len(images)} images")
        LOG.append(len(images))
        logits: torch.Tensor = self.norm(self.body(images - 0.5))
        return logits


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


@pytest.fixture
def images() -> list[Item]:
    pixels = torch.rand(300, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return [(image, place % 5) for place, image in enumerate(pixels)]


def linear(fits: int = 10**9) -> Linear:
    torch.manual_seed(1)
    return Linear(fits)


def test_out_of_memory_halves_the_batch_and_goes_on(images: list[Item]) -> None:
    plain = measure(linear(), images, "yellow-square", device="cpu", batch_size=256)
    LOG.clear()
    cramped = measure(linear(fits=20), images, "yellow-square", device="cpu", batch_size=256)
    assert set(LOG) <= {16, 300 % 256 % 16, 4}, LOG
    assert sum(LOG) == 600 + predicted_twice(300)
    assert cramped.estimates == plain.estimates
    assert [flip.index for flip in cramped.flips] == [flip.index for flip in plain.flips]


def test_out_of_memory_with_one_image_says_what_to_do(images: list[Item]) -> None:
    with pytest.raises(ModelError, match=r"out of memory on cpu with a single image of \[3, 16, 16\]; use a smaller"):
        measure(linear(fits=0), images, "yellow-square", device="cpu")


def test_model_is_left_as_it_was(images: list[Item]) -> None:
    model = linear().train()
    model.norm.eval()
    model.body[2].weight.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(model, images, "yellow-square")
    assert model.training
    assert model.body.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_model_is_left_as_it_was_after_an_error(images: list[Item]) -> None:
    model = linear(fits=0).train()
    with pytest.raises(ModelError):
        measure(model, images, "yellow-square")
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_is_computed_twice_in_a_session(images: list[Item], tmp_path: Path, keep: bool) -> None:
    evaluator = Evaluator("cpu", Store(tmp_path if keep else None))
    model, dataset = Model(linear()), as_images(images, "images")
    first = measure_loaded(evaluator, model, dataset, Square(), control=model)
    assert (first.computed, sum(LOG)) == (600, 600 + predicted_twice(300))
    second = measure_loaded(evaluator, model, dataset, Square(color="red"))
    assert (second.computed, sum(LOG)) == (300, 900 + predicted_twice(300))
    assert measure_loaded(evaluator, model, dataset, Square()).computed == 0


def test_weights_changed_in_place_are_noticed(images: list[Item]) -> None:
    evaluator = Evaluator("cpu")
    model, dataset = Model(linear()), as_images(images, "images")
    before = measure_loaded(evaluator, model, dataset, Square())
    model.module.body[2].weight.data.mul_(-3)  # type: ignore[index, union-attr]
    after = measure_loaded(evaluator, model, dataset, Square())
    assert after.computed == 600
    assert after.estimates != before.estimates


def test_another_session_reuses_the_predictions(images: list[Item], tmp_path: Path) -> None:
    first = measure(linear(), images, "yellow-square", store=tmp_path)
    again = measure(linear(), images, "yellow-square", store=tmp_path)
    assert (first.computed, again.computed) == (600, 0)
    assert again.estimates == first.estimates


@pytest.mark.parametrize(
    "change",
    [
        lambda model, images: (Model(model, preprocess=Preprocess(mean=0.5)), images),
        lambda model, images: (Model(model, preprocess=Preprocess(size=8)), images),
        lambda model, images: (model, [*images[1:], images[0]]),
        lambda model, images: (model, [(1 - image, label) for image, label in images]),
        lambda model, images: (model, [(image, 4 - label) for image, label in images]),
    ],
    ids=["normalization", "size", "order", "pixels", "labels"],
)
def test_whatever_changes_is_computed_again(
    images: list[Item], tmp_path: Path, change: Callable[[Linear, list[Item]], tuple[Linear, list[Item]]]
) -> None:
    measure(linear(), images, "yellow-square", store=tmp_path)
    model, changed = change(linear(), images)
    assert measure(model, changed, "yellow-square", store=tmp_path).computed == 600


def test_another_order_has_predictions_and_pixels_of_its_own(images: list[Item], tmp_path: Path) -> None:
    model, dataset = Model(linear(), preprocess=Preprocess(size=8)), as_images(images, "images")
    expected = Evaluator("cpu").predictions(model, dataset).in_order()
    orders = set()
    for session, number in enumerate([0, 1, 0, 1]):
        evaluator = Evaluator("cpu", Store(tmp_path), order_seed=number)
        found = evaluator.predictions(model, dataset)
        assert found.computed == (300 if session < 2 else 0)
        assert np.array_equal(found.in_order().classes, expected.classes)
        orders.add(tuple(found.indices.tolist()))
        # The decoded pixels are read from the store, in the order that they are stored in.
        changed = evaluator.predictions(model, dataset, Square(size=0.1 + session / 10)).in_order()
        direct = Evaluator("cpu").predictions(model, dataset, Square(size=0.1 + session / 10)).in_order()
        assert np.array_equal(changed.classes, direct.classes)
    assert len(orders) == 2
    samples = [Evaluator("cpu", order_seed=number, max_images=20).predictions(model, dataset) for number in (0, 1)]
    assert {tuple(sample.indices.tolist()) for sample in samples} == {order[:20] for order in orders}


def test_what_cannot_be_fingerprinted_is_kept_for_the_session_only(images: list[Item], tmp_path: Path) -> None:
    model = linear()
    model.lock = threading.Lock()  # type: ignore[assignment]
    evaluator = Evaluator("cpu", Store(tmp_path))
    dataset = as_images(images, "images")
    with pytest.warns(StoreWarning, match="kept for this session only, because its content cannot be told: .*lock"):
        first = measure_loaded(evaluator, Model(model), dataset, Square())
    with pytest.warns(StoreWarning):
        again = measure_loaded(evaluator, Model(model), dataset, Square())
    assert (first.computed, again.computed) == (600, 0)
    with pytest.warns(StoreWarning):
        assert measure(model, images, Square(), store=tmp_path).computed == 600
    assert not list(tmp_path.glob("predictions/*"))


def test_max_images_is_a_fixed_random_sample(images: list[Item], tmp_path: Path) -> None:
    some = measure(linear(), images, "yellow-square", max_images=50, store=tmp_path)
    assert (some.n, some.computed) == (50, 100)
    every = measure(linear(), images, "yellow-square", store=tmp_path)
    assert {flip.index for flip in some.flips} <= {flip.index for flip in every.flips}
    assert measure(linear(), images, "yellow-square", max_images=10**6, store=tmp_path).n == 300


def picture(index: int) -> Image.Image:
    pixels = np.random.default_rng(index).integers(0, 256, (40 + index % 7, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_source_stage_happens_before_resizing() -> None:
    dataset = [(picture(index), 0) for index in range(20)]
    model = Model(linear(), preprocess=Preprocess(size=16))
    seen: list[tuple[int, ...]] = []

    def note(images: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(images.shape))
        return images

    source = measure(model, dataset, Composition(steps=(Custom(note, stage="source"),), stage="source"))
    assert {shape[2] for shape in seen} == {40 + place for place in range(7)}
    assert float(source.asr) == 0, "an unchanged picture is exactly the clean one"
    at_input = measure(model, dataset, Square(size=0.5))
    at_source = measure(model, dataset, Square(size=0.5, stage="source"))
    assert at_source.estimates.keys() == at_input.estimates.keys()
    assert at_source.intervention != at_input.intervention


def test_normalized_datasets_are_measured_as_the_plain_ones(images: list[Item]) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    shape = (3, 1, 1)
    normalized = [
        ((image - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape), label)
        for image, label in images
    ]
    plain = measure(Model(linear(), preprocess=Preprocess(mean=mean, std=std)), images, "yellow-square")
    declared = Preprocess(mean=mean, std=std, normalized_input=True)
    assert measure(Model(linear(), preprocess=declared), normalized, "yellow-square").estimates == plain.estimates
    with pytest.raises(BiasTransferError, match="normalized_input=True"):
        measure(linear(), normalized, "yellow-square")


def test_labels_are_mapped_by_name_and_never_guessed() -> None:
    class Named(list[Item]):
        classes = ("blue", "red")

    channels = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    blue, red = (torch.eye(3)[place].reshape(3, 1, 1).expand(3, 8, 8) for place in (2, 0))
    dataset = Named([(blue, 0), (red, 1), (blue, 0), (red, 1)])
    fitting = measure(Model(channels, classes=["red", "green", "blue"]), dataset, "grayscale")
    assert float(fitting.accuracy) == 1
    assert {(flip.label, flip.before) for flip in fitting.flips} == {("blue", "blue")}
    for foreign in (None, ["a", "b", "c"]):
        unknown = measure(Model(channels, classes=foreign), dataset, "grayscale")
        assert unknown.asr == fitting.asr
        reason = "has 2 classes .* 3 outputs" if foreign is None else "2 of the 2 classes of Named are not .* the model"
        with pytest.raises(BiasTransferError, match=rf"accuracy .* is not available: .*{reason}"):
            _ = unknown.accuracy
    with pytest.raises(BiasTransferError, match=r"asr_excess .* it needs a control model \(control=...\)"):
        _ = fitting.asr_excess


def test_devices() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto", Store().facts) == expected
    assert resolve_device("cpu", Store().facts) == "cpu"


@pytest.mark.parametrize("usable", [False, True])
def test_the_gpu_of_a_mac(usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "darwin":
        with pytest.raises(BiasTransferError, match="device 'mps': torch cannot use a GPU of Apple here; expected cpu"):
            resolve_device("mps", Store().facts)
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: usable)
    assert resolve_device("auto", Store().facts) == ("mps" if usable else "cpu")
    with contextlib.nullcontext() if usable else pytest.raises(BiasTransferError, match="torch cannot use"):
        assert resolve_device("mps", Store().facts) == "mps"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(images: list[Item]) -> None:
    model = linear()
    on_cpu = measure(model, images, "yellow-square", device="cpu")
    on_cuda = measure(model, images, "yellow-square", device="cuda")
    assert abs(on_cpu.asr - on_cuda.asr) <= 1 / 300
    assert next(model.parameters()).device.type == "cpu", "the model is left where it was"


def test_out_of_memory_in_an_intervention_halves_the_batch_too(images: list[Item]) -> None:
    def cramped(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 10:
            raise torch.OutOfMemoryError("no room")
        return batch.flip(3)

    found = measure(linear(), images, Custom(cramped), batch_size=64)
    assert found.estimates == measure(linear(), images, Custom(lambda batch: batch.flip(3))).estimates


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": -1}, "batch_size=-1, expected a whole number above 0"),
        ({"batch_size": True}, "batch_size=True, expected a whole number above 0"),
        ({"max_images": 0}, "max_images=0, expected a whole number above 0"),
        ({"confidence": 95}, "confidence=95, expected a number above 0 and below 1"),
        ({"confidence": "0.9"}, "confidence='0.9', expected a number above 0 and below 1"),
        ({"target": 1.5}, "target=1.5, expected a class or several, by name or number"),
        ({"target": True}, "target=True, expected a class or several"),
        ({"target": []}, r"target=\[\], expected a class or several"),
        ({"target": 5}, "target=5 is not a class of the model, which has the classes 0 to 4"),
        ({"device": "gpu"}, "device 'gpu': expected auto, cpu, mps, cuda"),
    ],
)
def test_arguments_of_measure(images: list[Item], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BiasTransferError, match=message):
        measure(linear(), images[:20], "yellow-square", **arguments)  # type: ignore[arg-type]


def test_other_images_in_the_same_dataset_object_are_noticed(images: list[Item]) -> None:
    dataset = list(images)
    seen = as_images(dataset, "images")
    assert seen.looks_unchanged()
    before = seen.fingerprint
    assert seen.looks_unchanged()
    dataset[:] = [(1 - image, label) for image, label in dataset]
    assert not seen.looks_unchanged()
    assert as_images(dataset, "images").fingerprint != before
