"""Reports are read from JSON as they were written; other files are refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.report import read_report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON report: *"),
        ('{"schema": 99}', "has schema version 99, and this is pytest-biastransfer for version 1. Write it again *"),
        ("[]", "has schema version None, *"),
        ('{"schema": 1}', "is not a report as pytest --bias-report=NAME.json writes it: *sessions*"),
        ('{"schema": 1, "sessions": 5}', "is not a report as *: expected a list, found 5"),
        ('{"schema": 1, "sessions": [], "tests": [{"name": 1}]}', "is not a report as *: expected a string, found 1"),
    ],
)
def test_other_files_are_no_reports(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(content)
    with pytest.raises(ReportError) as error:
        read_report(path)
    assert re.fullmatch(f"{re.escape(str(path))} {message.replace('*', '.*')}", str(error.value), re.DOTALL)
