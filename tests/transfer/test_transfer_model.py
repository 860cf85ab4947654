"""Transferred models: trained on fixed features, on all weights, or from scratch; once, repeatably, resumably."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_biastransfer import Model, Preprocess, measure
from pytest_biastransfer.errors import BiasTransferError, ModelError, TransferError
from pytest_biastransfer.models.deferred import DeferredModel
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.transfer import Recipe, concat, mixture, subset, transfer
from pytest_biastransfer.transfer import training as training_module
from pytest_biastransfer.transfer.recipe import Mode

MODES: tuple[Mode, ...] = ("fixed-feature", "full-network", "scratch")


class Net(nn.Module):
    """A small network with BatchNorm and dropout."""

    def __init__(self, outputs: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(8, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = functional.relu(self.norm(self.conv(images))).amax(dim=(2, 3))
        logits: torch.Tensor = self.fc(self.drop(features))
        return logits


class Shapes:
    """Images of noise: class 1 has a bright spot, class 2 a dark bar."""

    classes = ("nothing", "spot", "bar")

    def __init__(self, count: int = 96, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.pixels = generator.integers(90, 160, (count, 3, 12, 12), dtype=np.uint8)
        self.labels = np.arange(count) % 3
        for image, label in zip(self.pixels, self.labels, strict=True):
            row, column = generator.integers(0, 9, 2)
            if label == 1:
                image[:, row : row + 3, column : column + 3] = 255
            elif label == 2:
                image[:, row : row + 3] = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.pixels[index]), int(self.labels[index])


def source(seed: int = 0, outputs: int = 7) -> Model:
    """Return a source that was trained a little, so that its BatchNorm has statistics of its own."""
    torch.manual_seed(seed)
    net = Net(outputs).train()
    data = Shapes(64, seed=5)
    with torch.no_grad():
        for _ in range(3):
            net(PREPROCESS.normalize(torch.from_numpy(data.pixels) / 255))
    return Model(net.eval(), PREPROCESS, name="net")


PREPROCESS = Preprocess(mean=0.5, std=0.25)
QUICK = Recipe(epochs=3, batch_size=16, learning_rate=0.05)
LONG = Recipe(epochs=40, batch_size=16, learning_rate=0.1)


def accuracy(model: Model, data: Shapes) -> float:
    return float(measure(model, data, "grayscale").accuracy)


def net_of(model: Model) -> Net:
    assert isinstance(model.module, Net)
    return model.module


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def same(first: Model, second: Model) -> bool:
    pairs = zip(weights(first).values(), weights(second).values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("mode", MODES)
def test_a_transferred_model_has_learnt_its_classes(mode: Mode) -> None:
    found = transfer(source(), Shapes(), mode, recipe=LONG)
    assert found.classes == ("nothing", "spot", "bar")
    assert found.preprocess == PREPROCESS
    assert found.name == f"net, {mode} on Shapes"
    # Chance is a third. Random features tell less than learnt ones.
    assert accuracy(found, Shapes(300, seed=1)) > (0.6 if mode == "fixed-feature" else 0.9)


class TwoHeads(Net):
    """Returns the logits among other things, under a name of its own."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def forward(self, images: torch.Tensor) -> Any:
        logits = super().forward(images)
        return {"spread": logits.std(dim=1, keepdim=True), self.key: logits}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("key", "output"), [("logits", None), ("scores", "scores")])
def test_a_source_of_several_outputs_gets_its_head_where_the_logits_are(
    mode: Mode, key: str, output: str | None
) -> None:
    plain, net = source(), TwoHeads(key).eval()
    net.load_state_dict(net_of(plain).state_dict())
    expected = transfer(plain, Shapes(), mode, recipe=QUICK)
    found = transfer(Model(net, PREPROCESS, name="net", output=output), Shapes(), mode, recipe=QUICK)
    if mode != "scratch":
        assert same(found, expected)
    assert accuracy(found, Shapes(60, seed=1)) == accuracy(expected, Shapes(60, seed=1))


