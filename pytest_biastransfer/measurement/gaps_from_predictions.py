"""From predictions, or from scores, to a measurement of gaps between groups."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.baseline.encoding import encode_groups, encode_images, encode_numbers
from pytest_biastransfer.data.attribute_values import values_of
from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.evaluation.predictions import Predictions
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of
from pytest_biastransfer.measurement.from_predictions import clean_performance_of
from pytest_biastransfer.metrics import group_gaps
from pytest_biastransfer.metrics.catalogue import GROUP_METRICS
from pytest_biastransfer.metrics.change_rules import BETWEEN
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.attribute_values import AttributeValues
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class _Outcomes:
    """What a gap needs of one model's predictions.

    Attributes
    ----------
    indices
        The images' indices in the dataset, ascending.
    positive
        Which images have a positive label.
    hits, among
        The numerator and the denominator of the rate, as masks of images; None for the AUC.
    scores
        Log-odds of the positive classes; None if the gap needs no scores.
    clean
        The model's performance on the images.
    misclassified
        Which images are classified wrongly.
    computed
        How many images were run through the model.
    """

    indices: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]
    hits: npt.NDArray[np.bool_] | None
    among: npt.NDArray[np.bool_] | None
    scores: npt.NDArray[np.float32] | None
    clean: CleanPerformance
    misclassified: npt.NDArray[np.bool_]
    computed: int


def gaps_from_predictions(
    evaluator: Evaluator,
    models: Sequence[Model],
    keys: Sequence[PredictionKey],
    images: LabelledImages,
    gap: Gap,
    confidence: float,
) -> GapMeasurement:
    """Return the gaps of the first model; a second model is its control."""
    values = values_of(images, gap.attribute)
    outcomes = [_outcomes(evaluator, model, key, images, gap) for model, key in zip(models, keys, strict=True)]
    measurements = [
        _measurement(model, key, of_model, values, images, gap, confidence)
        for model, key, of_model in zip(models, keys, outcomes, strict=True)
    ]
    if len(measurements) == 1:
        return measurements[0]
    excess = _excess(outcomes, values, images, gap, confidence)
    measurement, control = measurements
    return dataclasses.replace(
        measurement,
        estimates={**measurement.estimates, "gap_excess": excess},
        evidence={**measurement.evidence, "excess_error": encode_numbers([_error_of(excess)])},
        control=control,
        computed=measurement.computed + control.computed,
    )


def _outcomes(evaluator: Evaluator, model: Model, key: PredictionKey, images: LabelledImages, gap: Gap) -> _Outcomes:
    from_classes = model.outputs == "softmax"
    with contextlib.ExitStack() as stack:
        collector = evaluator.collector(model, images, None, key, stack)
        # For scores, the first chunk's classes are enough: they tell the number of classes.
        look = 0 if gap.needs_scores and from_classes else -1
        predictions, total = collector.collect(collector.looks[look]).in_order(), collector.looks[-1]
    decision = decision_of(model, images, gap.positive, predictions.outputs)
    if decision.labels is None:
        raise BiasTransferError(f"gaps of {model.name} on {images.name} need labels: {decision.reason}")
    scores = None
    if gap.needs_scores and from_classes:
        from pytest_biastransfer.measurement.positive_scores import positive_scores

        scored = positive_scores(evaluator, model, images, decision.positive, total)
        scores, computed = scored.log_odds, predictions.computed + scored.computed
        predictions = Predictions(scored.classes, scored.indices, predictions.outputs, computed)
    elif gap.needs_scores:
        scores = decision.scores(predictions)
    labels = decision.labels[predictions.indices]
    known = labels != UNKNOWN
    labels, predicted = labels[known], decision.classes(predictions, predictions)[known]
    # Of a softmax, how well the model does is a matter of all classes.
    performing = decision_of(model, images, (), predictions.outputs) if from_classes else decision
    outcomes = _Outcomes(
        indices=predictions.indices[known],
        positive=(labels == POSITIVE) if decision.is_binary else np.zeros(len(labels), dtype=np.bool_),
        hits=None,
        among=None,
        scores=None if scores is None else scores[known],
        clean=clean_performance_of(model, images, predictions, performing),
        misclassified=_misclassified(performing, predictions)[known]
        if performing.labels is not None
        else predicted != labels,
        computed=predictions.computed,
    )
    if not GROUP_METRICS[gap.metric].is_rate:
        return outcomes
    chosen = predicted == POSITIVE if decision.is_binary else outcomes.positive
    right = predicted == labels
    if gap.operating_point == "prevalence":
        assert outcomes.scores is not None
        chosen = group_gaps.at_prevalence(outcomes.scores, int(np.count_nonzero(outcomes.positive)))
        right = chosen == outcomes.positive
    hits, among = group_gaps.hits_and_among(_rate(gap), chosen, outcomes.positive, right)
    return dataclasses.replace(outcomes, hits=hits, among=among)


def _misclassified(decision: Decision, predictions: Predictions) -> npt.NDArray[np.bool_]:
    assert decision.labels is not None
    wrong: npt.NDArray[np.bool_] = decision.classes(predictions, predictions) != decision.labels[predictions.indices]
    return wrong


def _rate(gap: Gap) -> group_gaps.RateMetric:
    assert gap.metric != "auc"
    return gap.metric


def _measurement(
    model: Model,
    key: PredictionKey,
    outcomes: _Outcomes,
    values: AttributeValues,
    images: LabelledImages,
    gap: Gap,
    confidence: float,
) -> GapMeasurement:
    codes = values.codes[outcomes.indices]
    groups = tuple(map(in_one_line, values.names))
    pair = _pair(values, images, gap)
    options: Any = {"min_group_size": gap.min_group_size, "confidence": confidence, "between": pair}
    if outcomes.hits is not None and outcomes.among is not None:
        gaps = group_gaps.rate_gaps(_rate(gap), outcomes.hits, outcomes.among, codes, groups, **options)
        compared = np.flatnonzero([group.judged for group in gaps.groups]) if pair is None else np.array(pair)
        hits = {"hits": encode_groups(_groups_of(outcomes, codes, compared))}
        among = outcomes.among
    else:
        assert outcomes.scores is not None
        gaps = group_gaps.auc_gaps(
            outcomes.scores, outcomes.positive, codes, groups, negatives=gap.negatives, **options
        )
        hits, among = {}, outcomes.positive
    if gaps.worst is None or gaps.best is None:
        raise BiasTransferError(_too_few(gaps, images, gap))
    return GapMeasurement(
        model=in_one_line(model.name),
        dataset=in_one_line(images.name),
        declaration=str(gap),
        metric=gap.metric,
        between=gap.between,
        n=len(outcomes.indices),
        total=len(outcomes.indices),
        clean=outcomes.clean,
        groups=gaps.groups,
        worst=gaps.worst,
        best=gaps.best,
        estimates={"gap": gaps.gap},
        control=None,
        computed=outcomes.computed,
        provenance=Provenance(key.portable_model, images.fingerprint),
        evidence={
            # The dataset's fingerprint does not cover its attributes.
            "groups": fingerprint(values.names, codes, among, gap.min_group_size, *([] if pair is None else [pair])),
            "chance": encode_numbers([gaps.inflation, gaps.error, gaps.by_chance]),
            "misclassified": encode_images(outcomes.indices[outcomes.misclassified].tolist()),
            **hits,
            **({} if gap.between is None else {BETWEEN: " minus ".join(gap.between)}),
        },
    )


def _pair(values: AttributeValues, images: LabelledImages, gap: Gap) -> tuple[int, int] | None:
    """Return the places of the two groups that a gap is between; None for the largest difference.

    Raises `BiasTransferError` for a group that does not exist.
    """
    if gap.between is None:
        return None
    for group in gap.between:
        if group not in values.names:
            raise BiasTransferError(
                f"between={gap.between!r}: no image of {images.name} has {gap.attribute}={group!r}; "
                f"{nearest(group, values.names)}"
            )
    first, second = map(values.names.index, gap.between)
    return first, second


def _groups_of(
    outcomes: _Outcomes, codes: npt.NDArray[np.int64], judged: npt.NDArray[np.int64]
) -> list[tuple[int, list[int]]]:
    """Return the size of each judged group, and the indices of its hits."""
    assert outcomes.hits is not None
    insides = [outcomes.among & (codes == code) for code in judged]
    return [(int(np.count_nonzero(inside)), outcomes.indices[inside & outcomes.hits].tolist()) for inside in insides]


def _excess(
    outcomes: Sequence[_Outcomes], values: AttributeValues, images: LabelledImages, gap: Gap, confidence: float
) -> Estimate:
    model, control = outcomes
    codes, groups = values.codes[model.indices], len(values.names)
    options: Any = {
        "min_group_size": gap.min_group_size,
        "confidence": confidence,
        "between": _pair(values, images, gap),
    }
    if model.hits is not None and control.hits is not None and model.among is not None:
        return group_gaps.gap_excess(model.hits, control.hits, model.among, codes, groups, **options)
    assert model.scores is not None
    assert control.scores is not None
    return group_gaps.auc_gap_excess(
        model.scores, control.scores, model.positive, codes, groups, negatives=gap.negatives, **options
    )


def _error_of(estimate: Estimate) -> float:
    """Return the standard error that an interval stands for."""
    from scipy.special import ndtri

    return float((estimate.high - estimate.low) / (2 * ndtri((1 + estimate.confidence) / 2)))


def _too_few(gaps: group_gaps.GroupGaps, images: LabelledImages, gap: Gap) -> str:
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
