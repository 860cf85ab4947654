"""The metrics of predicted classes: an entry for each, in the order of the summary's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.change_rules import (
    ImageCounts,
    McNemar,
    MeanChange,
    ShareOfChangingBase,
    SkewChange,
    TwoProportions,
)
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
from pytest_biastransfer.metrics.metric import ClassMetric

_FROM_0_TO_1: Final = (0.0, 1.0)
_SIGNED: Final = (-1.0, 1.0)

_FLIPPED: Final = ImageSet("flipped", flipped)
_MISCLASSIFIED: Final = ImageSet("misclassified", misclassified)
_CONTROL_FLIPPED: Final = ImageSet("control_flipped", control_flipped)
_TARGETED: Final = Share(put_into_target, of_other_classes, has_fixed_base=True)

# The accuracy without an intervention: every baseline comparison includes it, whatever a marker limits.
ACCURACY: Final = "accuracy"

CLASS_METRICS: Final[Sequence[ClassMetric]] = [
    ClassMetric(
        name="asr",
        title="attack success rate",
        definition="the share of images with `f(T(x)) != f(x)`; needs no labels",
        plain_name="flip rate",
        explanation=(
            "The share of images whose predicted class the intervention changes. 0 means that it changes no prediction."
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
]
