"""Models that answer otherwise when they are asked again: found, and told from rounding."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_biastransfer import Model, Square, measure, measure_gaps
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.evaluation.batch_size import BatchSize
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.predictor import Predictor
from pytest_biastransfer.evaluation.reproducibility import CHECKED_IMAGES, require_reproducible
from pytest_biastransfer.names import Outputs, Precision
from pytest_biastransfer.store import Store
from tests.conftest import Log

Item = tuple[torch.Tensor, int]
Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def images(count: int) -> list[Item]:
    """Return images that differ in brightness too, as photographs do."""
    generator = torch.Generator().manual_seed(1)
    brightness = torch.rand(count, 1, 1, 1, generator=generator)
    pixels = torch.rand(count, 3, 8, 8, generator=generator) * brightness
    return [(image, place % 5) for place, image in enumerate(pixels)]


class Net(nn.Module):
    """A linear model, whose forward is what a test says."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(192, 5)
        self.calls = Log()
        self.does = forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        return self.does(self, images)


def head(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = net.head(images.flatten(1))  # type: ignore[operator]
    return logits


class KeptInTraining(nn.Sequential):
    """A model that mode switches do not reach."""

    def train(self, mode: bool = True) -> KeptInTraining:
        return self


def sequential(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(192, 5))


def counts_calls(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return head(net, images).roll(len(net.calls), dims=1)  # type: ignore[arg-type]


def stochastic_depth(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    kept = torch.rand(len(images), 1) > 0.1
    return head(net, images) + kept * head(net, images.flip(3))


def stochastic_depth_of_batches(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return head(net, images) + head(net, images.flip(3)) * (torch.rand(()) > 0.5)


def numpy_noise(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return head(net, images) + 0.1 * torch.from_numpy(np.random.normal(size=(len(images), 5))).float()


def seeded_noise(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return head(net, images) + 0.1 * torch.randn((len(images), 5), generator=torch.Generator().manual_seed(0))


RANDOM: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: Net(lambda net, images: head(net, functional.dropout(images, 0.1))),
    "rare dropout": lambda: Net(lambda net, images: head(net, functional.dropout(images, 0.01))),
    "dropout of channels": lambda: KeptInTraining(*sequential(nn.Dropout2d(0.3))).requires_grad_(False),
    "noise": lambda: Net(lambda net, images: head(net, images + 0.05 * torch.randn_like(images))),
    "noise of numpy": lambda: Net(numpy_noise),
    "stochastic depth": lambda: Net(stochastic_depth),
    "stochastic depth of whole batches": lambda: Net(stochastic_depth_of_batches),
    "counted calls": lambda: Net(counts_calls),
}
OF_THE_BATCH: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: sequential(nn.BatchNorm2d(3, track_running_stats=False)),
    "batch norm in training": lambda: KeptInTraining(*sequential(nn.BatchNorm2d(3, momentum=0.0))),
    "batch mean": lambda: Net(lambda net, images: head(net, images - images.mean(dim=0))),
    "softmax over the batch": lambda: Net(lambda net, images: head(net, images).softmax(dim=0)),
    "seeded noise": lambda: Net(seeded_noise),
}


def is_refused(model: nn.Module | str, data: list[Item], **arguments: Any) -> str:
    with pytest.raises(ModelError, match="is not deterministic") as caught:
        measure(model, data, Square(size=0.3), device="cpu", **arguments)
    return str(caught.value)


@pytest.mark.parametrize("count", [300, 20, 3])
@pytest.mark.parametrize("name", RANDOM)
def test_a_model_that_is_random_is_an_error(name: str, count: int) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    if count == 3 and name in ("rare dropout", "stochastic depth", "stochastic depth of whole batches"):
        count = 20
    assert f"of {min(count, CHECKED_IMAGES)} images" in is_refused(RANDOM[name](), images(count))


@pytest.mark.parametrize("name", ["noise", "noise of numpy", "counted calls", "dropout"])
def test_a_single_image_is_predicted_twice_too(name: str) -> None:
    torch.manual_seed(3)
    message = is_refused(RANDOM[name](), images(1))
    assert "of 1 images" in message
    assert "even in the same batch" in message


@pytest.mark.parametrize("batch_size", [1, 4, 64, None])
@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_a_model_that_looks_at_the_batch_is_an_error_whatever_its_size(name: str, batch_size: int | None) -> None:
    message = is_refused(OF_THE_BATCH[name](), images(130), batch_size=batch_size)
    assert "in batches of another size" in message


@pytest.mark.parametrize("name", OF_THE_BATCH)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_model_that_looks_at_the_batch_is_found_on_few_images(name: str, count: int) -> None:
    is_refused(OF_THE_BATCH[name](), images(count))


def test_the_error_says_how_many_differ_and_names_the_modules() -> None:
    class Shifted(nn.Module):
        """Gives every third image another class each time."""

        def __init__(self) -> None:
            super().__init__()
            self.calls = Log()
            self.dropped = nn.Dropout(0.5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.calls.append(len(images))
            unlucky = (images[:, 0, 0, 0] == 1) & (len(self.calls) > 2)
            logits = torch.eye(3)[torch.zeros(len(images), dtype=torch.long)] + 0 * self.dropped(images.mean((2, 3)))
            return torch.where(unlucky[:, None], logits.roll(1, dims=1), logits)

        def train(self, mode: bool = True) -> Shifted:
            return self

    data = [(torch.full((3, 8, 8), float(place % 3 == 0)), 0) for place in range(60)]
    message = is_refused(Shifted(), data, batch_size=30)
    assert (
        "of 60 images that were predicted twice, 20 got other logits beyond rounding, and 20 of them another" in message
    )
    assert message.endswith("Still in training mode after .eval(): Shifted, dropped")
    assert is_refused(OF_THE_BATCH["batch norm"](), images(9)).endswith("BatchNorm without running statistics: 0")


@pytest.mark.parametrize("kind", ["torchscript", "export"])
@pytest.mark.usefixtures("warm_executable")
def test_programs_of_training_mode_are_an_error(kind: str, tmp_path: Path) -> None:
    model = sequential(nn.Dropout(0.5)).train()
    path = tmp_path / "model.pt2"
    if kind == "export":
        batch = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(model, (torch.rand(2, 3, 8, 8),), dynamic_shapes=batch), path)
    else:
        with warnings.catch_warnings(action="ignore"):
            torch.jit.save(torch.jit.trace(model, torch.rand(1, 3, 8, 8), check_trace=False), path)  # type: ignore[no-untyped-call]
    assert "export a model after model.eval()" in is_refused(f"{kind}:{path}", images(40))


# ---------------------------------------------------------------------------------- what is no fault


def transformer() -> nn.Module:
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    return cast("nn.Module", model)


def quantized() -> nn.Module:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The functions are deprecated; models that they made are still there.
        model: Any = torch.ao.quantization.quantize_dynamic(linear, {nn.Linear}, torch.qint8)  # type: ignore[no-untyped-call]
    return cast("nn.Module", model)


def in_half_precision(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return head(net, images).float()


def takes_only_batches_of_ten(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return head(net, images.view(10, 3, 8, 8))


FINE: dict[str, Callable[[], nn.Module]] = {
    "calls that are counted and change nothing": lambda: Net(head),
    "convolutions": lambda: sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()),
    "instance norm": lambda: sequential(nn.InstanceNorm2d(3)),
    "layer norm": lambda: sequential(nn.LayerNorm([3, 8, 8])),
    "attention": transformer,
    "dropout in evaluation": lambda: sequential(nn.Dropout(0.5)).train(),
    "all classes tied": lambda: Net(lambda net, images: 0 * head(net, images)),
    "one class": lambda: Net(lambda net, images: 0 * head(net, images) + torch.eye(5)[2]),
    "each class twice": lambda: Net(lambda net, images: head(net, images).repeat(1, 2)),
    "classes that differ by rounding": lambda: Net(
        lambda net, images: torch.cat([head(net, images), head(net, images) * (1 + 1e-7)], dim=1)
    ),
    "masked classes": lambda: Net(lambda net, images: head(net, images) - torch.tensor([0, 0, 0, 1e9, 1e9])),
    "probabilities": lambda: Net(lambda net, images: (50 * head(net, images)).softmax(dim=1)),
    "huge logits": lambda: Net(lambda net, images: 1e12 + 1e9 * head(net, images)),
    "16 bits": lambda: sequential(nn.Conv2d(3, 3, 3, padding=1)).bfloat16(),
    "16 bits inside": lambda: Net(in_half_precision),
}


class In16Bits(nn.Module):
    """Casts what it gets, as models of 16 bits have to."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(images.bfloat16())
        return logits


@pytest.mark.parametrize("count", [300, 3, 1])
@pytest.mark.parametrize("name", FINE)
def test_what_differs_by_rounding_alone_is_no_error(name: str, count: int) -> None:
    model = FINE[name]()
    model = In16Bits(model) if name == "16 bits" else model
    assert measure(model, images(count), Square(size=0.3), device="cpu").n == count


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_whatever_is_computed_in(precision: Precision) -> None:
    data = as_images(images(300), "images")
    for model in (transformer(), Net(head), sequential(nn.Conv2d(3, 3, 3, padding=1))):
        assert Evaluator("cpu", precision=precision).predictions(Model(model), data).computed == 300
    with pytest.raises(ModelError, match="is not deterministic"):
        Evaluator("cpu", precision=precision).predictions(Model(RANDOM["dropout"]()), data)


def test_the_steps_of_numbers_that_are_quantized_by_batch_are_rounding() -> None:
    pixels = torch.stack([image for image, _ in images(300)])
    for name, model in {"quantized": quantized(), "batch norm": OF_THE_BATCH["batch norm"]()}.items():
        predictor = Predictor(Model(model.eval()), torch.device("cpu"), BatchSize(64, "cpu"))
        logits = predictor.logits(pixels)
        parts = [predictor.batch_logits(pixels, None, range(start, start + 4)) for start in range(0, 64, 4)]
        assert not torch.allclose(torch.cat(parts), logits[:64], rtol=1e-3, atol=1e-3)
        if name == "quantized":
            require_reproducible(predictor, pixels, None, logits)
        else:
            with pytest.raises(ModelError, match="is not deterministic"):
                require_reproducible(predictor, pixels, None, logits)


def test_batches_of_one_size_only_are_repeated() -> None:
    assert measure(Net(takes_only_batches_of_ten), images(100), Square(), device="cpu", batch_size=10).n == 100
    noisy = Net(lambda net, images: takes_only_batches_of_ten(net, images) + torch.randn(10, 5))
    assert "of 10 images" in is_refused(noisy, images(100), batch_size=10)


# ------------------------------------------------------------------------------------------ how often


def test_a_model_is_checked_once_and_not_in_the_next_session(tmp_path: Path) -> None:
    data, net = as_images(images(300), "images"), Net(head)
    evaluator = Evaluator("cpu", Store(tmp_path))
    for intervention in (None, Square(), Square(color="red")):
        evaluator.predictions(Model(net), data, intervention)
    assert sum(net.calls) == 3 * 300 + CHECKED_IMAGES
    Evaluator("cpu", Store(tmp_path)).predictions(Model(net), data, Square(color="blue"))
    assert sum(net.calls) == 4 * 300 + CHECKED_IMAGES
    # Other images may be what it is random on.
    Evaluator("cpu", Store(tmp_path)).predictions(Model(net), as_images(images(100), "images"))
    assert sum(net.calls) == 4 * 300 + 100 + 2 * CHECKED_IMAGES


def test_nothing_of_such_a_model_is_kept_and_it_is_not_asked_again(tmp_path: Path) -> None:
    data, net = as_images(images(300), "images"), RANDOM["noise"]()
    evaluator = Evaluator("cpu", Store(tmp_path))
    asked = []
    for intervention in (None, Square()):
        with pytest.raises(ModelError, match="is not deterministic"):
            evaluator.predictions(Model(net), data, intervention)
        asked.append(sum(net.calls))  # type: ignore[arg-type]
    assert asked[0] == asked[1]
    assert not [*tmp_path.glob("predictions/*/*.chunk"), *tmp_path.glob("checks/*/*.chunk")]


def test_gaps_of_scores_need_a_deterministic_model_too() -> None:
    data = [(image, place % 2, {"half": "ab"[place % 4 // 2]}) for place, (image, _) in enumerate(images(300))]
    for model in (RANDOM["noise"](), OF_THE_BATCH["batch norm"]()):
        with pytest.raises(ModelError, match="is not deterministic"):
            measure_gaps(model, data, "half", "auc", positive=1)


def test_a_session_says_so_and_is_red(colors: pytest.Pytester) -> None:
    colors.makeconftest(
        """
        import pytest, torch

        class Noisy(torch.nn.Module):
            def forward(self, images):
                return torch.nn.functional.dropout(images.mean(dim=(2, 3)))

        @pytest.fixture(scope="session")
        def transferred_model():
            return Noisy()

        @pytest.fixture(scope="session")
        def bias_dataset():
            return [(torch.rand(3, 8, 8), 0) for place in range(40)]
        """
    )
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.xfail
        @pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
        def test_it():
            pass
        """
    )
    result = colors.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["model Noisy is not deterministic: of 40 images that were predicted twice, *"])


# ----------------------------------------------------------------------------------------- one output


@pytest.mark.parametrize(
    ("forward", "outputs"),
    [
        (lambda net, images: head(net, images)[:, :1], "sigmoid"),
        (lambda net, images: head(net, images)[:, :1].sigmoid(), "probabilities"),
        (lambda net, images: head(net, images)[:, 0], "sigmoid"),
        (lambda net, images: head(net, images)[:, 0].sigmoid(), "probabilities"),
    ],
)
@pytest.mark.usefixtures("warm_executable")
def test_a_single_output_is_an_error_that_says_how_to_declare_it(forward: Forward, outputs: Outputs) -> None:
    data = [(image, place % 2, {"half": "ab"[place % 4 // 2]}) for place, (image, _) in enumerate(images(130))]
    model = Net(forward)
    for tried, seen in (
        (lambda: measure(model, data, Square(), batch_size=130), 130),
        (lambda: measure(Net(head), data, Square(), batch_size=130, control=model), 130),
        (lambda: measure_gaps(model, data, "half", positive=1, batch_size=130), 130),
        # The classes of the first chunk are enough to know how many outputs there are.
        (lambda: measure_gaps(model, data, "half", "auc", positive=1, batch_size=130), 32),
    ):
        with pytest.raises(ModelError, match="single output") as caught:
            tried()
        assert f"Model(..., outputs='{outputs}')" in str(caught.value)
        assert f"[{seen}, 1]" in str(caught.value)
    assert measure(Model(model, outputs=outputs), data, Square()).n == 130