@pytest.mark.parametrize("mode", MODES)
def test_the_source_stays_as_it_is(mode: Mode) -> None:
    model = source()
    model.module.train()
    net_of(model).conv.weight.requires_grad_(False)
    before = weights(model)
    transfer(model, Shapes(), mode, recipe=QUICK)
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert model.module.training
    assert not net_of(model).conv.weight.requires_grad
    assert net_of(model).fc.weight.requires_grad


def test_fixed_features_are_those_of_the_source_and_its_batchnorm_does_not_drift() -> None:
    model = source()
    found = weights(transfer(model, Shapes(), "fixed-feature", recipe=QUICK))
    before = weights(model)
    assert [name for name in found if not name.startswith("fc.") and not torch.equal(found[name], before[name])] == []
    assert found["fc.weight"].shape == (3, 8)


def test_full_network_tunes_all_weights_and_batchnorm() -> None:
    model = source()
    found = weights(transfer(model, Shapes(), "full-network", recipe=QUICK))
    before = weights(model)
    assert not any(torch.equal(found[name], before[name]) for name in before)


def test_scratch_has_nothing_of_the_source() -> None:
    first = transfer(source(0), Shapes(), "scratch", recipe=QUICK)
    second = transfer(source(1), Shapes(), "scratch", recipe=QUICK)
    assert same(first, second)


@pytest.mark.parametrize("mode", MODES)
def test_the_seed_and_nothing_else_decides(mode: Mode) -> None:
    first = transfer(source(), Shapes(), mode, recipe=QUICK)
    torch.manual_seed(99)
    torch.rand(3)
    assert same(first, transfer(source(), Shapes(), mode, recipe=QUICK))
    assert not same(first, transfer(source(), Shapes(), mode, recipe=QUICK.with_seed(1)))


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    model = source()
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    transfer(model, Shapes(), "full-network", recipe=QUICK)
    assert torch.equal(torch.rand(4), expected)


# On a CPU, training computes in float32, as the reference does; on CUDA in mixed precision.
each_device = pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))],
)


def assert_same_training(before: nn.Module, expected: nn.Module, found: nn.Module) -> None:
    """Compare what training has changed as a whole: bfloat16 has three decimals, so single weights may differ by more."""
    first, wanted, got = (
        torch.cat([parameter.detach().cpu().float().flatten() for parameter in module.parameters()])
        for module in (before, expected, found)
    )
    assert torch.linalg.vector_norm(got - wanted) <= 0.05 * torch.linalg.vector_norm(wanted - first)


