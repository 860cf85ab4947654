"""The hook ``pytest_bias_session_finish``: the results of a session for other tools, as the JSON report has them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report


def is_implemented(config: pytest.Config) -> bool:
    """Return whether a conftest file or a plugin implements the hook, so that reports need the details of tests."""
    return bool(config.hook.pytest_bias_session_finish.get_hookimpls())


class FinishCaller:
    """Calls the hook when everything else of the session is done: the report files and the terminal summary.

    Parameters
    ----------
    config
        The session's configuration.
    finished_report
        Returns the session's results at its end; None if it was not able to run tests.
    """

    def __init__(self, config: pytest.Config, finished_report: Callable[[], Report | None]) -> None:
        self._config = config
        self._finished_report = finished_report

    # The terminal writes its summary in a wrapper, too. The outermost wrapper is done last, so that an implementation
    # which raises an error, such as that of a server that is down, hides no result.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Call the hook if there are results; an error in it is an error of the session."""
        yield
        report = self._finished_report()
        if report is None or not report.tests or not is_implemented(self._config):
            return
        from pytest_biastransfer.reporting.report import to_plain

        self._config.hook.pytest_bias_session_finish(report=to_plain(report), config=self._config)
