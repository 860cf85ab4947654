"""What a failing expectation says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.metrics.measurement import Measurement

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Flip
    from pytest_biastransfer.metrics.statistics.estimate import Estimate

# So many images are shown.
SHOWN = 5
_MARKS = {True: "ok    ", False: "FAILED", None: "?     "}
_UNDEFINED = "undefined: there are no images that it could be measured on"


def failure_text(test: str, fixtures: str, measurement: Measurement | GapMeasurement, verdict: Verdict) -> str:
    """Return the message of a failed bias test.

    `test` is its name, `fixtures` are those that the model, the dataset and the control come from.
    """
    broken = [_broken(limit) for limit in verdict.limits if limit.holds is False]
    found = measurement
    facts = [
        ("test", test),
        ("intervention" if isinstance(found, Measurement) else "gap", found.declaration),
        ("model", found.model),
        ("dataset", f"{found.dataset}, {_images(found)}"),
        ("control", found.control.model if found.control else ""),
        ("fixtures", fixtures),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [
        f"bias: {', '.join(broken)}",
        "",
        *(f"  {name:{width}}  {text}" for name, text in facts if text),
        "",
        *_limit_lines(found, verdict.limits),
        "",
        *(_flip_lines(found) if isinstance(found, Measurement) else _group_lines(found)),
    ]
    return "\n".join(lines)


def _broken(limit: LimitVerdict) -> str:
    if limit.rule == "certain":
        return f"{limit.metric} not certainly at most {limit.limit:g}"
    return f"{limit.metric} {'significantly ' if limit.rule == 'significant' else ''}above {limit.limit:g}"


def _images(found: Measurement | GapMeasurement) -> str:
    seen = f"the first {found.n:,} of " if found.n < found.total else ""
    return f"{seen}{found.total:,} images"


def _limit_lines(found: Measurement | GapMeasurement, limits: Sequence[LimitVerdict]) -> Iterator[str]:
    width = max(len(limit.metric) for limit in limits)
    for limit in limits:
        mark = _MARKS[limit.holds]
        note = f", {limit.note}" if limit.note else ""
        yield f"  {mark}  {limit.metric:{width}}  {_observed(limit.observed)}  limit {limit.limit:g}{note}"
        comparison = _comparison(found, limit.metric)
        if comparison:
            yield f"  {'':6}  {'':{width}}  {comparison}"


def _observed(estimate: Estimate) -> str:
    if math.isnan(estimate):
        return _UNDEFINED
    interval = f"{estimate.confidence * 100:g} % interval {estimate.low:.3f} to {estimate.high:.3f}"
    return f"{estimate:.3f}  ({interval}, n = {estimate.n:,})"


def _comparison(found: Measurement | GapMeasurement, metric: str) -> str:
    """Return both models' values of an excess, or the control's value of another metric."""
    base = base_of(metric)
    if found.control is None or base not in found.control.estimates:
        return ""
    control = f"control {found.control.estimates[base].text()}"
    return f"{base} {found.estimates[base].text()}, {control}" if base != metric else control


def _flip_lines(found: Measurement) -> Iterator[str]:
    yield f"  {found.highlights()}"
    if not found.flips:
        return
    yield f"  flipped images: {len(found.flips):,}, the first:"
    yield from (f"    {text}" for text in flip_texts(found.flips[:SHOWN]))


def _group_lines(found: GapMeasurement) -> Iterator[str]:
    """Yield a line for each group: the figure, and the control model's."""
    control = {} if found.control is None else found.control.by_group
    width = max(len(one.group) for one in found.groups)
    ends = {found.worst: "worst", found.best: "best"}
    yield f"  {found.metric} by group:"
    for one in found.groups:
        note = ends.get(one.group, "") if one.judged else "too few, not judged"
        beside = f"  control {control[one.group].text()}" if one.group in control else ""
        yield f"    {one.group:{width}}  {one.estimate.text()}  n = {one.size:,}{beside}  {note}".rstrip()


def flip_texts(flips: Sequence[Flip]) -> list[str]:
    """Return a line for each flipped image, in columns.

    >>> from pytest_biastransfer.metrics.measurement import Flip
    >>> flip_texts([Flip(7, "cat", "cat", "dog"), Flip(12, "horse", "deer", "cat")])
    ['image  7  label cat    cat -> dog', 'image 12  label horse  deer -> cat']
    """
    places = max((len(str(flip.index)) for flip in flips), default=0)
    labels = max((len(flip.label) for flip in flips), default=0)
    return [
        f"image {flip.index:{places}}  label {flip.label:{labels}}  {flip.before} -> {flip.after}" for flip in flips
    ]
