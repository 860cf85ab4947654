"""A network's weights for a dataset: what is trained on what, where, and under which lock."""

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
from pytest_biastransfer.evaluation.progress import Progress
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.models import Model
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.transfer.batches import Batches, FeatureBatches, PixelBatches
from pytest_biastransfer.transfer.checkpoints import Checkpoint
from pytest_biastransfer.transfer.features import features_of
from pytest_biastransfer.transfer.heads import put
from pytest_biastransfer.transfer.networks import Network, arrays_of, require_unchanged
from pytest_biastransfer.transfer.training import Trainee, Training

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.store.chunks import Content
    from pytest_biastransfer.transfer.recipe import Recipe

_PLACE: Final = "training"


def fit(
    evaluator: Evaluator,
    source: Model,
    network: Network,
    images: LabelledImages,
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    key: str | None,
) -> Content:
    """Return the weights of a network that was trained on images, as arrays by name.

    `key` tells this training from others, in other sessions too; None where that cannot be told.
    """
    device = torch.device(evaluator.device)
    frozen = _hashes(network)
    trainee, batches = _prepared(evaluator, source, network, images, device)
    checkpoint = Checkpoint(StoreDirectory(None) if key is None else evaluator.store.subdirectory(_PLACE), key or "")
    cuda = [device] if device.type == "cuda" else []
    memory = freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext()
    with memory, _threads(network), torch.random.fork_rng(devices=cuda), _repeatable(), _understood(source, recipe):
        training = Training(
            trainee,
            batches,
            labels,
            recipe,
            device=device,
            checkpoint=checkpoint,
            weights=images.weights,
            on_step=_teller(evaluator, key or str(id(network))),
        )
        state = training.run()
    network.module.cpu()
    require_unchanged(source, frozen, _hashes(network))
    return arrays_of(state)


def _prepared(
    evaluator: Evaluator, source: Model, network: Network, images: LabelledImages, device: torch.device
) -> tuple[Trainee, Batches]:
    if not network.trains_on_features:
        module = network.module.to(device)
        batches = PixelBatches(images, source.preprocess, evaluator.pixels, device)
        if network.part is module:
            module.to(memory_format=torch.channels_last)
        return Trainee(source.name, module, network.part), batches
    (name,) = network.head.names
    put(network.module, name, nn.Identity())
    try:
        backbone = Model(nn.Sequential(network.module, nn.Flatten()), source.preprocess, name=source.name)
        features = features_of(evaluator, backbone, images)
    finally:
        put(network.module, name, network.part)
    head = network.part.to(device)
    # A head that is a convolution takes maps of one pixel.
    form = nn.Unflatten(1, (-1, 1, 1)) if isinstance(head, nn.Conv2d) else nn.Identity()
    return Trainee(source.name, nn.Sequential(form, head, nn.Flatten()), head), FeatureBatches(features, device)


def _hashes(network: Network) -> dict[str, str]:
    return {name: fingerprint(value) for name, value in network.frozen().items()}


def _teller(evaluator: Evaluator, key: str) -> Callable[[int, int], None] | None:
    """Return what tells how many images were trained on."""
    tell, start = evaluator.on_progress, time.monotonic()
    if tell is None:
        return None
    first: int | None = None

    def on_step(done: int, total: int) -> None:
        nonlocal first
        # What was done before it was interrupted took no time now.
        first = done if first is None else first
        tell(Progress(f"training {key}", done, total, done - first, time.monotonic() - start))

    return on_step


@contextlib.contextmanager
def _threads(network: Network) -> Iterator[None]:
    """Train a head on features with one thread: several would wait for one another, and add up in another order."""
    threads = torch.get_num_threads()
    if network.trains_on_features:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """Have CUDA's convolutions add up in the same order each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


@contextlib.contextmanager
def _understood(source: Model, recipe: Recipe) -> Iterator[None]:
    """Say what to do about what torch raises when it trains what it can evaluate."""
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
