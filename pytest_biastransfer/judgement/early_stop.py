"""When the first images are enough to know the verdict on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.image_sets import Share
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.statistics.estimate import Estimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.metrics.paired_predictions import MetricInputs
    from pytest_biastransfer.metrics.statistics.sequential import Prior
    from pytest_biastransfer.names import Rule

_METHOD: Final = "confidence sequence"


@dataclass(frozen=True)
class EarlyStop:
    """The limits that the first images can decide.

    Attributes
    ----------
    limits
        Metric and limit of all limits, in the order of the expectation.
    rule, confidence
        How they are judged.
    alpha
        The highest probability that any of the early verdicts differs from the verdict on all images.
    """

    limits: tuple[tuple[str, float], ...]
    rule: Rule
    confidence: float
    alpha: float

    @classmethod
    def of(cls, expectation: Expectation, alpha: float) -> EarlyStop | None:
        """Return the early stop of an expectation; None if the first images can decide none of its limits."""
        if not any(_deciding_share(metric) for metric in expectation.metrics):
            return None
        return cls(expectation.limits, expectation.rule, expectation.confidence, alpha)


class EarlyStopMonitor:
    """Looks at more and more images until the verdict on all of them is known.

    Attributes
    ----------
    verdicts
        The limited metrics that are decided: whether they hold on all images.
    """

    def __init__(self, stop: EarlyStop) -> None:
        self.verdicts: dict[str, bool] = {}
        self._stop = stop
        # Each limit gets an equal part of the error probability, so that they keep it together (Bonferroni).
        self._alpha = stop.alpha / sum(_deciding_share(metric) is not None for metric, _ in stop.limits)
        self._most_hits_by_metric: dict[str, npt.NDArray[np.int64]] = {}

    def is_decided(self, inputs: MetricInputs, total: int) -> bool:
        """Look at the first of `total` images; return whether all limits are known to hold, or one not to."""
        for metric, limit in self._stop.limits:
            if metric not in self.verdicts:
                verdict = self._look(metric, limit, inputs, total)
                if verdict is not None:
                    self.verdicts[metric] = verdict
        return len(self.verdicts) == len(self._stop.limits) or not all(self.verdicts.values())

    def estimates(self, inputs: MetricInputs, total: int) -> dict[str, Estimate]:
        """Return the limited shares with intervals that hold although the number of images was not fixed before.

        An interval is a confidence sequence, cut off where the verdict says that the share is not. Each misses the
        share of all images with a probability of at most alpha, so both together with at most twice that.
        """
        from pytest_biastransfer.metrics.statistics.sequential import interval

        estimates = {}
        for metric, limit in self._stop.limits:
            share = _deciding_share(metric)
            if share is not None and share.name == metric and share.needs <= inputs.available:
                hits, among = _count(share, inputs)
                sizes = _possible_sizes(share, among, inputs, total)
                most_hits = self._most_hits(metric, limit, total, is_bound=False)
                # Of the sizes that the base can have, the largest is the most cautious.
                ends = interval(hits, among, sizes[-1], self._prior(most_hits), self._alpha)
                low, high = _on_the_side_of(self.verdicts.get(metric), ends, sizes, most_hits)
                value, confidence = hits / among if among else nan, max(0.0, 1 - 2 * self._alpha)
                estimates[metric] = Estimate(value, low=low, high=high, confidence=confidence, n=among, method=_METHOD)
        return estimates

    def _look(self, metric: str, limit: float, inputs: MetricInputs, total: int) -> bool | None:
        share = _deciding_share(metric)
        if share is None or not share.needs <= inputs.available:
            return None
        is_bound = share.name != metric
        # An interval of the bound that ends below the limit says nothing about where the metric's own interval ends.
        if is_bound and self._stop.rule == "certain":
            return None
        from pytest_biastransfer.metrics.statistics.sequential import decide

        hits, among = _count(share, inputs)
        # The verdict has to be the same for every size that the base can still have.
        sizes = _possible_sizes(share, among, inputs, total)
        most_hits = self._most_hits(metric, limit, total, is_bound=is_bound)
        if most_hits[sizes[-1]] < 0:
            return None
        prior = self._prior(most_hits)
        verdict = decide(hits, among, sizes, most_hits[sizes.start : sizes.stop], prior, self._alpha)
        # A bound above the limit leaves open whether the metric is.
        return None if is_bound and not verdict else verdict

    @staticmethod
    def _prior(most_hits: npt.NDArray[np.int64]) -> Prior:
        """Return the prior that is cut where the verdict on all images changes; nothing that was seen decides it."""
        from pytest_biastransfer.metrics.statistics.sequential import prior_for

        return prior_for((int(most_hits[-1]) + 0.5) / (len(most_hits) - 1))

    def _most_hits(self, metric: str, limit: float, total: int, *, is_bound: bool) -> npt.NDArray[np.int64]:
        """Return for each number of images, from 0 to all, the largest number of hits with which the limit holds."""
        if metric not in self._most_hits_by_metric:
            import numpy as np

            from pytest_biastransfer.metrics.statistics.sequential import most_hits

            sizes = np.arange(total + 1, dtype=np.int64)
            rule = "point" if is_bound else self._stop.rule
            self._most_hits_by_metric[metric] = most_hits(sizes, limit, rule, self._stop.confidence)
        return self._most_hits_by_metric[metric]


def _deciding_share(metric: str) -> ClassMetric | None:
    """Return the share that decides a limit on a metric early: the metric itself, or one that it never exceeds."""
    name = metric_named(metric).early_stop
    share = None if name is None else metric_named(name)
    return share if isinstance(share, ClassMetric) else None


def _estimator(share: ClassMetric) -> Share:
    # The catalogue is checked for it when it is imported.
    assert isinstance(share.estimator, Share)
    return share.estimator


def _count(share: ClassMetric, inputs: MetricInputs) -> tuple[int, int]:
    return _estimator(share).count(inputs)


def _possible_sizes(share: ClassMetric, among: int, inputs: MetricInputs, total: int) -> range:
    """Return how many of all images a share can be of: unless it is of all, that is only known at the end."""
    least = total if _estimator(share).is_of_all_images else among
    return range(least, total - len(inputs.clean) + among + 1)


def _on_the_side_of(
    verdict: bool | None, ends: tuple[float, float], sizes: range, most_hits: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return an interval without the shares with which the verdict would be another one for every size of the base."""
    import numpy as np

    low, high = ends
    counts = np.maximum(np.array(sizes), 1)
    most = most_hits[sizes.start : sizes.stop]
    if verdict is True:
        high = min(high, float((most / counts).max()))
    elif verdict is False:
        low = max(low, float(((most + 1) / counts).min()))
    # Nothing is left only if the verdict is wrong, or the interval: then it stays what it is.
    return (low, high) if low <= high else ends