@each_device
def test_a_head_trained_on_features_is_that_trained_through_the_network(device: str) -> None:
    """An independent computation: plain torch, the whole network in evaluation mode at each step."""
    recipe = Recipe(epochs=2, batch_size=96, learning_rate=0.1, momentum=0.0, weight_decay=0.0, schedule="constant")
    data, model = Shapes(96), source()
    found = transfer(model, data, "fixed-feature", recipe=recipe, device=device)
    net = copy.deepcopy(net_of(model))
    torch.manual_seed(recipe.seed)
    net.fc = nn.Linear(8, 3)
    net.eval()
    before = copy.deepcopy(net)
    inputs = PREPROCESS.normalize(torch.from_numpy(data.pixels) / 255)
    for _ in range(recipe.epochs):
        net.zero_grad()
        functional.cross_entropy(net(inputs), torch.from_numpy(data.labels)).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in net.fc.parameters():
                assert parameter.grad is not None
                parameter.sub_(recipe.learning_rate * parameter.grad)
    if device == "cpu":
        torch.testing.assert_close(net_of(found).fc.weight, net.fc.weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(net_of(found).fc.bias, net.fc.bias, rtol=1e-4, atol=1e-6)
    assert_same_training(before, net, net_of(found))


@each_device
def test_all_weights_are_tuned_as_plain_torch_does_it(device: str) -> None:
    recipe = Recipe(epochs=2, batch_size=96, learning_rate=0.1, weight_decay=0.01, schedule="constant")
    data, model = Shapes(96), source()
    net_of(model).drop.p = 0.0
    found = transfer(model, data, "full-network", recipe=recipe, device=device)
    net = copy.deepcopy(net_of(model))
    torch.manual_seed(recipe.seed)
    net.fc = nn.Linear(8, 3)
    net.train()
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    inputs = PREPROCESS.normalize(torch.from_numpy(data.pixels) / 255)
    for _ in range(recipe.epochs):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), torch.from_numpy(data.labels)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    if device == "cpu":
        for name, value in net.state_dict().items():
            torch.testing.assert_close(found.module.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert_same_training(before, net, net_of(found))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_schedules_come_to_the_learning_rate_and_not_above(schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, closure: Any = None) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    transfer(source(), Shapes(), recipe=Recipe(epochs=10, batch_size=10, learning_rate=0.3, schedule=schedule))
    assert len(rates) == 100
    assert max(rates) == pytest.approx(0.3, rel=0.01)
    if schedule == "one-cycle":
        assert rates.index(max(rates)) in range(28, 32)
        assert rates[0] < 0.02
    assert (rates[-1] < 0.01) == (schedule != "constant")


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (
            Recipe(epochs=7, batch_size=10, schedule="step", step_size=2, gamma=0.5),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5),
        ),
        (
            Recipe(epochs=7, batch_size=10, schedule="multistep", milestones=(1, 4)),
            lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 4]),
        ),
        # A last batch of a single image is skipped.
        (
            Recipe(epochs=7, batch_size=19, schedule="step", step_size=3),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3),
        ),
    ],
    ids=["step", "multistep", "single image"],
)
def test_the_learning_rate_drops_after_epochs_as_in_torch(
    recipe: Recipe, make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    schedule, expected = make(optimizer), []
    for _ in range(recipe.epochs):
        expected += schedule.get_last_lr() * (96 // recipe.batch_size + (96 % recipe.batch_size > 1))
        optimizer.step()
        schedule.step()
    rates: list[float] = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, closure: Any = None) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    whole = transfer(source(), Shapes(), recipe=recipe)
    assert rates == pytest.approx(expected)
    with pytest.raises(KeyboardInterrupt):
        transfer(source(), Shapes(), recipe=recipe, store=tmp_path, on_progress=_StopsAt(400, KeyboardInterrupt()))
    assert same(whole, transfer(source(), Shapes(), recipe=recipe, store=tmp_path))


def test_labels_are_smoothed() -> None:
    sharp = transfer(source(), Shapes(), recipe=LONG)
    smooth = transfer(
        source(), Shapes(), recipe=Recipe(epochs=40, batch_size=16, learning_rate=0.1, label_smoothing=0.5)
    )
    inputs = PREPROCESS.normalize(torch.from_numpy(Shapes().pixels) / 255)
    confidence = [model.module(inputs).softmax(1).amax(1).mean() for model in (sharp, smooth)]
    assert confidence[1] < confidence[0] - 0.1


def test_training_stops_early_with_the_weights_of_the_best_epoch() -> None:
    """Labels that mean nothing can only be learnt by heart, which the other images do not like."""
    data = Shapes(60)
    data.labels = np.random.default_rng(3).integers(0, 3, 60)
    seen: list[Progress] = []
    recipe = Recipe(
        epochs=200, batch_size=16, learning_rate=0.5, validation_share=0.25, patience=3, schedule="constant"
    )
    transfer(source(), data, recipe=recipe, on_progress=seen.append)
    told = [progress for progress in seen if progress.key.startswith("training")]
    assert told[-1].total == 200 * 45
    assert told[-1].done < 200 * 45
    assert told[-1].done % 45 == 0


def test_images_are_drawn_by_their_weights() -> None:
    class Weighted(Shapes):
        pass

    from pytest_biastransfer.data import as_images
    from pytest_biastransfer.data.views import View

    class OnlySome(View):
        weights = np.array([1.0, 1.0, 0.0] * 32)

    images = OnlySome(as_images(Shapes(), "here"))
    found = transfer(source(), images, recipe=LONG)
    shift = measure(found, Shapes(300, seed=1), "grayscale")
    inputs = PREPROCESS.normalize(torch.from_numpy(Shapes(300, seed=1).pixels) / 255)
    assert int((found.module(inputs).argmax(1) == 2).sum()) == 0
    assert shift.accuracy > 0.4


def test_classes_may_be_given_in_another_order_and_not_by_other_names() -> None:
    found = transfer(source(), Shapes(), classes=["bar", "nothing", "spot"], recipe=LONG)
    assert found.classes == ("bar", "nothing", "spot")
    assert accuracy(found, Shapes(300, seed=1)) > 0.6
    with pytest.raises(TransferError, match=r"classes=\['a', 'b', 'c'\] are not those of Shapes, \['nothing', 'spot'"):
        transfer(source(), Shapes(), classes=["a", "b", "c"], recipe=QUICK)


def test_steps_of_one_image_train_and_a_single_last_image_does_not() -> None:
    """BatchNorm would have no variance; a head on features has none."""
    changed = transfer(source(outputs=3), Shapes(5), recipe=Recipe(epochs=1, batch_size=1, learning_rate=0.5))
    torch.manual_seed(0)
    assert not torch.equal(net_of(changed).fc.weight, nn.Linear(8, 3).weight)
    four = Recipe(epochs=1, batch_size=4, schedule="constant")
    assert net_of(transfer(source(), Shapes(5), "full-network", recipe=four)).norm.num_batches_tracked == 4


def test_labels_without_names_are_numbers() -> None:
    images = [(torch.full((3, 8, 8), value), label) for value, label in ((0.1, 0), (0.9, 3)) for _ in range(4)]
    assert net_of(transfer(source(), images, recipe=QUICK)).fc.out_features == 4


@pytest.mark.parametrize("mode", MODES)
def test_what_was_trained_is_not_trained_again(mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = transfer(source(), Shapes(), mode, recipe=QUICK, store=tmp_path)
    monkeypatch.setattr(training_module.Training, "run", _fail)
    again = transfer(source(), Shapes(), mode, recipe=QUICK, store=tmp_path)
    assert isinstance(again, DeferredModel)
    assert again.fingerprint == first.fingerprint
    assert same(first, again)
    for changed in (
        (source(1), Shapes(), mode, QUICK),
        (source(), Shapes(seed=1), mode, QUICK),
        (source(), Shapes(), mode, QUICK.with_seed(1)),
        (source(), Shapes(), MODES[MODES.index(mode) - 1], QUICK),
    ):
        model, data, how, recipe = changed
        with pytest.raises(AssertionError, match="trained again"):
            transfer(model, data, how, recipe=recipe, store=tmp_path)


def _fail(*_: object) -> None:
    raise AssertionError("trained again")


def test_a_name_tells_twins_apart_and_nothing_else(tmp_path: Path) -> None:
    first = transfer(source(), Shapes(), recipe=QUICK, store=tmp_path, name="from clean")
    assert first.name == "from clean"
    again = transfer(source(), Shapes(), recipe=QUICK, store=tmp_path, name="the same")
    assert (again.name, again.fingerprint) == ("the same", first.fingerprint)
    assert transfer(source(), Shapes(), recipe=QUICK, store=tmp_path).name == "net, fixed-feature on Shapes"


def test_features_are_computed_once_for_all_recipes(tmp_path: Path) -> None:
    seen: list[Progress] = []
    for seed in range(3):
        transfer(source(), Shapes(), recipe=QUICK.with_seed(seed), store=tmp_path, on_progress=seen.append)
    evaluated = [progress for progress in seen if not progress.key.startswith("training")]
    assert sum(progress.computed for progress in evaluated if progress.done == progress.total) == 96


def test_features_of_each_dataset_are_computed_once_for_all_mixtures(tmp_path: Path) -> None:
    seen: list[Progress] = []
    first, second = Shapes(), Shapes(48, seed=3)
    models = [
        transfer(
            source(),
            mixture([(first, 1 - share), (second, share)], n=40),
            recipe=QUICK,
            store=tmp_path,
            on_progress=seen.append,
        )
        for share in (0, 0.25, 0.5, 1)
    ]
    evaluated = [progress for progress in seen if not progress.key.startswith("training")]
    assert sum(progress.computed for progress in evaluated if progress.done == progress.total) == 96 + 48
    assert len({model.fingerprint for model in models}) == 4
    alone = transfer(source(), subset(first, 96), recipe=QUICK, store=tmp_path)
    assert same(alone, transfer(source(), concat(first), recipe=QUICK, store=tmp_path))


def test_damaged_weights_are_trained_again(tmp_path: Path) -> None:
    first = transfer(source(), Shapes(), recipe=QUICK, store=tmp_path)
    (file,) = (tmp_path / "trained").rglob("*.chunk")
    file.write_bytes(file.read_bytes()[:-5] + b"wrong")
    with pytest.warns(UserWarning, match="computed again"):
        assert same(first, transfer(source(), Shapes(), recipe=QUICK, store=tmp_path))


def test_progress_is_told() -> None:
    seen: list[Progress] = []
    transfer(source(), Shapes(), "full-network", recipe=QUICK, on_progress=seen.append)
    assert [progress.done for progress in seen][-1] == 3 * 96
    assert all(before.done < after.done for before, after in itertools.pairwise(seen))


class _StopsAt:
    """Raises when so many steps were done."""

    def __init__(self, images: int, error: BaseException) -> None:
        self._images, self._error = images, error

    def __call__(self, progress: Progress) -> None:
        if progress.key.startswith("training") and progress.done >= self._images:
            raise self._error


@pytest.mark.parametrize("mode", MODES)
def test_interrupted_training_resumes_to_the_same_weights(mode: Mode, tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, batch_size=16, learning_rate=0.05, validation_share=0.25, patience=9)
    whole = transfer(source(), Shapes(), mode, recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        transfer(
            source(), Shapes(), mode, recipe=recipe, store=tmp_path, on_progress=_StopsAt(250, KeyboardInterrupt())
        )
    (kept,) = (tmp_path / "training").iterdir()
    seen: list[Progress] = []
    resumed = transfer(source(), Shapes(), mode, recipe=recipe, store=tmp_path, on_progress=seen.append)
    trained = [progress.done for progress in seen if progress.key.startswith("training")]
    # Three epochs of 72 images were whole.
    assert trained[0] == 3 * 72 + 16
    assert same(whole, resumed)
    assert not kept.exists()


def test_killed_training_resumes(tmp_path: Path) -> None:
    """What is written every ten seconds is enough: here it is written each epoch."""
    program = tmp_path / "train.py"
    program.write_text(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.transfer.test_transfer_model import *\n"
        "from pytest_biastransfer.transfer import checkpoints\n"
        "checkpoints._BETWEEN_SECONDS = 0.0\n"
        "def slow(progress):\n"
        "    if progress.done > 300: print('here', flush=True); time.sleep(60)\n"
        f"transfer(source(), Shapes(), 'full-network', recipe=RESUMED, store={str(tmp_path / 'store')!r}, on_progress=slow)\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert line == "here\n"
    seen: list[Progress] = []
    resumed = transfer(
        source(), Shapes(), "full-network", recipe=RESUMED, store=tmp_path / "store", on_progress=seen.append
    )
    assert seen[0].done == 3 * 96 + 16
    assert seen[0].computed == 0
    assert same(resumed, transfer(source(), Shapes(), "full-network", recipe=RESUMED))


RESUMED = Recipe(epochs=6, batch_size=16, learning_rate=0.05)


def test_a_damaged_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        transfer(source(), Shapes(), recipe=RESUMED, store=tmp_path, on_progress=_StopsAt(250, KeyboardInterrupt()))
    (kept,) = (tmp_path / "training").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.warns(UserWarning, match="computed again"):
        resumed = transfer(source(), Shapes(), recipe=RESUMED, store=tmp_path)
    assert same(resumed, transfer(source(), Shapes(), recipe=RESUMED))


@pytest.mark.parametrize("place", [None, "store"])
def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_state(
    place: str | None, tmp_path: Path
) -> None:
    data = Shapes(96)
    broken = data.pixels.astype(np.float32) / 255
    images = [(torch.from_numpy(image), int(label)) for image, label in zip(broken, data.labels, strict=True)]
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=1e30, schedule="constant")
    store = None if place is None else tmp_path / place
    with pytest.raises(TransferError) as caught:
        transfer(source(), images, "full-network", recipe=recipe, store=store)
    message = str(caught.value)
    assert message.startswith("training net: the loss is ")
    assert " at step 2 of 6 in epoch 1 of 4." in message or " at step 3 of 6 in epoch 1 of 4." in message
    assert message.endswith(
        "Lower the learning rate, here Recipe(learning_rate=1e+30), or look for images with values that are not finite"
    )
    if store is None:
        assert "is kept in" not in message
    else:
        (kept,) = (store / "training").iterdir()
        assert f"The state after epoch 0 is kept in {kept}." in message


class NoHead(nn.Module):
    """Logits without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.scale


class TwoPaths(nn.Module):
    """Logits that are the sum of two layers' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        found: torch.Tensor = self.first(means) + self.second(means)
        return found


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (NoHead(), "model NoHead has no head that could be replaced: none of its 0 linear and convolutional layers"),
        (TwoPaths(), "model TwoPaths with a new head: The size of tensor"),
    ],
)
def test_a_source_without_a_head_says_what_to_do(module: nn.Module, message: str) -> None:
    with pytest.raises(TransferError) as caught:
        transfer(module, Shapes(), recipe=QUICK)
    assert message in str(caught.value)
    assert "Make the transferred model yourself, and return it from the fixture transferred_model" in str(caught.value)


class Drifting(Net):
    """Counts in evaluation mode too, too slowly for its logits to tell."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.norm.running_mean is not None
        self.norm.running_mean.add_(1e-6)
        return super().forward(images)


def test_features_that_do_not_stay_fixed_are_an_error() -> None:
    with pytest.raises(ModelError, match=r"norm\.running_mean changed although the source's features are fixed"):
        transfer(Model(Drifting().eval(), PREPROCESS), Shapes(), "fixed-feature", recipe=QUICK)


class OwnWeights(Net):
    """Has a weight that no layer draws."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images + self.shift)


def test_weights_that_cannot_be_drawn_anew_are_an_error() -> None:
    with pytest.raises(TransferError, match=r"weights in OwnWeights that cannot be drawn anew.*mode='full-network'"):
        transfer(Model(OwnWeights(), PREPROCESS), Shapes(), "scratch", recipe=QUICK)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "Recipe: epochs=0, expected a whole number from 1 on"),
        ({"epochs": 2.5}, "Recipe: epochs=2.5, expected a whole number from 1 on"),
        ({"batch_size": True}, "Recipe: batch_size=True, expected a whole number from 1 on"),
        ({"seed": -1}, "Recipe: seed=-1, expected a whole number from 0 on"),
        ({"learning_rate": 0}, "Recipe: learning_rate=0, expected a number above 0"),
        ({"learning_rate": float("nan")}, "Recipe: learning_rate=nan, expected a number above 0"),
        ({"momentum": 1.0}, "Recipe: momentum=1.0, expected a number from 0 to below 1"),
        ({"weight_decay": -1e-4}, "Recipe: weight_decay=-0.0001, expected a number from 0 on"),
        ({"label_smoothing": "0.1"}, "Recipe: label_smoothing='0.1', expected a number from 0 to below 1"),
        ({"schedule": "onecycle"}, "Recipe: schedule='onecycle'; did you mean one-cycle?"),
        ({"schedule": "step"}, "Recipe: schedule='step' needs step_size=, such as step_size=50"),
        ({"schedule": "multistep"}, "Recipe: schedule='multistep' needs milestones=, such as milestones=(30, 60)"),
        ({"step_size": 5}, "Recipe: step_size= is for schedule='step', here schedule='one-cycle'"),
        ({"schedule": "step", "step_size": 0}, "Recipe: step_size=0, expected a whole number from 1 on"),
        (
            {"schedule": "multistep", "milestones": (3, 2)},
            "Recipe: milestones=(3, 2), expected ascending whole numbers",
        ),
        ({"gamma": 1.0}, "Recipe: gamma=1.0, expected a number above 0 to below 1"),
        ({"crop": 1}, "Recipe: crop=1, expected a number from 0 to below 1"),
        ({"cutout": -0.1}, "Recipe: cutout=-0.1, expected a number from 0 to below 1"),
        ({"flip": 1}, "Recipe: flip=1, expected True or False"),
        ({"freeze": -1}, "Recipe: freeze=-1, expected a whole number from 0 on"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TransferError) as caught:
        Recipe(**given)
    assert str(caught.value).startswith(message)


