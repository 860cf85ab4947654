"""The entry of a ladder: the figures and the evidence of all strengths, each under its name and strength."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.entry import Entry

# Between the name of a figure and the strength that it is of: "asr at sigma 0.02".
_AT: Final = " at "
# Figures and evidence of the images without the intervention.
_WITHOUT_STRENGTH: Final = ("accuracy", "clean_target_rate", "misclassified", "unlabelled")


def entry_of_strengths(entries: Mapping[str, Entry], declaration: str) -> Entry:
    """Return the entries of all strengths as one.

    What is of the images without the intervention, such as the accuracy, has no strength in its name.

    Parameters
    ----------
    entries
        The entry of each strength, by the strength in words, such as ``"sigma 0.02"``.
    declaration
        The ladder in words.
    """
    own = list(entries.values())
    return dataclasses.replace(
        own[0],
        intervention=declaration,
        figures=_joined({strength: entry.figures for strength, entry in entries.items()}),
        evidence=_joined({strength: entry.evidence for strength, entry in entries.items()}),
    )


def at_strength(entry: Entry, strength: str) -> Entry:
    """Return what an entry says of one strength; the entry itself where it has no strengths."""
    if not strength:
        return entry
    return dataclasses.replace(
        entry,
        figures=_selected(entry.figures, strength),
        evidence=_selected(entry.evidence, strength),
        seeds=tuple(at_strength(seed, strength) for seed in entry.seeds),
    )


def strengths_of(*entries: Entry) -> Sequence[str]:
    """Return the strengths of entries of one ladder; ``""`` alone for entries without strengths."""
    names = (name for entry in entries for name in entry.figures)
    return list(dict.fromkeys(name.partition(_AT)[2] for name in names if _AT in name)) or [""]


def _joined(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name if name in _WITHOUT_STRENGTH else f"{name}{_AT}{strength}": value
        for strength, part in parts.items()
        for name, value in part.items()
    }


def _selected(part: Mapping[str, Any], strength: str) -> dict[str, Any]:
    of_all = {name: value for name, value in part.items() if _AT not in name}
    ending = f"{_AT}{strength}"
    return of_all | {name.removesuffix(ending): value for name, value in part.items() if name.endswith(ending)}
