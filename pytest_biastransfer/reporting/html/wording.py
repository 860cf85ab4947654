"""Figures, names and outcomes as the page says them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report import Result

OUTCOME_WORDS: Final[Mapping[Outcome, str]] = {
    "failed": "failed",
    "error": "error",
    "lost": "lost",
    "xpassed": "passed unexpectedly",
    "passed": "passed",
    "xfailed": "failed as expected",
    "skipped": "skipped",
}
# A class of the style sheet: what asks for action, what is unusual, and what is well.
TONES: Final[Mapping[Outcome, str]] = {
    "failed": "bad",
    "error": "bad",
    "lost": "bad",
    "xpassed": "odd",
    "passed": "good",
    "xfailed": "odd",
    "skipped": "odd",
}
# HTML cannot hold these, and UTF-8 cannot hold the lone surrogates that stand for the bytes of odd file names.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
# A terminal's colours, in messages of other plugins.
_COLORS: Final = re.compile("\x1b\\[[0-9;]*m")


def printable(text: str) -> str:
    """Return a text without the characters that a page cannot hold.

    >>> printable("a\\x00b\\udcff")
    'a\ufffdb\ufffd'
    """
    return _UNPRINTABLE.sub("\ufffd", _COLORS.sub("", text).replace("\r\n", "\n"))


def figure(value: float | None) -> str:
    """Return a metric.

    >>> figure(0.38149), figure(None)
    ('0.381', 'undefined')
    """
    # Nobody wants to read of a negative zero.
    return "undefined" if value is None else f"{round(value, 3) + 0.0:.3f}"


def spread(found: Interval) -> str:
    """Return the ends of an interval, or nothing where it has none.

    >>> spread(Interval(0.381, 0.367, 0.395, 0.95, 5000))
    '0.367 to 0.395'
    """
    return "" if found.low is None or found.high is None else f"{figure(found.low)} to {figure(found.high)}"


def percent(share: float | None) -> str:
    """Return a probability.

    >>> percent(0.8149), percent(None)
    ('81\\xa0%', '')
    """
    # What belongs together stays in one line.
    return "" if share is None else f"{share * 100:.0f}\N{NO-BREAK SPACE}%"


def percentage(share: float) -> str:
    """Return a share of the predictions, under a heading that says so.

    >>> percentage(0.08149)
    '8.1'
    """
    return f"{share * 100:.1f}"


def duration(seconds: float) -> str:
    """Return how long something took.

    >>> duration(0.041), duration(12.3), duration(754)
    ('0.04 s', '12.3 s', '12 min 34 s')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def moment(started: str) -> str:
    """Return when a session started, to the minute.

    >>> moment("2025-05-04T03:02:01+00:00")
    '2025-05-04 03:02'
    """
    return started[:16].replace("T", " ")


def demand(limit: Limit) -> str:
    """Return what was demanded.

    >>> demand(Limit("asr", 0.05, "certain", True, "", Interval(0.01, 0.0, 0.03, 0.95, 900), None))
    'asr at most 0.05, for certain'
    """
    how = {"certain": ", for certain", "significant": " unless by chance"}.get(limit.rule, "")
    return f"{limit.metric} at most {limit.limit:g}{how}"


def basis(found: Interval) -> str:
    """Return what a figure and its interval rest on.

    >>> basis(Interval(0.381, 0.367, 0.395, 0.95, 5000))
    '95 % intervals, n = 5,000'
    """
    intervals = "" if found.confidence is None else f"{found.confidence * 100:g} % intervals, "
    return f"{intervals}n = {found.n:,}"


def broken(limit: Limit) -> str:
    """Return by what a limit does not hold.

    >>> broken(Limit("asr", 0.05, "point", False, "", Interval(0.381, 0.367, 0.395, 0.95, 5000), None))
    'asr 0.381 (0.367 to 0.395), limit 0.05'
    """
    ends = spread(limit.observed)
    control = ""
    if limit.control is not None:
        base = base_of(limit.metric)
        control = f"; {'control' if base == limit.metric else f'{base} of the control'} {figure(limit.control.value)}"
    note = f", {limit.note}" if limit.note else ""
    observed = f"{limit.metric} {figure(limit.observed.value)}"
    return f"{observed}{f' ({ends})' if ends else ''}, limit {limit.limit:g}{note}{control}"


def verdict(limit: Limit) -> str:
    """Return what became of a limit, in a word, with what there is to add."""
    word = {True: "holds", False: "exceeded", None: "not decided"}[limit.holds]
    if limit.holds is False and limit.observed.value is None:
        word = "cannot hold"
    return f"{word}, {limit.note}" if limit.note not in ("", word) else word


def command(names: Sequence[str], *options: str) -> str:
    """Return what to type to run tests.

    >>> command(["test_pets.py::test_bias[yellow-square]"])
    "pytest 'test_pets.py::test_bias[yellow-square]'"
    """
    return shlex.join(["pytest", *options, *names])


def measured_images(test: Result) -> str:
    """Return how many images were looked at, and of how many if not of all."""
    if not test.total:
        return ""
    return f"{test.images:,}" if test.images >= test.total else f"{test.images:,} of {test.total:,}"
