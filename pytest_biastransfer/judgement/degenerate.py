"""Limits that hold because a model does not work are no passed tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.judgement.verdict import Verdict
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement


def defects(expectation: Expectation, measurement: Measurement | GapMeasurement) -> list[str]:
    """Return which of the models that the limits depend on are degenerate, and why; none if that is allowed."""
    if expectation.allow_degenerate:
        return []
    control = measurement.control if expectation.needs_control else None
    measurements = {"model": measurement} | ({} if control is None else {"control": control})
    return [
        f"{role} {measurement.model} on {measurement.dataset}: {measurement.clean.defect}"
        for role, measurement in measurements.items()
        if measurement.clean.defect
    ]


def require_working_models(
    expectation: Expectation, measurement: Measurement | GapMeasurement, verdict: Verdict
) -> None:
    """Raise `BiasTransferError` where all limits hold for a model that does not tell its classes apart."""
    broken = defects(expectation, measurement)
    if broken and verdict.holds:
        raise BiasTransferError(
            f"The limits hold ({expectation.limits_text}), but for a model that does not tell its classes apart, which "
            f"says nothing of its bias.\n"
            + "".join(f"  {defect}\n" for defect in broken)
            + "Check the checkpoint, the preprocessing and the order of the classes; if the model is meant to be like "
            "this, write allow_degenerate=True in the marker"
        )
