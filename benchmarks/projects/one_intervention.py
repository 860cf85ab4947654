"""One bias test with a limit that holds, whatever is measured."""

from __future__ import annotations

import pytest


@pytest.mark.bias_intervention("yellow-square", max_asr=1)
def test_nothing_inherited() -> None:
    """Measure, and be content."""
