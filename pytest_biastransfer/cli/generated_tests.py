"""Generates a file of bias tests from a ranking: one marker per intervention, with limits at today's level."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.display.content import control_text
from pytest_biastransfer.errors import ReportError

if TYPE_CHECKING:
    import datetime

    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.search.ranking import Ranked
    from pytest_biastransfer.search.severity_effect import SeverityEffect

_STEPS: Final = 1000
# Tolerates the rounding of binary fractions, so that 0.154 does not become 0.155.
_SLACK: Final = 1e-9


@dataclass(frozen=True)
class ScanInfo:
    """The facts about a scan that the docstring of the generated file states.

    Attributes
    ----------
    model, dataset, control
        Names; `control` is None without a control model.
    n, total
        The number of evaluated images, and of all images.
    day
        The day of the measurement.
    positive
        The decision that was judged; none for the predicted class.
    """

    model: str
    dataset: str
    control: str | None
    n: int
    total: int
    day: datetime.date
    positive: tuple[int | str, ...] = ()

    @property
    def images(self) -> str:
        """The images as text.

        >>> import datetime
        >>> ScanInfo("pets", "val", None, 500, 5000, datetime.date(2025, 1, 31)).images
        '500 of 5,000 images of val'
        """
        sample = f"{self.n:,} of " if self.n < self.total else ""
        return f"{sample}{self.total:,} images of {self.dataset}"


def todays_limit(figure: Estimate) -> float:
    """Return the limit at today's level: the upper end of the interval, rounded up to three decimals.

    The limit is at least 0: a model that is less sensitive than its control may become as sensitive as the control.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> todays_limit(Estimate(0.144, low=0.134, high=0.1541))
    0.155
    >>> todays_limit(Estimate(-0.05, low=-0.07, high=-0.03))
    0.0
    """
    highest = max(figure.high, figure, 0.0)
    return math.ceil(highest * _STEPS - _SLACK) / _STEPS


def limit_to_come(figure: Estimate) -> float:
    """Return a limit that only an improved model can meet: the lower end of the interval, rounded down.

    The limit is below the figure itself, so that today's model exceeds it.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> limit_to_come(Estimate(1.0, low=0.8316, high=1.0)), limit_to_come(Estimate(1.0, low=1.0, high=1.0))
    (0.831, 0.999)
    """
    lowest = min(figure.low, figure - 1 / _STEPS)
    return max(0.0, math.floor(lowest * _STEPS + _SLACK) / _STEPS)


def is_held(effect: Ranked) -> bool:
    """Whether a limit at today's level can be exceeded: no figure exceeds a limit of 1."""
    return todays_limit(effect.figure) < 1


def first_tests_text(ranking: Sequence[Ranked], info: ScanInfo, severities: Sequence[SeverityEffect] = ()) -> str:
    """Return the text of the file, for at least one intervention."""
    ladders = [effect for effect in severities if todays_limit(effect.mean) < 1]
    held = [effect for effect in ranking if is_held(effect)]
    unheld = [effect for effect in ranking if not is_held(effect)]
    control = f", beside the {control_text(info.control)}" if info.control else ""
    floor = ", at least 0" if info.control else ""
    lines = [
        *_docstring(
            f"Biases of {info.model}: they must not grow.",
            f"Measured on {info.day.isoformat()} on {info.images}{control}, by",
            "biastransfer scan. The number after a marker is the measured value;",
            f"the limit is the upper end of its interval{floor}. Lower the limit when the model improves.",
            "The tests request the fixture bias, so that they fail without the plugin instead of passing.",
        ),
        "",
        "import pytest",
        *(["", "from pytest_biastransfer import severities"] if ladders else ()),
        *(_held_tests(held, info) if held else ()),
        *(_expected_failures(unheld, info) if unheld else ()),
        *(_ladder_tests(ladders, info) if ladders else ()),
    ]
    return "\n".join(lines) + "\n"


def _held_tests(held: Sequence[Ranked], info: ScanInfo) -> list[str]:
    return [
        "",
        "",
        *(_marker(effect, todays_limit(effect.figure), info) for effect in held),
        "def test_nothing_inherited(bias):",
        '    """Each marker is a test of its own."""',
    ]


def _expected_failures(unheld: Sequence[Ranked], info: ScanInfo) -> list[str]:
    """Return the tests of effects that are too large for any limit. Each fails until the model improves."""
    metric = unheld[0].metric
    return [
        "",
        "",
        f'@pytest.mark.xfail(strict=True, reason="no limit is above today\'s {metric}")',
        *(_marker(effect, limit_to_come(effect.figure), info) for effect in unheld),
        "def test_worst_of_all(bias):",
        f'    """The {metric} is too high for a limit above it: each test is expected to exceed a limit below it.',
        "",
        "    If one of them turns red, the model has improved: move its marker above, with a limit at the new level.",
        '    """',
    ]


def _ladder_tests(ladders: Sequence[SeverityEffect], info: ScanInfo) -> list[str]:
    """Return the tests of corruptions: limits on the mean over their severities."""
    positive = _positive(info)
    return [
        "",
        "",
        *(
            f'@pytest.mark.bias_intervention(severities("{effect.name}"), {positive}max_mean_{effect.metric}='
            f"{todays_limit(effect.mean):g})  # {effect.mean:.3f}"
            for effect in ladders
        ),
        "def test_no_more_sensitive_to_degradations(bias):",
        '    """Each marker limits the mean over the five severities of ImageNet-C."""',
    ]


def _docstring(title: str, *text: str) -> list[str]:
    # Names come from users. They must neither end the string nor start an escape sequence.
    safe = [line.replace("\\", "\\\\").replace('"""', "'''") for line in (title, *text)]
    return [f'"""{safe[0]}', "", *safe[1:], '"""']


def _marker(effect: Ranked, limit: float, info: ScanInfo) -> str:
    name = json.dumps(effect.name, ensure_ascii=False)
    positive = _positive(info)
    return f"@pytest.mark.bias_intervention({name}, {positive}max_{effect.metric}={limit:g})  # {effect.figure:.3f}"


def _positive(info: ScanInfo) -> str:
    return "".join(f"positive={json.dumps(own, ensure_ascii=False)}, " for own in info.positive)


def require_new(path: Path) -> None:
    """Raise `ReportError` if a file of tests cannot be written, before anything is measured."""
    if path.exists():
        raise ReportError(f"{path}: exists already and is not overwritten; name another file, --out test_bias_2.py")
    if path.suffix != ".py":
        raise ReportError(f"--out {path}: expected a file of Python code, such as --out test_bias.py")
    if not path.parent.is_dir():
        raise ReportError(f"--out {path}: the directory {path.parent} does not exist; create it first")


def write_new(path: Path, text: str) -> None:
    """Write a new file. Raises `FileExistsError` if the file was created in the meantime."""
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
