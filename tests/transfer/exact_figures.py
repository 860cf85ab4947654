"""Figures that are known exactly, as if measured on all images there are."""

from __future__ import annotations

from pytest_biastransfer.metrics.statistics.estimate import Estimate


def exactly(*values: float) -> list[Estimate]:
    """Return figures whose intervals about the images have no width: only what differs between them is unsure."""
    return [Estimate(value, low=value, high=value) for value in values]
