"""From predictions, or from scores, to a measurement of gaps between groups."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.baseline.encoding import encode_images, encode_numbers
from pytest_biastransfer.data.attribute_groups import groups_of
from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.measurement.gap_evidence import image_evidence
from pytest_biastransfer.measurement.gap_outcomes import GapOutcomes, outcomes_of
from pytest_biastransfer.metrics.area_gaps import auc_gap_excess, auc_gaps
from pytest_biastransfer.metrics.equalized_odds import equalized_odds_gaps
from pytest_biastransfer.metrics.gap_change_rules import BETWEEN, WORST
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.group_gaps import GroupGaps
from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.metrics.rate_gaps import RateMetric, gap_excess, hits_and_among, rate_gaps
from pytest_biastransfer.metrics.score_gaps import average_precision_gaps, calibration_gaps
from pytest_biastransfer.metrics.statistics.gap_intervals import unpaired_excess
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.attribute_groups import AttributeGroups
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.models import Model

    Marked = npt.NDArray[np.bool_]


def gaps_from_predictions(
    evaluator: Evaluator,
    models: Sequence[Model],
    keys: Sequence[PredictionKey],
    images: LabelledImages,
    gap: Gap,
    confidence: float,
    calibration: tuple[LabelledImages, Sequence[PredictionKey]] | None = None,
) -> GapMeasurement:
    """Return the gaps of the first model; a second model is its control.

    `calibration` are the images that a threshold at prevalence is found on, with a key for each model.
    """
    values = groups_of(images, gap.attributes, dict(gap.bins))
    calibrations: Sequence[tuple[PredictionKey, LabelledImages] | None]
    calibrations = [None] * len(models) if calibration is None else [(key, calibration[0]) for key in calibration[1]]
    outcomes = [
        outcomes_of(evaluator, model, key, images, gap, own)
        for model, key, own in zip(models, keys, calibrations, strict=True)
    ]
    declaration = gap.declaration(None if calibration is None else calibration[0].name)
    compared = _Comparison(images, values, gap, confidence, declaration)
    grouped = [own.only(values.codes[own.indices] >= 0) for own in outcomes]
    measurements = [
        _measurement(model, key, own, of_groups, compared)
        for model, key, own, of_groups in zip(models, keys, outcomes, grouped, strict=True)
    ]
    # Nothing is compared with the control model's.
    measurement = _with_image_evidence(measurements[0], grouped[0], compared)
    if len(measurements) == 1:
        return measurement
    control = measurements[1]
    excess = _excess(grouped, compared, measurement.gap, control.gap)
    return dataclasses.replace(
        measurement,
        estimates={**measurement.estimates, "gap_excess": excess},
        evidence={**measurement.evidence, "excess_error": encode_numbers([_error_of(excess)])},
        control=control,
        computed=measurement.computed + control.computed,
    )


@dataclass(frozen=True)
class _Comparison:
    """What the measurements of the model and of the control model have in common."""

    images: LabelledImages
    values: AttributeGroups
    gap: Gap
    confidence: float
    declaration: str

    @functools.cached_property
    def pair(self) -> tuple[int, int] | None:
        """The places of the two groups that the gap is between."""
        return _pair(self.values, self.images, self.gap)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the functions that compute gaps."""
        return {"min_group_size": self.gap.min_group_size, "confidence": self.confidence, "between": self.pair}

    def gaps(self, outcomes: GapOutcomes) -> tuple[GroupGaps, Marked]:
        """Return the gaps of a model, and the images among which the figures are taken."""
        names, options = tuple(map(in_one_line, self.values.names)), self.options
        codes, positive = self.values.codes[outcomes.indices], outcomes.positive
        match self.gap.metric:
            case "auc":
                assert outcomes.scores is not None
                negatives = self.gap.negatives
                gaps = auc_gaps(outcomes.scores, positive, codes, names, negatives=negatives, **options)
                return gaps, positive
            case "average_precision":
                assert outcomes.scores is not None
                return average_precision_gaps(outcomes.scores, positive, codes, names, **options), positive
            case "calibration":
                assert outcomes.probabilities is not None
                return calibration_gaps(outcomes.probabilities, positive, codes, names, **options), positive
            case "equalized_odds":
                del options["between"]
                return equalized_odds_gaps(outcomes.predicted_positive, positive, codes, names, **options), positive
            case rate:
                hits, among = self.hits_and_among(rate, outcomes)
                return rate_gaps(rate, hits, among, codes, names, **options), among

    def hits_and_among(self, rate: RateMetric, outcomes: GapOutcomes) -> tuple[Marked, Marked]:
        """Return which images count for a rate, and among which it is taken."""
        return hits_and_among(rate, outcomes.predicted_positive, outcomes.positive, outcomes.right)


