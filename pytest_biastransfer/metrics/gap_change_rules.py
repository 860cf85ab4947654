"""How a gap between groups is tested for a change since the baseline: see `change_protocol`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pytest_biastransfer.metrics.change_protocol import AcceptedMeasurement, ChangeResult, ChangeTest

# The evidence of a gap that has a sign: the two groups.
BETWEEN: Final = "between"
# The evidence that says whether the worst group is the highest or the lowest one.
WORST: Final = "worst"


# Further evidence of a gap: the images of each group that count for a rate, or what each adds to another figure.
_HITS: Final = "hits"
_COMPONENTS: Final = "components"
_OTHER_SIZES: Final = "its groups have other sizes than their hash says"


class _ChangeOfGap(ChangeTest):
    """A test of the gap between groups; what is known of each image is further evidence, if there is any."""

    def _is_same_evidence(self, before: AcceptedMeasurement, now: AcceptedMeasurement) -> bool:
        return super()._is_same_evidence(before, now) and all(
            before.evidence.get(name) == now.evidence.get(name) for name in (_HITS, _COMPONENTS)
        )


class GapChange(_ChangeOfGap):
    """A test by image of a gap between figures of the same groups, and else by the gaps' standard errors."""

    on_same_images: ClassVar[str] = (
        "of a rate: the larger p-value of a permutation test by image and a bootstrap test; "
        "of an area or a calibration: a paired test by DeLong's covariance (1988), and for the largest gap the larger "
        "p-value of that and a bootstrap test; of others: by the gaps' standard errors"
    )
    on_other_images: ClassVar[str] = "by the gaps' standard errors"

    @property
    def evidence(self) -> tuple[str, ...]:
        """A hash of the groups, and what chance does to the gap."""
        return "groups", "chance"

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        if paired and before.evidence["groups"] == now.evidence["groups"]:
            is_signed = BETWEEN in now.evidence
            if _HITS in before.evidence and _HITS in now.evidence:
                return ChangeResult(_change_of_rates(before, now, is_signed, margin))
            if _COMPONENTS in before.evidence and _COMPONENTS in now.evidence:
                return ChangeResult(_change_of_figures(before, now, is_signed, margin))
        from pytest_biastransfer.metrics.statistics.gap_change_test import SizedGap, unpaired_gap_change

        gaps = [SizedGap(measurement.value(metric), *measurement.numbers("chance", 3)) for measurement in (before, now)]
        return ChangeResult(unpaired_gap_change(gaps[0], gaps[1], margin))


class StandardErrorChange(_ChangeOfGap):
    """A test by the standard errors of two figures of groups, as if they were of different images.

    Attributes
    ----------
    error
        The name of the evidence that has the standard error.
    """

    on_same_images: ClassVar[str] = "by the standard errors, as if on other images; conservative"
    on_other_images: ClassVar[str] = "the same"

    def __init__(self, error: str) -> None:
        self.error = error

    @property
    def evidence(self) -> tuple[str, ...]:
        """A hash of the groups, and the standard error."""
        return "groups", self.error

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        from pytest_biastransfer.metrics.statistics.gap_change_test import SizedGap, unpaired_gap_change

        gaps = [
            SizedGap(
                measurement.value(metric), inflation=0.0, error=measurement.numbers(self.error, 1)[0], by_chance=0.0
            )
            for measurement in (before, now)
        ]
        return ChangeResult(unpaired_gap_change(gaps[0], gaps[1], margin))


def _change_of_rates(before: AcceptedMeasurement, now: AcceptedMeasurement, is_signed: bool, margin: float) -> float:
    from pytest_biastransfer.metrics.statistics.gap_change_test import paired_gap_change

    earlier, later, codes = _group_outcomes(before.group_hits(), now.group_hits())
    groups = int(codes.max()) + 1
    return paired_gap_change(
        earlier, later, codes >= 0, codes, groups, min_group_size=1, is_signed=is_signed, margin=margin
    )


def _change_of_figures(before: AcceptedMeasurement, now: AcceptedMeasurement, is_signed: bool, margin: float) -> float:
    from pytest_biastransfer.metrics.statistics.paired_figures_test import paired_figures_change

    earlier, later = before.components(), now.components()
    if (earlier.sizes, earlier.is_shared) != (later.sizes, later.is_shared):
        raise ValueError(_OTHER_SIZES)
    return paired_figures_change(earlier, later, is_signed=is_signed, margin=margin)


def _group_outcomes(
    before: Sequence[tuple[int, Sequence[int]]], now: Sequence[tuple[int, Sequence[int]]]
) -> tuple[Any, Any, Any]:
    """Return which images count before, and now, and their groups; images that never count come last in a group."""
    import numpy as np

    if [size for size, _ in before] != [size for size, _ in now]:
        raise ValueError(_OTHER_SIZES)
    counting_before: list[bool] = []
    counting_now: list[bool] = []
    for (size, earlier), (_, later) in zip(before, now, strict=True):
        set_before, set_now = set(earlier), set(later)
        ever_counting = sorted(set_before | set_now)
        rest = [False] * (size - len(ever_counting))
        counting_before += [image in set_before for image in ever_counting] + rest
        counting_now += [image in set_now for image in ever_counting] + rest
    codes = np.repeat(np.arange(len(before)), [size for size, _ in before])
    return np.array(counting_before, dtype=bool), np.array(counting_now, dtype=bool), codes
