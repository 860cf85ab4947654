"""The orders in which libraries number classes that have names only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, Literal

ClassOrder = Literal["string", "natural"]
"""As torchvision and Hugging Face sort (by code points), or as timm does (numbers as numbers, case ignored)."""
_LIBRARIES: Final[dict[ClassOrder, str]] = {"string": "torchvision", "natural": "timm"}
_DIGITS: Final = re.compile(r"(\d+)")
_MOST_SHOWN: Final = 12


def natural_order(names: Sequence[str]) -> list[int]:
    """Return the indices of names, sorted as timm sorts folders.

    >>> natural_order(["10", "2", "b", "A"])
    [1, 0, 3, 2]
    """
    return sorted(range(len(names)), key=lambda index: _natural_key(names[index]))


def ambiguity(names: Sequence[str], order: ClassOrder | None, *, fixed: bool) -> str:
    """Return in words what leaves the number of each class open, or nothing where all is clear.

    Parameters
    ----------
    names
        Sorted by code points.
    order
        The order of the model's library; None where that is not known.
    fixed
        Whether the dataset's own library has numbered the classes, by code points.
    """
    if fixed and order != "natural":
        return ""
    possible: list[ClassOrder] = [order] if order and not fixed else ["string", "natural"]
    if "natural" in possible and len({str(_natural_key(name)) for name in names}) < len(names):
        return f"{_shown(names)}, of which timm takes some for equal, and leaves their order to chance"
    first: list[str] | None = None
    for library in possible:
        # Names from a Mac's disk are decomposed, elsewhere composed: then accents sort differently.
        for form in (None, "NFC", "NFD"):
            ordered = _sorted(names, library, form)
            if first is None:
                first = ordered
            elif ordered != first:
                where = f"by {_LIBRARIES[library]}" if form is None else "where accents are composed"
                here = f"by {_LIBRARIES[possible[0]]} here"
                return f"numbered as {_shown(first)} {here}, and as {_shown(ordered)} {where}"
    return ""


def _sorted(names: Sequence[str], order: ClassOrder, form: Literal["NFC", "NFD"] | None) -> list[str]:
    def key(name: str) -> str | list[int | str]:
        text = name if form is None else unicodedata.normalize(form, name)
        return text if order == "string" else _natural_key(text)

    return sorted(names, key=key)


def _natural_key(name: str) -> list[int | str]:
    return [int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(name.lower()))]


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown}, ..." if len(names) > _MOST_SHOWN else shown
