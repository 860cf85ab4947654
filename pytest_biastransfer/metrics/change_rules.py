"""The tests of change of metrics on predicted classes: what the baseline keeps for each, and the test made of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pytest_biastransfer.metrics.change_protocol import AcceptedMeasurement, ChangeResult, ChangeTest, Contributions
from pytest_biastransfer.metrics.image_sets import ImageSet
from pytest_biastransfer.metrics.statistics.tally import Tally

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.changing_base_test import ShareOfSome


class ImageCounts(NamedTuple):
    """How to say how many images count newly, and no longer.

    Attributes
    ----------
    newly_one, newly_several
        What one image does newly, and what several do.
    no_longer
        What those do that ceased to count.
    """

    newly_one: str
    newly_several: str
    no_longer: str

    def text(self, newly: int, no_longer: int) -> str:
        """Return the counts in words.

        >>> ImageCounts("newly flips", "newly flip", "no longer do").text(1, 2600)
        '1 image newly flips, 2,600 no longer do'
        """
        images = f"1 image {self.newly_one}" if newly == 1 else f"{newly:,} images {self.newly_several}"
        return f"{images}, {no_longer:,} {self.no_longer}"


class _ChangeOfShare(ChangeTest):
    """A test of a share of images."""

    on_other_images: ClassVar[str] = "Fisher's exact test (1935)"

    def tally(self, metric: str, measurement: AcceptedMeasurement) -> Tally | None:
        """Return the images that count."""
        return Tally(*measurement.share(metric))


class McNemar(_ChangeOfShare):
    """McNemar's exact test of a share, for shares of a base that does not depend on the predictions.

    Attributes
    ----------
    images
        The images that count.
    wording
        How to say of images that they count newly, and no longer.
    works_without_images
        Whether a baseline that only has the counts is compared as if it were of different images.
    """

    knows_images: ClassVar[bool] = True
    on_same_images: ClassVar[str] = "McNemar's exact test (1947) of newly against no longer counted images"

    def __init__(self, images: ImageSet, wording: ImageCounts, *, works_without_images: bool = False) -> None:
        self.images = images
        self.wording = wording
        self.works_without_images = works_without_images

    @property
    def evidence(self) -> tuple[str, ...]:
        """The set of images."""
        return (self.images.name,)

    @property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """The set of images."""
        return (self.images,)

    @property
    def contributions(self) -> Contributions:
        """The images that count."""
        return Contributions(self.images.name)

    def is_possible(self, measurement: AcceptedMeasurement) -> bool:
        """Whether a measurement has the set of images, if that is required."""
        return self.works_without_images or super().is_possible(measurement)

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        name = self.images.name
        if not (paired and name in before.evidence and name in now.evidence):
            return ChangeResult(_two_proportions(metric, before, now, margin))
        from pytest_biastransfer.metrics.statistics.change_tests import mcnemar

        earlier, later = (set(measurement.image_set(name)) for measurement in (before, now))
        newly, no_longer = len(later - earlier), len(earlier - later)
        base = max(1, now.share(metric)[1])
        if margin:
            from pytest_biastransfer.metrics.statistics.tolerance_tests import paired_share_beyond

            more, fewer = max(newly, no_longer), min(newly, no_longer)
            p = paired_share_beyond(more, fewer, base, abs(margin))
        else:
            p = mcnemar(newly, no_longer)
        return ChangeResult(p, newly, no_longer, (newly - no_longer) / base, mcnemar(newly + no_longer, 0))


class ShareOfChangingBase(_ChangeOfShare):
    """A test by image of a share of a base that depends on the predictions.

    Attributes
    ----------
    hits
        The images that count if they belong to the base.
    outside
        The images that do not belong to the base, in several sets.
    """

    knows_images: ClassVar[bool] = True
    on_same_images: ClassVar[str] = (
        "exchange of the two measurements of an image: a score test (Kosinski 2013), exact with few images"
    )

    def __init__(self, hits: ImageSet, outside: tuple[ImageSet, ...]) -> None:
        self.hits = hits
        self.outside = outside

    @property
    def evidence(self) -> tuple[str, ...]:
        """All sets."""
        return tuple(image_set.name for image_set in self.image_sets)

    @property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """All sets."""
        return self.hits, *self.outside

    @property
    def contributions(self) -> Contributions:
        """The images that count, of those of the base."""
        return Contributions(self.hits.name, outside=tuple(image_set.name for image_set in self.outside))

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        if not paired:
            return ChangeResult(_two_proportions(metric, before, now, margin))
        from pytest_biastransfer.metrics.statistics.changing_base_test import paired_share_change

        shares = self._share(before), self._share(now)
        p = paired_share_change(*shares, now.images, margin)
        return ChangeResult(p, loss=shares[1].value(now.images) - shares[0].value(now.images))

    def _share(self, measurement: AcceptedMeasurement) -> ShareOfSome:
        import numpy as np

        from pytest_biastransfer.metrics.statistics.changing_base_test import ShareOfSome

        outside = [np.array(measurement.image_set(image_set.name), np.int64) for image_set in self.outside]
        return ShareOfSome(np.array(measurement.image_set(self.hits.name), np.int64), np.concatenate(outside))


class TwoProportions(ChangeTest):
    """Fisher's exact test of two counts, for shares that no marker limits."""

    on_same_images: ClassVar[str] = "Fisher's exact test (1935)"
    on_other_images: ClassVar[str] = "the same"

    @property
    def evidence(self) -> tuple[str, ...]:
        """Nothing: the figures have the counts."""
        return ()

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        return ChangeResult(_two_proportions(metric, before, now, margin))


