"""Transferred models with a sigmoid for each label: their loss is that of plain torch, unknown labels have no part."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics
from torch import nn

from pytest_biastransfer import Gap, Model, Square, measure
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, ModelError, TransferError
from pytest_biastransfer.models.deferred import DeferredModel
from pytest_biastransfer.transfer import Recipe, attribute_bias, concat, dose_response, plant, transfer
from pytest_biastransfer.transfer.losses import BinaryCrossEntropy
from pytest_biastransfer.transfer.question import Question
from pytest_biastransfer.transfer.targets import targets_of
from pytest_biastransfer.transfer.transfer_model import evaluator_for
from tests.transfer.test_transfer_model import MODES, PREPROCESS, Net, Shapes, net_of, same, source

States = npt.NDArray[np.int8]


def states_of(count: int, unknown: float = 0.0) -> States:
    """Return labels of `Shapes`: is there a spot, is there a bar; some of them unknown."""
    kinds = np.arange(count) % 3
    states = np.stack([kinds == 1, kinds == 2], axis=1).astype(np.int8)
    states[np.random.default_rng(1).random(states.shape) < unknown] = -1
    return states


def labelled(count: int = 96, unknown: float = 0.0, seed: int = 0) -> list[tuple[torch.Tensor, dict[str, int]]]:
    """Return the images of `Shapes` with two labels each."""
    data = Shapes(count, seed)
    states = states_of(count, unknown)
    return [
        (torch.from_numpy(data.pixels[index]), dict(zip(("spot", "bar"), states[index].tolist(), strict=True)))
        for index in range(count)
    ]


ONE_STEP = Recipe(epochs=1, batch_size=96, learning_rate=0.1, momentum=0.0, weight_decay=0.0, schedule="constant")
LONG = Recipe(epochs=40, batch_size=16, learning_rate=0.1)


def reference_loss(logits: torch.Tensor, states: States, weights: list[float], smoothing: float = 0.0) -> torch.Tensor:
    """Return the loss from its definition, label by label."""
    losses = []
    for row, image in enumerate(states):
        for label, state in enumerate(image):
            if state != -1:
                target = float(state) * (1 - smoothing) + smoothing / 2
                positive = torch.sigmoid(logits[row, label].double())
                losses.append(-(weights[label] * target * positive.log() + (1 - target) * (1 - positive).log()))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.integers(-1, 1)),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.2]),
    st.booleans(),
)
def test_the_loss_is_that_of_its_definition(states: States, seed: int, smoothing: float, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(states.shape, generator=generator) * 3).double().requires_grad_()
    weights = [0.5 + number for number in range(states.shape[1])] if weighted else [1.0] * states.shape[1]
    loss = BinaryCrossEntropy(torch.tensor(weights).double() if weighted else None)
    targets = torch.from_numpy(states)
    expected = reference_loss(logits, states, weights, smoothing)
    mean = loss.mean(logits, targets, smoothing)
    torch.testing.assert_close(mean, expected.to(mean.dtype), rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(mean, logits)
    assert bool((gradient[targets == -1] == 0).all())
    known = int((states != -1).sum())
    torch.testing.assert_close(
        loss.sum(logits, targets), known * reference_loss(logits, states, weights), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("recipe", "weights"),
    [
        (ONE_STEP, [1.0, 1.0]),
        (dataclasses.replace(ONE_STEP, pos_weight=3), [3.0, 3.0]),
        (dataclasses.replace(ONE_STEP, pos_weight={"bar": 2.5}), [1.0, 2.5]),
        (dataclasses.replace(ONE_STEP, pos_weight="balanced"), None),
    ],
    ids=["equal", "all", "by name", "balanced"],
)
def test_one_step_is_that_of_plain_torch(recipe: Recipe, weights: list[float] | None) -> None:
    states, model = states_of(96, 0.3), source()
    net_of(model).drop.p = 0.0
    trained = transfer(model, labelled(96, 0.3), "full-network", recipe=recipe)
    weights = weights or [float((column == 0).sum() / (column == 1).sum()) for column in states.T]
    net = copy.deepcopy(net_of(model))
    torch.manual_seed(recipe.seed)
    net.fc = nn.Linear(8, 2)
    net.train()
    logits = net(PREPROCESS.normalize(torch.from_numpy(Shapes().pixels) / 255))
    reference_loss(logits, states, weights).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
    for name, value in net.named_parameters():
        torch.testing.assert_close(trained.module.get_parameter(name), value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_of_several_labels_has_learnt_each(mode: Any) -> None:
    model = transfer(source(), labelled(unknown=0.2), mode, recipe=LONG)
    assert (model.outputs, model.classes, model.threshold) == ("sigmoid", ("spot", "bar"), 0.5)
    test = labelled(150, seed=1)
    inputs = PREPROCESS.normalize(torch.from_numpy(Shapes(150, 1).pixels) / 255)
    decided = (model.module(inputs) > 0).numpy().astype(int)
    for number, name in enumerate(("spot", "bar")):
        accuracy = metrics.accuracy_score(states_of(150)[:, number], decided[:, number])
        assert accuracy > (0.6 if mode == "fixed-feature" else 0.85)
        measured = measure(model, test, Square(size=0.3), positive=name)
        assert measured.accuracy == pytest.approx(accuracy)
        question = Question.of(as_images(test, "test"), Square(size=0.3), positive=name)
        assert question.performances(evaluator_for("cpu", None), model)["accuracy"] == pytest.approx(accuracy)


def test_unknown_labels_have_no_part_in_the_accuracy() -> None:
    model = transfer(source(), labelled(), "full-network", recipe=LONG)
    question = Question.of(as_images(labelled(120, 0.4), "test"), Square(size=0.3), positive="bar")
    inputs = PREPROCESS.normalize(torch.from_numpy(Shapes(120).pixels) / 255)
    decided, states = (model.module(inputs)[:, 1] > 0).numpy(), states_of(120, 0.4)[:, 1]
    known = states != -1
    expected = (decided == states)[known].mean()
    assert question.performances(evaluator_for("cpu", None), model)["accuracy"] == pytest.approx(expected)


def test_two_classes_are_one_output_when_asked() -> None:
    class Bars(list[Any]):
        classes = ("none", "bar")

    data = Shapes()
    bars = Bars(
        (torch.from_numpy(image), int(label == 2)) for image, label in zip(data.pixels, data.labels, strict=True)
    )
    one = transfer(source(), bars, "full-network", recipe=dataclasses.replace(LONG, outputs="sigmoid"))
    assert (net_of(one).fc.out_features, one.outputs, one.classes) == (1, "sigmoid", ("bar",))
    assert measure(one, bars, Square(size=0.3)).accuracy > 0.9
    opposite = transfer(
        source(), bars, "full-network", classes=["none"], recipe=dataclasses.replace(LONG, outputs="sigmoid")
    )
    assert opposite.classes == ("none",)
    inputs = PREPROCESS.normalize(torch.from_numpy(data.pixels) / 255)
    decisions = [(model.module(inputs)[:, 0] > 0) for model in (one, opposite)]
    assert (decisions[0] != decisions[1]).float().mean() > 0.9
    numbers = transfer(source(), list(bars), recipe=dataclasses.replace(ONE_STEP, outputs="sigmoid"))
    assert (net_of(numbers).fc.out_features, numbers.classes) == (1, None)
    two = transfer(source(), bars, recipe=ONE_STEP)
    assert (net_of(two).fc.out_features, two.outputs) == (2, "softmax")


class Small(nn.Module):
    """Features so small that all logits are those of the bias, nearly."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(images.mean(dim=(2, 3)) * 1e-2)
        return logits


