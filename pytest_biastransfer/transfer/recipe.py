"""How a model is trained: everything besides the source and the data that decides about the result."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pytest_biastransfer.errors import TransferError, nearest

Mode = Literal["fixed-feature", "full-network", "scratch"]
Schedule = Literal["one-cycle", "cosine", "constant"]

# Of a number: the range, without its end, and whether its beginning belongs to it.
_RANGES: Final = {
    "learning_rate": (0.0, math.inf, False),
    "momentum": (0.0, 1.0, True),
    "weight_decay": (0.0, math.inf, True),
    "label_smoothing": (0.0, 1.0, True),
    "validation_share": (0.0, 1.0, True),
}
_LEAST: Final = {"epochs": 1, "batch_size": 1, "patience": 1, "seed": 0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with momentum on the cross-entropy.

    Parameters
    ----------
    epochs
        How often each image is seen, if training is not stopped early.
    learning_rate
        The largest one that the schedule comes to.
    schedule
        ``"one-cycle"`` (default; Smith and Topin 2017): up for the first 30 % of the steps, then down; ``"cosine"``:
        down from the first step on (Loshchilov and Hutter 2016); or ``"constant"``.
    momentum, weight_decay
        As in `torch.optim.SGD`.
    batch_size
        Images a step.
    label_smoothing
        The share of the target that is spread over all classes (Szegedy et al. 2015), in [0, 1).
    validation_share
        The share of the images, in [0, 1), that is not trained on but tells when to stop. By default all of them are
        trained on, for all epochs.
    patience
        After so many epochs in which the loss on these images has not become less, training stops. The model is the
        one of the epoch in which it was least. With ``"one-cycle"`` the loss may rise for a third of the epochs before
        it falls.
    seed
        Draws the new weights, the order of the images, and those that are not trained on.

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

    def with_seed(self, seed: int) -> Recipe:
        """Return the same recipe with another seed."""
        found: Recipe = dataclasses.replace(self, seed=seed)
        return found


def require_mode(value: object) -> Mode:
    """Return a mode of transfer, if it is one."""
    for mode in get_args(Mode):
        if value == mode:
            return mode  # type: ignore[no-any-return]
    raise TransferError(f"mode={value!r}; {nearest(str(value), get_args(Mode))}")


def _require_number(name: str, value: Any, low: float, high: float, with_low: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value < high or (with_low and value == low)):
        expected = f"{'from' if with_low else 'above'} {low:g}" + (" on" if with_low else "") * math.isinf(high)
        expected += "" if math.isinf(high) else f" to below {high:g}"
        raise TransferError(f"Recipe: {name}={value!r:.60}, expected a number {expected}")
