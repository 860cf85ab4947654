"""Whether a model's outputs look like what it declares: logits, or probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import ModelError

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.models.model import Model

# The rounding of probabilities and of their sums, also in 16 bits.
_TOLERANCE: Final = 1e-2
# Fewer numbers may be between 0 and 1 by chance.
_LEAST: Final = 16


def require_declared_range(model: Model, outputs: torch.Tensor, *, needs_logits: bool) -> None:
    """Raise `ModelError` for outputs [images, outputs] that are probabilities where logits are declared, or reverse.

    `needs_logits` says whether more is read from the outputs of a softmax than which one is the largest.
    """
    between = bool((outputs >= -_TOLERANCE).all() & (outputs <= 1 + _TOLERANCE).all())
    range_text = f"from {float(outputs.min()):.3g} to {float(outputs.max()):.3g}"
    if model.outputs == "probabilities" and not between:
        raise ModelError(
            f"model {model.name}: declares outputs='probabilities', and its outputs are {range_text}; expected numbers "
            f"in [0, 1]. If they are logits, declare outputs='sigmoid'"
        )
    if not between or outputs.numel() < _LEAST or bool((outputs == outputs[:1]).all()):
        return
    if model.outputs == "sigmoid" and not model.has_known_logits:
        raise ModelError(
            f"model {model.name}: declares outputs='sigmoid', and all its outputs are in [0, 1], {range_text}: as "
            f"logits they would stand for probabilities from 0.5 to 0.73. Its last layer seems to be a sigmoid: "
            f"declare outputs='probabilities'"
        )
    sums_to_1 = outputs.shape[1] > 1 and bool(((outputs.float().sum(dim=1) - 1).abs() <= _TOLERANCE).all())
    if model.outputs == "softmax" and needs_logits and sums_to_1:
        raise ModelError(
            f"model {model.name}: its outputs are probabilities already, {range_text}, and sum to 1 for each image; "
            f"scores are computed from logits. Remove the softmax at its end, or return the logarithm of its outputs"
        )