def test_logits_that_are_in_the_unit_range_by_chance_are_logits(tmp_path: Path) -> None:
    recipe = Recipe(epochs=20, batch_size=16, learning_rate=0.5, momentum=0.0, schedule="constant")
    data = [(image, {"any": int(index % 3 > 0)}) for index, (image, _) in enumerate(labelled())]
    small = Model(Small())
    for _ in range(2):
        model = transfer(small, data, recipe=recipe, store=tmp_path)
        copied = pickle.loads(pickle.dumps(model))
        for each in (model, copied):
            logits = copied.module(torch.from_numpy(Shapes().pixels) / 255)
            assert 0 <= logits.min() <= logits.max() <= 1
            assert measure(each, data, Square(size=0.3), positive="any").accuracy == pytest.approx(2 / 3)
    assert isinstance(model, DeferredModel)
    with pytest.raises(ModelError, match="Its last layer seems to be a sigmoid"):
        measure(Model(copied.module, outputs="sigmoid", classes=["any"]), data, Square(size=0.3), positive="any")


def test_some_labels_are_learnt_in_the_order_of_their_names() -> None:
    both = transfer(source(), labelled(), "full-network", classes=["bar", "spot"], recipe=ONE_STEP)
    alone = transfer(source(), labelled(), "full-network", classes=["bar"], recipe=ONE_STEP)
    assert (both.classes, alone.classes) == (("bar", "spot"), ("bar",))
    targets = targets_of(as_images(labelled(unknown=0.2), "images"), ["bar", "spot"], ONE_STEP)
    assert np.array_equal(targets.values, states_of(96, 0.2)[:, ::-1])


