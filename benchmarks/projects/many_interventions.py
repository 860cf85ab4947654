"""Two hundred bias tests with limits that hold, whatever is measured."""

from __future__ import annotations

import pytest

from pytest_biastransfer import Square

SQUARES = [Square(size=0.1 + 0.04 * size, color=(255, 25 * green, 0)) for size in range(20) for green in range(10)]


@pytest.mark.bias_intervention(*SQUARES, max_asr=1)
def test_nothing_inherited() -> None:
    """Measure, and be content."""
