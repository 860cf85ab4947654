"""From a measurement to what a report says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.names import CONTROL_FIXTURE, MODEL_FIXTURE, SOURCE_FIXTURE
from pytest_biastransfer.reporting.figures import Interval, interval_of
from pytest_biastransfer.reporting.report.details import Details, Group, Kind, Move, Role, Shares
from pytest_biastransfer.reporting.report.image_choice import counted_flips, shown_images
from pytest_biastransfer.reporting.report.images import Shown

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Flip, Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.reporting.image_pairs import ImagePairs

# A report has at most so many classes and moves of a test: more make the file large, and nobody reads them.
MOST_CLASSES: Final = 20
MOST_MOVES: Final = 20
# Moves of one image are left out where there are so many others.
FEW_MOVES: Final = 3
# What the model under test is, by the fixture that it comes from.
_ROLES: Final[Mapping[str, Role]] = {
    SOURCE_FIXTURE: "source",
    MODEL_FIXTURE: "transferred",
    CONTROL_FIXTURE: "control",
}


def details_of(
    measurement: Measurement | GapMeasurement,
    kind: Kind,
    declaration: str,
    fixtures: Sequence[str],
    device: str,
    kind_details: Mapping[str, Any],
) -> Details:
    """Return what a report says of a measurement.

    Parameters
    ----------
    kind, declaration, fixtures, device
        The kind of test, what it measures in words, the fixtures that its models and images come from, and the device.
    kind_details
        The fields that tests of its kind have: `prediction_details` or `group_details`.
    """
    control = measurement.control
    details = Details(
        kind=kind,
        declaration=declaration,
        model=measurement.model,
        dataset=measurement.dataset,
        control="" if control is None else control.model,
        fixtures=fixtures,
        device=device,
        metrics=_intervals(measurement.estimates),
        control_metrics={} if control is None else _intervals(control.estimates),
        **kind_details,
    )
    role = _ROLES.get(next(iter(fixtures), ""), "model")
    return replace(details, shares=[_with_role(shares, role) for shares in details.shares])


def _with_role(shares: Shares, role: Role) -> Shares:
    """Return the distribution with the role of the model under test, if it is that model's."""
    return replace(shares, role=role) if shares.role == "transferred" else shares


def prediction_details(
    measurement: Measurement,
    source: Measurement | None = None,
    newly_flipped: Collection[int] | None = None,
    pairs: ImagePairs | None = None,
    *,
    counted: str = "flipped",
    names: Callable[[int], str] | None = None,
) -> dict[str, Any]:
    """Return class shares, moves between classes, and flipped images, with their pictures.

    Parameters
    ----------
    source
        The same measurement of the source model, where there is one.
    newly_flipped
        The images that flip now and did not when the baseline was accepted; None where that is not known.
    pairs
        Pictures of the images that `shown_images` names, and the model's confidences in its predictions.
    counted
        The name of the set of images that are shown, as far as they flip.
    names
        Takes the index of an image and returns its file; see `image_name`.
    """
    moves, rare = moves_of(measurement.flips)
    return {
        "shares": _all_shares(measurement, source),
        "moves": moves,
        "rare_moves": rare,
        "flips": len(measurement.flips),
        "counted": counted,
        "counted_flips": len(counted_flips(measurement, counted)),
        "shown": _shown(measurement, newly_flipped, pairs, counted, names),
        "example": None if pairs is None else pairs.example,
    }


def group_details(measurement: GapMeasurement, errors: Sequence[Shown] = ()) -> dict[str, Any]:
    """Return the figure of each group, and the control model's; `errors` are images of the worst group."""
    control = {} if measurement.control is None else measurement.control.by_group
    groups = [
        Group(
            group=group.group,
            observed=interval_of(group.estimate),
            control=interval_of(control[group.group]) if group.group in control else None,
            size=group.size,
            judged=group.judged,
        )
        for group in measurement.groups
    ]
    worst = measurement.worst if errors else ""
    return {"groups": groups, "missing": measurement.missing, "shown": errors, "errors_of": worst}


def _intervals(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
    return {metric: interval_of(estimate) for metric, estimate in estimates.items()}


def _all_shares(measurement: Measurement, source: Measurement | None) -> list[Shares]:
    measurements: list[tuple[Role, Measurement | None]] = [
        ("source", source),
        ("transferred", measurement),
        ("control", measurement.control),
    ]
    return [_shares(role, measured) for role, measured in measurements if measured is not None]


def _shares(role: Role, measurement: Measurement) -> Shares:
    before, after = measurement.clean_shares, measurement.clean_shares + measurement.class_shift
    largest = np.argsort(-np.maximum(before, after), kind="stable")[:MOST_CLASSES]
    classes = np.sort(largest).tolist()
    others = None
    if len(before) > len(classes):
        # Rounding errors of the sums may leave a share just below 0.
        others = [max(float(1 - shares[classes].sum()), 0.0) for shares in (before, after)]
    return Shares(
        role=role,
        model=measurement.model,
        classes=[measurement.class_names[number] for number in classes],
        before=[float(before[number]) for number in classes],
        after=[max(float(after[number]), 0.0) for number in classes],
        others=others,
    )


def moves_of(flips: Sequence[Flip]) -> tuple[list[Move], int]:
    """Return the most frequent moves, and how many are left out because a single image makes each of them."""
    counts = Counter((flip.before, flip.after) for flip in flips)
    # Counter.most_common would leave ties in the order of the images; sorted, equal counts come by class name.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    single = sum(images == 1 for images in counts.values())
    listed = ordered[: max(len(ordered) - single, FEW_MOVES)][:MOST_MOVES]
    rare = single - sum(images == 1 for _, images in listed)
    return [Move(before, after, images) for (before, after), images in listed], rare


def _shown(
    measurement: Measurement,
    newly: Collection[int] | None,
    pairs: ImagePairs | None,
    counted: str,
    names: Callable[[int], str] | None,
) -> list[Shown]:
    flips = {flip.index: flip for flip in measurement.flips}
    # The pairs of a test that passed may be an example alone.
    drawn = pairs.pairs if pairs is not None else ()
    shown = []
    for number, index in enumerate(shown_images(measurement, newly, counted)):
        flip = flips[index]
        pair = drawn[number] if drawn else None
        before, after = pair.confidences if pair is not None and pair.confidences else (None, None)
        shown.append(
            Shown(
                index=index,
                label=flip.label,
                before=flip.before,
                after=flip.after,
                confidence_before=before,
                confidence_after=after,
                new=None if newly is None else index in newly,
                file="" if names is None else names(index),
                clean=None if pair is None else pair.clean,
                changed=None if pair is None else pair.changed,
                middle=0.5 if pair is None else pair.middle,
                saliency=None if pair is None else pair.saliency,
            )
        )
    return shown