class MeanChange(ChangeTest):
    """A permutation test of a mean of -1, 0 or 1 an image, and beyond a margin a test by its standard error.

    Attributes
    ----------
    plus, minus
        The images that add 1 to the mean's sum, and those that subtract 1.
    """

    knows_images: ClassVar[bool] = True
    on_same_images: ClassVar[str] = "paired permutation test; equals McNemar's if no image changes by two"
    on_other_images: ClassVar[str] = "permutation test"

    def __init__(self, plus: ImageSet, minus: ImageSet) -> None:
        self.plus = plus
        self.minus = minus

    @property
    def evidence(self) -> tuple[str, ...]:
        """Both sets."""
        return self.plus.name, self.minus.name

    @property
    def image_sets(self) -> tuple[ImageSet, ...]:
        """Both sets."""
        return self.plus, self.minus

    def tally(self, metric: str, measurement: AcceptedMeasurement) -> Tally | None:
        """Return the images that add 1, and those that subtract 1."""
        plus, minus = (set(measurement.image_set(image_set.name)) for image_set in self.image_sets)
        return Tally(len(plus - minus), measurement.share(metric)[1], len(minus - plus))

    @property
    def contributions(self) -> Contributions:
        """Both sets."""
        return Contributions(self.plus.name, self.minus.name)

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        import numpy as np

        from pytest_biastransfer.metrics.statistics.change_tests import mean_change

        earlier, later = (
            (
                np.array(measurement.image_set(self.plus.name), np.int64),
                np.array(measurement.image_set(self.minus.name), np.int64),
            )
            for measurement in (before, now)
        )
        sizes = before.share(metric)[1], now.share(metric)[1]
        means = [(len(plus) - len(minus)) / max(1, n) for (plus, minus), n in zip((earlier, later), sizes, strict=True)]
        p = mean_change(earlier, later, *sizes, paired=paired, margin=margin)
        return ChangeResult(p, loss=means[1] - means[0])


class SkewChange(ChangeTest):
    """A test of a mean over images, whose classes are chosen by other images; see `skew_change_test`.

    Attributes
    ----------
    prefixes
        Of which models the transitions are compared: ``""`` the model, ``"control_"`` the control model.
    """

    knows_images: ClassVar[bool] = True
    on_same_images: ClassVar[str] = "paired test of a mean, with the gaining classes chosen by other images"
    on_other_images: ClassVar[str] = "the same, unpaired"

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self.prefixes = prefixes

    @property
    def evidence(self) -> tuple[str, ...]:
        """The flipped images with their classes before and after."""
        return tuple(f"{prefix}{suffix}" for prefix in self.prefixes for suffix in ("flipped", "from", "to"))

    def _test(
        self, metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, *, paired: bool, margin: float
    ) -> ChangeResult:
        from pytest_biastransfer.metrics.statistics.skew_change_test import observed_skew, skew_change

        earlier, later = (
            [measurement.transitions(prefix) for prefix in self.prefixes] for measurement in (before, now)
        )
        sizes = before.images, now.images
        p = skew_change(earlier, later, *sizes, paired=paired, margin=margin)
        return ChangeResult(p, loss=observed_skew(later, sizes[1]) - observed_skew(earlier, sizes[0]))


def _two_proportions(metric: str, before: AcceptedMeasurement, now: AcceptedMeasurement, margin: float) -> float:
    earlier, later = before.share(metric), now.share(metric)
    if margin:
        from pytest_biastransfer.metrics.statistics.tolerance_tests import share_beyond

        larger, smaller = (later, earlier) if margin > 0 else (earlier, later)
        return share_beyond(*larger, *smaller, abs(margin))
    if earlier == later:
        return 1.0
    from pytest_biastransfer.metrics.statistics.change_tests import two_proportions

    return two_proportions(*later, *earlier)
