"""From predictions, or scores, to a measurement of gaps."""

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
from pytest_biastransfer.data.label_mapping import model_labels
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.measurement.from_predictions import class_names_of, target_classes
from pytest_biastransfer.metrics import group_gaps
from pytest_biastransfer.metrics.catalogue import GROUP_METRICS
from pytest_biastransfer.metrics.degeneracy import Classes, clean_performance
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.attribute_values import AttributeValues
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class _Seen:
    """One model on the images, as far as a gap needs it.

    Attributes
    ----------
    indices
        The images' places in the dataset, ascending.
    positive
        Which of them are, or None without positive classes.
    hits, among
        Which count, and among which; None where scores are compared.
    scores
        How much more probable the positive classes are than the others, as a logarithm; None where it is not needed.
    clean
        How well the model does on the images.
    misclassified
        Which images it classifies wrongly.
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


def observed_gaps(
    evaluator: Evaluator,
    models: Sequence[Model],
    keys: Sequence[PredictionKey],
    images: LabelledImages,
    gap: Gap,
    confidence: float,
) -> GapMeasurement:
    """Return the gaps of the first model, beside those of the second one if there is one."""
    values = values_of(images, gap.attribute)
    seen = [_see(evaluator, model, key, images, gap) for model, key in zip(models, keys, strict=True)]
    measured = [
        _measurement(model, key, one, values, images, gap, confidence)
        for model, key, one in zip(models, keys, seen, strict=True)
    ]
    if len(seen) == 1:
        return measured[0]
    excess = _excess(seen, values, gap, confidence)
    found, control = measured
    return dataclasses.replace(
        found,
        estimates={**found.estimates, "gap_excess": excess},
        evidence={**found.evidence, "excess_error": encode_numbers([_error_of(excess)])},
        control=control,
        computed=found.computed + control.computed,
    )


def _see(evaluator: Evaluator, model: Model, key: PredictionKey, images: LabelledImages, gap: Gap) -> _Seen:
    with contextlib.ExitStack() as stack:
        collection = evaluator.collection(model, images, None, key, stack)
        # Scores tell nothing of the number of classes: a few predictions do.
        found = collection.gather(collection.looks[0 if gap.needs_scores else -1])
        looks, total = found.indices, collection.looks[-1]
    matched = model_labels(images, model.classes, found.outputs, model.class_order)
    labels = matched.indices
    if labels is None:
        raise BiasTransferError(f"gaps of {model.name} on {images.name} need labels: {matched.reason}")
    names = class_names_of(model, images, found.outputs, labels_fit=True)
    classes = target_classes(gap.positive, names, "positive")
    if len(classes) == len(names):
        raise BiasTransferError(f"positive={list(gap.positive)!r:.100} is all classes of {model.name}; leave some out")
    computed = found.computed
    if not gap.needs_scores:
        order = np.argsort(looks)
        indices, predicted = looks[order], found.classes[order]
        labels = labels[indices]
        clean, wrong = _clean(predicted, labels, names), predicted != labels
        positive = np.isin(labels, classes)
        chosen = np.isin(predicted, classes) if classes else positive
        right = chosen == positive if classes else predicted == labels
        hits, among = group_gaps.hits_and_among(_rate(gap), chosen, positive, right)
        return _Seen(indices, positive, hits, among, None, clean, wrong, computed)
    indices, scores, scored, more = _scores(evaluator, model, images, classes, total)
    labels = labels[indices]
    clean, wrong = _clean(scored, labels, names), scored != labels
    positive = np.isin(labels, classes)
    if not GROUP_METRICS[gap.metric].is_rate:
        return _Seen(indices, positive, None, None, scores, clean, wrong, computed + more)
    chosen = group_gaps.at_prevalence(scores, int(np.count_nonzero(positive)))
    hits, among = group_gaps.hits_and_among(_rate(gap), chosen, positive, chosen == positive)
    return _Seen(indices, positive, hits, among, scores, clean, wrong, computed + more)


def _clean(predicted: Classes, labels: Classes, names: Sequence[str]) -> CleanPerformance:
    return clean_performance(predicted, labels, class_names=names, label_names=names, comparable=True)


def _rate(gap: Gap) -> group_gaps.RateMetric:
    assert gap.metric != "auc"
    return gap.metric


def _scores(
    evaluator: Evaluator, model: Model, images: LabelledImages, classes: Sequence[int], total: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], Classes, int]:
    """Return images, how probable it is that they are positive, their predicted classes, and how many were computed."""
    from pytest_biastransfer.evaluation.per_image_outputs import rows_of
    from pytest_biastransfer.evaluation.visiting_order import visiting_order

    computed = 0

    def log_odds_and_class(logits: torch.Tensor) -> torch.Tensor:
        nonlocal computed
        import torch

        computed += len(logits)
        inside = logits.new_zeros(logits.shape[1], dtype=bool)  # type: ignore[call-overload]
        inside[list(classes)] = True
        found: torch.Tensor = logits[:, inside].logsumexp(1) - logits[:, ~inside].logsumexp(1)
        # A class is a whole number that float32 holds exactly, so that one pass is enough for both.
        return torch.stack((found.float(), logits.argmax(1).float()), dim=1)

    kind = fingerprint("log-odds and class", sorted(classes))
    rows = rows_of(evaluator, model, images, kind, log_odds_and_class, limit=total)
    indices = np.sort(visiting_order(len(images))[:total])
    scores, predicted = rows[indices].T
    return indices, np.ascontiguousarray(scores), predicted.astype(np.int64), computed


def _measurement(
    model: Model,
    key: PredictionKey,
    seen: _Seen,
    values: AttributeValues,
    images: LabelledImages,
    gap: Gap,
    confidence: float,
) -> GapMeasurement:
    codes = values.codes[seen.indices]
    groups = tuple(map(in_one_line, values.names))
    options: Any = {"min_group_size": gap.min_group_size, "confidence": confidence}
    if seen.hits is not None and seen.among is not None:
        found = group_gaps.rate_gaps(_rate(gap), seen.hits, seen.among, codes, groups, **options)
        judged = [group.judged for group in found.groups]
        hits = {"hits": encode_groups(_groups_of(seen, codes, np.flatnonzero(judged)))}
        among = seen.among
    else:
        assert seen.scores is not None
        found = group_gaps.auc_gaps(seen.scores, seen.positive, codes, groups, negatives=gap.negatives, **options)
        hits, among = {}, seen.positive
    if found.worst is None or found.best is None:
        raise BiasTransferError(_too_few(found, images, gap))
    return GapMeasurement(
        model=in_one_line(model.name),
        dataset=in_one_line(images.name),
        declaration=str(gap),
        metric=gap.metric,
        n=len(seen.indices),
        total=len(seen.indices),
        clean=seen.clean,
        groups=found.groups,
        worst=found.worst,
        best=found.best,
        estimates={"gap": found.gap},
        control=None,
        computed=seen.computed,
        provenance=Provenance(key.portable_model, images.fingerprint),
        evidence={
            # Attributes are no part of the dataset's fingerprint.
            "groups": fingerprint(values.names, codes, among, gap.min_group_size),
            "chance": encode_numbers([found.inflation, found.error, found.by_chance]),
            "misclassified": encode_images(seen.indices[seen.misclassified].tolist()),
            **hits,
        },
    )


def _groups_of(seen: _Seen, codes: npt.NDArray[np.int64], judged: npt.NDArray[np.int64]) -> list[tuple[int, list[int]]]:
    """Return the size of each judged group, and the places of its images that count."""
    assert seen.hits is not None
    insides = [seen.among & (codes == code) for code in judged]
    return [(int(np.count_nonzero(inside)), seen.indices[inside & seen.hits].tolist()) for inside in insides]


def _excess(seen: Sequence[_Seen], values: AttributeValues, gap: Gap, confidence: float) -> Estimate:
    model, control = seen
    codes, groups = values.codes[model.indices], len(values.names)
    options: Any = {"min_group_size": gap.min_group_size, "confidence": confidence}
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


def _too_few(found: group_gaps.GroupGaps, images: LabelledImages, gap: Gap) -> str:
    sizes = ", ".join(f"{one.group} {one.size:,}" for one in found.groups)
    return (
        f"{gap}: a gap needs two groups with at least {gap.min_group_size} {GROUP_METRICS[gap.metric].base}; "
        f"{images.name} has {sizes}. Add images, or lower min_group_size="
    )
