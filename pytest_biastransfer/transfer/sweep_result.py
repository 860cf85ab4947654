"""What a sweep found: one table, one plot, plain data for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final

from pytest_biastransfer.display.content import Content
from pytest_biastransfer.display.displayed import Displayed, Row
from pytest_biastransfer.display.positions import are_numbers, value_text
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer.recipe import Recipe
from pytest_biastransfer.transfer.result_charts import charts_over, figure_rows
from pytest_biastransfer.transfer.result_table import result_table
from pytest_biastransfer.transfer.seed_repeats import Repeated

# The value of a setting: plain data, for JSON.
Setting = str | int | float | bool | None

# The fields of a recipe that can be swept: models are repeated with several seeds anyway.
FIELDS: Final = tuple(field.name for field in dataclasses.fields(Recipe) if field.name != "seed")


@dataclass(frozen=True)
class SweepPoint:
    """What was found with one choice of settings.

    Attributes
    ----------
    question
        The name of the figure.
    bound
        What a limit of it is.
    settings
        The settings, by name: source, mode, level and size where they were given, and the recipe where it is not the
        default one.
    found
        The figures over the seeds.
    """

    question: str
    bound: Bound
    settings: Mapping[str, Setting]
    found: Repeated

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain data for JSON."""
        return {
            "question": self.question,
            "bound": self.bound,
            "settings": dict(self.settings),
            "found": self.found.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> SweepPoint:
        """Return what `to_json` returned as plain data."""
        return cls(plain["question"], plain["bound"], plain["settings"], Repeated.from_json(plain["found"]))


@dataclass(frozen=True, repr=False)
class Sweep(Displayed):
    """The points of a sweep: one table, one plot.

    Attributes
    ----------
    points
        At least one; all have the same question. Of points with the same settings, the last one counts.
    """

    points: Sequence[SweepPoint]

    @property
    def axes(self) -> Mapping[str, Sequence[Setting]]:
        """The values of each setting that differs between the points; numbers ascend."""
        return {name: values for name, values in self._values().items() if len(values) > 1}

    @property
    def shared(self) -> Mapping[str, Setting]:
        """The settings that all points have in common."""
        return {name: values[0] for name, values in self._values().items() if len(values) == 1}

    def _values(self) -> dict[str, list[Setting]]:
        names = dict.fromkeys(name for point in self.points for name in point.settings)
        return {name: _ascending(dict.fromkeys(_setting(point, name) for point in self.points)) for name in names}

    def _by_settings(self) -> list[tuple[tuple[Setting, ...], Repeated]]:
        """Return what was found by the values of the axes, sorted by these."""
        axes = self.axes
        by_values = {tuple(_setting(point, name) for name in axes): point.found for point in self.points}
        order = [{value: place for place, value in enumerate(values)} for values in axes.values()]

        def places(row: tuple[tuple[Setting, ...], Repeated]) -> list[int]:
            return [places_of[value] for places_of, value in zip(order, row[0], strict=True)]

        return sorted(by_values.items(), key=places)

    def __str__(self) -> str:
        first, names = self.points[0], list(self.axes)
        by = f", by {' and '.join(names)}" if names else ""
        lines = [f"{first.question}{by}"]
        if self.shared:
            lines.append("  with " + ", ".join(f"{name}={value_text(value)}" for name, value in self.shared.items()))
        rows = [([value_text(value) for value in values], repeated) for values, repeated in self._by_settings()]
        return "\n".join([*lines, *(f"  {line}" for line in result_table(names, rows, first.bound))])

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as plain data for JSON."""
        return {
            "question": self.points[0].question,
            "axes": {name: list(values) for name, values in self.axes.items()},
            "settings": dict(self.shared),
            "points": [
                {"settings": dict(zip(self.axes, values, strict=True)), **repeated.to_json()}
                for values, repeated in self._by_settings()
            ],
        }

    def _facts(self) -> Row:
        return {"question": self.points[0].question, **self.shared}

    def _rows(self) -> list[Row]:
        return [
            row
            for values, repeated in self._by_settings()
            for row in figure_rows(dict(zip(self.axes, values, strict=True)), repeated)
        ]

    def _content(self) -> Content:
        names, question = list(self.axes), self.points[0].question
        shared = ", ".join(f"{name}={value_text(value)}" for name, value in self.shared.items())
        return Content(
            title=question,
            subtitle=f"by {' and '.join(names)}" if names else "",
            sentences=[f"With {shared}." if shared else ""],
            charts=charts_over(self._horizontal, question, self._curves(), bound=self.points[0].bound),
        )

    @property
    def _horizontal(self) -> str:
        """The setting on the horizontal axis: the one of numbers with the most values; the others make curves."""
        return max(self.axes, key=lambda name: (are_numbers(self.axes[name]), len(self.axes[name])), default="")

    def _curves(self) -> Mapping[str, Mapping[Setting, Repeated]]:
        curves: dict[str, dict[Setting, Repeated]] = {}
        for values, repeated in self._by_settings():
            settings = dict(zip(self.axes, values, strict=True))
            place = settings.pop(self._horizontal, "")
            others = [
                value_text(value) if isinstance(value, str) else f"{name} {value_text(value)}"
                for name, value in settings.items()
            ]
            curves.setdefault(", ".join(others), {})[place] = repeated
        return curves


def _setting(point: SweepPoint, name: str) -> Setting:
    """Return a setting of a point; the default of a recipe where the point has no other."""
    default = plain_setting(getattr(Recipe, name)) if name in FIELDS else None
    return point.settings.get(name, default)


def _ascending(values: Iterable[Setting]) -> list[Setting]:
    """Return numbers in ascending order; of other values, the order is kept."""
    listed = list(values)
    return sorted(listed) if are_numbers(listed) else listed  # type: ignore[type-var]


def plain_setting(value: Any) -> Setting:
    """Return a value as plain data; what is no number in words.

    >>> plain_setting((10, 15))
    '(10, 15)'
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else str(value)