def _measurement(
    model: Model, key: PredictionKey, every: GapOutcomes, outcomes: GapOutcomes, compared: _Comparison
) -> GapMeasurement:
    """Return the measurement of one model: `outcomes` are those of the images that are in a group."""
    gap, values, images = compared.gap, compared.values, compared.images
    codes, pair = values.codes[outcomes.indices], compared.pair
    gaps, among = compared.gaps(outcomes)
    if gaps.worst is None or gaps.best is None:
        raise BiasTransferError(_too_few(gaps, images, gap))
    # Equalized odds are of two rates, which have a worst group each.
    own = {"ratio": gaps.ratio, "worst": gaps.worst_value} if gap.metric != "equalized_odds" else {}
    extremes = {name: estimate for name, estimate in own.items() if estimate is not None}
    return GapMeasurement(
        model=in_one_line(model.name),
        dataset=in_one_line(images.name),
        declaration=compared.declaration,
        metric=gaps.metric,
        between=gap.between,
        n=len(every.indices),
        total=len(every.indices),
        missing=len(every.indices) - len(outcomes.indices),
        clean=outcomes.clean,
        groups=gaps.groups,
        worst=gaps.worst,
        best=gaps.best,
        estimates={"gap": gaps.gap, **extremes},
        control=None,
        computed=outcomes.computed,
        calibration_images=outcomes.calibration_images,
        provenance=Provenance(key.portable_model, images.fingerprint),
        evidence={
            # The dataset's fingerprint does not cover its attributes.
            "groups": fingerprint(values.names, codes, among, gap.min_group_size, *([] if pair is None else [pair])),
            "chance": encode_numbers([gaps.inflation, gaps.error, gaps.by_chance]),
            "misclassified": encode_images(every.indices[every.misclassified]),
            **{f"{name}_error": encode_numbers([_error_of(estimate)]) for name, estimate in extremes.items()},
            WORST: GROUP_METRICS[gaps.metric].worst,
            **({} if gap.between is None else {BETWEEN: " minus ".join(gap.between)}),
        },
    )


def _with_image_evidence(measurement: GapMeasurement, outcomes: GapOutcomes, compared: _Comparison) -> GapMeasurement:
    """Return a measurement with what the baseline keeps of the single images of the compared groups."""
    pair, codes = compared.pair, compared.values.codes[outcomes.indices]
    groups = np.flatnonzero([group.judged for group in measurement.groups]) if pair is None else np.array(pair)
    evidence = image_evidence(compared.gap, outcomes, codes, groups)
    return dataclasses.replace(measurement, evidence={**measurement.evidence, **evidence})


def _pair(values: AttributeGroups, images: LabelledImages, gap: Gap) -> tuple[int, int] | None:
    """Return the places of the two groups that a gap is between; None for the largest difference.

    Raises `BiasTransferError` for a group that does not exist.
    """
    if gap.between is None:
        return None
    for group in gap.between:
        if group not in values.names:
            raise BiasTransferError(
                f"between={gap.between!r}: no image of {images.name} has {' & '.join(gap.attributes)}={group!r}; "
                f"{nearest(group, values.names)}"
            )
    first, second = map(values.names.index, gap.between)
    return first, second


def _excess(
    outcomes: Sequence[GapOutcomes], compared: _Comparison, model_gap: Estimate, control_gap: Estimate
) -> Estimate:
    model, control = outcomes
    gap, codes, groups = compared.gap, compared.values.codes[model.indices], len(compared.values.names)
    if gap.metric == "auc":
        assert model.scores is not None
        assert control.scores is not None
        return auc_gap_excess(
            model.scores, control.scores, model.positive, codes, groups, negatives=gap.negatives, **compared.options
        )
    if gap.metric in ("precision", "equalized_odds", "average_precision", "calibration"):
        return unpaired_excess(model_gap, control_gap)
    rate = cast("RateMetric", gap.metric)
    (hits, among), (control_hits, _) = (compared.hits_and_among(rate, each) for each in outcomes)
    return gap_excess(hits, control_hits, among, codes, groups, **compared.options)


def _error_of(estimate: Estimate) -> float:
    """Return the standard error that an interval stands for."""
    from scipy.special import ndtri

    return float((estimate.high - estimate.low) / (2 * ndtri((1 + estimate.confidence) / 2)))


def _too_few(gaps: GroupGaps, images: LabelledImages, gap: Gap) -> str:
    base = GROUP_METRICS[gap.metric].base
    if gap.between is not None:
        small = [group for group in gaps.groups if group.group in map(in_one_line, gap.between) and not group.judged]
        sizes = " and ".join(f"{group.group} has {group.size:,}" for group in small)
        return (
            f"{gap}: both groups need at least {gap.min_group_size} {base} in {images.name}; {sizes}. Add images, or "
            f"lower min_group_size="
        )
    sizes = ", ".join(f"{group.group} {group.size:,}" for group in gaps.groups)
    return (
        f"{gap}: a gap needs two groups with at least {gap.min_group_size} {base}; "
        f"{images.name} has {sizes}. Add images, or lower min_group_size="
    )
