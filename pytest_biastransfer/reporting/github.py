"""Annotations that GitHub Actions shows beside the lines of a pull request."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_biastransfer.plain_text import shown
from pytest_biastransfer.reporting.outcomes import FAILED, Outcome

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report


def workflow_commands(report: Report, root: str = ".", outcomes: Collection[Outcome] = FAILED) -> Iterator[str]:
    """Yield a workflow command for each test with one of the outcomes.

    GitHub reads these commands from the log of the job; its documentation calls them "workflow commands".

    Parameters
    ----------
    report
        The tests.
    root
        pytest's root directory, relative to the directory of the checked-out repository.
    outcomes
        Tests with other outcomes get no annotation.
    """
    for test in report.tests:
        if test.outcome in outcomes:
            file = posixpath.normpath(PurePath(root, test.file).as_posix())
            line = f",line={test.line}" if test.line else ""
            message = test.message or f"{test.name}: {test.outcome}"
            yield f"::error file={_property(file)}{line},title={_property(test.name)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    # The message of a test is not trusted: with a raw line break in it, its next line could be a command of its own.
    return shown(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # Colons and commas separate the properties of a command.
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
