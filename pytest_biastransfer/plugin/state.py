"""The typed places where the plugin keeps what it knows of a session and of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_biastransfer.baseline.comparison import BaselineComparison
    from pytest_biastransfer.baseline.file import Entries
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.canary import Canary, Stale
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Registry
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.plugin.results import Results
    from pytest_biastransfer.plugin.runtest.report_details import TestInputs
    from pytest_biastransfer.plugin.session.held_reports import HeldTest
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.summary_table import Line
    from pytest_biastransfer.search.bias_search import SearchResult
    from pytest_biastransfer.store import Store

# Of the session, on the config.
SETTINGS: Final[pytest.StashKey[Settings]] = pytest.StashKey()
STORE: Final[pytest.StashKey[Store]] = pytest.StashKey()
EVALUATORS: Final[pytest.StashKey[dict[tuple[str, int | None], Evaluator]]] = pytest.StashKey()
CANARY: Final[pytest.StashKey[Canary | None]] = pytest.StashKey()
MODELS_OF_SPECS: Final[pytest.StashKey[dict[str, Model]]] = pytest.StashKey()
DATASETS_OF_SPECS: Final[pytest.StashKey[dict[str, LabelledImages]]] = pytest.StashKey()
DATASETS: Final[pytest.StashKey[dict[int, tuple[object, LabelledImages]]]] = pytest.StashKey()
# By the functions that the names come from.
REGISTRIES: Final[pytest.StashKey[dict[tuple[Any, ...], Registry]]] = pytest.StashKey()
BASELINE: Final[pytest.StashKey[Entries | None]] = pytest.StashKey()
# Where entries are to be pruned: the bias tests as they were collected, and the files that were.
COLLECTED_ITEMS: Final[pytest.StashKey[list[pytest.Item]]] = pytest.StashKey()
COLLECTED_FILES: Final[pytest.StashKey[set[Path]]] = pytest.StashKey()
DESELECTED: Final[pytest.StashKey[bool]] = pytest.StashKey()
# How many comparisons with the baseline the session makes at most, and the tests whose outcome depends on them.
COMPARISONS: Final[pytest.StashKey[int]] = pytest.StashKey()
HELD: Final[pytest.StashKey[list[HeldTest]]] = pytest.StashKey()
# Of the controller: what became of the baseline, and the bias tests that any worker collected.
RESULTS: Final[pytest.StashKey[Results]] = pytest.StashKey()
REPORT_LINES: Final[pytest.StashKey[list[Line]]] = pytest.StashKey()
COMPARED: Final[pytest.StashKey[dict[str, BaselineComparison]]] = pytest.StashKey()
BASELINE_LINES: Final[pytest.StashKey[list[Line]]] = pytest.StashKey()

# Of a test, on the item.
CASE: Final[pytest.StashKey[Case]] = pytest.StashKey()
GIVEN: Final[pytest.StashKey[TestInputs]] = pytest.StashKey()
SEARCHED: Final[pytest.StashKey[SearchResult]] = pytest.StashKey()
MEASUREMENT: Final[pytest.StashKey[Measurement | GapMeasurement]] = pytest.StashKey()
BODY_PASSED: Final[pytest.StashKey[bool]] = pytest.StashKey()
RECORD: Final[pytest.StashKey[Record]] = pytest.StashKey()
# What it found to be stale in the store.
STALE: Final[pytest.StashKey[list[Stale]]] = pytest.StashKey()
# Whether it passed and may still be a regression.
UNSETTLED: Final[pytest.StashKey[bool]] = pytest.StashKey()
# What is to be said once a session of the models that it was given.
REMARKS: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
# What it found out besides, for the summary.
NOTES: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
