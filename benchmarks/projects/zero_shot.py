"""Bias tests of a zero-shot classifier, and how many texts its tower of texts embedded in this process.

The environment variable ``SIDE`` has the side of the square in the first test, ``COUNTS`` a directory for the counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_biastransfer import Circle, Square


@pytest.fixture(scope="session", autouse=True)
def _counted() -> Iterator[None]:
    import transformers

    kind: Any = transformers.CLIPTextModelWithProjection
    forward, build = kind.forward, kind.__init__
    counts = {"texts": 0, "towers": 0}

    def counted_forward(self: Any, *arguments: Any, **options: Any) -> Any:
        counts["texts"] += len(options["input_ids"])
        return forward(self, *arguments, **options)

    def counted_build(self: Any, *arguments: Any, **options: Any) -> None:
        counts["towers"] += 1
        build(self, *arguments, **options)

    kind.forward, kind.__init__ = counted_forward, counted_build
    yield
    kind.forward, kind.__init__ = forward, build
    Path(os.environ["COUNTS"], str(os.getpid())).write_text(json.dumps(counts))


@pytest.mark.bias_intervention(Square(size=float(os.environ["SIDE"])), max_asr=1, allow_degenerate=True)
def test_a_square() -> None:
    """Measure, and be content."""


@pytest.mark.bias_intervention(Circle(size=0.3), max_asr=1, allow_degenerate=True)
def test_a_circle() -> None:
    """Measure, and be content."""
