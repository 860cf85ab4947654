"""What a worker tells the controller arrives as it was, and a worker of another release is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_biastransfer.baseline.entry import EntryKey
from pytest_biastransfer.plugin.collection.collected_tests import CollectedTests
from pytest_biastransfer.plugin.records import VERSION, AttachedRecord, RecordReader, attach, from_text, to_text
from pytest_biastransfer.plugin.xdist.worker_messages import Mailbox
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.record import Record

LIMIT = Limit("asr", 0.1, "point", False, "not significant", Interval(0.25, 0.2, 0.3, 0.95, 100), None, remarks=[])
FINDINGS: list[dict[str, Any]] = [{"question": "asr", "cases": {}, "limit": None}]


def report() -> pytest.TestReport:
    return pytest.TestReport("test_a.py::test", ("test_a.py", 0, "test"), {}, "passed", None, "call")


def test_a_record_arrives_as_it_was() -> None:
    record = Record(asr=0.25, limits=[LIMIT], bases=[], stale=[], dropped=[], performances=[], key=["test", "case"])
    sent = AttachedRecord(record, ["a note"], ["a remark"], [{"point": {}, "save": []}], loading=0.5, findings=FINDINGS)
    carried = report()
    attach(carried, sent)
    assert RecordReader().read(carried) == sent


def test_a_report_without_a_record_has_an_empty_one() -> None:
    assert RecordReader().read(report()) == AttachedRecord()


def test_notes_and_points_of_a_test_that_is_no_bias_test_arrive() -> None:
    sent = AttachedRecord(None, ["a note"], [], [{"point": {}, "save": []}], findings=FINDINGS)
    carried = report()
    attach(carried, sent)
    assert RecordReader().read(carried) == sent


def test_each_record_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    carried, reader = report(), RecordReader()
    attach(carried, AttachedRecord(Record(asr=0.25)))
    first = reader.read(carried)
    monkeypatch.setattr(json, "loads", None)
    assert reader.read(carried) is first


def test_a_worker_of_another_release_ends_the_session() -> None:
    text = to_text({"asr": 1}).replace(f'"version": {VERSION}', f'"version": {VERSION + 1}')
    with pytest.raises(pytest.exit.Exception, match=f"records of version {VERSION + 1}, expected {VERSION}; install"):
        from_text(text)


def test_messages_outlive_their_worker(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mailbox")
    assert (mailbox.tests(), mailbox.collected(), mailbox.held(), mailbox.progress()) == (set(), [], [], [])
    tests = CollectedTests(frozenset({EntryKey("test_a.py::test", "case")}), frozenset({"test_a.py"}))
    progress = Progress("model on dataset", 256, 512, 256, 2.0)
    mailbox.write_tests("gw0", ["a", "b"])
    mailbox.write_tests("gw1", ["b", "c"])
    mailbox.write_collected("gw0", tests)
    mailbox.write_collected("gw1", None)
    mailbox.write_held("gw1", [{"worker": "gw1"}])
    mailbox.write_progress("gw0", progress)
    assert mailbox.tests() == {"a", "b", "c"}
    assert mailbox.collected() == [tests, None]
    assert mailbox.held() == [{"worker": "gw1"}]
    assert mailbox.progress() == [progress]
    mailbox.forget_progress("gw0")
    assert mailbox.progress() == []
    mailbox.remove()
    assert not mailbox.directory.exists()
