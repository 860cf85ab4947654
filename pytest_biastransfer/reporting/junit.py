"""Figures as properties of a test case, in the file that pytest's own ``--junitxml`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.record import Record


def properties(record: Record) -> Iterator[tuple[str, str]]:
    """Yield names and values, as text: what else there is, execnet may not carry."""
    if record.total:
        yield "bias.images", str(record.seen)
    for text in record.stale:
        yield "bias.stale", text
    for metric, value in (("asr", record.asr), ("skew", record.skew)):
        if value is not None:
            yield f"bias.{metric}", repr(value)
    for limit in record.limits:
        name = f"bias.{limit.metric}"
        if limit.metric not in ("asr", "skew"):
            yield name, repr(limit.observed.value)
        yield f"{name}.low", repr(limit.observed.low)
        yield f"{name}.high", repr(limit.observed.high)
        yield f"{name}.limit", repr(limit.limit)
        yield f"{name}.holds", "undecided" if limit.holds is None else str(limit.holds).lower()
        if limit.control is not None:
            yield f"{name}.control", repr(limit.control.value)
