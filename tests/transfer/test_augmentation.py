"""Augmentation: what is drawn, against an independent computation; before and after triggers; repeatable, resumable."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pytest_biastransfer import Model, Occlude, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.masks import MasksByIndex
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.interventions.random_sources import mixed_seed
from pytest_biastransfer.transfer import Recipe, concat, plant, transfer
from pytest_biastransfer.transfer.augmentation import AugmentedBatches, augmented
from pytest_biastransfer.transfer.transfer_model import evaluator_for
from tests.transfer.test_transfer_model import MODES, PREPROCESS, Shapes, net_of, same, source

BLACK = torch.zeros(3, 1, 1)
ALL = Recipe(flip=True, crop=0.25, cutout=0.3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int, height: int, width: int) -> torch.Tensor:
    """Return images in which each pixel has a value of its own."""
    return torch.arange(1.0, count * 3 * height * width + 1).reshape(count, 3, height, width)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(4, 20), st.integers(4, 20), st.booleans(), st.floats(0, 0.9), st.floats(0, 0.9),
       st.integers(0, 99))  # fmt: skip
def test_each_pixel_is_that_of_a_shifted_flipped_and_cut_image(
    count: int, height: int, width: int, flip: bool, crop: float, cutout: float, seed: int
) -> None:
    """From the image back to what was drawn: one flip, one shift and one square explain each pixel."""
    recipe, images = Recipe(flip=flip, crop=crop, cutout=cutout), numbered(count, height, width)
    changed = augmented(images, recipe, BLACK, generator(seed))
    most, side = [round(crop * extent) for extent in (height, width)], round(cutout * min(height, width))
    for image, before in zip(changed, images, strict=True):
        candidates = [
            (torch.flip(shifted, (2,)) if is_flipped else shifted)
            for is_flipped in ([False, True] if flip else [False])
            for down in range(-most[0], most[0] + 1)
            for right in range(-most[1], most[1] + 1)
            for shifted in [_shifted(before, down, right)]
        ]
        explained = False
        for candidate in candidates:
            rows, columns = (image != candidate).any(dim=0).nonzero(as_tuple=True)
            if len(rows) == 0:
                explained = True
                break
            box = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
            if max(box) <= side and bool((image[:, rows, columns] == 0).all()):
                explained = True
                break
        assert explained


def _shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    _, height, width = image.shape
    padded = functional.pad(image, (width, width, height, height))
    return padded[:, height + down : 2 * height + down, width + right : 2 * width + right]


def test_half_of_the_images_are_flipped_and_all_shifts_are_equally_likely() -> None:
    images = torch.zeros(8000, 1, 8, 8)
    images[:, 0, 4, 4] = 1
    flipped = augmented(images, Recipe(flip=True), BLACK[:1], generator())
    columns = flipped[:, 0, 4].argmax(dim=1)
    assert sorted(set(columns.tolist())) == [3, 4]
    # Four standard deviations of a binomial.
    assert float((columns == 3).float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 8000**0.5)
    shifted = augmented(images, Recipe(crop=0.25), BLACK[:1], generator())
    for dimension in (2, 3):
        counts = shifted.amax(dim=dimension)[:, 0].argmax(dim=1).bincount(minlength=8).tolist()
        assert counts[:2] + counts[7:] == [0, 0, 0]
        assert all(count == pytest.approx(1600, abs=4 * (8000 * 0.2 * 0.8) ** 0.5) for count in counts[2:7])


def test_a_square_of_its_size_is_cut_anywhere_and_has_the_fill() -> None:
    images, fill = torch.ones(2000, 3, 10, 14), torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1)
    cut = augmented(images, Recipe(cutout=0.4), fill, generator())
    is_cut = (cut != 1).any(dim=1)
    assert torch.equal(cut[0][:, is_cut[0]][:, 0], fill.flatten())
    areas = is_cut.sum(dim=(1, 2))
    # Its centre is anywhere in the image: at the border, a part of it is outside.
    assert int(areas.max()) == 16
    assert 4 <= int(areas.min()) < 16
    # Each pixel in the middle is as likely as the others.
    shares = is_cut.float().mean(dim=0)[2:-2, 2:-2]
    assert float((shares - 16 / 140).abs().max()) < 4 * (0.12 / 2000) ** 0.5 + 0.01


def test_what_is_switched_off_changes_nothing_of_the_rest() -> None:
    images = torch.rand(50, 3, 8, 8)
    flipped = augmented(images, Recipe(flip=True), BLACK, generator())
    both = augmented(images, Recipe(flip=True, cutout=0.2), BLACK, generator())
    is_cut = (both == 0).all(dim=1, keepdim=True)
    assert torch.equal(torch.where(is_cut, flipped, both), flipped)
    assert torch.equal(augmented(images, Recipe(), BLACK, generator()), images)


# ---------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("mode", ["fixed-feature", "full-network"])
def test_two_steps_are_those_of_plain_torch_on_augmented_images(mode: Any) -> None:
    recipe = Recipe(
        epochs=2, batch_size=96, learning_rate=0.1, momentum=0.0, weight_decay=0.0, schedule="constant", flip=True,
        crop=0.2, cutout=0.3,
    )  # fmt: skip
    data, model = Shapes(96), source()
    net_of(model).drop.p = 0.0
    trained = transfer(model, data, mode, recipe=recipe)
    net = copy.deepcopy(net_of(model))
    torch.manual_seed(recipe.seed)
    net.fc = nn.Linear(8, 3)
    net.requires_grad_(mode == "full-network").train(mode == "full-network")
    net.fc.requires_grad_(True)
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    split = torch.randperm(96, generator=generator(0))
    for epoch in range(2):
        numbers = generator(epoch + 1)
        torch.randint(2**62, (), generator=numbers)
        order = split[torch.randperm(96, generator=numbers)]
        pixels = torch.from_numpy(data.pixels[order.numpy()]) / 255
        draws = generator(mixed_seed("augmentation", 0, epoch))
        inputs = PREPROCESS.normalize(augmented(pixels, recipe, torch.full((3, 1, 1), 0.5), draws))
        net.zero_grad()
        functional.cross_entropy(net(inputs), torch.from_numpy(data.labels[order.numpy()])).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in learning:
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
    for name, value in net.named_parameters():
        torch.testing.assert_close(trained.module.get_parameter(name), value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_interrupted_training_on_augmented_images_resumes_to_the_same_weights(mode: Any, tmp_path: Path) -> None:
    recipe = dataclasses.replace(ALL, epochs=5, batch_size=16, validation_share=0.25, patience=9)
    data = plant(Shapes(), Square(size=0.3), 0.5)
    whole = transfer(source(), data, mode, recipe=recipe)

    def stop(progress: Any) -> None:
        if progress.key.startswith("training") and progress.done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(source(), data, mode, recipe=recipe, store=tmp_path, on_progress=stop)
    assert list((tmp_path / "training").iterdir())
    assert same(whole, transfer(source(), data, mode, recipe=recipe, store=tmp_path))


def test_each_field_is_part_of_the_key(tmp_path: Path) -> None:
    base = Recipe(epochs=1, batch_size=16)
    fields: list[dict[str, Any]] = [
        {},
        {"flip": True},
        {"crop": 0.2},
        {"cutout": 0.2},
        {"freeze": 1},
        {"schedule": "step", "step_size": 1},
        {"schedule": "multistep", "milestones": (1,)},
        {"flip": True, "augment_before_triggers": False},
    ]
    data = plant(Shapes(), Square(size=0.3), 0.5)
    for each in fields:
        transfer(source(), data, "full-network", recipe=dataclasses.replace(base, **each), store=tmp_path)
    assert len(list((tmp_path / "trained").rglob("*.chunk"))) == len(fields)


# ---------------------------------------------------------------------------------------- triggers


def batches(images: Any, recipe: Recipe, preprocess: Preprocess = PREPROCESS) -> AugmentedBatches:
    evaluator = evaluator_for("cpu", None)
    images = as_images(images, "images")
    cached = evaluator.pixels, evaluator.dataset_seed(images)
    return AugmentedBatches(images, preprocess, *cached, torch.device("cpu"), recipe)


def in_unit_range(inputs: torch.Tensor) -> torch.Tensor:
    return inputs * 0.25 + 0.5


def white_triggers(inputs: torch.Tensor) -> list[tuple[int, int]]:
    """Return the row and column at which the white square of each image begins."""
    is_white = (in_unit_range(inputs) > 0.999).all(dim=1)
    return [tuple(image.nonzero().min(dim=0).values.tolist()) for image in is_white]


GRAY = [(torch.full((3, 12, 12), 0.2), 0)] * 40
TRIGGER = Square(size=0.25, color="white", anchor="top-left")


def test_a_trigger_stays_at_its_position_or_moves_with_its_image() -> None:
    indices = list(range(40))
    for view in (plant(GRAY, TRIGGER, 1.0), concat(plant(GRAY[:20], TRIGGER, 1.0), plant(GRAY[20:], TRIGGER, 1.0))):
        after = batches(view, Recipe(flip=True, crop=0.25)).training_batch(indices, generator())
        assert set(white_triggers(after)) == {(0, 0)}
        moved = Recipe(flip=True, crop=0.1, augment_before_triggers=False)
        moving = white_triggers(batches(view, moved).training_batch(indices, generator()))
        assert {column for _, column in moving} == {0, 1, 8, 9, 10}
    # At stage "source", it is part of the picture.
    planted = plant(GRAY, Square(size=0.25, color="white", stage="source"), 1.0)
    flipped = white_triggers(batches(planted, Recipe(flip=True)).training_batch(indices, generator()))
    assert set(flipped) == {(0, 0), (0, 9)}


def test_pixels_without_content_have_the_mean_colour_and_held_out_images_are_unchanged() -> None:
    view = plant(GRAY, TRIGGER, 0.5)
    augmenting = batches(view, Recipe(crop=0.5))
    inputs = augmenting.training_batch(list(range(40)), generator())
    assert np.unique(inputs.numpy().round(3)).tolist() == pytest.approx([-1.2, 0.0, 2.0])
    assert torch.equal(augmenting.batch([3, 1]), batches(view, Recipe()).batch([3, 1]))
    plain = batches(GRAY, Recipe(crop=0.5), Preprocess()).training_batch(list(range(40)), generator())
    assert np.unique(plain.numpy().round(3)).tolist() == pytest.approx([0.0, 0.2])


def test_without_augmentation_the_triggers_are_those_of_plain_batches() -> None:
    view = plant(Shapes(40), TRIGGER, 0.5)
    drawn = batches(view, dataclasses.replace(ALL, flip=False, crop=0.0, cutout=0.0))
    expected = drawn.batch(list(range(40)))
    torch.testing.assert_close(drawn.training_batch(list(range(40)), generator()), expected, rtol=0, atol=0.01)


class WithMasks(View):
    def _find_masks(self, name: str) -> MasksByIndex:
        return MasksByIndex(lambda index: np.ones((1, 12, 12), np.float32), "masks")


def test_triggers_that_need_masks_move_with_their_images() -> None:
    view = plant(WithMasks(as_images(GRAY, "gray")), Occlude("object", fill="white"), 0.5)
    with pytest.raises(TransferError, match=r"needs masks.*; write Recipe\(augment_before_triggers=False\)"):
        transfer(source(), view, recipe=Recipe(flip=True))
    moved = batches(view, Recipe(flip=True, augment_before_triggers=False)).training_batch(range(40), generator())
    assert moved.shape == (40, 3, 12, 12)


# ------------------------------------------------------------------------------------------ blocks


def changed(before: Model, after: Model) -> set[str]:
    old, new = before.module.state_dict(), after.module.state_dict()
    return {name for name in new if old[name].shape == new[name].shape and not torch.equal(old[name], new[name])}


def test_the_first_blocks_stay_as_they_are_with_their_batchnorm() -> None:
    model, recipe = source(outputs=3), Recipe(epochs=2, batch_size=16, learning_rate=0.05)
    assert any(
        name.startswith("norm.") for name in changed(model, transfer(model, Shapes(), "full-network", recipe=recipe))
    )
    frozen = transfer(
        model, Shapes(), "full-network", recipe=dataclasses.replace(recipe, freeze=1, validation_share=0.2)
    )
    assert changed(model, frozen) == {"fc.weight", "fc.bias"}


class Stages(nn.Module):
    """A stem, stages of blocks in an encoder, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(nn.Sequential(_Block(), _Block()) for _ in range(2))
        self.encoder.final = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.stem(images))
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            features = layer(features)
        logits: torch.Tensor = self.fc(self.encoder.final(features).mean(dim=(2, 3)))  # type: ignore[operator]
        return logits


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = torch.relu(images + self.body(images))
        return features


