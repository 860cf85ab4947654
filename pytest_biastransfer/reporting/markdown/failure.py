"""A failed test as a folded section: flipped images, class shifts, the curve of a ladder, and the message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plain_text import command_line
from pytest_biastransfer.reporting.markdown.markup import code, escaped, fenced, folded
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.curves import Curves
    from pytest_biastransfer.reporting.image_strips import ImageStrips
    from pytest_biastransfer.reporting.report import Details, Result, Shares, Shown

_MOST_MESSAGE_CHARACTERS: Final = 4_000
_MOST_MOVES: Final = 5


def failure(test: Result, strips: ImageStrips | None) -> Iterator[str]:
    """Yield the lines of the section of one test."""
    yield from folded(test.name, _content(test, strips))


def _content(test: Result, strips: ImageStrips | None) -> Iterator[str]:
    if test.details is not None:
        yield from strip(test.details.shown, strips)
    if test.curves is not None:
        yield from _curves(test.curves)
    if test.details is not None:
        yield from _details(test.details)
    if test.message:
        yield from fenced(test.message, _MOST_MESSAGE_CHARACTERS)
    yield ""
    yield f"To repeat it: {code(command_line(['pytest', test.name]))}"


def strip(images: Sequence[Shown], strips: ImageStrips | None) -> Iterator[str]:
    """Yield a link to a strip of images, and what each of them is; nothing if there are no pictures."""
    if strips is None:
        return
    from pytest_biastransfer.reporting.image_strips import with_pictures

    shown = with_pictures(images)
    if not shown:
        return
    yield f"![{counted(len(shown), 'image')}, clean above intervened]({strips.link(shown)})"
    yield ""
    yield f"Clean above intervened: {', '.join(f'{image.index} {_flip(image)}' for image in shown)}"
    yield ""


def _flip(image: Shown) -> str:
    return f"{escaped(image.before, 40)} → {escaped(image.after, 40)}"


def _curves(curves: Curves) -> Iterator[str]:
    strengths = " | ".join(f"{strength:g}" for strength in curves.strengths)
    yield f"| {escaped(curves.field)} | {strengths} |"
    yield "|---" * (1 + len(curves.strengths)) + "|"
    for curve in curves.curves:
        observed = " | ".join("–" if interval is None else interval.text for interval in curve.observed)
        yield f"| {escaped(curve.metric)}{escaped(curves.breaking_text(curve))} | {observed} |"
    yield ""


def _details(details: Details) -> Iterator[str]:
    if details.moves:
        frequent = details.moves[:_MOST_MOVES]
        moves = ", ".join(f"{escaped(move.before)} → {escaped(move.after)} {move.images:,}" for move in frequent)
        yield f"{details.flips:,} predictions change: {moves}{', …' * (len(details.moves) > len(frequent))}"
        yield ""
    for shares in details.shares:
        yield f"{shares.role} ({escaped(shares.model)}): {_most_changed(shares)}"
        yield ""


def _most_changed(shares: Shares) -> str:
    rows = zip(shares.classes, shares.before, shares.after, strict=True)
    ordered = sorted(rows, key=lambda row: -abs(row[2] - row[1]))[:_MOST_MOVES]
    return ", ".join(f"{escaped(name)} {before:.1%} → {after:.1%}" for name, before, after in ordered)
