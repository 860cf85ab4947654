"""What ``pytest --markers`` says of the markers, from the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_biastransfer.metrics.catalogue import limitable, metrics_of
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups, Metric
from pytest_biastransfer.names import (
    CONTROL_FIXTURE,
    DATASET_FIXTURE,
    GAP_MARKER,
    INTERVENTION_MARKER,
    MODEL_FIXTURE,
    SEARCH_MARKER,
)


def marker_help() -> Iterator[str]:
    """Yield the declaration of each marker, as the ini value ``markers`` has it."""
    yield _intervention_help()
    yield _search_help()
    yield _gap_help()


def _intervention_help() -> str:
    metrics = limitable(ClassMetric)
    means = ", ".join(f"{metric.mean_keyword}=None" for metric in metrics if metric.has_mean)
    of_target = [metric.keyword for metric in metrics if "target" in metric.needs]
    return (
        f"{INTERVENTION_MARKER}(*interventions, model='{MODEL_FIXTURE}', dataset='{DATASET_FIXTURE}', control=None, "
        f"positive=None, target=None, {_limits(metrics)}, rule='point', confidence=0.95, "
        "max_regression=0, max_accuracy_regression=0, early_stop=None, allow_degenerate=False, "
        f"min_strength=None, id=None, {means}): "
        "measure how the predictions of the fixture `model` change on the images of the fixture `dataset` under each "
        "of the interventions (objects or registered names), and fail the test if a limit is exceeded. Each marker "
        "and each intervention in it is a test of its own. Limits on an excess compare with the fixture `control` "
        f"(by default '{CONTROL_FIXTURE}'); {_listed(of_target, 'and')} {'need' if len(of_target) > 1 else 'needs'} "
        "target=, a class or several, by name or number. "
        "positive=, in the same way, judges the decision whether an image is of these classes, or has this label; "
        "each(...) of pytest_biastransfer makes a test of each. "
        "A ladder(...) of pytest_biastransfer is one test of an intervention at several strengths: the limits have to "
        "hold at all of them, or with min_strength= at all weaker ones; max_mean_asr= and the like limit the mean over "
        "them. "
        "The limits are judged after the test's own body has passed, by the observed value, or with rule='certain' or "
        "'significant' by its interval at the given confidence. max_regression is how much worse than in the baseline "
        "a limited metric may be, max_accuracy_regression how much lower the accuracy without the intervention; "
        "early_stop=True, or a probability of error, stops once the verdict is certain. A limit that holds for a model "
        "that does not tell its classes apart is an error, unless allow_degenerate=True. id= is the test's id, or a "
        "list with one for each intervention; the baseline does not depend on it."
    )


def _search_help() -> str:
    first = metrics_of(ClassMetric)[0]
    return (
        f"{SEARCH_MARKER}(space, model='{MODEL_FIXTURE}', dataset='{DATASET_FIXTURE}', control=None, "
        f"positive=None, target=None, {_limits([first])}, ..., confidence=0.95, budget=200, images=512, seed=0, "
        "allow_degenerate=False, id=None): "
        "look for an intervention in `space`, a "
        "strategy such as pytest_biastransfer.strategies.patches(), that breaks the one given limit, on so many images "
        "and with at most so many evaluations. What is found is shrunk to the smallest and simplest one with as many "
        "again, confirmed on all images, and shown as a marker to paste."
    )


def _gap_help() -> str:
    excess = [metric.keyword for metric in metrics_of(GapOfGroups) if metric.excess_of is not None]
    without_positive = [metric.name for metric in GROUP_METRICS.values() if not metric.needs_positive]
    return (
        f"{GAP_MARKER}(attribute, metric='{next(iter(GROUP_METRICS))}', {_limits(_limited_above())}, "
        f"{_minimums()}, between=None, "
        "positive=None, operating_point='argmax', negatives='own', min_group_size=30, bins=None, unjudged='list', "
        f"model='{MODEL_FIXTURE}', dataset='{DATASET_FIXTURE}', control=None, calibration_dataset=None, rule='point', "
        "confidence=0.95, max_regression=0, max_accuracy_regression=0, allow_degenerate=False, id=None): measure "
        "how far the "
        "groups of images that the attribute of the dataset makes are apart in a metric: "
        f"{_listed(list(GROUP_METRICS), 'or')}. All but {_listed(without_positive, 'and')} need positive=, a class or "
        "several, by name or number. "
        "operating_point='prevalence' predicts as many positives as there are, with the threshold of the fixture "
        "`calibration_dataset` if there is one; negatives='shared' compares each "
        "group's positives with all negatives. Groups with fewer images than min_group_size are named and not judged; "
        "with unjudged='warn' there is a warning, with unjudged='fail' an error. Several attributes make groups of all "
        "their combinations; bins={'age': [40, 60]} makes groups of numbers. Images without a value are left out. "
        "between=(first, second) measures the signed difference of two groups, the first minus the second; with it, "
        "max_gap alone limits the size, and min_gap and max_gap together the lowest and the highest signed value. "
        "min_ratio limits the lowest rate divided by the highest one (0.8: the four-fifths rule), min_worst the metric "
        "of the worst group, and max_worst where that is the group with the highest one. "
        f"{_listed(excess, 'and')} compares with the fixture `control` (by default '{CONTROL_FIXTURE}')."
    )


def _limits(metrics: Iterable[Metric]) -> str:
    return ", ".join(f"{metric.keyword}=None" for metric in metrics)


def _limited_above() -> list[GapOfGroups]:
    return [metric for metric in metrics_of(GapOfGroups) if metric.limited != "below"]


def _minimums() -> str:
    return ", ".join(f"{metric.minimum_keyword}=None" for metric in metrics_of(GapOfGroups))


def _listed(words: Sequence[str], conjunction: str) -> str:
    return f" {conjunction} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
