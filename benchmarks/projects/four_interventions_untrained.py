"""Four bias tests of a network that was never trained: only their time counts."""

import pytest

from pytest_biastransfer import Circle, Square


@pytest.mark.bias_intervention(
    Square(size=0.2), Square(size=0.4), Circle(size=0.2), Circle(size=0.4), max_asr=1, allow_degenerate=True
)
def test_passes() -> None:
    """Measure, and be content."""
