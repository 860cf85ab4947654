"""What other reports show of a bias test: pytest's ``--junitxml``, and pytest-html."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.reporting.junit import properties
from pytest_biastransfer.stash import RECORD, SETTINGS

if TYPE_CHECKING:
    import pytest


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach to a test's report what other reports take from there, if one of them is written."""
    record = item.stash.get(RECORD, None)
    if record is None or report.when != "call":
        return
    if item.config.getoption("xmlpath", None):
        # Of the item: the file is written when it is torn down, from what is known then.
        item.user_properties.extend(properties(record))
    pictures = (record.details or {}).get("pictures")
    if item.config.stash[SETTINGS].html_path and pictures is not None:
        # As pytest_html.extras.image makes them: importing it is not needed, and workers may lack it.
        extra = {
            "name": "clean and intervened",
            "format_type": "image",
            "content": pictures["data"],
            "mime_type": pictures["media_type"],
            "extension": pictures["media_type"].rpartition("/")[2],
        }
        report.extras = [*getattr(report, "extras", ()), extra]  # type: ignore[attr-defined]
