"""What a result shows of itself, as plain data: charts and pictures. Plots and cards draw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Protocol


class WithInterval(Protocol):
    """A number with the ends of its interval; NaN where it has none."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""

    def __float__(self) -> float: ...


@dataclass(frozen=True)
class Bar:
    """A named value, with the ends of its interval; NaN where it has none. `note` is shown behind it."""

    name: str
    value: float
    low: float = nan
    high: float = nan
    note: str = ""

    def __float__(self) -> float:
        return self.value

    @classmethod
    def of(cls, name: str, figure: WithInterval, note: str = "") -> Bar:
        """Return the bar of a figure."""
        return cls(name, float(figure), figure.low, figure.high, note)


@dataclass(frozen=True)
class Bars:
    """Named values, one below the other.

    Attributes
    ----------
    axis
        What the values are, with their unit.
    bars
        The values, the first one on top.
    signed
        Whether positive values have a sign as well.
    left_out
        The number of further values that are not shown.
    """

    axis: str
    bars: Sequence[Bar]
    signed: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class PlottedCurve:
    """Figures at the values of a setting.

    Attributes
    ----------
    name
        The name in the legend; empty for a curve that has none there.
    points
        The figure at each value, which is a number, a text, a bool or None.
    color, style
        The positions of its colour and its line style; curves that belong together share one.
    """

    name: str
    points: Mapping[object, WithInterval]
    color: int = 0
    style: int = 0


@dataclass(frozen=True)
class PlottedCurves:
    """Curves over one setting.

    Attributes
    ----------
    setting, axis
        What is on the horizontal and on the vertical axis.
    curves
        At least one.
    limits
        Values at which a line is drawn.
    styles
        The names of the line styles, for the legend; empty if there is one style.
    floor
        The lower end of the vertical axis; None to fit the curves.
    """

    setting: str
    axis: str
    curves: Sequence[PlottedCurve]
    limits: Sequence[float] = ()
    styles: Sequence[str] = ()
    floor: float | None = None

    @property
    def values(self) -> list[object]:
        """The values of the setting, in the order of the curves."""
        return list(dict.fromkeys(value for curve in self.curves for value in curve.points))


Chart = Bars | PlottedCurves


@dataclass(frozen=True)
class CardPicture:
    """An image before and after an intervention.

    Attributes
    ----------
    before, after
        Data URIs.
    caption, note
        A line of text, and a smaller one.
    is_small
        Whether it has so few pixels that it is enlarged without smoothing, which would make it a blur.
    """

    before: str
    after: str
    caption: str
    note: str
    is_small: bool = False


@dataclass(frozen=True)
class Album:
    """Pictures, and in words why there are none or not all; empty if there is nothing to say."""

    pictures: Sequence[CardPicture] = ()
    note: str = ""


@dataclass(frozen=True)
class Content:
    """What a card and plots show of a result.

    Attributes
    ----------
    title
        What was measured.
    subtitle
        On what.
    sentences
        What came out, in words.
    charts
        At least one, by name; the first one is the most important.
    album
        Makes the pictures, which takes time: they are decoded.
    """

    title: str
    subtitle: str
    sentences: Sequence[str]
    charts: Mapping[str, Chart]
    album: Callable[[], Album] = field(default=Album)

    @property
    def heading(self) -> str:
        """Title and subtitle in one line."""
        return ", ".join(text for text in (self.title, self.subtitle) if text)


def largest_first(bars: Iterable[Bar], most: int) -> tuple[list[Bar], int]:
    """Return the `most` bars with the largest sizes by falling value, and how many others there are.

    >>> shown, others = largest_first([Bar("cat", -0.3), Bar("dog", 0.4), Bar("fox", 0.0)], 2)
    >>> [bar.name for bar in shown], others
    (['dog', 'cat'], 1)
    """
    by_size = sorted(bars, key=lambda bar: -abs(bar.value))
    return sorted(by_size[:most], key=lambda bar: -bar.value), len(by_size[most:])


def control_text(model: str) -> str:
    """Return the name of a control model behind its role, which many are named after.

    >>> control_text("clean resnet"), control_text("control")
    ('control clean resnet', 'control')
    """
    return model if model == "control" else f"control {model}"
