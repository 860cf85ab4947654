"""The content of a report as plain data. All formats render it, and ``biastransfer compare`` reads it back."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pytest_biastransfer.baseline.history import OverTime
from pytest_biastransfer.baseline.near_ties import WithinRounding
from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.curves import Curves
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.outcomes import SEVERITY, Outcome
from pytest_biastransfer.reporting.performance import Performance, once_each

# Increased when a reader of the old schema would misunderstand the new one.
SCHEMA: Final = 1

Kind = Literal["intervention", "ladder", "search", "gap"]
# `model` is a model under test that comes from a fixture of the user's.
Role = Literal["source", "transferred", "control", "model"]


@dataclass(frozen=True)
class ReportedChange:
    """How a metric changed since it was accepted; see `pytest_biastransfer.baseline.metric_change.MetricChange`."""

    metric: str
    before: float
    now: float
    p: float
    newly: int | None
    no_longer: int | None
    same_images: bool
    meaning: str
    p_of_change: float | None = None
    tested_tolerance: float = 0.0
    common_images: int | None = None
    over_time: OverTime | None = None
    seeds: Sequence[float] = ()
    within_rounding: WithinRounding | None = None
    at: str = ""


@dataclass(frozen=True)
class Shares:
    """The distribution of one model's predicted classes, without and with the intervention.

    Attributes
    ----------
    role, model
        The role of the model in the test, and its name.
    classes
        The names of the classes with the largest shares, before or after, at most 20, in the model's order.
    before, after
        Their shares of the predictions, in [0, 1].
    others
        The shares of all other classes together, before and after; None if there are no others.
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
class Picture:
    """A picture file.

    Attributes
    ----------
    data
        The file, in base64.
    media_type
        Its media type, such as ``"image/webp"``.
    width, height
        Its size, in pixels.
    """

    data: str
    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Saliency:
    """Where a model looks: how much less probable its prediction is if a part of the image is hidden.

    Attributes
    ----------
    clean, intervened
        The loss of probability, in [-1, 1], of each cell of a grid: rows from the top, cells from the left. The
        prediction is that of the clean image, and that of the intervened image.
    passes
        How many images were run through the model for both.
    """

    clean: Sequence[Sequence[float]]
    intervened: Sequence[Sequence[float]]
    passes: int


@dataclass(frozen=True)
class Shown:
    """An image, and the same image under the intervention.

    Attributes
    ----------
    index
        Its index in the dataset.
    label
        The name that the dataset has for its class.
    before, after
        The predicted classes; equal if the image is an example of the intervention and does not flip. Of an error in
        a group of a gap, the predicted class is `before`, and `after` is empty.
    confidence_before, confidence_after
        The probabilities of these classes, in [0, 1]; None if they were not computed.
    new
        Whether it is in the set that is shown, and was not when the baseline was accepted; None without a baseline.
    file
        Its file, relative to the dataset; empty if it has none.
    clean
        The clean image; None if there is no picture.
    changed
        What the intervention changes: a picture of the same size that is transparent where nothing changes, to lay
        upon the clean one. None if there is no intervention, or no picture.
    middle
        The middle of what changes, from 0 at the left edge to 1 at the right one.
    saliency
        Where the model looks; None if it was not computed.
    """

    index: int
    label: str
    before: str
    after: str
    confidence_before: float | None = None
    confidence_after: float | None = None
    new: bool | None = None
    file: str = ""
    clean: Picture | None = None
    changed: Picture | None = None
    middle: float = 0.5
    saliency: Saliency | None = None


@dataclass(frozen=True)
class Group:
    """The metric of one group.

    Attributes
    ----------
    group
        Its name.
    observed, control
        The metric of the model under test, and of the control model.
    size
        The number of images that the metric is computed from.
    judged
        Whether there are enough images for the group to count in the gap.
    """

    group: str
    observed: Interval
    control: Interval | None
    size: int
    judged: bool


