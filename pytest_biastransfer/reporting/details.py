"""From a measurement to what a report says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.names import CONTROL_FIXTURE, MODEL_FIXTURE, SOURCE_FIXTURE
from pytest_biastransfer.reporting.figures import Interval, interval_of
from pytest_biastransfer.reporting.report import Details, Group, Kind, Move, Role, Shares, Shown

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Flip, Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.reporting.tile_sheet import TileSheet

# A report has at most so many classes, moves and images of a test: more make the file large, and nobody reads them.
MOST_CLASSES: Final = 20
MOST_MOVES: Final = 20
MOST_IMAGES: Final = 16
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
    sheet: TileSheet | None = None,
    *,
    counted: str = "flipped",
) -> dict[str, Any]:
    """Return class shares, moves between classes, and flipped images, with their pictures.

    Parameters
    ----------
    source
        The same measurement of the source model, where there is one.
    newly_flipped
        The images that flip now and did not when the baseline was accepted; None where that is not known.
    sheet
        Pictures of the images that `shown_images` names, and the model's confidences in its predictions.
    counted
        The name of the set of images that are shown, as far as they flip.
    """
    return {
        "shares": _all_shares(measurement, source),
        "moves": _moves(measurement.flips),
        "flips": len(measurement.flips),
        "counted": counted,
        "counted_flips": len(_counted_flips(measurement, counted)),
        "shown": _shown(measurement, newly_flipped, sheet, counted),
        "example": None if sheet is None else sheet.example,
        "pictures": None if sheet is None else sheet.pictures,
    }


def group_details(measurement: GapMeasurement) -> dict[str, Any]:
    """Return the figure of each group, and the control model's."""
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
    return {"groups": groups, "missing": measurement.missing}


def shown_images(found: Measurement, newly: Collection[int] | None, counted: str = "flipped") -> list[int]:
    """Return the flipped images that are shown, of those that a metric counts, newly counted ones first.

    Of too many, some from all over the dataset: it may be sorted by class.
    """
    known, flips = set(newly or ()), _counted_flips(found, counted)
    new = _spread([index for index in flips if index in known], MOST_IMAGES)
    others = _spread([index for index in flips if index not in known], MOST_IMAGES - len(new))
    return [*new, *others]


def _counted_flips(measurement: Measurement, counted: str) -> list[int]:
    """Return the flipped images that are in a set; a flip that never reaches the target explains no hit of it."""
    indices = [flip.index for flip in measurement.flips]
    if counted == "flipped":
        return indices
    images = {int(index) for index in measurement.outcomes.image_sets[counted]}
    return [index for index in indices if index in images]


def _spread(images: Sequence[int], count: int) -> list[int]:
    """Return `count` of the images at even distances, or all if there are fewer.

    >>> _spread([1, 2, 3, 4, 5, 6, 7], 3)
    [1, 3, 5]
    """
    return [images[step * len(images) // count] for step in range(count)] if len(images) > count else list(images)


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


def _moves(flips: Sequence[Flip]) -> list[Move]:
    counts = Counter((flip.before, flip.after) for flip in flips)
    # Counter.most_common would leave ties in the order of the images; sorted, equal counts come by class name.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Move(before, after, images) for (before, after), images in ordered[:MOST_MOVES]]


def _shown(
    measurement: Measurement, newly: Collection[int] | None, sheet: TileSheet | None, counted: str
) -> list[Shown]:
    flips = {flip.index: flip for flip in measurement.flips}
    # The sheet of a test that passed may have an example alone: then it has no confidences, and no tiles of flips.
    confidences = sheet.confidences if sheet is not None else ()
    shown = []
    for number, index in enumerate(shown_images(measurement, newly, counted)):
        flip = flips[index]
        before, after = confidences[number] if confidences else (None, None)
        shown.append(
            Shown(
                index=index,
                label=flip.label,
                before=flip.before,
                after=flip.after,
                confidence_before=before,
                confidence_after=after,
                new=None if newly is None else index in newly,
                tile=2 * number if confidences and sheet is not None and sheet.pictures is not None else None,
            )
        )
    return shown