def test_a_cached_model_is_deferred_with_its_outputs(tmp_path: Path) -> None:
    first = transfer(source(), labelled(), recipe=ONE_STEP, store=tmp_path)
    again = transfer(source(), labelled(), recipe=ONE_STEP, store=tmp_path)
    assert isinstance(again, DeferredModel)
    assert (again.outputs, again.classes) == ("sigmoid", ("spot", "bar"))
    assert same(first, again)
    for changed in (dataclasses.replace(ONE_STEP, pos_weight=2), dataclasses.replace(ONE_STEP, label_smoothing=0.1)):
        assert not same(first, transfer(source(), labelled(), recipe=changed, store=tmp_path))
    unknown = transfer(source(), labelled(unknown=0.5), recipe=ONE_STEP, store=tmp_path)
    assert not same(first, unknown)


@pytest.mark.parametrize("threshold", [0.3, {"bar": 0.8}, "prevalence"])
def test_a_threshold_is_that_of_the_model_and_no_part_of_the_training(threshold: Any, tmp_path: Path) -> None:
    first = transfer(source(), labelled(), recipe=ONE_STEP, store=tmp_path)
    models = [
        transfer(source(), labelled(), recipe=ONE_STEP, store=store, threshold=threshold) for store in (tmp_path, None)
    ]
    assert isinstance(models[0], DeferredModel)
    assert [model.threshold for model in models] == [threshold] * 2
    assert models[0].fingerprint == first.fingerprint
    assert len(list((tmp_path / "trained").rglob("*.chunk"))) == 1
    measured = [measure(model, labelled(), Square(size=0.3), positive="bar") for model in models]
    assert float(measured[0].accuracy) == float(measured[1].accuracy)
    with pytest.raises(
        ModelError, match="transfer: threshold of 'bars', which is no name of an output; did you mean bar"
    ):
        transfer(source(), labelled(), recipe=ONE_STEP, store=tmp_path, threshold={"bars": 0.5})
    with pytest.raises(ModelError, match=r"transfer: threshold=0\.4 is for outputs='sigmoid'"):
        transfer(source(), Shapes(), recipe=ONE_STEP, threshold=0.4)


def test_interrupted_training_of_labels_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=5, batch_size=16, validation_share=0.25, patience=9, pos_weight="balanced")
    whole = transfer(source(), labelled(unknown=0.2), "full-network", recipe=recipe)

    def stop(progress: Any) -> None:
        if progress.key.startswith("training") and progress.done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(source(), labelled(unknown=0.2), "full-network", recipe=recipe, store=tmp_path, on_progress=stop)
    assert list((tmp_path / "training").iterdir())
    assert same(whole, transfer(source(), labelled(unknown=0.2), "full-network", recipe=recipe, store=tmp_path))