def test_other_mistakes_say_what_is_expected() -> None:
    with pytest.raises(TransferError, match="mode='fixed_feature'; did you mean fixed-feature"):
        transfer(source(), Shapes(), "fixed_feature")  # type: ignore[arg-type]
    with pytest.raises(TransferError, match=r"recipe=5, expected Recipe\("):
        transfer(source(), Shapes(), recipe=5)  # type: ignore[arg-type]
    with pytest.raises(TransferError, match=r"validation_share=0\.999 leaves none of 96 images to train on"):
        transfer(source(), Shapes(), recipe=Recipe(validation_share=0.999))
    with pytest.raises(BiasTransferError, match="source: got 3"):
        transfer(3, Shapes())  # type: ignore[arg-type]


def test_images_are_decoded_each_time_where_they_are_more_than_the_cache_may_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = transfer(source(), Shapes(), "full-network", recipe=QUICK)
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache

    monkeypatch.setattr(PixelCache, "fits", lambda *_: False)
    assert same(expected, transfer(source(), Shapes(), "full-network", recipe=QUICK))


def test_images_of_bytes_and_of_floats_may_be_mixed() -> None:
    """A chunk of pixels is bytes where that is exact, and floats elsewhere."""
    data = Shapes(300)
    items = [data[place] for place in range(len(data))]
    images = [(image / 255 if place < 10 else image, label) for place, (image, label) in enumerate(items)]
    images[0] = (images[0][0] * 0.999, images[0][1])
    floats = [(image.float() / 255 if image.dtype == torch.uint8 else image, label) for image, label in images]
    first, second = (transfer(source(), each, "full-network", recipe=QUICK) for each in (images, floats))
    assert same(first, second)


def test_bfloat16_weights_are_kept(tmp_path: Path) -> None:
    model = Model(source().module.to(torch.bfloat16), Preprocess(), name="half")
    model = Model(_Cast(model.module), Preprocess())
    first = transfer(model, Shapes(), "full-network", recipe=QUICK, store=tmp_path)
    again = transfer(model, Shapes(), "full-network", recipe=QUICK, store=tmp_path)
    assert same(first, again)
    assert weights(again)["inner.conv.weight"].dtype == torch.bfloat16


class _Cast(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(images.to(torch.bfloat16))
        return found
