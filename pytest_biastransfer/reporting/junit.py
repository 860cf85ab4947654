"""Figures as properties of a test case, in the file that pytest's own ``--junitxml`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.performance import Performance
    from pytest_biastransfer.reporting.record import Record


def properties(record: Record) -> Iterator[tuple[str, str]]:
    """Yield names and values, as text: what else there is, execnet may not carry."""
    if record.total:
        yield "bias.images", str(record.seen)
    for text in record.stale:
        yield "bias.stale", text
    # The first is the model's own, another one the control model's.
    for prefix, found in zip(("bias.model", "bias.control"), record.performances, strict=False):
        yield from _performance(prefix, found)
    for metric, value in (("asr", record.asr), ("skew", record.skew)):
        if value is not None:
            yield f"bias.{metric}", repr(value)
    for limit in record.limits:
        name = f"bias.{limit.metric}"
        # The values of the summary's columns are there whether they are limited or not.
        if not (limit.metric in METRICS and METRICS[limit.metric].in_summary):
            yield name, repr(limit.observed.value)
        yield f"{name}.low", repr(limit.observed.low)
        yield f"{name}.high", repr(limit.observed.high)
        yield f"{name}.limit", repr(limit.limit)
        yield f"{name}.holds", "undecided" if limit.holds is None else str(limit.holds).lower()
        if limit.control is not None:
            yield f"{name}.control", repr(limit.control.value)


def _performance(prefix: str, found: Performance) -> Iterator[tuple[str, str]]:
    """Yield how well a model does on unchanged images."""
    yield prefix, f"{found.model} on {found.dataset}"
    if found.accuracy is not None:
        yield f"{prefix}.accuracy", repr(found.accuracy.value)
        yield f"{prefix}.accuracy.low", repr(found.accuracy.low)
        yield f"{prefix}.accuracy.high", repr(found.accuracy.high)
    yield f"{prefix}.classes", str(found.classes)
    yield f"{prefix}.predicted_classes", str(found.predicted_classes)
    yield f"{prefix}.largest_prediction_share", repr(found.most_predicted.share)
    yield f"{prefix}.largest_label_share", repr(found.most_labelled.share)
    if found.defect:
        yield f"{prefix}.defect", found.defect
