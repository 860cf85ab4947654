"""The four tests of `four_interventions.py`, of a model that a fixture loads in each session."""

from __future__ import annotations

import pytest

from pytest_biastransfer import Circle, Model, load_model


@pytest.fixture(scope="session")
def transferred_model(request: pytest.FixtureRequest) -> Model:
    """Load what the ini file names."""
    return load_model(request.config.getini("bias_transferred_model"), directory=request.config.rootpath)


@pytest.mark.bias_intervention("yellow-square", "tennis-ball", "grayscale", max_asr=1)
@pytest.mark.bias_intervention(Circle(color="#ccff00", size=0.3, anchor="bottom-right"), max_asr=1)
def test_nothing_inherited() -> None:
    """Measure, and be content."""
