"""The form of the catalogue's entries: all that the package has to know about a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

from pytest_biastransfer.metrics.change_protocol import ChangeTest
from pytest_biastransfer.metrics.change_rules import McNemar
from pytest_biastransfer.metrics.image_sets import Share
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, Need

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.estimate import Estimate

# `Estimate.method` of the intervals.
Interval = Literal["clopper-pearson", "tango", "held-out classes", "paired bootstrap"]
# Which images a rate of a group is taken among; an area under the ROC curve compares positives with negatives.
Base = Literal["images", "negatives", "positives", "predicted positives", "positives and negatives"]

# The method of each interval, and its source.
INTERVALS: Final[Mapping[Interval, tuple[str, str]]] = {
    "clopper-pearson": ("exact", "Clopper & Pearson 1934"),
    "tango": ("score test of paired shares", "Tango 1998"),
    "held-out classes": ("jackknife, of a distance that is too small and one that is too large", "Efron & Stein 1981"),
    "paired bootstrap": ("basic bootstrap, paired", "Davison & Hinkley 1997, §5.2"),
}

# The name of a limit on the mean of a metric over the strengths of a ladder begins with it.
MEAN_PREFIX: Final = "mean_"
EXCESS: Final = "_excess"

# Every session with a bias test creates these classes; without generated `==` and `repr` that takes half the time.


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Metric:
    """A metric that a marker can limit and that a baseline compares.

    Attributes
    ----------
    name
        Its name in code, in reports and in the baseline; a marker limits it with ``max_<name>``.
    title
        Its name in the field's words.
    definition
        What it is, in Markdown; `T` is the intervention, `f(x)` the predicted class of an image.
    plain_name, explanation
        Its name and what it means for readers of a report who know neither the field's words nor its symbols; plain
        text.
    phrase
        A value in words, for the first line of a failure: ``{percent}`` or ``{points}`` is the value, ``{subject}`` the
        intervention or the gap. The value comes first, because terminals cut the end off. Empty if no marker limits it.
    limits
        The lowest and the highest sensible limit; None if no marker limits it.
    needs
        What it needs besides the predictions of one model.
    interval
        `Estimate.method` of its interval.
    change
        The test of a change since the baseline, with the evidence that the baseline keeps for it.
    early_stop
        The share that decides a limit early: the metric itself, or a share that the metric never exceeds. None if a
        limit is always judged on all images.
    more_is_worse
        Whether an increase is a change for the worse.
    excess_of
        The metric of which this one is the excess over a control model's; None if it is no excess.
    in_summary
        Whether each result has it, limited or not.
    """

    name: str
    title: str
    definition: str
    plain_name: str
    explanation: str
    phrase: str
    limits: tuple[float, float] | None
    needs: frozenset[Need]
    interval: Interval
    change: ChangeTest
    early_stop: str | None
    more_is_worse: bool
    excess_of: str | None = None
    in_summary: bool = False

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for an entry that is not complete."""
        _require(self.name.isidentifier(), self.name, "name", "an identifier")
        _require(bool(self.title and self.definition), self.name, "title and definition", "texts that are not empty")
        has_plain_words = bool(self.plain_name and self.explanation)
        _require(has_plain_words, self.name, "plain_name and explanation", "texts that are not empty")
        if not isinstance(self.change, ChangeTest):
            raise TypeError(f"metric {self.name}: change={self.change!r}, expected a test of change")
        _require(self.interval in get_args(Interval), self.name, "interval", " or ".join(get_args(Interval)))
        _require(self.needs <= set(get_args(Need)), self.name, "needs", f"some of {', '.join(get_args(Need))}")
        has_value = "{percent}" in self.phrase or "{points}" in self.phrase
        is_phrase = self.limits is None or (has_value and "{subject}" in self.phrase)
        _require(is_phrase, self.name, "phrase", "a text with {subject}, and {percent} or {points}")
        low, high = self.limits or (0.0, 1.0)
        _require(low < high, self.name, "limits", "the lowest and the highest limit")
        is_excess = self.excess_of is not None
        _require(is_excess == ("control" in self.needs), self.name, "excess_of", 'a metric, if it needs "control"')
        _require(not is_excess or self.name.endswith(EXCESS), self.name, "name", f"one that ends in {EXCESS}")

    @property
    def keyword(self) -> str:
        """The keyword of a marker that limits it."""
        return f"max_{self.name}"

    @property
    def mean_keyword(self) -> str:
        """The keyword of a marker that limits its mean over the strengths of a ladder; see `has_mean`."""
        return f"max_{MEAN_PREFIX}{self.name}"

    @property
    def has_mean(self) -> bool:
        """Whether its mean over several strengths is a mean over images, so that it has an interval by image."""
        return self.limits is not None and self.change.contributions is not None

    @property
    def is_signed(self) -> bool:
        """Whether it is a difference, which can be negative."""
        return self.limits is not None and self.limits[0] < 0

    @property
    def is_above_zero(self) -> bool:
        """Whether it is a share of images or a distance: with few images its interval ends above 0 even at 0."""
        return not self.is_signed


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassMetric(Metric):
    """A metric on predicted classes.

    Attributes
    ----------
    estimator
        Returns the metric with its interval.
    """

    estimator: Callable[[MetricInputs], Estimate]

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for an entry that is not complete."""
        super().__post_init__()
        if not callable(self.estimator):
            raise TypeError(f"metric {self.name}: estimator={self.estimator!r}, expected a function of MetricInputs")
        if isinstance(self.change, McNemar):
            # McNemar's test compares the images that count. Where the base of the share changes too, an image may
            # cease to count because it ceased to belong to the base, and the test would be wrong without a word.
            has_fixed_base = isinstance(self.estimator, Share) and self.estimator.has_fixed_base
            _require(has_fixed_base, self.name, "change", "McNemar's test only for a share with a fixed base")
        if self.early_stop == self.name:
            _require(isinstance(self.estimator, Share), self.name, "early_stop", "the name of a share, or None")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GapOfGroups(Metric):
    """A metric of groups of images: the gap between them; see `GroupMetric` for what is measured in each group.

    Attributes
    ----------
    limited
        From which side a marker limits it: from above, and where it is signed from below too; from below; or from the
        side on which the group metric is worse.
    """

    limited: Literal["above", "below", "on its worse side"] = "above"

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for an entry that is not complete."""
        super().__post_init__()
        _require(self.early_stop is None, self.name, "early_stop", "None: small groups would be left over")

    @property
    def is_above_zero(self) -> bool:
        """Not of a share of images: how many images make it certain depends on the groups."""
        return False

    @property
    def minimum_keyword(self) -> str:
        """The keyword of a marker that limits it from below."""
        return f"min_{self.name}"

    @property
    def limit_keywords(self) -> tuple[str, ...]:
        """The keywords of a marker that limit it."""
        return (self.minimum_keyword,) if self.limited == "below" else (self.keyword, self.minimum_keyword)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GroupMetric:
    """What is measured in each group.

    Attributes
    ----------
    name, definition
        As of `Metric`.
    base
        Among which images of a group it is taken.
    counts
        Which images count for a rate; None for a metric that is no rate, such as an area under the ROC curve.
    needs_positive
        Whether it needs positive classes.
    worst
        Which group is the worst one.
    scores
        What it needs besides predicted classes: scores that rank the images, probabilities, or None. Such a metric has
        no threshold.
    has_sign
        Whether a signed difference of two groups is defined.
    """

    name: str
    definition: str
    base: Base
    counts: Literal["predicted positive", "classified correctly", "positive"] | None
    needs_positive: bool
    worst: Literal["highest", "lowest"]
    scores: Literal["ranks", "probabilities"] | None = None
    has_sign: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for an entry that is not complete."""
        _require(self.name.isidentifier() and bool(self.definition), self.name, "name and definition", "texts")
        _require(self.base in get_args(Base), self.name, "base", " or ".join(get_args(Base)))
        _require(
            not (self.is_rate and self.base == "positives and negatives"),
            self.name,
            "counts",
            "None for a metric of positives and negatives",
        )

    @property
    def is_rate(self) -> bool:
        """Whether it is a rate of images."""
        return self.counts is not None

    @property
    def has_threshold(self) -> bool:
        """Whether it depends on which images are predicted positive."""
        return self.scores is None

    @property
    def needs_probabilities(self) -> bool:
        """Whether it needs scores that are probabilities."""
        return self.scores == "probabilities"


Entry = TypeVar("Entry", Metric, GroupMetric)


def by_name(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    """Return a catalogue's entries by their names; raises ValueError if two have the same name."""
    catalogue: dict[str, Entry] = {}
    for entry in entries:
        _require(entry.name not in catalogue, entry.name, "name", "a name that no other metric has")
        catalogue[entry.name] = entry
    return MappingProxyType(catalogue)


def require_consistent(metrics: Mapping[str, Metric]) -> None:
    """Raise ValueError if an entry refers to a metric that is missing, or that is of another kind."""
    for metric in metrics.values():
        if metric.excess_of is not None:
            _require(metric.excess_of in metrics, metric.name, "excess_of", f"one of {', '.join(metrics)}")
        if metric.early_stop is not None:
            share = metrics.get(metric.early_stop)
            is_share = isinstance(share, ClassMetric) and isinstance(share.estimator, Share)
            _require(is_share, metric.name, "early_stop", "the name of a share, or None")


def _require(is_valid: bool, metric: str, field: str, expected: str) -> None:
    if not is_valid:
        raise ValueError(f"metric {metric}: {field}: expected {expected}")
