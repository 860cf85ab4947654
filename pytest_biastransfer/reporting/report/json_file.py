"""A report as JSON. Other programs read it, and ``biastransfer compare`` reads it back."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.report.session_report import SCHEMA, Report


def to_plain(report: Report) -> dict[str, Any]:
    """Return a report as the plain data of its JSON: dictionaries, lists, texts and numbers, without NaN."""
    content: dict[str, Any] = json.loads(to_json(report))
    return content


def to_json(report: Report) -> str:
    """Return a report as JSON."""
    # NaN is not JSON, and other programs could not read the file. Undefined figures are None by now.
    return json.dumps(dataclasses.asdict(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_report(path: Path) -> Report:
    """Read a report that `to_json` made; raises `ReportError` for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read: {error.strerror}; expected a report of pytest --bias-report=NAME.json"
        ) from error
    except ValueError as error:
        raise ReportError(
            f"{path} is no JSON report: {error}. Write one with pytest --bias-report=NAME.json"
        ) from error
    version = content.get("schema") if isinstance(content, dict) else None
    if version != SCHEMA:
        raise ReportError(
            f"{path} has schema version {version!r}, and this is pytest-biastransfer for version {SCHEMA}. Write it "
            f"again with pytest --bias-report=NAME.json"
        )
    try:
        return typing.cast("Report", from_plain(Report, content))
    except (TypeError, KeyError, ValueError) as error:
        raise ReportError(f"{path} is not a report as pytest --bias-report=NAME.json writes it: {error}") from error
