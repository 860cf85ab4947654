"""The training recipe: everything besides source and data that the transferred model depends on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pytest_biastransfer.errors import TransferError, nearest

Mode = Literal["fixed-feature", "full-network", "scratch"]
Schedule = Literal["one-cycle", "cosine", "constant", "step", "multistep"]

# A softmax over classes, or a sigmoid for each label.
Loss = Literal["softmax", "sigmoid"]
# The weight of the positives of each label: of all labels, or by name; "balanced": negatives over positives.
PositiveWeight = float | Mapping[str, float] | tuple[tuple[str, float], ...] | Literal["balanced"]

# For each number: lower bound, upper bound (excluded), and whether the lower bound is included.
_RANGES: Final = {
    "learning_rate": (0.0, math.inf, False),
    "momentum": (0.0, 1.0, True),
    "weight_decay": (0.0, math.inf, True),
    "label_smoothing": (0.0, 1.0, True),
    "validation_share": (0.0, 1.0, True),
    "gamma": (0.0, 1.0, False),
    "crop": (0.0, 1.0, True),
    "cutout": (0.0, 1.0, True),
}
_LEAST: Final = {"epochs": 1, "batch_size": 1, "patience": 1, "freeze": 0, "seed": 0}
_SWITCHES: Final = ("flip", "augment_before_triggers")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with momentum on the cross-entropy, of classes or of labels of yes or no.

    Parameters
    ----------
    epochs
        Passes over the images, if training is not stopped early.
    learning_rate
        The largest learning rate of the schedule.
    schedule
        ``"one-cycle"`` (default; Smith and Topin 2017): rises for the first 30 % of the steps, then falls;
        ``"cosine"``: falls from the first step on (Loshchilov and Hutter 2016); ``"constant"``; ``"step"``: is
        multiplied by `gamma` after every `step_size` epochs; or ``"multistep"``: after each epoch of `milestones`.
    step_size, milestones, gamma
        The epochs between two drops of ``"step"``, the numbers of complete epochs at which ``"multistep"`` drops, and
        the factor of a drop, in (0, 1).
    momentum, weight_decay
        As in `torch.optim.SGD`.
    batch_size
        Images per step.
    label_smoothing
        The share of the target that is spread over all classes (Szegedy et al. 2015), in [0, 1); of a label with a
        sigmoid, over yes and no.
    validation_share
        The share of the images, in [0, 1), that are held out for early stopping. By default all images are trained on,
        for all epochs.
    patience
        Training stops after so many epochs in which the loss on the held-out images has not decreased. The model is
        that of the epoch with the lowest loss. With ``"one-cycle"`` the loss may rise for a third of the epochs before
        it falls.
    freeze
        With ``"full-network"``: the number of blocks, counted from the input, that stay as they are in the source,
        including the statistics of BatchNorm. A block is a layer with its normalization, or a residual, transformer or
        other block as its library defines it, in the order of the definition. The last layer is no block, and weights
        outside of layers, such as a class token, are always trained.
    flip
        Whether each image is flipped left to right with a probability of 0.5 in each epoch.
    crop
        The share of the height and of the width, in [0, 1), by which an image is shifted at most in each direction: the
        random crop of a padded image (He et al. 2016, where it is 4 of 32 pixels, 0.125).
    cutout
        The side of a square that is removed at a random position, as a share of the shorter side, in [0, 1): its centre
        is anywhere in the image (DeVries and Taylor 2017).
    augment_before_triggers
        True (default): images are flipped, shifted and cut first, and what `plant` plants at stage ``"input"`` is drawn
        on the result, at its position. False: what is planted is flipped, shifted and cut with its image. What is
        planted at stage ``"source"`` always is. Without content, pixels have the mean colour of the preprocessing.
        Held-out images are never augmented.
    outputs
        ``"softmax"``: the cross-entropy of one class for each image. ``"sigmoid"``: the binary cross-entropy of each of
        several labels, as in Wang and Russakovsky 2023, or for a dataset of two classes of one output, which is the
        probability of the second class. A label that is unknown for an image has no part in the loss; the loss is the
        mean over all that are known. Default: what the dataset has, one class for each image or several labels.
    pos_weight
        With ``"sigmoid"``: the factor of the loss of positives, as in `torch.nn.BCEWithLogitsLoss`. One number for all
        labels, numbers by name (1 for the others), or ``"balanced"``: negatives divided by positives for each label,
        counted on all images of the dataset. Default: 1.
    seed
        Seed of the new weights, of the order of the images, and of the choice of held-out images.

    Raises
    ------
    TransferError
        If a value is out of range.

    Examples
    --------
    >>> Recipe(epochs=5, learning_rate=0.05, seed=1).schedule
    'one-cycle'
    """

    epochs: int = 20
    learning_rate: float = 0.02
    schedule: Schedule = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 64
    label_smoothing: float = 0.0
    validation_share: float = 0.0
    patience: int = 5
    step_size: int | None = None
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    freeze: int = 0
    flip: bool = False
    crop: float = 0.0
    cutout: float = 0.0
    augment_before_triggers: bool = True
    outputs: Loss | None = None
    pos_weight: PositiveWeight | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, limits in _RANGES.items():
            _require_number(name, getattr(self, name), *limits)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise TransferError(f"Recipe: {name}={value!r:.60}, expected a whole number from {least} on")
        if self.schedule not in get_args(Schedule):
            raise TransferError(
                f"Recipe: schedule={self.schedule!r}; {nearest(str(self.schedule), get_args(Schedule))}"
            )
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TransferError(f"Recipe: {name}={getattr(self, name)!r:.60}, expected True or False")
        self._require_drops()
        if self.outputs is not None and self.outputs not in get_args(Loss):
            raise TransferError(f"Recipe: outputs={self.outputs!r:.60}; {nearest(str(self.outputs), get_args(Loss))}")
        # Pairs in place of a mapping: a recipe is hashable, and its fingerprint does not depend on the order.
        object.__setattr__(self, "pos_weight", _positive_weight(self.pos_weight, self.outputs))

    @property
    def augments(self) -> bool:
        """Whether images differ from epoch to epoch."""
        return self.flip or self.crop > 0 or self.cutout > 0

    def _require_drops(self) -> None:
        """Raise unless the drops of the learning rate belong to the schedule."""
        size, milestones = self.step_size, self.milestones
        if size is not None and (type(size) is not int or size < 1):
            raise TransferError(f"Recipe: step_size={size!r:.60}, expected a whole number from 1 on")
        listed = tuple(milestones) if isinstance(milestones, list | tuple) else (milestones,)
        if not all(type(epoch) is int and epoch > 0 for epoch in listed) or list(listed) != sorted(set(listed)):
            raise TransferError(f"Recipe: milestones={milestones!r:.60}, expected ascending whole numbers from 1 on")
        object.__setattr__(self, "milestones", listed)
        for schedule, name, example in (("step", "step_size", "50"), ("multistep", "milestones", "(30, 60)")):
            has_value = getattr(self, name) not in (None, ())
            if has_value != (self.schedule == schedule):
                problem = f"schedule={schedule!r} needs {name}=, such as {name}={example}"
                unused = f"{name}= is for schedule={schedule!r}, here schedule={self.schedule!r}"
                raise TransferError(f"Recipe: {unused if has_value else problem}")

    def with_seed(self, seed: int) -> Recipe:
        """Return the same recipe with another seed."""
        recipe: Recipe = dataclasses.replace(self, seed=seed)
        return recipe


