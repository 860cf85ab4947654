"""Numbers, names and outcomes as texts of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup, escape

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.names import BOUND_SIGNS
from pytest_biastransfer.plain_text import command_line
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.limit_words import verdict_words
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report import Result

OUTCOME_LABELS: Final[Mapping[Outcome, str]] = {
    "failed": "failed",
    "error": "error",
    "lost": "lost",
    "xpassed": "passed unexpectedly",
    "passed": "passed",
    "xfailed": "failed as expected",
    "skipped": "skipped",
}
# The classes of the style sheet: `bad` demands action, `odd` is unusual.
TONES: Final[Mapping[Outcome, str]] = {
    "failed": "bad",
    "error": "bad",
    "lost": "bad",
    "xpassed": "odd",
    "passed": "good",
    "xfailed": "odd",
    "skipped": "odd",
}
# What the images are that a test shows, by the name of their set; see `Details.counted`.
_SHOWN: Final[Mapping[str, str]] = {
    "hits": "Images that hit the target",
    "put_into_target": "Images that are put into the target",
    "lost": "Images that are no longer classified correctly",
}
# HTML forbids control characters, UTF-8 cannot encode the lone surrogates that Python makes of undecodable file names,
# and characters that change the direction of text could make a name read as another one.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
# Terminal colours: messages of other plugins may contain them.
_COLORS: Final = re.compile("\x1b\\[[0-9;]*m")


def printable(text: str) -> str:
    """Return a text with a replacement character for each character that a page must not contain.

    >>> printable("a\\x00b\\udcff")
    'a\ufffdb\ufffd'
    """
    return _UNPRINTABLE.sub("\ufffd", _COLORS.sub("", text).replace("\r\n", "\n"))


def figure(value: float | None) -> str:
    """Return a metric in three decimals.

    >>> figure(0.38149), figure(None)
    ('0.381', 'undefined')
    """
    # Adding 0.0 turns a negative zero into zero.
    return "undefined" if value is None else f"{round(value, 3) + 0.0:.3f}"


def spread(interval: Interval) -> str:
    """Return the ends of a confidence interval; empty if there is none.

    >>> spread(Interval(0.381, 0.367, 0.395, 0.95, 5000))
    '0.367 to 0.395'
    """
    return "" if interval.low is None or interval.high is None else f"{figure(interval.low)} to {figure(interval.high)}"


def percent(share: float | None) -> str:
    """Return a probability in per cent; empty if it is None.

    >>> percent(0.8149), percent(None)
    ('81\\xa0%', '')
    """
    # The no-break space keeps number and sign on one line.
    return "" if share is None else f"{share * 100:.0f}\N{NO-BREAK SPACE}%"


def percentage(share: float) -> str:
    """Return a share in per cent, without the sign: the heading of its column has it.

    >>> percentage(0.08149)
    '8.1'
    """
    return f"{share * 100:.1f}"


def duration(seconds: float) -> str:
    """Return a duration.

    >>> duration(0.041), duration(12.3), duration(754)
    ('0.04 s', '12.3 s', '12 min 34 s')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def moment(started: str) -> str:
    """Return the start of a session, to the minute.

    >>> moment("2025-05-04T03:02:01+00:00")
    '2025-05-04 03:02'
    """
    return started[:16].replace("T", " ")


def bound(limit: Limit) -> str:
    """Return what a limit demands of its metric, without the metric's name.

    >>> bound(Limit("gap", 0.1, "point", True, "", Interval(-0.03, None, None, None, 8), None, "size at most"))
    'in size at most 0.1'
    """
    manner = {"certain": ", for certain", "significant": " unless by chance"}.get(limit.rule, "")
    wanted = {"at least": "at least", "size at most": "in size at most"}.get(limit.bound, "at most")
    return f"{wanted} {limit.limit:g}{manner}"


def basis(interval: Interval) -> str:
    """Return the confidence of an interval and the number of images behind it.

    >>> basis(Interval(0.381, 0.367, 0.395, 0.95, 5000))
    '95 % intervals, n = 5,000'
    """
    intervals = "" if interval.confidence is None else f"{interval.confidence * 100:g} % intervals, "
    return f"{intervals}n = {interval.n:,}"


def broken(limit: Limit) -> str:
    """Return the observed metric and the limit that it exceeds.

    >>> broken(Limit("asr", 0.05, "point", False, "", Interval(0.381, 0.367, 0.395, 0.95, 5000), None))
    'asr 0.381 (0.367 to 0.395), limit 0.05'
    """
    ends = spread(limit.observed)
    control = ""
    if limit.control is not None:
        base = base_of(limit.metric)
        control = f"; {'control' if base == limit.metric else f'{base} of the control'} {figure(limit.control.value)}"
    notes = "".join(f", {note}" for note in limit.notes)
    observed = f"{limit.metric} {figure(limit.observed.value)}"
    sign = BOUND_SIGNS.get(limit.bound, "")
    return f"{observed}{f' ({ends})' if ends else ''}, limit {sign}{limit.limit:g}{notes}{control}"


def verdict(limit: Limit) -> str:
    """Return the verdict on a limit, in the words of the summary, with what else is shown beside the limit.

    >>> observed = Interval(0.38, 0.36, 0.4, 0.95, 500)
    >>> verdict(Limit("gap", 0.05, "point", False, "", observed, None, remarks=["worst night"]))
    'above limit, worst night'
    """
    return ", ".join([verdict_words(limit), *limit.circumstances])


def standing(text: str) -> str:
    """Return the standing of a test beside its baseline: `Result.standing`, where nothing is accepted in other words.

    >>> standing("new"), standing("unchanged")
    ('none', 'unchanged')
    """
    return "none" if text == "new" else text


def command(names: Sequence[str], *options: str) -> str:
    """Return the command that runs tests.

    >>> command(["test_pets.py::test_bias[yellow-square]"])
    'pytest "test_pets.py::test_bias[yellow-square]"'
    """
    return command_line(["pytest", *options, *names])


def shown_title(counted: str) -> str:
    """Return the heading of the images that a test shows.

    >>> shown_title("hits"), shown_title("flipped")
    ('Images that hit the target', 'Flipped images')
    """
    return _SHOWN.get(counted, "Flipped images")


def breakable(text: str) -> Markup:
    """Return a name that may be broken behind its underscores and colons; what is copied from the page has no breaks.

    >>> breakable("test_a<b")
    Markup('test_<wbr>a&lt;b')
    """
    return Markup(re.sub("(_|::)(?=.)", r"\1<wbr>", str(escape(printable(text)))))


def unbroken(text: str) -> Markup:
    """Return a sentence in which no line breaks within ``n = 299`` or ``p = 7e-42``.

    >>> unbroken("n = 299 (p = 7e-42)")
    Markup('<span class="whole">n = 299</span> (<span class="whole">p = 7e-42</span>)')
    """
    return Markup(re.sub(r"\b[np] = [\d.,e-]*\d", r'<span class="whole">\g<0></span>', str(escape(printable(text)))))


def measured_images(test: Result) -> str:
    """Return the number of evaluated images, and of how many if not of all."""
    if not test.total:
        return ""
    return f"{test.images:,}" if test.images >= test.total else f"{test.images:,} of {test.total:,}"
