"""The typed keys of the state that the plugin keeps on pytest's config, of a session, and on its items, of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_biastransfer.baseline.comparison import BaselineComparison
    from pytest_biastransfer.baseline.file import Entries
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.canary import Canary, Stale
    from pytest_biastransfer.evaluation.device_memory import DeviceMemory
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.executor import Executor
    from pytest_biastransfer.interventions import Registry
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs
    from pytest_biastransfer.plugin.loaded_models import LoadedModels
    from pytest_biastransfer.plugin.records import RecordReader
    from pytest_biastransfer.plugin.results import Results
    from pytest_biastransfer.plugin.session.held_test import HeldTest
    from pytest_biastransfer.plugin.session.sweep_gathering import SweepGatherer
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.summary_table import Line
    from pytest_biastransfer.store import Store

# Of the session, on the config.
SETTINGS: Final[pytest.StashKey[Settings]] = pytest.StashKey()
STORE: Final[pytest.StashKey[Store]] = pytest.StashKey()
EVALUATORS: Final[pytest.StashKey[dict[tuple[str, int | None], Evaluator]]] = pytest.StashKey()
# Of the setting or the hook; None where this process computes.
EXECUTOR: Final[pytest.StashKey[Executor | None]] = pytest.StashKey()
# By device.
DEVICE_MEMORY: Final[pytest.StashKey[dict[str, DeviceMemory]]] = pytest.StashKey()
# The fixtures that the test which is set up now measures; None of a test that is no bias test.
WATCHED_FIXTURES: Final[pytest.StashKey[Sequence[str] | None]] = pytest.StashKey()
# The test that is being measured now.
MEASURING: Final[pytest.StashKey[TestInputs]] = pytest.StashKey()
CANARY: Final[pytest.StashKey[Canary | None]] = pytest.StashKey()
MODELS_OF_SPECS: Final[pytest.StashKey[dict[str, Model]]] = pytest.StashKey()
LOADED_MODELS: Final[pytest.StashKey[LoadedModels]] = pytest.StashKey()
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
# The images' keys of each dataset, by its fingerprint; and the datasets whose keys this process has stated already.
IMAGE_KEYS: Final[pytest.StashKey[dict[str, str]]] = pytest.StashKey()
STATED_IMAGES: Final[pytest.StashKey[set[str]]] = pytest.StashKey()
HELD: Final[pytest.StashKey[list[HeldTest]]] = pytest.StashKey()
# Of the controller, or of the only process: outcomes, records, and lines for the summary.
RECORDS: Final[pytest.StashKey[RecordReader]] = pytest.StashKey()
RESULTS: Final[pytest.StashKey[Results]] = pytest.StashKey()
SWEEPS: Final[pytest.StashKey[SweepGatherer]] = pytest.StashKey()
REPORT_LINES: Final[pytest.StashKey[list[Line]]] = pytest.StashKey()
COMPARED: Final[pytest.StashKey[dict[str, BaselineComparison]]] = pytest.StashKey()
BASELINE_LINES: Final[pytest.StashKey[list[Line]]] = pytest.StashKey()

# Of a test, on the item.
MEASURED: Final[pytest.StashKey[MeasuredTest]] = pytest.StashKey()
VERDICT: Final[pytest.StashKey[Verdict]] = pytest.StashKey()
BODY_PASSED: Final[pytest.StashKey[bool]] = pytest.StashKey()
# With the verdict on all limits; a test that failed before has none.
RECORD: Final[pytest.StashKey[Record]] = pytest.StashKey()
# The stale predictions that were dropped from the store while it ran.
STALE: Final[pytest.StashKey[list[Stale]]] = pytest.StashKey()
# Whether it passed and may still be a regression.
UNSETTLED: Final[pytest.StashKey[bool]] = pytest.StashKey()
# Remarks on its models, which are shown once a session.
REMARKS: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
# Points of sweeps that it measured, with the files to write, as `AttachedRecord` has them.
SWEEP_POINTS: Final[pytest.StashKey[list[dict[str, Any]]]] = pytest.StashKey()
# Figures in several cases that it found out, such as attributions, as plain data of `Finding`.
FINDINGS: Final[pytest.StashKey[list[dict[str, Any]]]] = pytest.StashKey()
# Findings besides its verdict, for a section of the summary.
NOTES: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
