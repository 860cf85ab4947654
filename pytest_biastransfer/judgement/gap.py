"""A gap as it is declared: which metric, of which groups, and what counts as positive."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, get_args

from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.judgement.expectation import require_classes
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.names import GapMetric, Negatives, OperatingPoint, Unjudged
from pytest_biastransfer.plain_text import in_one_line

_CHOICES: Final = {"metric": GapMetric, "operating_point": OperatingPoint, "negatives": Negatives, "unjudged": Unjudged}


@dataclass(frozen=True)
class Gap:
    """The largest difference of a metric between groups of images, or the signed one between two of them.

    Parameters
    ----------
    attribute
        The attribute of the dataset whose values are the groups; or several, whose groups are the intersections, as
        ``"female & young"``. Images without a value (an empty one, NaN or None) are counted and left out.
    metric
        ``"fpr"`` (default) and ``"tpr"``, the shares of negatives and of positives that are predicted positive;
        ``"accuracy"``; ``"auc"``, the area under the ROC curve; ``"selection_rate"``, the share of all images that
        is predicted positive; ``"precision"``; ``"equalized_odds"``, the rate of the first two whose gap is the larger
        one; ``"average_precision"``; or ``"calibration"``, the mean probability minus the share of positives.
    positive
        The positive class or classes, by name or number. Only accuracy can do without: then it is that of all classes.
    operating_point
        What is predicted positive: with ``"argmax"`` (default) the images whose predicted class is; with
        ``"prevalence"`` those with the highest scores, as many as there are positives (Wang and Russakovsky 2023, arXiv
        2303.06167). The score is how much more probable the model finds the positive classes than the others.
    negatives
        What the area compares each group's positives with: its ``"own"`` negatives (default), or those of all groups,
        ``"shared"``, which is the measure of underrepresentation in the same paper.
    min_group_size
        A group with fewer images that its figure rests on is named and not judged.
    between
        Two groups: the gap is the metric of the first one minus that of the second one, with its sign. None (default)
        for the largest difference between any two groups.
    bins
        For attributes that are numbers, by name, the ascending ends of intervals: ``{"age": [40, 60]}`` makes the
        groups ``"<40"``, ``"40-60"`` and ``">=60"``.
    unjudged
        What becomes of groups that are too small: they are named where figures are shown, ``"list"`` (default); there
        is a warning, ``"warn"``; or an error, ``"fail"``.

    Raises
    ------
    BiasTransferError
        If a value cannot be, or does not go with another one.

    Examples
    --------
    >>> str(Gap("background", "fpr", positive="bird"))
    'fpr of bird by background'
    >>> str(Gap("background", "fpr", positive="bird", between=("water", "land")))
    'fpr of bird by background, water minus land'
    """

    attribute: str | tuple[str, ...]
    metric: GapMetric = "fpr"
    positive: tuple[int | str, ...] = ()
    operating_point: OperatingPoint = "argmax"
    negatives: Negatives = "own"
    min_group_size: int = 30
    between: tuple[str, str] | None = None
    bins: tuple[tuple[str, tuple[float, ...]], ...] = ()
    unjudged: Unjudged = "list"

    def __init__(
        self,
        attribute: str | Sequence[str],
        metric: GapMetric = "fpr",
        *,
        positive: Any = None,
        operating_point: OperatingPoint = "argmax",
        negatives: Negatives = "own",
        min_group_size: int = 30,
        between: tuple[str, str] | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
        unjudged: Unjudged = "list",
    ) -> None:
        fields = {
            "attribute": attribute
            if isinstance(attribute, str) or not isinstance(attribute, Sequence)
            else tuple(attribute),
            "metric": metric,
            "positive": require_classes("positive", positive),
            "operating_point": operating_point,
            "negatives": negatives,
            "min_group_size": min_group_size,
            "between": _require_two_groups(between),
            "bins": _require_bins(bins),
            "unjudged": unjudged,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self._require_valid()

    def _require_valid(self) -> None:
        names = self.attributes
        if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise BiasTransferError(
                f"attribute={self.attribute!r:.60}, expected the name of an attribute of the dataset, as 'background', "
                f"or different ones"
            )
        for name, _ in self.bins:
            if name not in names:
                raise BiasTransferError(f"bins of {name!r:.60}, which is not grouped by; {nearest(str(name), names)}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise BiasTransferError(f"{name}={value!r:.60}; {nearest(str(value), get_args(choices))}")
        if type(self.min_group_size) is not int or self.min_group_size < 1:
            raise BiasTransferError(f"min_group_size={self.min_group_size!r:.60}, expected a whole number from 1 on")
        metric = GROUP_METRICS[self.metric]
        if not self.positive and (metric.needs_positive or self.operating_point == "prevalence"):
            raise BiasTransferError(f"{self.metric} needs positive=, a class or several, by name or number")
        if not metric.has_threshold and self.operating_point != "argmax":
            raise BiasTransferError(f"operating_point='prevalence': {self.metric} is of all thresholds; leave it out")
        if self.metric != "auc" and self.negatives != "own":
            raise BiasTransferError(f"negatives='shared' is for metric='auc'; {self.metric} compares with no negatives")
        if self.between is not None and not metric.has_sign:
            raise BiasTransferError(
                f"between={self.between!r}: {self.metric} is the larger one of two gaps and has no sign; name one of "
                f"the two, such as metric='fpr'"
            )

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the groups are made of."""
        return self.attribute if isinstance(self.attribute, tuple) else (self.attribute,)

    @property
    def needs_scores(self) -> bool:
        """Whether more is needed than the predicted classes."""
        return not GROUP_METRICS[self.metric].has_threshold or self.operating_point == "prevalence"

    @property
    def label(self) -> str:
        """A short name, for test ids."""
        intervals = [name + ",".join(f"{end:g}" for end in ends) for name, ends in self.bins]
        options = [*self._non_default_options, *(self.between or ()), *intervals]
        return "-".join([*self.attributes, self.metric, *map(str, self.positive), *options])

    def __str__(self) -> str:
        positive = f" of {', '.join(map(str, self.positive))}" if self.positive else ""
        descriptions = {"prevalence": " at prevalence", "shared": " against all negatives"}
        options = "".join(descriptions[option] for option in self._non_default_options)
        between = f", {' minus '.join(self.between)}" if self.between else ""
        intervals = [f"{name} at {', '.join(f'{end:g}' for end in ends)}" for name, ends in self.bins]
        bins = f" ({'; '.join(intervals)})" if intervals else ""
        return f"{self.metric}{positive}{options} by {' & '.join(self.attributes)}{bins}{between}"

    def declaration(self, calibration: str | None) -> str:
        """Return it in words, with the name of the dataset that its threshold is found on, if that is another one."""
        return str(self) if calibration is None else f"{self}, threshold from {in_one_line(calibration)}"

    @property
    def _non_default_options(self) -> list[str]:
        return [option for option in (self.operating_point, self.negatives) if option in ("prevalence", "shared")]


