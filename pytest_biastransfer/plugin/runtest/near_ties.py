"""Whether a test is worse than its baseline by more than rounding: its changed images are predicted again.

Only where a change may be a regression, and something else computed the baseline, is a model loaded for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.baseline.common_images import on_common_images
from pytest_biastransfer.baseline.near_ties import (
    NearTies,
    changed_images,
    evidence_of,
    indices_of,
    rounding_between,
    unchecked_text,
)
from pytest_biastransfer.baseline.regression import maybe_worse
from pytest_biastransfer.baseline.seeds import compared_seeds, has_metric, same_images
from pytest_biastransfer.baseline.strengths import strengths_of
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.plugin.resources import evaluator_of

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.metric_change import MetricChange
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest


def near_ties_of(
    test: MeasuredTest, accepted: Entry, entry: Entry, changes: Sequence[MetricChange], alpha: float
) -> tuple[NearTies | None, str]:
    """Return which changed images are nearly tied, if that may matter; and why it is not known, in a sentence, if so.

    Raises ValueError where the evidence of `accepted` cannot be understood.
    """
    seeds = compared_seeds(accepted, entry)
    between = next(filter(None, (rounding_between(seed, entry) for seed in seeds)), "")
    worse = maybe_worse(changes, alpha)
    if not between or not worse:
        return None, ""
    pairs = [(seed, entry) if same_images(seed, entry) else on_common_images(seed, entry) for seed in seeds]
    reason = _obstacle(seeds, entry) or ("the images are not the same" if None in pairs else "")
    if reason:
        return None, unchecked_text(between, reason)
    pairs_by_metric = {
        metric: [pair for seed, pair in zip(seeds, pairs, strict=True) if pair and has_metric(seed, metric)]
        for metric in worse
    }
    unknown = [metric for metric, own in pairs_by_metric.items() if not all(evidence_of(*one, metric) for one in own)]
    unchecked = ""
    if unknown:
        unchecked = unchecked_text(between, f"the baseline does not have the images of {', '.join(unknown)}")
    images = sorted(
        {image for metric, own in pairs_by_metric.items() for one in own for image in changed_images(*one, metric)}
    )
    indices = indices_of(accepted, entry, images)
    if not indices:
        return None, unchecked
    evaluator = evaluator_of(test.inputs.request)
    if evaluator.predicts_on.partition(":")[0] != evaluator.device_type:
        return None, unchecked_text(between, f"this process has no {evaluator.predicts_on} to predict them again")
    try:
        states = test.possible_states(indices, seeds[0].computation)
    # What a ValueError says is of the images or the models: nothing of the baseline is read here.
    except (BiasTransferError, ValueError) as error:
        # The regression is there, whatever has become of the model's files since it was measured.
        return None, unchecked_text(between, f"they cannot be predicted again: {error}")
    return NearTies(dict(zip(images, states, strict=True)), between), unchecked


def _obstacle(seeds: Sequence[Entry], entry: Entry) -> str:
    """Return why the accepted states cannot be compared with those that rounding allows; empty if they can."""
    if strengths_of(entry) != [""]:
        return "the images of a ladder are not predicted again"
    is_one = len({seed.computation for seed in seeds}) == 1
    return "" if is_one else "the accepted seeds were not computed alike"
