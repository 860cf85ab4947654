"""Gaps between groups in the area under the ROC curve.

The arguments and results are as in `group_gaps`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from pytest_biastransfer.metrics.group_gaps import (
    ComparedGroups,
    GroupGaps,
    Integers,
    Marked,
    Pair,
    gaps_of,
    signed_excess,
)
from pytest_biastransfer.metrics.statistics.auc import Areas, area_estimates, areas, drawn_areas
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.gap_intervals import spread_excess
from pytest_biastransfer.names import Negatives


def auc_gaps(
    scores: npt.NDArray[Any],
    positive: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    negatives: Negatives = "own",
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> GroupGaps:
    """Return the areas under the ROC curve of groups, and the gap between them.

    The areas' intervals are DeLong's (see `area_estimates`). That of the gap is found as at `rate_gaps`, with
    draws of areas that are normal on the scale of the logit (see `drawn_areas`). How often the 95 % interval
    contains the true gap, in 1,000 simulated data sets with so many positives, and as many negatives, in each group:
    where all areas are 0.8; where they are spread evenly from 0.75 to 0.85; and where one is 0.9 and the others are
    0.98; with each group's own negatives, and then with shared ones:

    ======  ======  =======  ======  =======  ===============  ======  =======
    groups  images  all 0.8  spread  one 0.9  shared: all 0.8  spread  one 0.9
    ======  ======  =======  ======  =======  ===============  ======  =======
    2       50      0.95     0.97    0.95     0.95             0.95    0.96
    2       200     0.96     0.96    0.96     0.97             0.96    0.96
    2       2,000   0.96     0.96    0.95     0.97             0.96    0.95
    5       50      0.96     0.97    0.97     0.94             0.97    0.95
    5       200     0.95     0.97    0.95     0.95             0.97    0.95
    5       2,000   0.95     0.96    0.96     0.94             0.96    0.95
    10      50      0.97     0.94    0.98     0.96             0.96    0.97
    10      200     0.97     0.96    0.96     0.95             0.97    0.96
    10      2,000   0.95     0.95    0.94     0.95             0.96    0.94
    ======  ======  =======  ======  =======  ===============  ======  =======

    A million images in ten groups take a tenth of a second or two. Shared negatives take 4 bytes of memory for
    each negative and group.

    Parameters
    ----------
    scores
        Higher ones for positives, floats of shape [images].
    positive
        Which images are positive, bool of shape [images].
    negatives
        Whether each group's positives are compared with its ``"own"`` negatives, or with those of all groups,
        ``"shared"``, as Wang and Russakovsky do.

    Examples
    --------
    >>> import numpy as np
    >>> scores, positive, codes = np.arange(200) % 89, np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> auc_gaps(scores, positive, codes, ["day", "night"]).gap.method
    'paired bootstrap'
    """
    group_areas = areas([scores], positive, codes, len(names), shared=negatives == "shared")
    compared = ComparedGroups.of(group_areas.sizes, min_group_size, between)
    draws = drawn_areas(group_areas, compared.places)[:, 0]
    estimates, n = functools.partial(area_estimates, group_areas), _images(group_areas, compared.places, negatives)
    return gaps_of("auc", names, estimates, compared, draws, n, confidence)


def auc_gap_excess(
    scores: npt.NDArray[Any],
    control_scores: npt.NDArray[Any],
    positive: Marked,
    codes: Integers,
    groups: int,
    *,
    negatives: Negatives = "own",
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> Estimate:
    """Return by how much a model's gap of areas exceeds the control model's on the same images, in [-1, 1].

    The interval is found as at `gap_excess`. In the same simulations with shared negatives, of areas of 0.8 or
    spread evenly from 0.75 to 0.85, the 95 % interval contains the true excess in 0.89 to 1.00 of data sets.

    >>> import numpy as np
    >>> scores, positive, codes = np.arange(200) % 89, np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> float(auc_gap_excess(scores, scores, positive, codes, 2))
    0.0
    """
    group_areas = areas([scores, control_scores], positive, codes, groups, shared=negatives == "shared")
    judged = ComparedGroups.of(group_areas.sizes, min_group_size, between).places
    n = _images(group_areas, judged, negatives)
    values, draws = group_areas.values[:, judged], drawn_areas(group_areas, judged)
    if between is not None:
        return signed_excess(values, draws, n, confidence)
    return spread_excess(values, draws, group_areas.sizes[judged], n, confidence)


def _images(group_areas: Areas, judged: Integers, negatives: Negatives) -> int:
    """Return how many images the areas of groups rest on; shared negatives are there once."""
    compared = group_areas.negatives[judged][:1] if negatives == "shared" else group_areas.negatives[judged]
    return int(group_areas.positives[judged].sum() + compared.sum())
