"""Training by a recipe: deterministic on the same machine with the same number of threads.

An epoch depends only on the recipe, its number and the state after the previous epoch. So interrupted training
continues as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.interventions.random_sources import mixed_seed
from pytest_biastransfer.models.logits import logits_of
from pytest_biastransfer.transfer.batches import Batches
from pytest_biastransfer.transfer.losses import loss_function

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.transfer.checkpoints import Checkpoint
    from pytest_biastransfer.transfer.recipe import Recipe
    from pytest_biastransfer.transfer.targets import Targets

State = dict[str, Any]

# The losses are checked every so many steps: reading them waits for the device.
_STEPS_BETWEEN_CHECKS: Final = 20


@dataclass(frozen=True)
class Trainee:
    """The module that is trained.

    Attributes
    ----------
    name
        The model's name, for error messages.
    module
        Maps a batch to logits.
    trainable
        The module whose weights change: `module` itself, or its head. The rest is in evaluation mode.
    frozen
        Blocks of it that do not change.
    """

    name: str
    module: nn.Module
    trainable: nn.Module
    frozen: Sequence[nn.Module] = ()

    def prepare(self) -> None:
        """Let only the trainable module learn, without its frozen blocks."""
        self.module.requires_grad_(False).eval()
        # Integer parameters, such as counters, have no gradients.
        for parameter in self.trainable.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        for block in self.frozen:
            block.requires_grad_(False)
        self.train()

    def train(self) -> None:
        """Set training mode; frozen blocks stay in evaluation mode, so that BatchNorm's statistics do not change."""
        self.trainable.train()
        for block in self.frozen:
            block.eval()

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits, [batch, outputs]."""
        outputs = logits_of(self.module(inputs), self.module)
        # In training mode, models with auxiliary classifiers return a tuple with those classifiers' logits too.
        logits: torch.Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return logits


class Training:
    """One training of one model.

    Parameters
    ----------
    trainee
        The module, on the device.
    batches, targets
        Inputs of all images, and what is learnt of them.
    weights
        Relative frequencies with which images are drawn, float64 [images]; None: each once per epoch.
    checkpoint
        The file for the state.
    on_step
        Called with the number of images that were trained on, and the largest number that there may be.
    """

    def __init__(
        self,
        trainee: Trainee,
        batches: Batches,
        targets: Targets,
        recipe: Recipe,
        *,
        device: torch.device,
        checkpoint: Checkpoint,
        weights: npt.NDArray[np.float64] | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self._trainee = trainee
        self._batches = batches
        self._targets = torch.from_numpy(targets.values)
        self._loss = loss_function(targets, device)
        self._recipe = recipe
        self._device = device
        self._checkpoint = checkpoint
        self._on_step = on_step
        self._weights = None if weights is None else torch.from_numpy(weights)
        self._training, self._validation = _split(len(batches), recipe)
        trainee.prepare()
        learning = [parameter for parameter in trainee.trainable.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.SGD(
            learning, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self._schedule = _schedule(self._optimizer, recipe, len(self._training))
        # Mixed precision: bfloat16 has the range of float32; with float16, gradients have to be scaled.
        self._mixed = device.type == "cuda"
        self._dtype = torch.bfloat16 if not self._mixed or torch.cuda.is_bf16_supported() else torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self._best: State | None = None
        self._lowest_loss = math.inf
        self._epochs_waited = 0

    def run(self) -> State:
        """Return the trained weights: of the best epoch, or of the last one if no images are held out.

        Raises
        ------
        TransferError
            If the loss is not finite.
        """
        first = self._resume()
        for epoch in range(first, self._recipe.epochs):
            if self._epochs_waited >= self._recipe.patience:
                break
            # If the epoch fails, this state is written: training can resume with another learning rate or images.
            before = self._state(epoch)
            try:
                self._train(epoch)
            except (KeyboardInterrupt, TransferError):
                self._checkpoint.write(before)
                raise
            self._validate()
            self._checkpoint.write_if_due(self._state(epoch + 1))
        self._checkpoint.remove()
        return self._best if self._best is not None else _copied(self._trainee.trainable.state_dict())

    def _train(self, epoch: int) -> None:
        generator = _generator(self._recipe.seed, epoch)
        # For random numbers of the model itself, such as dropout.
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        # Apart from the order of the images, which would be another one with augmentation.
        augmentation = torch.Generator().manual_seed(mixed_seed("augmentation", self._recipe.seed, epoch))
        losses: list[torch.Tensor] = []
        for start, indices in self._index_batches(generator):
            losses.append(self._step(indices, augmentation))
            if len(losses) % _STEPS_BETWEEN_CHECKS == 0:
                self._require_numbers(losses, epoch)
            if self._on_step:
                images = len(self._training)
                self._on_step(epoch * images + start + len(indices), self._recipe.epochs * images)
        self._require_numbers(losses, epoch)

    def _index_batches(self, generator: torch.Generator) -> Iterator[tuple[int, torch.Tensor]]:
        order = self._order(generator)
        for start in range(0, len(order), self._recipe.batch_size):
            indices = order[start : start + self._recipe.batch_size]
            # A single image is skipped: BatchNorm cannot compute a variance from it.
            if len(indices) > 1 or len(order) == 1 or self._recipe.batch_size == 1:
                yield start, indices

    def _order(self, generator: torch.Generator) -> torch.Tensor:
        count = len(self._training)
        if self._weights is None:
            return self._training[torch.randperm(count, generator=generator)]
        # With replacement: an epoch has as many images as without weights.
        weights = self._weights[self._training]
        return self._training[torch.multinomial(weights, count, replacement=True, generator=generator)]

    def _step(self, indices: torch.Tensor, augmentation: torch.Generator) -> torch.Tensor:
        inputs = self._batches.training_batch(indices.tolist(), augmentation)
        targets = self._targets[indices].to(self._device)
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._mixed):
            logits = self._trainee.logits(inputs)
        loss = self._loss.mean(logits.float(), targets, self._recipe.label_smoothing)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        return loss.detach()

    def _require_numbers(self, losses: list[torch.Tensor], epoch: int) -> None:
        finite = torch.isfinite(torch.stack(losses))
        if bool(finite.all()):
            return
        step = int((~finite).to(torch.int8).argmax())
        path = self._checkpoint.path
        saved = "" if path is None else f" The state after epoch {epoch} is kept in {path}."
        raise TransferError(
            f"training {self._trainee.name}: the loss is {losses[step].item()} at step {step + 1} of {len(losses)} in "
            f"epoch {epoch + 1} of {self._recipe.epochs}.{saved} Lower the learning rate, here "
            f"Recipe(learning_rate={self._recipe.learning_rate:g}), or look for images with values that are not finite"
        )

    def _validate(self) -> None:
        """Keep the weights if the loss on the held-out images has decreased."""
        if not len(self._validation):
            return
        self._trainee.trainable.eval()
        losses = []
        with torch.inference_mode():
            for indices in torch.split(self._validation, 256):
                inputs, targets = self._batches.batch(indices.tolist()), self._targets[indices].to(self._device)
                logits = self._trainee.logits(inputs).float()
                # Sums, as the last batch may be smaller.
                losses.append(self._loss.sum(logits, targets))
        self._trainee.train()
        loss = float(torch.stack(losses).sum())
        self._epochs_waited += 1
        if loss < self._lowest_loss:
            self._lowest_loss, self._epochs_waited = loss, 0
            self._best = _copied(self._trainee.trainable.state_dict())

    def _state(self, epochs: int) -> State:
        """Return everything that later epochs depend on."""
        # Copies: the optimizer updates its tensors in place.
        return {
            "epochs": epochs,
            "part": _copied(self._trainee.trainable.state_dict()),
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "schedule": copy.deepcopy(self._schedule.state_dict()),
            "scaler": self._scaler.state_dict(),
            "best": self._best,
            "least": self._lowest_loss,
            "waited": self._epochs_waited,
        }

    def _resume(self) -> int:
        """Restore the state of an interrupted training; return the number of complete epochs."""
        state = self._checkpoint.read()
        if state is None:
            return 0
        # A state that does not match may have been loaded in part.
        fresh = self._state(0)
        try:
            return self._restore(state)
        # The exceptions of torch's `load_state_dict` for a state that does not match.
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            self._checkpoint.drop(f"it is not the state of this training ({error})")
            return self._restore(fresh)

    def _restore(self, state: State) -> int:
        """Load a state that `_state` returned; return the number of complete epochs. Raises for anything else."""
        shapes = {name: value.shape for name, value in self._trainee.trainable.state_dict().items()}
        for weights in (state["part"], state["best"]):
            if weights is not None and {name: value.shape for name, value in weights.items()} != shapes:
                raise ValueError("other weights")
        counts = state["epochs"], state["waited"], state["least"]
        if [type(count) for count in counts] != [int, int, float] or not 0 <= counts[0] <= self._recipe.epochs:
            raise ValueError("other counts")
        self._trainee.trainable.load_state_dict(state["part"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        epochs: int = counts[0]
        self._best, self._epochs_waited, self._lowest_loss = state["best"], counts[1], counts[2]
        return epochs


def _split(images: int, recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices of the images to train on, and of the held-out images."""
    order = torch.randperm(images, generator=_generator(recipe.seed, -1))
    held = round(images * recipe.validation_share)
    if held == images:
        raise TransferError(
            f"Recipe: validation_share={recipe.validation_share:g} leaves none of {images} images to train on; lower it"
        )
    return order[held:], order[:held]


def _generator(seed: int, epoch: int) -> torch.Generator:
    # A large factor, so that the epochs of one seed are not those of the next seed.
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch + 1) % 2**63)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, images: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of a number of images; it advances once a step."""
    schedules = torch.optim.lr_scheduler
    steps = math.ceil(images / recipe.batch_size) * recipe.epochs
    if recipe.schedule == "one-cycle":
        return schedules.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps + 1, cycle_momentum=False)
    if recipe.schedule == "cosine":
        return schedules.CosineAnnealingLR(optimizer, T_max=steps)
    whole, rest = divmod(images, recipe.batch_size)
    # A last batch of a single image is skipped.
    steps_of_epoch = whole + (rest > 1 or images == 1)
    if recipe.schedule == "step":
        assert recipe.step_size is not None
        return schedules.StepLR(optimizer, recipe.step_size * steps_of_epoch, recipe.gamma)
    if recipe.schedule == "multistep":
        return schedules.MultiStepLR(optimizer, [epoch * steps_of_epoch for epoch in recipe.milestones], recipe.gamma)
    return schedules.ConstantLR(optimizer, factor=1.0)


def _copied(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}
