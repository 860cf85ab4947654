"""Tensors of a checkpoint that only training uses, and on which no prediction depends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

# BatchNorm's counters are used in training only, and old checkpoints lack them.
COUNTER: Final = "num_batches_tracked"
# Tensors that only training uses, and that some training scripts save beside the model.
_COUNTERS: Final = frozenset(
    (
        COUNTER,
        "n_averaged",
        "num_updates",
        "total_ops",
        "total_params",
        "global_step",
        "step",
        "epoch",
        "initted",
        "decay",
    )
)
_LOSS: Final = re.compile(r"(\w+_)?(loss|losses|criterion|criteria)(_\w+)?")
_METRIC: Final = re.compile(r"(\w+_)?(acc|accuracy|auroc|auc|f1|precision|recall|metric|metrics|confmat)(_\w+)?")
_TALLIES: Final = frozenset(
    ("tp", "fp", "tn", "fn", "correct", "total", "confmat", "mean_value", "sum_value", "max_value", "min_value")
)


def is_for_training(name: str, tensor: torch.Tensor) -> bool:
    """Whether no prediction depends on a tensor: a counter, a weight of a loss, or a state of a metric."""
    *modules, last = name.split(".")
    if last in _COUNTERS:
        return tensor.numel() == 1
    # A loss with a matrix, such as ArcFace's, contains the head itself.
    if any(map(_LOSS.fullmatch, modules)):
        return tensor.ndim <= 1
    return any(map(_METRIC.fullmatch, modules)) and (tensor.ndim == 0 or last in _TALLIES)
