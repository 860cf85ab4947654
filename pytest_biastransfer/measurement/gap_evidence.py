"""What the baseline keeps of the single images of a gap, so that a change on the same images is tested by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.baseline.component_encoding import encode_components
from pytest_biastransfer.baseline.encoding import encode_groups
from pytest_biastransfer.data.image_keys import MOST_IMAGES
from pytest_biastransfer.metrics.rate_gaps import RateMetric, hits_and_among
from pytest_biastransfer.metrics.statistics.components import Components, area_components, calibration_components

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.measurement.gap_outcomes import GapOutcomes

    Integers = npt.NDArray[np.int64]


def image_evidence(gap: Gap, outcomes: GapOutcomes, codes: Integers, groups: Integers) -> dict[str, str]:
    """Return the evidence of single images: ``hits`` of a rate, ``components`` of an area or a calibration.

    It is empty for other metrics, for more components than images have keys, `MOST_IMAGES`, and where a group has a
    single positive or negative.

    Parameters
    ----------
    gap
        What is measured.
    outcomes
        Those of the images that are in a group.
    codes
        The group of each of these images, int64 of shape [images].
    groups
        The groups that are compared, in their order, int64 of shape [groups].
    """
    if gap.metric in get_args(RateMetric):
        return {"hits": encode_groups(_hits(cast("RateMetric", gap.metric), outcomes, codes, groups))}
    # Counting them would take longer than all the rest where there are many more images.
    if gap.metric not in ("auc", "calibration") or len(codes) > MOST_IMAGES:
        return {}
    if _component_count(gap, outcomes, codes, groups) > MOST_IMAGES:
        return {}
    components = _components(gap, outcomes, codes, groups)
    # Of a single image, nothing tells how much another one would have differed.
    return {"components": encode_components(components)} if min(map(min, components.sizes)) > 1 else {}


def _hits(metric: RateMetric, outcomes: GapOutcomes, codes: Integers, groups: Integers) -> list[tuple[int, Integers]]:
    """Return the size of each of some groups, and the indices of its hits."""
    hits, among = hits_and_among(metric, outcomes.predicted_positive, outcomes.positive, outcomes.right)
    sizes, counted = np.bincount(codes[among], minlength=int(groups.max()) + 1), among & hits
    hit_indices, hit_codes = outcomes.indices[counted], codes[counted]
    return [(int(sizes[code]), hit_indices[hit_codes == code]) for code in groups]


def _component_count(gap: Gap, outcomes: GapOutcomes, codes: Integers, groups: Integers) -> int:
    """Return how many components there are: shared negatives have one for each group."""
    if gap.negatives == "own":
        return int(np.isin(codes, groups).sum())
    positives = np.isin(codes[outcomes.positive], groups).sum()
    return int(positives + len(groups) * np.count_nonzero(~outcomes.positive))


def _components(gap: Gap, outcomes: GapOutcomes, codes: Integers, groups: Integers) -> Components:
    if gap.metric == "calibration":
        assert outcomes.probabilities is not None
        return calibration_components(outcomes.probabilities, outcomes.positive, codes, groups)
    assert outcomes.scores is not None
    is_shared = gap.negatives == "shared"
    return area_components(outcomes.scores, outcomes.positive, codes, groups, shared=is_shared)
