"""How a metric changed since it was accepted, as text: the same words in the terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import counts_text_of
from pytest_biastransfer.reporting.seed_text import seeds_text
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.metric_change import MetricChange
    from pytest_biastransfer.reporting.report import ReportedChange

NOT_COMPARABLE: Final = "not comparable"


def change_text(change: MetricChange | ReportedChange) -> str:
    """Return the metric before and now, the images that made the difference or the accepted seeds, and the p-value.

    Of several seeds, the metric before is their mean.

    >>> from pytest_biastransfer.baseline.metric_change import MetricChange
    >>> change_text(MetricChange("asr", 0.031, 0.084, 7.6e-58, 0.0, 1, 26, True))
    'asr 0.031 → 0.084; 1 image newly flips, 26 no longer do (p = 8e-58)'
    >>> change_text(MetricChange("skew", 0.31, 0.24, 0.0041, 0.0, None, None, False))
    'skew 0.310 → 0.240 (p = 0.004, not the same images: compared unpaired)'
    >>> change_text(MetricChange("asr", 0.1, 0.105, 0.004, 0.0, 60, 35, False, common_images=4990))
    'asr 0.100 → 0.105; 60 images newly flip, 35 no longer do (p = 0.004, of the 4,990 images that both have)'
    >>> change_text(MetricChange("asr", 0.144, 0.19, 0.003, 0.0, None, None, True, seeds=(0.139, 0.151, 0.142)))
    'asr 0.144 → 0.190; 3 accepted seeds: 0.139 to 0.151 (p = 0.003)'
    >>> change_text(MetricChange("asr", 0.1, 0.15, 0.03, 0.02, 70, 20, True, p_of_change=7e-8))
    'asr 0.100 → 0.150; 70 images newly flip, 20 no longer do (p = 7e-08; 0.03 of worse by more than 0.02)'
    >>> change_text(MetricChange("skew", 0.31, 0.24, 0.0041, 0.0, None, None, True, at="sigma 0.2"))
    'skew at sigma 0.2: 0.310 → 0.240 (p = 0.004)'
    >>> from pytest_biastransfer.baseline.history import OverTime
    >>> change_text(MetricChange("asr", 0.1, 0.113, 0.0004, 0, None, None, False, over_time=OverTime(14, 70000, 0.05)))
    'asr 0.100 → 0.113 over 14 runs of 70,000 images (p = 0.0004, at any time)'
    >>> change_text(MetricChange("skew", 0.31, 0.34, 0.03, 0, None, None, False, over_time=OverTime(14, None, 0.05)))
    'skew 0.310 → 0.340 in run 14 (p = 0.03, at any time)'
    >>> from pytest_biastransfer.baseline.near_ties import WithinRounding
    >>> within = WithinRounding(9, 16, "cuda NVIDIA L4 and cpu x86_64 avx2")
    >>> change_text(MetricChange("asr", 0.1, 0.108, 0.45, 0.0, 12, 4, True, within_rounding=within))
    'asr 0.100 → 0.108; 12 images newly flip, 4 no longer do; 9 of these 16 are within the rounding between \
cuda NVIDIA L4 and cpu x86_64 avx2 (p = 0.5 of the others)'
    """
    name = "clean accuracy" if change.metric == "accuracy" else change.metric
    name += f" at {change.at}:" if change.at else ""
    images = f"; {seeds_text(change)}" if change.seeds else ""
    if change.newly is not None and change.no_longer is not None:
        images = f"; {counts_text_of(change.metric, change.newly, change.no_longer)}"
    apart = ""
    if change.within_rounding is not None:
        within = change.within_rounding
        all_changed = f"these {within.changed:,}" if images else f"the {within.changed:,} images that changed"
        verb = "is" if within.images == 1 else "are"
        apart = f"; {within.images:,} of {all_changed} {verb} within the rounding between {within.between}"
    # An unpaired test cannot use that an image is the same before and now, so that it needs larger changes.
    unpaired = "" if change.same_images else ", not the same images: compared unpaired"
    if change.common_images is not None:
        unpaired = f", of the {change.common_images:,} images that both have"
    if change.over_time is not None:
        runs, of_images = change.over_time.runs, change.over_time.images
        images = f" in run {runs}" if of_images is None else f" over {counted(runs, 'run')} of {of_images:,} images"
        unpaired = ", at any time"
    # One digit of p: its size is what matters, and further digits vary with the random resamples of some tests.
    p = f"p = {change.p:.1g}"
    if change.p_of_change is not None:
        p = f"p = {change.p_of_change:.1g}; {change.p:.1g} of worse by more than {change.tested_tolerance:g}"
    others = " of the others" if apart else ""
    return f"{name} {change.before:.3f} → {change.now:.3f}{images}{apart} ({p}{others}{unpaired})"


def not_comparable_text(change: MetricChange | ReportedChange) -> str:
    """Return why no metric counts as better: the accuracy on unchanged images changed like this.

    >>> from pytest_biastransfer.baseline.metric_change import MetricChange
    >>> not_comparable_text(MetricChange("accuracy", 0.651, 0.1, 7.6e-58, 0.0, 291, 26, True))
    'not comparable: clean accuracy 0.65 → 0.10'
    """
    return f"{NOT_COMPARABLE}: clean accuracy {change.before:.2f} → {change.now:.2f}"
