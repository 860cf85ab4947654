"""Takes the logits from a model's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def logits_of(output: Any) -> Any:
    """Return the entry ``logits`` of a mapping, as Hugging Face's models return it; any other output as it is.

    >>> logits_of({"loss": None, "logits": [0.5, 0.5]})
    [0.5, 0.5]
    """
    return output["logits"] if isinstance(output, Mapping) and "logits" in output else output
