"""The typed places where the plugin keeps what it knows of a session and of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.markers import Case
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.settings import Settings

# Of the session, on the config.
SETTINGS = pytest.StashKey["Settings"]()
EVALUATORS = pytest.StashKey["dict[str, Evaluator]"]()
DATASETS = pytest.StashKey["dict[int, tuple[object, LabelledImages]]"]()

# Of a test, on the item.
CASE = pytest.StashKey["Case"]()
MEASUREMENT = pytest.StashKey["Measurement"]()
RECORD = pytest.StashKey["Record"]()
