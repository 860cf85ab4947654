"""Gathers the outcomes of all processes in one: the controller, or the only process of a session without workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.plugin.records import RecordReader
from pytest_biastransfer.plugin.results import Results
from pytest_biastransfer.plugin.session import stale_tests
from pytest_biastransfer.plugin.session.sweep_gathering import SweepGatherer
from pytest_biastransfer.plugin.state import RECORDS, RESULTS, SWEEPS

if TYPE_CHECKING:
    import pytest


def gather_results(config: pytest.Config) -> None:
    """Have this process gather the results, unless it is a worker."""
    if hasattr(config, "workerinput"):
        return
    reader = config.stash[RECORDS] = RecordReader()
    results = config.stash[RESULTS] = Results(reader)
    config.pluginmanager.register(results, "biastransfer-results")
    sweeps = config.stash[SWEEPS] = SweepGatherer(config, reader)
    config.pluginmanager.register(sweeps, "biastransfer-sweeps")
    config.pluginmanager.register(stale_tests, "biastransfer-stale-tests")