def require_recipe(recipe: object) -> Recipe:
    """Return a recipe, the default one for None; raises `TransferError` for anything else."""
    if recipe is None:
        return Recipe()
    if not isinstance(recipe, Recipe):
        raise TransferError(f"recipe={recipe!r:.60}, expected Recipe(epochs=..., learning_rate=..., ...)")
    return recipe


def require_mode(value: object) -> Mode:
    """Return a valid mode of transfer; raises `TransferError` for anything else."""
    for mode in get_args(Mode):
        if value == mode:
            return mode  # type: ignore[no-any-return]
    raise TransferError(f"mode={value!r}; {nearest(str(value), get_args(Mode))}")


def _positive_weight(value: Any, outputs: Loss | None) -> Any:
    if value is not None and outputs == "softmax":
        raise TransferError("Recipe: pos_weight= is for outputs='sigmoid'; leave it out")
    if value is None or value == "balanced":
        return value
    if isinstance(value, Mapping | tuple):
        by_name = dict(value)
        for name, weight in by_name.items():
            _require_number(f"pos_weight of {name!r}", weight, 0.0, math.inf, False)
        return tuple(sorted((str(name), float(weight)) for name, weight in by_name.items()))
    if isinstance(value, str):
        raise TransferError(f"Recipe: pos_weight={value!r:.60}, expected a number, numbers by name, or 'balanced'")
    _require_number("pos_weight", value, 0.0, math.inf, False)
    return float(value)


def _require_number(name: str, value: Any, low: float, high: float, with_low: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value < high or (with_low and value == low)):
        expected = f"{'from' if with_low else 'above'} {low:g}" + (" on" if with_low else "") * math.isinf(high)
        expected += "" if math.isinf(high) else f" to below {high:g}"
        raise TransferError(f"Recipe: {name}={value!r:.60}, expected a number {expected}")
