"""Figures as properties of a test case, for the file that pytest's own option ``--junitxml`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.performance import Performance
    from pytest_biastransfer.reporting.record import Record


def properties(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a test's properties.

    Both are strings. execnet carries them from a worker to the controller, and it cannot serialize numpy's numbers.
    """
    if record.total:
        yield "bias.images", str(record.n)
    for text in record.stale:
        yield "bias.stale", text
    # The record has the model under test first, and then the control model if there is one.
    for prefix, performance in zip(("bias.model", "bias.control"), record.performances, strict=False):
        yield from _performance(prefix, performance)
    for metric, value in (("asr", record.asr), ("skew", record.skew)):
        if value is not None:
            # repr keeps all digits: the consumers of these properties are programs.
            yield f"bias.{metric}", repr(value)
    for limit in record.limits:
        name = f"bias.{limit.metric}{f' at {limit.at}' if limit.at else ''}"
        # The values of each result are there already.
        if limit.at or not (limit.metric in METRICS and METRICS[limit.metric].in_summary):
            yield name, repr(limit.observed.value)
        yield f"{name}.low", repr(limit.observed.low)
        yield f"{name}.high", repr(limit.observed.high)
        yield f"{name}.limit", repr(limit.limit)
        yield f"{name}.holds", "undecided" if limit.holds is None else str(limit.holds).lower()
        if limit.control is not None:
            yield f"{name}.control", repr(limit.control.value)


def _performance(prefix: str, performance: Performance) -> Iterator[tuple[str, str]]:
    """Yield the properties of a model on unchanged images."""
    yield prefix, f"{performance.model} on {performance.dataset}"
    if performance.accuracy is not None:
        yield f"{prefix}.accuracy", repr(performance.accuracy.value)
        yield f"{prefix}.accuracy.low", repr(performance.accuracy.low)
        yield f"{prefix}.accuracy.high", repr(performance.accuracy.high)
    yield f"{prefix}.classes", str(performance.classes)
    yield f"{prefix}.predicted_classes", str(performance.predicted_classes)
    yield f"{prefix}.largest_prediction_share", repr(performance.most_predicted.share)
    yield f"{prefix}.largest_label_share", repr(performance.most_labelled.share)
    if performance.defect:
        yield f"{prefix}.defect", performance.defect
