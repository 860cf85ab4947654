"""When the first images are enough to know the verdict on all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.statistics.estimate import Estimate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.metrics.paired_predictions import PairedPredictions
    from pytest_biastransfer.names import Rule

# What is counted for a limit: the metrics that are shares of images, and the asr, which the skew never exceeds.
_SHARES: Final = {"asr": "asr", "conditional_asr": "conditional_asr", "targeted_asr": "targeted_asr", "skew": "asr"}
_METHOD: Final = "confidence sequence"


@dataclass(frozen=True)
class EarlyStop:
    """The limits that first images can decide.

    Attributes
    ----------
    limits
        Metric and limit of all limits, in the order of the expectation.
    rule, confidence
        How they are judged.
    alpha
        The highest probability that any of the early verdicts is another one than that on all images.
    """

    limits: tuple[tuple[str, float], ...]
    rule: Rule
    confidence: float
    alpha: float

    @classmethod
    def of(cls, expectation: Expectation, alpha: float) -> EarlyStop | None:
        """Return when an expectation is decided early; None if first images can decide none of its limits."""
        if not any(metric in _SHARES for metric, _ in expectation.limits):
            return None
        return cls(expectation.limits, expectation.rule, expectation.confidence, alpha)


class EarlyStopMonitor:
    """Looks at more and more images, until the verdict is known.

    Parameters
    ----------
    stop
        What is asked.
    target_of
        Returns the target classes, given the names of the model's classes.

    Attributes
    ----------
    verdicts
        The limited metrics that are decided: whether they hold on all images.
    """

    def __init__(self, stop: EarlyStop, target_of: Callable[[Sequence[str]], Collection[int]]) -> None:
        self.verdicts: dict[str, bool] = {}
        self._stop = stop
        self._target_of = target_of
        self._alpha = stop.alpha / sum(metric in _SHARES for metric, _ in stop.limits)
        self._most: dict[str, npt.NDArray[np.int64]] = {}

    def is_decided(self, seen: PairedPredictions, total: int, class_names: Sequence[str]) -> bool:
        """Look at the first images of `total`; return whether all limits are known to hold, or one not to."""
        target = self._target_of(class_names)
        for metric, limit in self._stop.limits:
            if metric not in self.verdicts:
                verdict = self._look(metric, limit, seen, total, target)
                if verdict is not None:
                    self.verdicts[metric] = verdict
        return len(self.verdicts) == len(self._stop.limits) or not all(self.verdicts.values())

    def estimates(self, seen: PairedPredictions, total: int, class_names: Sequence[str]) -> dict[str, Estimate]:
        """Return the limited shares with intervals that hold although the number of images was not fixed before."""
        from pytest_biastransfer.metrics.statistics.sequential import interval, prior_for

        found = {}
        for metric, limit in self._stop.limits:
            counted = seen.count(metric, self._target_of(class_names)) if metric == _SHARES.get(metric) else None
            if counted is not None:
                hits, among = counted
                # Of the sizes that the whole may have, the largest is the one that least is known about.
                low, high = interval(hits, among, total - len(seen.clean) + among, prior_for(limit), self._alpha)
                share, confidence = hits / among if among else nan, 1 - self._alpha
                found[metric] = Estimate(share, low=low, high=high, confidence=confidence, n=among, method=_METHOD)
        return found

    def _look(
        self, metric: str, limit: float, seen: PairedPredictions, total: int, target: Collection[int]
    ) -> bool | None:
        counted = seen.count(_SHARES[metric], target) if metric in _SHARES else None
        # That the interval of the asr is below the limit does not say so of the interval of the skew.
        if counted is None or (metric == "skew" and self._stop.rule == "certain"):
            return None
        from pytest_biastransfer.metrics.statistics.sequential import decide, prior_for

        hits, among = counted
        # Of how many images the share is, is known at the end only, unless it is of all images.
        most = self._most_hits(metric, limit, total)
        populations = range(total if _SHARES[metric] == "asr" else among, total - len(seen.clean) + among + 1)
        if most[populations[-1]] < 0:
            return None
        possible = most[populations.start : populations.stop]
        verdict = decide(hits, among, populations, possible, prior_for(limit), self._alpha)
        return None if metric == "skew" and not verdict else verdict

    def _most_hits(self, metric: str, limit: float, total: int) -> npt.NDArray[np.int64]:
        """Return for each number of images, from 0 to all, with how many hits the verdict on them would be good."""
        if metric not in self._most:
            import numpy as np

            from pytest_biastransfer.metrics.statistics.sequential import most_hits

            sizes = np.arange(total + 1, dtype=np.int64)
            rule = "point" if metric == "skew" else self._stop.rule
            self._most[metric] = most_hits(sizes, limit, rule, self._stop.confidence)
        return self._most[metric]
