"""The message of a failed bias test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.names import BOUND_SIGNS
from pytest_biastransfer.reporting.class_bars import class_bars
from pytest_biastransfer.reporting.failure_phrase import failure_phrase

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Flip, Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.reporting.curves import Curves

# More flipped images are not shown.
MOST_FLIPS = 5
# More classes have no bar.
_MOST_CLASSES = 6
_MARKS = {True: "ok    ", False: "FAILED", None: "?     "}
_UNDEFINED = "undefined: there are no images that it could be measured on"


@dataclass(frozen=True)
class NextStep:
    """What can be done about an exceeded limit: the purpose, and the action, such as a command to paste."""

    purpose: str
    action: str


def failure_text(
    test: str,
    fixtures: str,
    measurement: Measurement | GapMeasurement,
    verdict: Verdict,
    *,
    subject: str,
    declaration: str,
    lines: Iterable[str],
    phrase_subject: str,
    next_steps: Sequence[NextStep] = (),
    observed_on: Sequence[Measurement | GapMeasurement] | None = None,
) -> str:
    """Return the message of a failed bias test.

    Parameters
    ----------
    test
        Its name.
    fixtures
        Names of those that the model, the dataset and the control come from.
    measurement, verdict
        The figures, and the judgement of the limits.
    subject, declaration
        What is measured, such as ``"intervention"``, and how it is declared.
    lines
        What is shown below the limits, such as flipped images.
    phrase_subject
        What the first line names: an intervention by its short name, or a gap.
    next_steps
        What can be done now.
    observed_on
        The measurement that each of the limits was judged on; None if that is the measurement.
    """
    broken = [failure_phrase(limit, phrase_subject) for limit in verdict.limits if limit.holds is False]
    facts = [
        ("test", test),
        (subject, declaration),
        ("model", measurement.model),
        ("dataset", f"{measurement.dataset}, {_images(measurement)}"),
        ("control", measurement.control.model if measurement.control else ""),
        ("fixtures", fixtures),
    ]
    width = max(len(name) for name, _ in facts)
    message = [
        *(f"{'' if number else 'bias:':5} {phrase}" for number, phrase in enumerate(broken)),
        "",
        *(f"  {name:{width}}  {text}" for name, text in facts if text),
        "",
        *_limit_lines(verdict.limits, observed_on or [measurement] * len(verdict.limits)),
        "",
        *lines,
        *(["", "  what to do next:"] if next_steps else []),
        *(f"    {line}" for step in next_steps for line in (f"{step.purpose}:", f"  {step.action}")),
    ]
    return "\n".join(message)


def _images(measurement: Measurement | GapMeasurement) -> str:
    first = f"the first {measurement.n:,} of " if measurement.n < measurement.total else ""
    return f"{first}{measurement.total:,} images"


def _limit_lines(limits: Sequence[LimitVerdict], observed_on: Sequence[Measurement | GapMeasurement]) -> Iterator[str]:
    width = max(len(limit.metric) for limit in limits)
    for limit, measurement in zip(limits, observed_on, strict=True):
        mark = _MARKS[limit.holds]
        note = "".join(f", {text}" for text in (limit.at and f"at {limit.at}", limit.note) if text)
        bound = BOUND_SIGNS[limit.bound]
        yield f"  {mark}  {limit.metric:{width}}  {_observed(limit.observed)}  limit {bound}{limit.limit:g}{note}"
        comparison = _comparison(measurement, limit.metric)
        if comparison:
            yield f"  {'':6}  {'':{width}}  {comparison}"


def _observed(estimate: Estimate) -> str:
    if math.isnan(estimate):
        return _UNDEFINED
    interval = f"{estimate.confidence * 100:g} % interval {estimate.low:.3f} to {estimate.high:.3f}"
    return f"{estimate:.3f}  ({interval}, n = {estimate.n:,})"


def _comparison(measurement: Measurement | GapMeasurement, metric: str) -> str:
    """Return both models' values of an excess, or the control's of another metric, and a skew without chance."""
    return ", ".join(filter(None, (_less_chance(measurement, metric), _beside_control(measurement, metric))))


def _less_chance(measurement: Measurement | GapMeasurement, metric: str) -> str:
    corrected = measurement.estimates.get(f"corrected_{metric}")
    if corrected is None or f"{corrected:.3f}" == f"{measurement.estimates[metric]:.3f}":
        return ""
    return f"less what chance adds: {corrected:.3f}"


def _beside_control(measurement: Measurement | GapMeasurement, metric: str) -> str:
    base = base_of(metric)
    if measurement.control is None or base not in measurement.control.estimates:
        return ""
    control = f"control {measurement.control.estimates[base].text()}"
    return f"{base} {measurement.estimates[base].text()}, {control}" if base != metric else control


def flip_lines(measurement: Measurement, names: Callable[[int], str], at: str = "") -> Iterator[str]:
    """Yield the classes that gained and lost, and the first flipped images; `at` names the strength of a ladder."""
    changed = measurement.changed(_MOST_CLASSES)
    if changed:
        yield f"  class shares changed{f' at {at}' if at else ''}:"
        yield from (f"    {line}" for line in class_bars(changed))
    else:
        yield f"  {f'at {at}, ' if at else ''}{measurement.highlights()}"
    if not measurement.flips:
        return
    yield f"  flipped images: {len(measurement.flips):,}, the first:"
    yield from (f"    {text}" for text in flip_texts(measurement.flips[:MOST_FLIPS], names))


def curve_lines(curves: Curves) -> Iterator[str]:
    """Yield each curve of a ladder: a line for each strength, with its interval."""
    for curve in curves.curves:
        yield f"  {curve.metric} by {curves.field}{curves.breaking_text(curve)}:"
        strengths = [f"{strength:g}" for strength in curves.strengths]
        width = max(map(len, strengths))
        for strength, interval in zip(strengths, curve.observed, strict=True):
            yield f"    {strength:>{width}}  {'not measured' if interval is None else interval.text}"
        yield ""


def group_lines(measurement: GapMeasurement) -> Iterator[str]:
    """Yield a line for each group: the figure, and the control model's."""
    control = {} if measurement.control is None else measurement.control.by_group
    width = max(len(group.group) for group in measurement.groups)
    ends = {measurement.worst: "worst", measurement.best: "best"}
    yield f"  {measurement.metric} by group:"
    for group in measurement.groups:
        note = ends.get(group.group, "") if group.judged else "too few, not judged"
        control_figure = f"  control {control[group.group].text()}" if group.group in control else ""
        yield f"    {group.group:{width}}  {group.estimate.text()}  n = {group.size:,}{control_figure}  {note}".rstrip()
    if measurement.missing:
        images = "image has" if measurement.missing == 1 else "images have"
        yield f"    {measurement.missing:,} {images} no value, and no group"


def flip_texts(flips: Sequence[Flip], names: Callable[[int], str]) -> list[str]:
    """Return a line for each flipped image, in columns; `names` takes the index of an image and returns its file.

    >>> from pytest_biastransfer.metrics.measurement import Flip
    >>> flip_texts([Flip(7, "cat", "cat", "dog"), Flip(12, "horse", "deer", "cat")], lambda index: "")
    ['image  7  label cat    cat -> dog', 'image 12  label horse  deer -> cat']
    >>> flip_texts([Flip(1, "cat", "cat", "dog")], ["a.png", "b/c.png"].__getitem__)
    ['image 1  label cat  cat -> dog  b/c.png']
    """
    places = max((len(str(flip.index)) for flip in flips), default=0)
    labels = max((len(flip.label) for flip in flips), default=0)
    moves = [f"{flip.before} -> {flip.after}" for flip in flips]
    width = max(map(len, moves), default=0)
    return [
        f"image {flip.index:{places}}  label {flip.label:{labels}}  {move:{width}}  {names(flip.index)}".rstrip()
        for flip, move in zip(flips, moves, strict=True)
    ]
