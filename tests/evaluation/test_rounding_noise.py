"""How much rounding changes a model's outputs: measured, and no image that changes its class by it is missed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer import Model, Preprocess, Square
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.cpus import cpu_name
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.rounding import ROUNDING
from pytest_biastransfer.evaluation.rounding_noise import MEASURED_IMAGES, output_ranges
from pytest_biastransfer.evaluation.visiting_order import dataset_seed, visiting_order
from pytest_biastransfer.names import Precision

IMAGES = 3000


class Net(torch.nn.Module):
    """A random network."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 16, 3)
        self.norm = torch.nn.BatchNorm2d(16)
        self.linear = torch.nn.Linear(16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.norm(self.conv(images)).relu().mean(dim=(2, 3)))
        return logits


class Casting(Net):
    """Computes in float32 whatever it gets, as some models do in a part of them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.float())


def pictures() -> torch.Tensor:
    """Return noise on colours of all kinds."""
    generator = torch.Generator().manual_seed(1)
    colors = torch.rand(IMAGES, 3, 1, 1, generator=generator)
    return 0.7 * colors + 0.3 * torch.rand(IMAGES, 3, 12, 12, generator=generator)


def dataset() -> Any:
    return as_images([(image, 0) for image in pictures()], "pictures")


def ranges(module: torch.nn.Module, precision: Precision, earlier: Computation | None, change: Any = None) -> Any:
    model = Model(module, preprocess=Preprocess(mean=0.5, std=0.25))
    evaluator = Evaluator("cpu", precision=precision, batch_size=64)
    return output_ranges(evaluator, model, dataset(), change, range(IMAGES), earlier)


def outputs(module: torch.nn.Module, dtype: torch.dtype, *, autocast: bool = False) -> torch.Tensor:
    pixels = pictures()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits: torch.Tensor = module.eval().to(dtype)(((pixels - 0.5) / 0.25).to(dtype))
    return logits.double()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_noise_is_that_of_two_computations_beside_float64(precision: Precision) -> None:
    found = ranges(Net(), precision, Computation(cpu_name(), precision))
    sample = visiting_order(IMAGES, dataset_seed(dataset().fingerprint, 0))[:MEASURED_IMAGES]
    coarse = outputs(Net(), torch.float32, autocast=precision == "bf16")[sample]
    noise = float((coarse - outputs(Net(), torch.float64)[sample]).square().mean().sqrt())
    floor = 256 * torch.finfo(torch.float32).eps * np.abs(found.outputs)
    most = ROUNDING[precision].allowed(torch.from_numpy(found.outputs)).numpy()
    expected = np.minimum(most, np.maximum(floor, 3 * 2**0.5 * noise))
    # Other batches round otherwise, so the noise is not the same to the last digit.
    np.testing.assert_allclose(found.allowed, expected, rtol=0.5)
    assert (found.allowed < most).any()


def test_another_precision_adds_its_own_noise() -> None:
    alone = ranges(Net(), "float32", Computation(cpu_name(), "float32")).allowed.max()
    beside = ranges(Net(), "float32", Computation(cpu_name(), "bf16")).allowed.max()
    coarser = ranges(Net(), "bf16", Computation(cpu_name(), "float32")).allowed.max()
    twice = ranges(Net(), "bf16", Computation(cpu_name(), "bf16")).allowed.max()
    assert 10 * alone < beside < twice
    assert beside == pytest.approx(coarser, rel=0.5)


@pytest.mark.parametrize("change", [None, Square(size=0.3)])
def test_each_image_that_rounding_gives_another_class_is_among_those_that_it_may(change: Any) -> None:
    """bf16 on this CPU beside float32: each class of either is one that no other exceeds by more than is allowed."""
    model = Model(Net(), preprocess=Preprocess(mean=0.5, std=0.25))
    classes: dict[Precision, Any] = {
        name: Evaluator("cpu", precision=name).predictions(model, dataset(), change).in_order().classes
        for name in ("float32", "bf16")
    }
    differing = np.flatnonzero(classes["float32"] != classes["bf16"])
    assert len(differing) >= 3
    found = ranges(Net(), "float32", Computation("cuda NVIDIA L4", "bf16"), change)
    rows = np.arange(IMAGES)
    lowest = (found.outputs - found.allowed).max(axis=1)
    for own in classes.values():
        assert (found.outputs[rows, own] + found.allowed[rows, own] >= lowest).all()
    # Clear winners are no ties.
    possible = (found.outputs + found.allowed >= lowest[:, None]).sum(axis=1)
    assert (possible == 1).mean() > 0.1


def test_where_the_noise_cannot_be_measured_the_bound_of_the_precision_counts() -> None:
    cases: list[tuple[Net, Precision, Computation, str]] = [
        (Casting(), "float32", Computation(cpu_name(), "float32"), "float32"),
        (Casting(), "float32", Computation(cpu_name(), "bf16"), "bf16"),
        # No CPU has TF32.
        (Net(), "float32", Computation("cuda NVIDIA L4", "tf32"), "tf32"),
        (Net(), "tf32", Computation("cuda NVIDIA L4", "tf32"), "tf32"),
    ]
    for module, precision, earlier, bound in cases:
        found = ranges(module, precision, earlier)
        most = ROUNDING[bound].allowed(torch.from_numpy(found.outputs)).numpy()
        # The bound is relative to the spread of these outputs and those of the measured images.
        np.testing.assert_allclose(found.allowed, most, rtol=0.02)
    measured = ranges(Net(), "tf32", Computation("cpu x86_64 avx2", "tf32")).allowed
    np.testing.assert_allclose(measured, ranges(Net(), "float32", None).allowed)


def test_the_module_is_what_it_was() -> None:
    module = Net()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.train()
    ranges(module, "bf16", None)
    assert module.training
    assert all(tensor.dtype == before[name].dtype for name, tensor in module.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_another_cpu_has_another_name_and_the_key_of_predictions_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Evaluator("cpu")
    assert here.computing_device == cpu_name()
    assert here.computing_device.startswith("cpu ")
    model = Model(Net(), preprocess=Preprocess(mean=0.5, std=0.25))
    key = here.keys(model, dataset(), [None])
    monkeypatch.setattr("pytest_biastransfer.evaluation.environment.cpu_name", lambda: "cpu arm64")
    there = Evaluator("cpu")
    assert there.computing_device == "cpu arm64"
    assert there.keys(model, dataset(), [None]) == key