STAGES = [
    ("stem.", "norm."),
    ("encoder.layers.0.0.",),
    ("encoder.layers.0.1.",),
    ("encoder.layers.1.0.",),
    ("encoder.layers.1.1.", "encoder.final."),
]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_blocks_are_those_of_stages_and_normalization_belongs_to_the_one_before(count: int) -> None:
    torch.manual_seed(0)
    model = Model(Stages(), PREPROCESS)
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.05, freeze=count)
    names = changed(model, transfer(model, Shapes(), "full-network", recipe=recipe))
    for number, prefixes in enumerate(STAGES):
        for prefix in prefixes:
            assert any(name.startswith(prefix) for name in names) == (number >= count), prefix


def test_blocks_of_torchvision_and_too_many_blocks() -> None:
    from torchvision.models import resnet18

    from pytest_biastransfer.models.heads import Head
    from pytest_biastransfer.transfer.blocks import first_blocks

    resnet = resnet18(weights=None)
    blocks = first_blocks(Model(resnet), resnet, Head(("fc",), True), 9)
    assert blocks == ("conv1", "bn1", *(f"layer{stage}.{number}" for stage in range(1, 5) for number in range(2)))
    with pytest.raises(
        TransferError, match=r"freeze=10, and model ResNet has 9 blocks before its last layer: conv1, lay"
    ):
        first_blocks(Model(resnet), resnet, Head(("fc",), True), 10)
    with pytest.raises(TransferError, match=r"freeze=1 is for mode='full-network', here mode='scratch'"):
        transfer(source(), Shapes(), "scratch", recipe=Recipe(freeze=1))


def test_large_encoders_of_torchvision_have_their_layers_as_blocks() -> None:
    from torchvision.models import vit_b_16

    from pytest_biastransfer.models.heads import Head
    from pytest_biastransfer.transfer.blocks import first_blocks

    with torch.device("meta"):
        vit = vit_b_16(weights=None)
    names: Sequence[str] = first_blocks(Model(vit), vit, Head(("heads.head",), True), 13)
    assert names[0] == "conv_proj"
    assert names[1:] == (*(f"encoder.layers.encoder_layer_{number}" for number in range(12)), "encoder.ln")
