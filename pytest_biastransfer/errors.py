"""The errors that a user can cause, each with one clear message.

Every message names the place, what was found, what was expected and what to type next.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_biastransfer.plain_text import shown


class BiasTransferError(Exception):
    """Base of all errors of this package: a mistake in what it was given, never a verdict.

    Messages have names of strangers in them; what a terminal or a log would obey in these is escaped.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(shown(part) if isinstance(part, str) else part for part in arguments))


class MarkerError(BiasTransferError):
    """A marker that declares something impossible, or nothing."""


class SpecError(BiasTransferError):
    """A spec string (``scheme:rest?key=value``) that cannot be understood."""


class ModelError(BiasTransferError):
    """A model that cannot be loaded, or whose output is not ``[batch, classes]`` finite logits."""


class DatasetError(BiasTransferError):
    """A dataset that is empty, unreadable, or whose items are not labelled images."""


class InterventionError(BiasTransferError):
    """An intervention that is declared wrongly, or that returns something else than images."""


class TooSmallError(InterventionError):
    """An intervention of which no pixel would be seen at the resolution of the images."""


class TransferError(BiasTransferError):
    """Training that was asked for wrongly, that the source does not allow, or that failed."""


class BaselineError(BiasTransferError):
    """A file of accepted measurements that cannot be understood, or not be written."""


class ReportError(BiasTransferError):
    """A report that cannot be written, or a file that is none."""


class StoreWarning(UserWarning):
    """Something in the prediction store could not be used; the results are right all the same."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(shown(part) if isinstance(part, str) else part for part in arguments))


_MOST_SHOWN = 30


def percent_hint(value: object) -> str:
    """Return a half sentence that names the share where a percentage was written; nothing for what is none.

    >>> percent_hint(5), percent_hint("12.5%"), percent_hint(1.5)
    ('; did you mean 0.05?', '; did you mean 0.125?', '')
    """
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return ""
    # What is little more than 1 is as likely a misplaced point.
    is_percentage = text.endswith("%") or abs(number) >= 2
    share = number / 100
    return f"; did you mean {share:.10g}?" if is_percentage and abs(share) <= 1 and not isinstance(value, bool) else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a half sentence that names the valid word nearest to `name`, and all the others.

    >>> nearest("max_ars", ["max_asr", "max_skew"])
    'did you mean max_asr? Valid: max_asr, max_skew'
    """
    import difflib  # Only mistakes need it.

    words = sorted(valid)
    found = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    suggestion = f"did you mean {found[0]}? " if found else ""
    shown = words if len(words) <= _MOST_SHOWN else [*words[:_MOST_SHOWN], f"... ({len(words)} in all)"]
    return f"{suggestion}Valid: {', '.join(shown)}"
