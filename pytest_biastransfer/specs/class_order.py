"""The orders in which libraries sort class names to number them."""

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
    """Return the indices that sort names as timm sorts class folders.

    >>> natural_order(["10", "2", "b", "A"])
    [1, 0, 3, 2]
    """
    return sorted(range(len(names)), key=lambda index: _natural_key(names[index]))


def ambiguity(names: Sequence[str], order: ClassOrder | None, *, fixed: bool) -> str:
    """Return in words why the numbers of the classes are ambiguous; an empty text if they are not.

    Parameters
    ----------
    names
        Sorted by code points.
    order
        The order of the model's library; None if it is unknown.
    fixed
        Whether the dataset's own library numbers the classes, by code points.
    """
    if fixed and order != "natural":
        return ""
    possible: list[ClassOrder] = [order] if order and not fixed else ["string", "natural"]
    if "natural" in possible and len({str(_natural_key(name)) for name in names}) < len(names):
        return f"{_shown(names)}, some of which timm treats as equal, so that their order is arbitrary"
    reference: list[str] | None = None
    for library in possible:
        # macOS may store decomposed names, other systems composed ones, and the two sort differently.
        for form in (None, "NFC", "NFD"):
            ordered = _sorted(names, library, form)
            if reference is None:
                reference = ordered
            elif ordered != reference:
                where = f"by {_LIBRARIES[library]}" if form is None else "where accents are composed"
                here = f"by {_LIBRARIES[possible[0]]} here"
                return f"numbered as {_shown(reference)} {here}, and as {_shown(ordered)} {where}"
    return ""


def _sorted(names: Sequence[str], order: ClassOrder, form: Literal["NFC", "NFD"] | None) -> list[str]:
    def key(name: str) -> str | list[int | str]:
        text = name if form is None else unicodedata.normalize(form, name)
        return text if order == "string" else _natural_key(text)

    return sorted(names, key=key)


def _natural_key(name: str) -> list[int | str]:
    return [int(piece) if index % 2 else piece for index, piece in enumerate(_DIGITS.split(name.lower()))]


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown}, ..." if len(names) > _MOST_SHOWN else shown
