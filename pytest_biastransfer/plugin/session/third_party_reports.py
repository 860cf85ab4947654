"""What other reports show of a bias test: pytest's ``--junitxml``, pytest-html and allure-pytest."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.reporting.junit import properties

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.reporting.record import Record


def show_record(item: pytest.Item, report: pytest.TestReport, record: Record) -> None:
    """Add a record to what other plugins' reports show of a test, if one of them is written."""
    if report.when != "call":
        return
    if item.config.getoption("xmlpath", None):
        # Of the item: the file is written when it is torn down, from what is known then. A test may have several
        # reports of its call, such as those of its subtests, and the last one counts.
        figures = dict(properties(record))
        others = [(name, value) for name, value in item.user_properties if name not in figures]
        item.user_properties[:] = [*others, *figures.items()]
    if item.config.stash[SETTINGS].html_path and record.details is not None:
        _show_pictures(report, record.details)


def _show_pictures(report: pytest.TestReport, details: Mapping[str, Any]) -> None:
    """Add the shown images, or the example, to what pytest-html shows of a test."""
    from pytest_biastransfer.reporting.from_json import from_plain
    from pytest_biastransfer.reporting.report import Details

    images = from_plain(Details, details)
    shown = [image for image in images.shown if image.clean] or [image for image in (images.example,) if image]
    if not shown:
        return
    from pytest_biastransfer.reporting.picture_strip import picture_strip

    picture = picture_strip(shown)
    if picture is not None:
        # As pytest_html.extras.image makes them: importing it is not needed, and workers may lack it.
        extra = {
            "name": "clean and intervened",
            "format_type": "image",
            "content": picture.data,
            "mime_type": picture.media_type,
            "extension": picture.media_type.rpartition("/")[2],
        }
        report.extras = [*getattr(report, "extras", ()), extra]  # type: ignore[attr-defined]


def withhold(item: pytest.Item) -> str | None:
    """Have allure-pytest, which writes an outcome where a test runs, write that this one has none yet.

    Return the uuid that its result has there; None where that has another reason not to be green, or is not written.
    """
    listener: Any = item.config.pluginmanager.getplugin("allure_listener")
    result = None if listener is None else listener.allure_logger.get_test(None)
    if result is None or result.status != "passed":
        return None
    result.status = "unknown"
    return str(result.uuid)


def settle(config: pytest.Config, result_uuid: str, report: pytest.TestReport) -> None:
    """Write the outcome of a test into allure-pytest's result that was written without one."""
    directory = Path(config.invocation_params.dir, config.getoption("allure_report_dir"))
    for path in directory.glob("*-result.json"):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Another session's, which is being written.
            continue
        if result.get("uuid") == result_uuid:
            result["status"] = report.outcome
            if report.failed:
                text = str(report.longrepr)
                result["statusDetails"] = {"message": text, "trace": text}
            path.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


def report_lost(config: pytest.Config, report: pytest.TestReport) -> None:
    """Write a result into allure-pytest's directory for a test whose worker did not live to write it."""
    listener: Any = config.pluginmanager.getplugin("allure_listener")
    if listener is None:
        return
    from allure_commons.model2 import StatusDetails, TestResult

    now = round(time.time() * 1000)
    result = TestResult(
        uuid=str(uuid.uuid4()),
        name=report.nodeid.rpartition("::")[2],
        fullName=report.nodeid,
        status="broken",
        statusDetails=StatusDetails(message=str(report.longrepr)),
        start=now,
        stop=now,
    )
    listener.allure_logger.schedule_test(result.uuid, result)
    listener.allure_logger.close_test(result.uuid)
