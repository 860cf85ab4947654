"""Fits a network to a dataset: prepares inputs, threads and determinism, trains, and checks the frozen weights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.models import Model
from pytest_biastransfer.models.heads import put
from pytest_biastransfer.models.selected_output import SelectedOutput
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.transfer.augmentation import AugmentedBatches
from pytest_biastransfer.transfer.batches import Batches, FeatureBatches, PixelBatches
from pytest_biastransfer.transfer.checkpoints import Checkpoint
from pytest_biastransfer.transfer.features import features_of
from pytest_biastransfer.transfer.networks import Network, arrays_of, require_unchanged
from pytest_biastransfer.transfer.training import Trainee, Training

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.store.chunks import Content
    from pytest_biastransfer.transfer.recipe import Recipe
    from pytest_biastransfer.transfer.targets import Targets

_SUBDIRECTORY: Final = "training"


def fit(
    evaluator: Evaluator,
    source: Model,
    network: Network,
    images: LabelledImages,
    targets: Targets,
    recipe: Recipe,
    key: str | None,
) -> Content:
    """Train a network on images and return its weights, as arrays by name.

    `key` identifies this training in all sessions; None if its inputs have no fingerprint.
    """
    device = torch.device(evaluator.device)
    # Compared after the training: a layer that updates itself in evaluation mode would break fixed features.
    frozen = _hashes(network)
    trainee, batches = _prepared(evaluator, source, network, images, device, recipe)
    checkpoint = Checkpoint(
        StoreDirectory(None) if key is None else evaluator.store.subdirectory(_SUBDIRECTORY), key or ""
    )
    # The random state of the caller is restored afterwards.
    cuda = [device] if device.type == "cuda" else []
    memory = freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext()
    with (
        memory,
        _threads(isinstance(batches, FeatureBatches)),
        torch.random.fork_rng(devices=cuda),
        _deterministic(),
        _explained(source, recipe),
    ):
        training = Training(
            trainee,
            batches,
            targets,
            recipe,
            device=device,
            checkpoint=checkpoint,
            weights=images.weights,
            on_step=_progress_reporter(evaluator, key or str(id(network))),
        )
        state = training.run()
    network.module.cpu()
    require_unchanged(source, frozen, _hashes(network))
    return arrays_of(state)


def _prepared(
    evaluator: Evaluator,
    source: Model,
    network: Network,
    images: LabelledImages,
    device: torch.device,
    recipe: Recipe,
) -> tuple[Trainee, Batches]:
    if recipe.augments or not network.trains_on_features:
        module = network.module.to(device)
        cached = evaluator.pixels, evaluator.dataset_seed(images)
        batches: Batches = PixelBatches(images, source.preprocess, *cached, device)
        if recipe.augments:
            batches = AugmentedBatches(images, source.preprocess, *cached, device, recipe)
        if network.trainable is module:
            module.to(memory_format=torch.channels_last)
        frozen = [module.get_submodule(name) for name in network.frozen_blocks]
        return Trainee(source.name, module, network.trainable, frozen), batches
    (name,) = network.head.names
    # Without its head, the module computes features. The head is restored even if that fails.
    put(network.module, name, nn.Identity())
    try:
        backbone = Model(
            nn.Sequential(SelectedOutput(network.module, None), nn.Flatten()), source.preprocess, name=source.name
        )
        features = features_of(evaluator, backbone, images)
    finally:
        put(network.module, name, network.trainable)
    head = network.trainable.to(device)
    # A head that is a convolution takes feature maps of one pixel.
    reshape = nn.Unflatten(1, (-1, 1, 1)) if isinstance(head, nn.Conv2d) else nn.Identity()
    return Trainee(source.name, nn.Sequential(reshape, head, nn.Flatten()), head), FeatureBatches(features, device)


def _hashes(network: Network) -> dict[str, str]:
    return {name: fingerprint(value) for name, value in network.frozen().items()}


def _progress_reporter(evaluator: Evaluator, key: str) -> Callable[[int, int], None] | None:
    """Return a function that reports the number of images that were trained on, if anybody listens."""
    report, start = evaluator.on_progress, time.monotonic()
    if report is None:
        return None
    resumed_at: int | None = None

    def on_step(done: int, total: int) -> None:
        nonlocal resumed_at
        # Images of an interrupted session count as done, but took no time in this one.
        resumed_at = done if resumed_at is None else resumed_at
        report(
            Progress(f"training {key}", done, total, done - resumed_at, time.monotonic() - start, task="training on")
        )

    return on_step


@contextlib.contextmanager
def _threads(trains_on_features: bool) -> Iterator[None]:
    """Train a head on features with one thread: several would be slower, and sum in another order."""
    threads = torch.get_num_threads()
    if trains_on_features:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Make CUDA's convolutions deterministic."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


@contextlib.contextmanager
def _explained(source: Model, recipe: Recipe) -> Iterator[None]:
    """Convert errors of torch during training to `TransferError`, with what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TransferError(
            f"training {source.name}: out of memory with {recipe.batch_size} images a step; "
            f"lower Recipe(batch_size={recipe.batch_size})"
        ) from error
    except RuntimeError as error:
        raise TransferError(
            f"training {source.name} raised {type(error).__name__}: {error}\nIts module can be evaluated, but not "
            f"trained as it is. Make the transferred model yourself, and return it from the fixture transferred_model"
        ) from error
