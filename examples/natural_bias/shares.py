"""The distribution of the predicted classes with and without a trigger, as a plot and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer import Measurement

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """What a trigger does to a model's predictions.

    Attributes
    ----------
    before, after
        The share of each class, [classes], which adds up to 1.
    """

    measurement: Measurement
    before: Shares
    after: Shares

    @classmethod
    def of(cls, measurement: Measurement) -> Shift:
        """Return what a measurement knows of it."""
        before = measurement.clean_shares
        return cls(measurement, before, before + measurement.class_shift)


def table(shifts: Mapping[str, Mapping[str, Shift]]) -> str:
    """Return the figures of each trigger and model, with intervals, as a markdown table."""
    lines = ["| trigger | model | accuracy | asr | skew | gained most |", "|---|---|---|---|---|---|"]
    for trigger, by_model in shifts.items():
        for model, shift in by_model.items():
            found = shift.measurement
            figures = (found.accuracy.text(), found.asr.text(), found.skew.text())
            lines.append(f"| {trigger} | {model} | {' | '.join(figures)} | {found.most_gained} |")
    return "\n".join(lines) + "\n"


def plot(shifts: Mapping[str, Mapping[str, Shift]], path: Path) -> None:
    """Write one panel for each trigger and model."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = len(next(iter(shifts.values())))
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(2.4 * columns, 1.3 * len(shifts) + 1), dpi=100, layout="constrained")
        rows = figure.subplots(len(shifts), columns, sharex=True, sharey=True, squeeze=False)
        for axes, (trigger, by_model) in zip(rows, shifts.items(), strict=True):
            _row(axes, trigger, by_model)
        figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        figure.savefig(path)


def _row(row: Sequence[Any], trigger: str, by_model: Mapping[str, Shift]) -> None:
    row[0].set_ylabel(trigger)
    for axes, (model, shift) in zip(row, by_model.items(), strict=True):
        places = np.arange(len(shift.before))
        axes.bar(places - 0.2, shift.before, 0.4, color="#999999", label="without the trigger")
        axes.bar(places + 0.2, shift.after, 0.4, color="#7f9f00", label="with it")
        axes.set_title(f"{model}: skew {float(shift.measurement.skew):.2f}", fontsize=8)
        axes.set_xticks(places, shift.measurement.class_names, rotation=90)