def _require_bins(bins: object) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Return the ends of intervals by attribute, none for None."""
    if bins is None:
        return ()
    pairs = sorted(bins.items()) if isinstance(bins, Mapping) else ()
    if not pairs or not all(_is_ascending(ends) for _, ends in pairs):
        raise BiasTransferError(f"bins={bins!r:.100}, expected ascending numbers by attribute, as {{'age': [40, 60]}}")
    return tuple((name, tuple(map(float, ends))) for name, ends in pairs)


def _is_ascending(ends: object) -> bool:
    if not isinstance(ends, Sequence) or isinstance(ends, str) or not ends:
        return False
    are_numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and isfinite(end) for end in ends)
    return are_numbers and all(low < high for low, high in itertools.pairwise(ends))


def _require_two_groups(between: object) -> tuple[str, str] | None:
    """Return the names of two groups, or None for None."""
    if between is None:
        return None
    groups = tuple(between) if isinstance(between, Sequence) and not isinstance(between, str) else ()
    if len(groups) != 2 or not all(isinstance(group, str) for group in groups) or groups[0] == groups[1]:
        raise BiasTransferError(f"between={between!r:.100}, expected the names of two groups, as ('female', 'male')")
    return groups[0], groups[1]


def require_calibration(gap: Gap) -> None:
    """Raise `BiasTransferError` for a gap whose threshold no calibration dataset can give."""
    if gap.operating_point != "prevalence":
        raise BiasTransferError(
            f"calibration_dataset= is where the threshold of operating_point='prevalence' is found; {gap} has "
            f"operating_point={gap.operating_point!r}"
        )