@dataclass(frozen=True)
class Details:
    """The measurement of a test, besides its verdict.

    Attributes
    ----------
    kind, declaration
        The kind of test, and the intervention or gap as it is written in Python.
    model, dataset, control
        Their names; the control's is empty if there is none.
    fixtures
        The names of the fixtures that these come from, in that order.
    device
        The device that computed the predictions.
    metrics, control_metrics
        All metrics, by name.
    shares
        The distributions of the predicted classes: of the source model if its measurement is there, of the model under
        test, and of the control model.
    moves, flips
        The most frequent moves of the transferred model's predictions, most frequent first; and the number of flips.
    example
        An image under the intervention, if the session draws pictures.
    counted, counted_flips
        Which flipped images are shown: the name of a set of images, such as ``"hits"`` for those that hit the target;
        and how many there are.
    shown
        Flipped images of that set, those that were not in it when the baseline was accepted first; of a gap, images
        that the model is wrong on, in its worst group.
    rare_moves
        The number of moves that are not in `moves` because a single image makes each of them.
    groups, missing
        The groups of a gap, and the number of images that are in none because they have no value.
    errors_of
        The group of a gap that `shown` has errors of; empty if it has none.
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
    rare_moves: int = 0
    flips: int = 0
    example: Shown | None = None
    shown: Sequence[Shown] = ()
    groups: Sequence[Group] = ()
    missing: int = 0
    counted: str = "flipped"
    counted_flips: int = 0
    errors_of: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one bias test.

    Attributes
    ----------
    name
        Its name, as one types it after ``pytest``.
    file, line
        The test's file, relative to the root directory, and its line; lines count from 1, and 0 is unknown.
    outcome
        pytest's outcome, or ``"lost"`` if the process that ran it ended before the test did.
    seconds
        Its duration.
    message
        Why it failed, was skipped or is expected to fail; empty if it passed.
    images, total
        The number of images that were evaluated, and of all images; 0 if nothing was measured.
    limits
        The judged limits.
    curves
        Of a ladder, each limited metric at each strength; None for any other test.
    standing
        The comparison with the baseline: ``"regression"``, ``"improvement"``, ``"unchanged"``; ``"not comparable"`` for
        an improvement of a model whose accuracy is lower; ``"new"`` without an accepted measurement; a reason why the
        test was not compared; or empty if the session compares with no baseline.
    changes
        How its metrics changed.
    notes
        Further results of the test, such as an attribution, as text of several lines.
    findings
        The figures of these results.
    stale
        The stale predictions of the store that were met and computed again.
    details
        The measurement; None if nothing was measured.
    key, entry
        The key and the entry that a baseline would hold; ``biastransfer compare`` compares the entries of two reports.
    max_regression, max_accuracy_regression
        By how much each limited metric, and the accuracy without an intervention, may become worse.
    session
        The position of its session among those of the report, from 0.
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
    findings: Sequence[Finding] = ()
    stale: Sequence[str] = ()
    details: Details | None = None
    key: Sequence[str] | None = None
    entry: Mapping[str, Any] | None = None
    max_regression: float = 0.0
    max_accuracy_regression: float = 0.0
    curves: Curves | None = None
    session: int = 0

    @property
    def metrics(self) -> Sequence[str]:
        """The limited metrics; of a limit on a mean over strengths, the metric itself."""
        return [one.metric for one in (self.limits if self.curves is None else self.curves.curves)]


@dataclass(frozen=True)
class Session:
    """One run of pytest.

    Attributes
    ----------
    started, seconds
        Its start (UTC, ISO 8601), and its duration in seconds.
    environment
        The versions that it ran with.
    commit
        The full hash of the commit that was checked out; empty if it is not known.
    job
        The name of the CI job; empty outside CI.
    file
        The file that it was read from, as it was typed, in a report that was joined from several; otherwise empty.
    """

    started: str
    seconds: float
    environment: Mapping[str, str]
    commit: str = ""
    job: str = ""
    file: str = ""

    @property
    def label(self) -> str:
        """Its file and its job, as far as they are known.

        >>> Session("", 1.0, {}, job="bias", file="part-1.json").label
        'part-1.json, job bias'
        """
        return ", ".join(filter(None, (self.file, f"job {self.job}" if self.job else "")))


@dataclass(frozen=True)
class Report:
    """The bias tests of a session, or of several sessions that shared the tests.

    Attributes
    ----------
    sessions
        The runs.
    tests
        The results, in the order of the tests' files.
    evaluated, reused
        The number of predictions that were computed, and that came from the store.
    alpha
        The significance level of the tests for regressions.
    performances
        The performance of each model on the unchanged images of each dataset.
    schema
        The version of the schema.
    """

    sessions: Sequence[Session]
    tests: Sequence[Result] = field(default=())
    evaluated: int = 0
    reused: int = 0
    alpha: float = 0.01
    performances: Sequence[Performance] = ()
    schema: int = SCHEMA


def to_plain(report: Report) -> dict[str, Any]:
    """Return a report as the plain data of its JSON: dictionaries, lists, texts and numbers, without NaN."""
    content: dict[str, Any] = json.loads(to_json(report))
    return content


def to_json(report: Report) -> str:
    """Return a report as JSON."""
    # NaN is not JSON, and other programs could not read the file. Undefined figures are None by now.
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


def read_from(report: Report, file: str) -> Report:
    """Return a report whose sessions name the file that they were read from; those that name one already keep it."""
    sessions = [session if session.file else dataclasses.replace(session, file=file) for session in report.sessions]
    return dataclasses.replace(report, sessions=sessions)


def merged(reports: Iterable[Report]) -> Report:
    """Return one report with the tests of several, such as those of several machines that shared the tests.

    A test that is in several reports has its worst outcome: it failed on one of the machines.
    """
    reports = list(reports)
    sessions: list[Session] = []
    worst: dict[tuple[str, str], Result] = {}
    for report in reports:
        for test in report.tests:
            other = worst.get((test.file, test.name))
            if other is None or SEVERITY.index(test.outcome) < SEVERITY.index(other.outcome):
                worst[test.file, test.name] = dataclasses.replace(test, session=len(sessions) + test.session)
        sessions += report.sessions
    return Report(
        sessions=sessions,
        # The order in which machines finish must not change the merged report.
        tests=sorted(worst.values(), key=lambda test: (test.file, test.line, test.name)),
        performances=once_each(performance for report in reports for performance in report.performances),
        evaluated=sum(report.evaluated for report in reports),
        reused=sum(report.reused for report in reports),
        # Sessions of one run have one level. If they differ, the report names the strictest.
        alpha=min((report.alpha for report in reports), default=0.01),
    )
