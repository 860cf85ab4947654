"""The errors that a user can cause.

Every message has four parts: the location, what was found, what was expected, and what to type next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_biastransfer.plain_text import shown


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class if it has none.

    >>> first_line(ValueError("not a picture")), first_line(TimeoutError())
    ('not a picture', 'TimeoutError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


class BiasTransferError(Exception):
    """Base class of all errors of this package: a mistake in the input, never a verdict.

    Messages contain names that others chose, such as those of classes and files. Control characters and commands to a
    CI system in them are escaped.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(shown(argument) if isinstance(argument, str) else argument for argument in arguments))


class MarkerError(BiasTransferError):
    """A marker whose arguments are missing, unknown or impossible."""


class SpecError(BiasTransferError):
    """A spec string (``scheme:rest?key=value``) that cannot be parsed, or whose files are missing."""


class ModelError(BiasTransferError):
    """A model that cannot be loaded, or whose output is not ``[batch, classes]`` finite logits."""


class DatasetError(BiasTransferError):
    """A dataset that is empty, unreadable, or whose items are not labelled images."""


class InterventionError(BiasTransferError):
    """An invalid declaration of an intervention, or one that does not return images."""


class TooSmallError(InterventionError):
    """An intervention that changes no pixel at the resolution of the images."""


class TransferError(BiasTransferError):
    """Training with invalid arguments, with an unsuitable source model, or that failed."""


class BaselineError(BiasTransferError):
    """A file of accepted measurements that cannot be read or written."""


class ReportError(BiasTransferError):
    """A report that cannot be written, or a file that is not a report."""


class CompilationWarning(UserWarning):
    """A model that cannot be compiled; it is evaluated without compilation."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(shown(argument) if isinstance(argument, str) else argument for argument in arguments))


class UnjudgedWarning(UserWarning):
    """Groups of a gap have too few images to be judged."""


class StoreWarning(UserWarning):
    """A file of the prediction store that could not be used; the results are not affected."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(shown(argument) if isinstance(argument, str) else argument for argument in arguments))


_MOST_LISTED = 30


def percent_hint(value: object) -> str:
    """Return a hint that names the share, if a value looks like a percentage; otherwise an empty text.

    >>> percent_hint(5), percent_hint("12.5%"), percent_hint(1.5)
    ('; did you mean 0.05?', '; did you mean 0.125?', '')
    """
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return ""
    # A number between 1 and 2 is as likely a misplaced decimal point.
    is_percentage = text.endswith("%") or abs(number) >= 2
    share = number / 100
    return f"; did you mean {share:.10g}?" if is_percentage and abs(share) <= 1 and not isinstance(value, bool) else ""


def first_of(texts: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """Return texts in a row, and how many are left out if there are more than `most`.

    >>> first_of(["fc.weight", "fc.bias"]), first_of(["a", "b", "c", "d"], most=2, separator="; ")
    ('fc.weight, fc.bias', 'a; b; and 2 more')
    """
    rest = [f"and {len(texts) - most:,} more"] if len(texts) > most else []
    return separator.join([*texts[:most], *rest])


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint that suggests the valid name most similar to `name`, and lists the valid names.

    >>> nearest("max_ars", ["max_asr", "max_skew"])
    'did you mean max_asr? Valid: max_asr, max_skew'
    """
    import difflib  # Only error messages need it.

    names = sorted(valid)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"did you mean {matches[0]}? " if matches else ""
    listed = names if len(names) <= _MOST_LISTED else [*names[:_MOST_LISTED], f"... ({len(names)} in all)"]
    return f"{suggestion}Valid: {', '.join(listed)}"
