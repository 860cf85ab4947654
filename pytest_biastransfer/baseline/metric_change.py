"""How one metric changed since it was accepted, and what that means once its p-value is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.baseline.history import OverTime
from pytest_biastransfer.baseline.near_ties import WithinRounding
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.metrics.statistics.limits import is_at_most

# A loss of accuracy may be tolerated, and nothing is better that is accompanied by one.
Meaning = Literal["regression", "not comparable", "improvement", "tolerated", "unchanged"]


@dataclass(frozen=True)
class MetricChange:
    """How a metric changed since it was accepted.

    Attributes
    ----------
    metric, before, now
        What changed, and from what to what.
    p
        The probability of such a change, or a larger one, by chance: of a change for the worse if it became worse by
        just the tolerance, and else if nothing changed.
    tolerance
        By how much it may become worse.
    newly, no_longer
        How many images count now and did not before, and the other way round; None where that is not what
        the change is judged by.
    same_images
        Whether both are of the same images.
    common_images
        How many images both have, where the test is of these because there are others; otherwise None.
    loss_by_image
        By how much it is worse on the images that the test is of; None if these are all images.
    at
        Of a ladder, at which strength, in words, such as ``"sigma 0.02"``.
    subject
        Of a figure that several tests share, such as the accuracy of a model: what it is of, in words.
    identity
        What distinguishes the figure from that of another model or dataset, such as fingerprints.
    is_of_size
        Whether it is a signed figure that is the worse the farther it is from 0, on either side.
    more_is_worse
        Whether an increase is a change for the worse; None if the catalogue says so.
    least_p
        The smallest p that the comparison could have had; 0 where that is unknown.
    p_of_change
        The probability if nothing changed, where `p` is another one.
    over_time
        The runs that it is judged over together, at a level of their own; None if it is judged alone.
    within_rounding
        How many of the changed images are nearly tied, so that `p` is of the others; None if they are not counted.
    seeds
        The figures of the accepted seeds if it is compared with several; `before` is then their mean.
    """

    metric: str
    before: float
    now: float
    p: float
    tolerance: float
    newly: int | None
    no_longer: int | None
    same_images: bool
    subject: str = ""
    identity: str = ""
    is_of_size: bool = False
    more_is_worse: bool | None = None
    least_p: float = 0.0
    p_of_change: float | None = None
    common_images: int | None = None
    loss_by_image: float | None = None
    at: str = ""
    within_rounding: WithinRounding | None = None
    over_time: OverTime | None = None
    seeds: Sequence[float] = ()

    @property
    def is_accuracy(self) -> bool:
        """Whether it is of the accuracy without an intervention, which had better be high."""
        return self.metric == ACCURACY

    @property
    def is_by_image(self) -> bool:
        """Whether images are compared that both measurements have."""
        return self.same_images or self.common_images is not None

    @property
    def is_worse(self) -> bool:
        """Whether it is a change for the worse, by however little."""
        return self.loss > 0

    @property
    def tested_tolerance(self) -> float:
        """The tolerance, if `p` is of becoming worse by more than that; else 0."""
        return 0.0 if self.p_of_change is None else self.tolerance

    @property
    def p_of_any_change(self) -> float:
        """The probability of such a change, or a larger one, if nothing changed."""
        return self.p if self.p_of_change is None else self.p_of_change

    @property
    def loss(self) -> float:
        """By how much it is worse; below 0 if it is better."""
        if self.loss_by_image is not None:
            return self.loss_by_image
        if self.is_of_size:
            return abs(self.now) - abs(self.before)
        change = self.now - self.before
        return change if self.increases_are_losses else -change

    @property
    def increases_are_losses(self) -> bool:
        """Whether an increase is a change for the worse."""
        return metric_named(self.metric).more_is_worse if self.more_is_worse is None else self.more_is_worse

    @property
    def tolerated_change(self) -> float:
        """By how much the figure may change for the worse; without a sign.

        A signed gap that changed its side is worse by more only if it also exceeds the size of the other side.
        """
        return self.tolerance + (2 * abs(self.before) if self.changed_side else 0.0)

    @property
    def changed_side(self) -> bool:
        """Whether it is a signed gap in favour of the other group than before."""
        return self.is_of_size and self.before * self.now < 0

    def level(self, alpha: float) -> float:
        """Return the level that its p-value is compared with, where that of a session is `alpha`."""
        return alpha if self.over_time is None else self.over_time.alpha

    def meaning(self, adjusted_p: float, alpha: float, adjusted_p_of_any_change: float | None = None) -> Meaning:
        """Return what the change means, given its p-values among all of the session; the second one if it differs."""
        alpha = self.level(alpha)
        if not self.is_worse:
            is_better = adjusted_p <= alpha and self.loss < 0 and not self.is_accuracy
            return "improvement" if is_better else "unchanged"
        if adjusted_p <= alpha and self.exceeds_tolerance:
            return "regression"
        p_of_any_change = adjusted_p if adjusted_p_of_any_change is None else adjusted_p_of_any_change
        return "tolerated" if self.is_accuracy and p_of_any_change <= alpha else "unchanged"

    @property
    def exceeds_tolerance(self) -> bool:
        """Whether it is observed to be worse by more than the tolerance."""
        return not is_at_most(self.loss, self.tolerance)
