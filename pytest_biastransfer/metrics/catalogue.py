"""The metrics: one entry for each, and nothing about a metric anywhere else.

Marker keywords, ``pytest --markers``, summary, baseline, reports and documents derive from these entries. The order is
that of the summary's limits. Importing this module imports neither numpy nor scipy: the functions import them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, get_args

from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.change_rules import (
    ImageCounts,
    McNemar,
    MeanChange,
    ShareOfChangingBase,
    SkewChange,
    TwoProportions,
)
from pytest_biastransfer.metrics.gap_change_rules import GapChange, StandardErrorChange
from pytest_biastransfer.metrics.image_sets import (
    ImageSet,
    Share,
    all_images,
    classified_correctly,
    classified_correctly_with_intervention,
    control_flipped,
    flipped,
    in_target_without_intervention,
    labelled,
    lost,
    misclassified,
    newly_in_target,
    no_longer_in_target,
    of_other_classes,
    put_into_target,
    unlabelled,
    won,
)
from pytest_biastransfer.metrics.metric import (
    MEAN_PREFIX,
    ClassMetric,
    GapOfGroups,
    GroupMetric,
    Metric,
    by_name,
    require_consistent,
)
from pytest_biastransfer.names import GapMetric

# How to speak of the images of a metric that the catalogue lacks.
_COUNT: Final = ImageCounts("newly counts", "newly count", "no longer do")

_FROM_0_TO_1: Final = (0.0, 1.0)
_SIGNED: Final = (-1.0, 1.0)

_FLIPPED: Final = ImageSet("flipped", flipped)
_MISCLASSIFIED: Final = ImageSet("misclassified", misclassified)
_CONTROL_FLIPPED: Final = ImageSet("control_flipped", control_flipped)
_TARGETED: Final = Share(put_into_target, of_other_classes, has_fixed_base=True)

# The accuracy without an intervention: every baseline comparison includes it, whatever a marker limits.
ACCURACY: Final = "accuracy"

METRICS: Mapping[str, Metric] = by_name(
    [
        ClassMetric(
            name="asr",
            title="attack success rate",
            definition="the share of images with `f(T(x)) != f(x)`; needs no labels",
            plain_name="flip rate",
            explanation=(
                "The share of images whose predicted class the intervention changes. 0 means that it changes no "
                "prediction."
            ),
            phrase="{percent} of the predictions flip with {subject}",
            limits=_FROM_0_TO_1,
            needs=frozenset(),
            estimator=Share(flipped, all_images, has_fixed_base=True),
            interval="clopper-pearson",
            change=McNemar(_FLIPPED, ImageCounts("newly flips", "newly flip", "no longer do")),
            early_stop="asr",
            more_is_worse=True,
            in_summary=True,
        ),
        ClassMetric(
            name="conditional_asr",
            title="conditional attack success rate",
            definition="`asr` among the images that are classified correctly without `T`",
            plain_name="flip rate of correct images",
            explanation=(
                "The share of images that change their predicted class, among those that are classified correctly "
                "without the intervention."
            ),
            phrase="{percent} of the correct predictions flip with {subject}",
            limits=_FROM_0_TO_1,
            needs=frozenset({"labels"}),
            estimator=Share(flipped, classified_correctly, has_fixed_base=False),
            interval="clopper-pearson",
            # In the baseline, few images are misclassified and fewer have no label: that takes less than what is right.
            change=ShareOfChangingBase(_FLIPPED, outside=(_MISCLASSIFIED, ImageSet("unlabelled", unlabelled))),
            early_stop="conditional_asr",
            more_is_worse=True,
        ),
        ClassMetric(
            name="targeted_asr",
            title="targeted attack success rate",
            definition="the share of images of other classes that are in a target class with `T`, as some are without",
            plain_name="target rate",
            explanation=(
                "The share of images of other classes that are classified as a target class with the intervention."
            ),
            phrase="{percent} of the images of other classes are in the target class with {subject}",
            limits=_FROM_0_TO_1,
            needs=frozenset({"labels", "target"}),
            estimator=_TARGETED,
            interval="clopper-pearson",
            change=McNemar(
                ImageSet("hits", _TARGETED.counted),
                ImageCounts("newly hits the target", "newly hit the target", "no longer do"),
            ),
            early_stop="targeted_asr",
            more_is_worse=True,
        ),
        ClassMetric(
            name="targeted_excess",
            title="excess of the targeted rate",
            definition="`targeted_asr` minus the share of these images that is in a target class without `T`",
            plain_name="target rate that the intervention adds",
            explanation="The target rate with the intervention minus the target rate without it.",
            phrase="{points} more of the images of other classes are in the target class with {subject}",
            limits=_SIGNED,
            needs=frozenset({"labels", "target"}),
            estimator=lambda inputs: flips.targeted_excess(
                newly_in_target(inputs), no_longer_in_target(inputs), of_other_classes(inputs), inputs.confidence
            ),
            interval="tango",
            change=MeanChange(
                plus=ImageSet("put_into_target", newly_in_target),
                minus=ImageSet("taken_from_target", no_longer_in_target),
            ),
            early_stop=None,
            more_is_worse=True,
        ),
        ClassMetric(
            name="skew",
            title="total variation distance",
            definition="how far the distribution of predicted classes moves; at most `asr`",
            plain_name="shift of the classes",
            explanation=(
                "How far the intervention moves the distribution of the predicted classes. 0 means that all classes "
                "are predicted as often as before, 1 that they have nothing in common."
            ),
            phrase="{percent} of the class distribution shifts with {subject}",
            limits=_FROM_0_TO_1,
            needs=frozenset(),
            estimator=lambda inputs: flips.skew(inputs.clean, inputs.intervened, inputs.confidence),
            interval="held-out classes",
            change=SkewChange(("",)),
            early_stop="asr",
            more_is_worse=True,
            in_summary=True,
        ),
        ClassMetric(
            name="accuracy_drop",
            title="loss of accuracy",
            definition="accuracy without `T` minus accuracy with `T`",
            plain_name="loss of accuracy",
            explanation="The accuracy without the intervention minus the accuracy with it.",
            phrase="{points} of accuracy are lost with {subject}",
            limits=_SIGNED,
            needs=frozenset({"labels"}),
            estimator=lambda inputs: flips.accuracy_drop(*inputs.labelled, inputs.confidence),
            interval="tango",
            change=MeanChange(plus=ImageSet("lost", lost), minus=ImageSet("won", won)),
            early_stop=None,
            more_is_worse=True,
        ),
        ClassMetric(
            name="asr_excess",
            title="excess of the attack success rate",
            definition="`asr` minus the control model's on the same images",
            plain_name="flip rate above the control's",
            explanation=(
                "The flip rate minus that of the control model on the same images. It is what the source model adds."
            ),
            phrase="{points} more of the predictions flip with {subject} than in the control model",
            limits=_SIGNED,
            needs=frozenset({"control"}),
            estimator=lambda inputs: flips.asr_excess(flipped(inputs), control_flipped(inputs), inputs.confidence),
            interval="tango",
            change=MeanChange(plus=_FLIPPED, minus=_CONTROL_FLIPPED),
            early_stop=None,
            more_is_worse=True,
            excess_of="asr",
        ),
        ClassMetric(
            name="skew_excess",
            title="excess of the total variation distance",
            definition="`skew` minus the control model's on the same images",
            plain_name="shift of the classes above the control's",
            explanation="The shift of the classes minus that of the control model on the same images.",
            phrase="{points} more of the class distribution shift with {subject} than in the control model",
            limits=_SIGNED,
            needs=frozenset({"control"}),
            estimator=lambda inputs: flips.skew_excess(
                inputs.clean, inputs.intervened, inputs.control_clean, inputs.control_intervened, inputs.confidence
            ),
            interval="held-out classes",
            change=SkewChange(("", "control_")),
            early_stop=None,
            more_is_worse=True,
            excess_of="skew",
        ),
        ClassMetric(
            name=ACCURACY,
            title="accuracy",
            definition="the share of images that are classified correctly without `T`",
            plain_name="accuracy",
            explanation="The share of images that are classified correctly without the intervention.",
            phrase="",
            limits=None,
            needs=frozenset({"labels"}),
            estimator=Share(classified_correctly, labelled, has_fixed_base=True),
            interval="clopper-pearson",
            change=McNemar(
                _MISCLASSIFIED,
                ImageCounts("newly misclassified", "newly misclassified", "no longer"),
                # The first baseline files have the count alone.
                works_without_images=True,
            ),
            early_stop=None,
            more_is_worse=False,
        ),
        ClassMetric(
            name="intervened_accuracy",
            title="accuracy with the intervention",
            definition="the share of images that are classified correctly with `T`",
            plain_name="accuracy with the intervention",
            explanation="The share of images that are classified correctly with the intervention.",
            phrase="",
            limits=None,
            needs=frozenset({"labels"}),
            estimator=Share(classified_correctly_with_intervention, labelled, has_fixed_base=True),
            interval="clopper-pearson",
            change=TwoProportions(),
            early_stop=None,
            more_is_worse=False,
        ),
        ClassMetric(
            name="clean_target_rate",
            title="target rate without the intervention",
            definition="the share of images of other classes that are classified as a target class without `T`",
            plain_name="target rate without the intervention",
            explanation=(
                "The share of images of other classes that are classified as a target class without the intervention."
            ),
            phrase="",
            limits=None,
            needs=frozenset({"labels", "target"}),
            estimator=Share(in_target_without_intervention, of_other_classes, has_fixed_base=True),
            interval="clopper-pearson",
            change=TwoProportions(),
            early_stop=None,
            more_is_worse=True,
        ),
        ClassMetric(
            name="corrected_skew",
            title="total variation distance, less what chance adds",
            definition="`skew` less what chance adds to it: images that move between classes and cancel out on average",
            plain_name="shift of the classes, less what chance adds",
            explanation=(
                "The shift of the classes without the part that images cause that move between classes and cancel "
                "out on average."
            ),
            phrase="",
            limits=None,
            needs=frozenset(),
            estimator=lambda inputs: flips.corrected_skew(inputs.clean, inputs.intervened, inputs.confidence),
            interval="held-out classes",
            change=SkewChange(("",)),
            early_stop=None,
            more_is_worse=True,
        ),
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
)

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

require_consistent(METRICS)
if tuple(GROUP_METRICS) != get_args(GapMetric):
    raise ValueError(f"names.GapMetric is {get_args(GapMetric)}, expected {tuple(GROUP_METRICS)}")

Kind = TypeVar("Kind", bound=Metric)


def metrics_of(kind: type[Kind]) -> list[Kind]:
    """Return the metrics of a kind, in the order of the catalogue."""
    return [metric for metric in METRICS.values() if isinstance(metric, kind)]


def limitable(kind: type[Metric]) -> list[Metric]:
    """Return the metrics of a kind that a marker can limit, in the order of the catalogue."""
    return [metric for metric in METRICS.values() if isinstance(metric, kind) and metric.limits is not None]


def metric_named(name: str) -> Metric:
    """Return the entry of a metric.

    Raises
    ------
    BiasTransferError
        If there is none; the message has the nearest name.

    Examples
    --------
    >>> metric_named("skew").early_stop
    'asr'
    """
    if name not in METRICS:
        raise BiasTransferError(f"metric={name!r}; {nearest(name, list(METRICS))}")
    return METRICS[name]


def metric_of_limit(name: str) -> Metric | None:
    """Return the entry of a limited metric, or of the metric that a limit on a mean over strengths is of.

    None for what the catalogue lacks: a report may be of another version.

    >>> metric_of_limit("mean_asr").name, metric_of_limit("of_another_version")
    ('asr', None)
    """
    return METRICS.get(name.removeprefix(MEAN_PREFIX))


def base_of(name: str) -> str:
    """Return the metric of which another one is the excess, and the metric itself if it is no excess.

    Reports of other versions may have metrics that the catalogue lacks.

    >>> base_of("skew_excess"), base_of("skew")
    ('skew', 'skew')
    """
    metric = METRICS.get(name)
    return name if metric is None or metric.excess_of is None else metric.excess_of


def counts_text_of(name: str, newly: int, no_longer: int) -> str:
    """Return in words how many images count newly, and no longer, for a metric that is compared by its images.

    >>> counts_text_of("targeted_asr", 2, 1)
    '2 images newly hit the target, 1 no longer do'
    >>> counts_text_of("unknown_in_this_version", 2, 1)
    '2 images newly count, 1 no longer do'
    """
    change = METRICS[name].change if name in METRICS else None
    wording = change.wording if isinstance(change, McNemar) else _COUNT
    return wording.text(newly, no_longer)
