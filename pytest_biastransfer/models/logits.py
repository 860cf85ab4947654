"""Where the logits are in what a model returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def logits_of(found: Any) -> Any:
    """Return the logits in a model's output: what has that name, as in the outputs of Hugging Face's models.

    >>> logits_of({"loss": None, "logits": [0.5, 0.5]})
    [0.5, 0.5]
    """
    return found["logits"] if isinstance(found, Mapping) and "logits" in found else found
