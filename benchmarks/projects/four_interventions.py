"""Four bias tests with limits that hold, whatever is measured."""

from __future__ import annotations

import pytest

from pytest_biastransfer import Circle


@pytest.mark.bias_intervention("yellow-square", "tennis-ball", "grayscale", max_asr=1)
@pytest.mark.bias_intervention(Circle(color="#ccff00", size=0.3, anchor="bottom-right"), max_asr=1)
def test_nothing_inherited() -> None:
    """Measure, and be content."""
