"""What a report says, as plain data: the one source of the JSON, the HTML, the Markdown, and of later comparisons."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.outcomes import SEVERITY, Outcome
from pytest_biastransfer.reporting.performance import Performance, once_each

# Grows when a reader of older documents would misunderstand a newer one.
SCHEMA: Final = 1

Kind = Literal["intervention", "search", "gap"]
Role = Literal["source", "transferred", "control"]


@dataclass(frozen=True)
class ReportedChange:
    """How a metric changed since it was accepted; see `pytest_biastransfer.baseline.regression.Change`."""

    metric: str
    before: float
    now: float
    p: float
    newly: int | None
    no_longer: int | None
    same_images: bool
    meaning: str


@dataclass(frozen=True)
class Shares:
    """The distribution of one model's predicted classes, without and with the intervention.

    Attributes
    ----------
    role, model
        Which model.
    classes
        Names of the classes with the largest shares or changes, at most 20, in the model's order.
    before, after
        Their shares of the predictions, in [0, 1].
    others
        What is left for all other classes, before and after; None if there are no others.
    """

    role: Role
    model: str
    classes: Sequence[str]
    before: Sequence[float]
    after: Sequence[float]
    others: Sequence[float] | None


@dataclass(frozen=True)
class Move:
    """How many predictions moved from one class to another."""

    before: str
    after: str
    images: int


@dataclass(frozen=True)
class Shown:
    """An image beside what an intervention makes of it.

    Attributes
    ----------
    index
        Its place in the dataset.
    label
        Its class in the dataset's words.
    before, after
        The predicted classes; the same if it is shown as an example of the intervention.
    confidence_before, confidence_after
        The probabilities of these, in [0, 1]; None where they were not computed.
    new
        Whether it flips now and did not when the baseline was accepted; None if that is not known.
    tile
        Which tile of the test's pictures is the clean image; the next one is the intervened one. None: no picture.
    """

    index: int
    label: str
    before: str
    after: str
    confidence_before: float | None = None
    confidence_after: float | None = None
    new: bool | None = None
    tile: int | None = None


@dataclass(frozen=True)
class Pictures:
    """All pictures of a test in one: tiles of one size, from left to right and from top to bottom.

    Attributes
    ----------
    data
        The file, in base64.
    media_type
        What it is, such as ``"image/webp"``.
    width, height
        Of a tile, in pixels.
    columns, tiles
        How many tiles there are in a row, and in all.
    """

    data: str
    media_type: str
    width: int
    height: int
    columns: int
    tiles: int


@dataclass(frozen=True)
class Group:
    """The figure of one group; `control` is that of the control model."""

    group: str
    observed: Interval
    control: Interval | None
    size: int
    judged: bool


@dataclass(frozen=True)
class Details:
    """What is known of a measured test besides its verdict.

    Attributes
    ----------
    kind, declaration
        What was measured, in words.
    model, dataset, control
        Names; the control's is empty if there is none.
    fixtures
        Where these come from: the fixtures' names, in that order.
    device
        What computed the predictions.
    metrics, control_metrics
        All figures, by name.
    shares
        The distributions of the predicted classes: of the source where it is known, the transferred and the control.
    moves
        The most frequent moves of the transferred model's predictions, most frequent first, and `flips` in all.
    example
        An image as the intervention shows it, where pictures were asked for.
    shown
        Flipped images, newly flipped ones first.
    groups
        Of a gap.
    pictures
        The tiles that `example` and `shown` name.
    """

    kind: Kind
    declaration: str
    model: str
    dataset: str
    control: str
    fixtures: Sequence[str]
    device: str
    metrics: Mapping[str, Interval]
    control_metrics: Mapping[str, Interval]
    shares: Sequence[Shares] = ()
    moves: Sequence[Move] = ()
    flips: int = 0
    example: Shown | None = None
    shown: Sequence[Shown] = ()
    groups: Sequence[Group] = ()
    pictures: Pictures | None = None


@dataclass(frozen=True)
class Result:
    """What became of one bias test.

    Attributes
    ----------
    name
        What can be typed after ``pytest``.
    file, line
        Where it is, relative to the root directory; lines count from 1, and 0 is unknown.
    outcome
        pytest's word, or ``"lost"`` where no process brought it to an end.
    seconds
        How long it took.
    message
        Why it failed, was skipped or is expected to fail; empty if it passed.
    images, total
        How many images were looked at, of how many; 0 if nothing was measured.
    limits
        The judged limits.
    standing
        Where it stands beside the baseline: ``"regression"``, ``"improvement"``, ``"unchanged"``, ``"not comparable"``
        where it would be an improvement were the model's accuracy not lower, ``"new"`` without an
        accepted measurement, a reason why it was not compared, or nothing where no baseline was asked for.
    changes
        How its metrics changed.
    notes
        What the test found out besides, such as an attribution, as text of several lines.
    stale
        What was found to be stale in the store while it was measured, and was measured again.
    details
        The rest; None if nothing was measured.
    key, entry
        The measurement as the baseline would have it, which later reports are compared with.
    max_regression, max_accuracy_regression
        By how much each limited metric may become worse, and the accuracy without an intervention.
    """

    name: str
    file: str
    line: int
    outcome: Outcome
    seconds: float
    message: str = ""
    images: int = 0
    total: int = 0
    limits: Sequence[Limit] = ()
    standing: str = ""
    changes: Sequence[ReportedChange] = ()
    notes: Sequence[str] = ()
    stale: Sequence[str] = ()
    details: Details | None = None
    key: Sequence[str] | None = None
    entry: Mapping[str, Any] | None = None
    max_regression: float = 0.0
    max_accuracy_regression: float = 0.0


@dataclass(frozen=True)
class Session:
    """One run of pytest: when it started (UTC, ISO 8601), how long it took, and where it ran."""

    started: str
    seconds: float
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """The bias tests of a session; or of several that shared the work.

    Attributes
    ----------
    sessions
        The runs.
    tests
        In the order of their files.
    evaluated, reused
        Images that models were run on, and predictions that were there already.
    alpha
        The level of the tests for regressions.
    performances
        How well each model does on the unchanged images of each dataset.
    schema
        The version of this form.
    """

    sessions: Sequence[Session]
    tests: Sequence[Result] = field(default=())
    evaluated: int = 0
    reused: int = 0
    alpha: float = 0.01
    performances: Sequence[Performance] = ()
    schema: int = SCHEMA


def to_json(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps(dataclasses.asdict(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_report(path: Path) -> Report:
    """Read a report that `to_json` made; raises `ReportError` for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read: {error.strerror}; expected a report of pytest --bias-report=NAME.json"
        ) from error
    except ValueError as error:
        raise ReportError(
            f"{path} is no JSON report: {error}. Write one with pytest --bias-report=NAME.json"
        ) from error
    version = content.get("schema") if isinstance(content, dict) else None
    if version != SCHEMA:
        raise ReportError(
            f"{path} has schema version {version!r}, and this is pytest-biastransfer for version {SCHEMA}. Write it "
            f"again with pytest --bias-report=NAME.json"
        )
    try:
        return typing.cast("Report", from_plain(Report, content))
    except (TypeError, KeyError, ValueError) as error:
        raise ReportError(f"{path} is not a report as pytest --bias-report=NAME.json writes it: {error}") from error


def merged(reports: Iterable[Report]) -> Report:
    """Return one report of all tests of several, such as those of the parts that several machines ran.

    Of a test that is in several of them the worst outcome counts: it failed somewhere.
    """
    found = list(reports)
    worst: dict[tuple[str, str], Result] = {}
    for report in found:
        for test in report.tests:
            known = worst.get((test.file, test.name))
            if known is None or SEVERITY.index(test.outcome) < SEVERITY.index(known.outcome):
                worst[test.file, test.name] = test
    return Report(
        sessions=[session for report in found for session in report.sessions],
        tests=sorted(worst.values(), key=lambda test: (test.file, test.line, test.name)),
        performances=once_each(one for report in found for one in report.performances),
        evaluated=sum(report.evaluated for report in found),
        reused=sum(report.reused for report in found),
        alpha=min((report.alpha for report in found), default=0.01),
    )
