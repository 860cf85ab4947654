"""The errors that a user can cause, each with one clear message.

Every message names the place, what was found, what was expected and what to type next.
"""

from __future__ import annotations

from collections.abc import Iterable


class BiasTransferError(Exception):
    """Base of all errors of this package: a mistake in what it was given, never a verdict."""


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


_MOST_SHOWN = 30


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