def test_experiments_judge_the_decision() -> None:
    grounds = ["even", "odd"]
    finetuning = labelled(48, 0.1)
    test = [(image, labels, {"side": grounds[index // 3 % 2]}) for index, (image, labels) in enumerate(labelled(120))]
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=0.1)
    attribution = attribute_bias(
        source(), source(1), finetuning, test, Square(size=0.5), positive="bar", recipe=recipe, seeds=2
    )
    assert attribution.question.endswith(", bar or not")
    assert all(
        0 <= value <= 1
        for arm in attribution.arms.values()
        for value in (*arm.values, *arm.performances["accuracy"].values)
    )
    gap = Gap("side", "fpr", positive="bar", min_group_size=5)
    response = dose_response(
        source(), finetuning, test, gap, change=lambda data, level: plant(data, Square(), level), levels=[0, 1],
        recipe=recipe, seeds=2,
    )  # fmt: skip
    model = transfer(source(), plant(finetuning, Square(), 0), recipe=recipe.with_seed(1))
    decided = (model.module(PREPROCESS.normalize(torch.from_numpy(Shapes(120).pixels) / 255))[:, 1] > 0).numpy()
    expected = metrics.accuracy_score(states_of(120)[:, 1], decided)
    assert response.levels[0].performances["accuracy"].values[1] == pytest.approx(expected)
    with pytest.raises(BiasTransferError, match=r"has 2 outputs, one for each label: spot, bar; say which"):
        attribute_bias(source(), source(1), finetuning, test, Square(size=0.5), recipe=recipe, seeds=2)
    with pytest.raises(BiasTransferError, match=r"positive='bar': a gap has its own; write it in Gap"):
        attribute_bias(source(), source(1), finetuning, test, gap, positive="bar", recipe=recipe, seeds=2)


def test_datasets_of_labels_are_combined_and_trained_on() -> None:
    first = labelled(48)
    second = [(image, dict(reversed(labels.items()))) for image, labels in labelled(48, seed=2)]
    model = transfer(source(), concat(first, second), "full-network", recipe=LONG)
    assert model.classes == ("spot", "bar")
    assert measure(model, labelled(150, seed=1), Square(size=0.3), positive="bar").accuracy > 0.85


CLASSES = [(torch.zeros(3, 4, 4), label) for label in (0, 1, 2)]
NOBODY = [(torch.rand(3, 4, 4), {"spot": 0, "bar": -1}), (torch.rand(3, 4, 4), {"spot": 0, "bar": 1})]


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (labelled(6), {"recipe": Recipe(outputs="softmax")}, "has several labels for each image (spot, bar), and Recipe("),
        (CLASSES, {"recipe": Recipe(outputs="sigmoid")}, "is for several labels for each image, or for two classes"),
        (CLASSES, {"recipe": Recipe(pos_weight=2)}, "Recipe: pos_weight= is for labels with a sigmoid, and"),
        (CLASSES[:2], {"recipe": Recipe(outputs="sigmoid"), "classes": ["a", "b"]}, "are one output; name the positive"),
        (labelled(6), {"classes": ["spot", "bars"]}, "has no label 'bars'; did you mean bar?"),
        (labelled(6), {"recipe": Recipe(pos_weight={"bars": 2})}, "pos_weight of 'bars', which is no label; did you mean"),
        (NOBODY, {"recipe": Recipe(pos_weight="balanced")}, "pos_weight='balanced': no image of"),
        ([(image, {"spot": 1, "bar": -1}) for image, _ in NOBODY[:1]] + [(NOBODY[0][0], {"spot": 0})], {},
         "the label 'bar' is unknown for all images; leave it out with classes="),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(dataset: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TransferError) as caught:
        transfer(source(), dataset, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outputs": "sigmoids"}, "Recipe: outputs='sigmoids'; did you mean sigmoid?"),
        ({"outputs": "probabilities"}, "Recipe: outputs='probabilities'; "),
        ({"pos_weight": 0}, "Recipe: pos_weight=0, expected a number above 0"),
        ({"pos_weight": {"bar": -1}}, "Recipe: pos_weight of 'bar'=-1, expected a number above 0"),
        ({"pos_weight": "balance"}, "Recipe: pos_weight='balance', expected a number, numbers by name, or 'balanced'"),
        ({"pos_weight": 2, "outputs": "softmax"}, "Recipe: pos_weight= is for outputs='sigmoid'; leave it out"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TransferError) as caught:
        Recipe(**fields)
    assert str(caught.value).startswith(message)


def test_recipes_are_hashable_and_equal_in_any_order() -> None:
    first, second = Recipe(pos_weight={"a": 1, "b": 2}), Recipe(pos_weight={"b": 2.0, "a": 1.0})
    assert first == second
    assert hash(first) == hash(second)
    assert first.with_seed(3).pos_weight == first.pos_weight


def test_a_source_that_applies_its_sigmoid_itself_is_an_error() -> None:
    module = nn.Sequential(Net(2), nn.Sigmoid())
    with pytest.raises(TransferError, match=r"declares outputs='probabilities': it applies a sigmoid after its last"):
        transfer(Model(module, PREPROCESS, outputs="probabilities"), labelled(6))
