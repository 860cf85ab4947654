"""The record that a test's report carries to the controller, and to the reports of other plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.plain_text import shown
from pytest_biastransfer.plugin.collection.parametrize import is_bias_test
from pytest_biastransfer.plugin.records import AttachedRecord, attach
from pytest_biastransfer.plugin.state import EVALUATORS, FINDINGS, LOADED_MODELS, NOTES, REMARKS, SWEEP_POINTS

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.reporting.record import Record


def attach_record(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach to a test's report the figures of a bias test, and what any test found out besides."""
    bias = _bias_record(item, report) if is_bias_test(item) else None
    has_run = report.when == "call"
    notes = [shown(note) for note in item.stash.get(NOTES, [])] if has_run else []
    findings = item.stash.get(FINDINGS, []) if has_run else []
    remarks = [shown(remark) for remark in item.stash.get(REMARKS, [])] if has_run else []
    sweep_points = item.stash.get(SWEEP_POINTS, []) if has_run else []
    noted = item.config.stash.get(LOADED_MODELS, None)
    loaded = {} if noted is None else noted.take()
    if bias is not None or notes or remarks or sweep_points or loaded:
        loading = 0.0 if bias is None else _loading_seconds(item.config)
        attach(report, AttachedRecord(bias, notes, remarks, sweep_points, loading, loaded, findings))


def _loading_seconds(config: pytest.Config) -> float:
    return sum(evaluator.take_loading_seconds() for evaluator in config.stash.get(EVALUATORS, {}).values())


def _bias_record(item: pytest.Item, report: pytest.TestReport) -> Record | None:
    # Not imported by a session without bias tests.
    from pytest_biastransfer.plugin.runtest.bias_test import note_outcome
    from pytest_biastransfer.plugin.session.third_party_reports import show_record

    record = note_outcome(item, report)
    if record is not None:
        show_record(item, report, record)
    return record
