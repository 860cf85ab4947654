"""A first file of bias tests, written from a ranking: one marker an intervention, with limits at today's level."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import ReportError

if TYPE_CHECKING:
    import datetime

    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.search.ranking import Ranked

_STEPS: Final = 1000
# What binary fractions miss of a step is no reason to go to the next one.
_SLACK: Final = 1e-9


@dataclass(frozen=True)
class ScanInfo:
    """What was measured, for the words on top of the file.

    Attributes
    ----------
    model, dataset, control
        In words; `control` is None without a control model.
    n, total
        How many images were looked at, of how many.
    day
        When.
    """

    model: str
    dataset: str
    control: str | None
    n: int
    total: int
    day: datetime.date

    @property
    def images(self) -> str:
        """The images in words.

        >>> import datetime
        >>> Scanned("pets", "val", None, 500, 5000, datetime.date(2025, 1, 31)).images
        '500 of 5,000 images of val'
        """
        some = f"{self.n:,} of " if self.n < self.total else ""
        return f"{some}{self.total:,} images of {self.dataset}"


def todays_limit(figure: Estimate) -> float:
    """Return the limit at the level of a figure: the upper end of its interval, rounded up to three decimals.

    It is never below 0: a model that minds less than its control is asked to mind no more than that.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> todays_limit(Estimate(0.144, low=0.134, high=0.1541))
    0.155
    >>> todays_limit(Estimate(-0.05, low=-0.07, high=-0.03))
    0.0
    """
    highest = max(figure.high, figure, 0.0)
    return math.ceil(highest * _STEPS - _SLACK) / _STEPS


def limit_to_come(figure: Estimate) -> float:
    """Return the limit that a model has to get better for: the lower end of the interval, rounded down.

    It is below the figure itself, so that today's model exceeds it.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> limit_to_come(Estimate(1.0, low=0.8316, high=1.0)), limit_to_come(Estimate(1.0, low=1.0, high=1.0))
    (0.831, 0.999)
    """
    lowest = min(figure.low, figure - 1 / _STEPS)
    return max(0.0, math.floor(lowest * _STEPS + _SLACK) / _STEPS)


def is_held(one: Ranked) -> bool:
    """Whether there is a limit at today's level: nothing exceeds a limit of 1."""
    return todays_limit(one.figure) < 1


def first_tests_text(ranking: Sequence[Ranked], scanned: ScanInfo) -> str:
    """Return the file's text, for at least one intervention."""
    held = [one for one in ranking if is_held(one)]
    others = [one for one in ranking if not is_held(one)]
    compared = f", beside the control {scanned.control}" if scanned.control else ""
    floor = ", at least 0" if scanned.control else ""
    lines = [
        *_docstring(
            f"Biases of {scanned.model}: what is there today must not grow.",
            f"Measured on {scanned.day.isoformat()} on {scanned.images}{compared}, by",
            "biastransfer scan. The number behind a marker is what was measured;",
            f"its limit is the upper end of that number's interval{floor}. Lower it when the model gets better.",
            "The tests ask for the fixture bias, so that without the plugin they fail instead of passing.",
        ),
        "",
        "import pytest",
        *(_held_tests(held) if held else ()),
        *(_expected_failures(others) if others else ()),
    ]
    return "\n".join(lines) + "\n"


def _held_tests(held: Sequence[Ranked]) -> list[str]:
    return [
        "",
        "",
        *(_marker(one, todays_limit(one.figure)) for one in held),
        "def test_nothing_inherited(bias):",
        '    """Each marker is a test of its own."""',
    ]


def _expected_failures(others: Sequence[Ranked]) -> list[str]:
    """Return the tests of what is so bad that no limit could be exceeded: each fails today, and as long as it is so."""
    metric = others[0].metric
    return [
        "",
        "",
        f'@pytest.mark.xfail(strict=True, reason="no limit is above today\'s {metric}")',
        *(_marker(one, limit_to_come(one.figure)) for one in others),
        "def test_worst_of_all(bias):",
        f'    """The {metric} is so high that nothing exceeds it: each is expected to exceed a limit below it.',
        "",
        "    When one of them turns red, the model got better: move its marker above, with a limit at the new level.",
        '    """',
    ]


def _docstring(title: str, *text: str) -> list[str]:
    # Names are a user's: they must neither end the string nor escape anything in it.
    safe = [line.replace("\\", "\\\\").replace('"""', "'''") for line in (title, *text)]
    return [f'"""{safe[0]}', "", *safe[1:], '"""']


def _marker(one: Ranked, limit: float) -> str:
    name = json.dumps(one.name, ensure_ascii=False)
    return f"@pytest.mark.bias_intervention({name}, max_{one.metric}={limit:g})  # {one.figure:.3f}"


def require_new(path: Path) -> None:
    """Raise `ReportError` before anything is measured if tests could not be written there."""
    if path.exists():
        raise ReportError(f"{path}: is there already and is not overwritten; name another file, --out test_bias_2.py")
    if path.suffix != ".py":
        raise ReportError(f"--out {path}: expected a file of Python code, such as --out test_bias.py")
    if not path.parent.is_dir():
        raise ReportError(f"--out {path}: there is no directory {path.parent}; make it first")


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there; raises `FileExistsError` if it has come into being meanwhile."""
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
