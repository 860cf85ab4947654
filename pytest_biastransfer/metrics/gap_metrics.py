"""The metrics of gaps between groups, and the metrics of a group that gaps compare: an entry for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from pytest_biastransfer.metrics.gap_change_rules import GapChange, StandardErrorChange
from pytest_biastransfer.metrics.metric import GapOfGroups, GroupMetric, by_name
from pytest_biastransfer.names import GapMetric

_FROM_0_TO_1: Final = (0.0, 1.0)
_SIGNED: Final = (-1.0, 1.0)

GAP_METRICS: Final[Sequence[GapOfGroups]] = [
    GapOfGroups(
        name="gap",
        title="gap between groups",
        definition="the largest difference of the group metric between two groups",
        plain_name="gap between groups",
        explanation="The largest difference of a metric between two groups of images.",
        phrase="{points} between groups: {subject}",
        limits=_FROM_0_TO_1,
        needs=frozenset({"labels"}),
        interval="paired bootstrap",
        change=GapChange(),
        early_stop=None,
        more_is_worse=True,
    ),
    GapOfGroups(
        name="gap_excess",
        title="excess of the gap",
        definition="`gap` minus the control model's on the same images",
        plain_name="gap above the control's",
        explanation="The gap between groups minus that of the control model on the same images.",
        phrase="{points} more between groups than with the control model: {subject}",
        limits=_SIGNED,
        needs=frozenset({"labels", "control"}),
        interval="paired bootstrap",
        change=StandardErrorChange("excess_error"),
        early_stop=None,
        more_is_worse=True,
        excess_of="gap",
    ),
    GapOfGroups(
        name="ratio",
        title="ratio of the lowest and the highest rate",
        definition="the lowest rate of a group divided by the highest one",
        plain_name="ratio of the groups",
        explanation=(
            "The lowest rate of a group divided by the highest one. 1 means that all groups have the same rate."
        ),
        phrase="{percent} of the highest rate is the lowest one: {subject}",
        limits=_FROM_0_TO_1,
        needs=frozenset({"labels"}),
        interval="paired bootstrap",
        change=StandardErrorChange("ratio_error"),
        early_stop=None,
        more_is_worse=False,
        limited="below",
    ),
    GapOfGroups(
        name="worst",
        title="worst group",
        definition="the group metric of the worst group",
        plain_name="worst group",
        explanation="The metric of the group that has the worst one.",
        phrase="{percent} in the worst group: {subject}",
        limits=_FROM_0_TO_1,
        needs=frozenset({"labels"}),
        interval="paired bootstrap",
        change=StandardErrorChange("worst_error"),
        early_stop=None,
        more_is_worse=False,
        limited="on its worse side",
    ),
]

GROUP_METRICS: Mapping[str, GroupMetric] = by_name(
    [
        GroupMetric(
            name="fpr",
            definition="false-positive rate: the share of negatives that is predicted positive",
            base="negatives",
            counts="predicted positive",
            needs_positive=True,
            worst="highest",
        ),
        GroupMetric(
            name="tpr",
            definition="true-positive rate: the share of positives that is predicted positive",
            base="positives",
            counts="predicted positive",
            needs_positive=True,
            worst="lowest",
        ),
        GroupMetric(
            name="accuracy",
            definition="the share of images that are classified correctly; without `positive=` among all classes",
            base="images",
            counts="classified correctly",
            needs_positive=False,
            worst="lowest",
        ),
        GroupMetric(
            name="auc",
            definition="area under the ROC curve",
            base="positives and negatives",
            counts=None,
            needs_positive=True,
            worst="lowest",
            scores="ranks",
        ),
        GroupMetric(
            name="selection_rate",
            definition="the share of all images that is predicted positive",
            base="images",
            counts="predicted positive",
            needs_positive=True,
            worst="lowest",
        ),
        GroupMetric(
            name="precision",
            definition="the share of images that are predicted positive that is positive",
            base="predicted positives",
            counts="positive",
            needs_positive=True,
            worst="lowest",
        ),
        GroupMetric(
            name="equalized_odds",
            definition="the rate, `fpr` or `tpr`, whose gap is the larger one",
            base="positives and negatives",
            counts=None,
            needs_positive=True,
            worst="lowest",
            has_sign=False,
        ),
        GroupMetric(
            name="average_precision",
            definition="the mean precision at the scores of the positives: area under the precision-recall curve",
            base="positives",
            counts=None,
            needs_positive=True,
            worst="lowest",
            scores="ranks",
        ),
        GroupMetric(
            name="calibration",
            definition="the mean probability of the positive minus the share of positives: calibration in the large",
            base="images",
            counts=None,
            needs_positive=True,
            worst="highest",
            scores="probabilities",
        ),
    ]
)

if tuple(GROUP_METRICS) != get_args(GapMetric):
    raise ValueError(f"names.GapMetric is {get_args(GapMetric)}, expected {tuple(GROUP_METRICS)}")
