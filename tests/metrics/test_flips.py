"""Metrics and their intervals: properties, and agreement with independent implementations."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.clean_performance import ClassShare, CleanPerformance
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.measurement import Measurement, Provenance
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion

Classes = npt.NDArray[np.int64]
# Unpacked into the arguments of metrics, whose last one is the confidence.
Arrays = Any

CLASSES = 6
quick = settings(max_examples=40, deadline=None)
confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])

NEED_LABELS = {"conditional_asr", "accuracy", "intervened_accuracy", "accuracy_drop"}
NEED_TARGET = {"targeted_asr", "targeted_excess", "clean_target_rate"}
NEED_CONTROL = {"asr_excess", "skew_excess"}
SIGNED = {"accuracy_drop", "targeted_excess", "asr_excess", "skew_excess"}


@st.composite
def predictions(draw: st.DrawFn, columns: int, most: int = 40) -> list[Classes]:
    """Draw `columns` arrays of classes of one length, from few images that agree to many that do not."""
    images = draw(st.integers(1, most))
    row = st.tuples(*[st.integers(0, CLASSES - 1)] * columns)
    rows = draw(st.lists(row, min_size=images, max_size=images))
    return [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]


def share(metric: str, inputs: MetricInputs) -> Estimate:
    entry = metric_named(metric)
    assert isinstance(entry, ClassMetric)
    return entry.estimator(inputs)


def asr(clean: Classes, intervened: Classes, confidence: float = 0.95) -> Estimate:
    return share("asr", MetricInputs(PairedPredictions(clean, intervened, None), confidence=confidence))


def conditional_asr(clean: Classes, intervened: Classes, labels: Classes, confidence: float = 0.95) -> Estimate:
    predictions = PairedPredictions(clean, intervened, labels)
    return share("conditional_asr", MetricInputs(predictions, confidence=confidence))


def target_rate(predicted: Classes, labels: Classes, target: Collection[int], confidence: float = 0.95) -> Estimate:
    other = np.full_like(predicted, CLASSES)
    intervened = MetricInputs(PairedPredictions(other, predicted, labels), None, target, confidence)
    clean = MetricInputs(PairedPredictions(predicted, other, labels), None, target, confidence)
    estimate = share("targeted_asr", intervened)
    assert repr(figures(estimate)) == repr(figures(share("clean_target_rate", clean)))
    return estimate


def accuracy(predicted: Classes, labels: Classes, confidence: float = 0.95) -> Estimate:
    other = np.full_like(predicted, CLASSES)
    clean = MetricInputs(PairedPredictions(predicted, other, labels), confidence=confidence)
    intervened = MetricInputs(PairedPredictions(other, predicted, labels), confidence=confidence)
    estimate = share("accuracy", clean)
    assert figures(estimate) == figures(share("intervened_accuracy", intervened))
    return estimate


def observations(arrays: Arrays) -> tuple[PairedPredictions, PairedPredictions]:
    clean, intervened, labels, control_clean, control_intervened = arrays
    return PairedPredictions(clean, intervened, labels), PairedPredictions(control_clean, control_intervened, labels)


def figures(estimate: Estimate) -> tuple[float, float, float, float, int, str]:
    return (float(estimate), estimate.low, estimate.high, estimate.confidence, estimate.n, estimate.method)


def same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def total_variation(before: list[int], after: list[int]) -> float:
    """Compute the definition of the skew, in plain Python."""
    p, q = Counter(before), Counter(after)
    return sum(abs(q[c] - p[c]) for c in {*p, *q}) / 2 / len(before)


# ---------------------------------------------------------------------------------- single metrics


@quick
@given(predictions(2))
def test_asr_is_the_share_of_changed_predictions_counted_one_by_one(arrays: Arrays) -> None:
    before, after = (array.tolist() for array in arrays)
    changed = 0
    for one, other in zip(before, after, strict=True):
        changed += one != other
    assert asr(*arrays) == changed / len(before)


@quick
@given(predictions(2))
def test_skew_is_the_total_variation_distance_counted_one_by_one(arrays: Arrays) -> None:
    assert flips.skew(*arrays) == pytest.approx(total_variation(*(a.tolist() for a in arrays)), abs=1e-12)


@quick
@given(predictions(3))
def test_conditional_asr_counts_only_rightly_classified_images(arrays: Arrays) -> None:
    right = [(b, a) for b, a, y in zip(*(array.tolist() for array in arrays), strict=True) if b == y]
    found = conditional_asr(*arrays)
    assert found.n == len(right)
    if right:
        assert found == sum(before != after for before, after in right) / len(right)
    else:
        assert math.isnan(found)


def test_conditional_asr_of_a_model_that_is_never_right_is_unknown() -> None:
    found = conditional_asr(np.array([0, 1]), np.array([1, 1]), np.array([2, 2]))
    assert math.isnan(found)
    assert (found.low, found.high, found.n) == (0.0, 1.0, 0)


@quick
@given(predictions(2), st.sets(st.integers(0, CLASSES - 1), min_size=1))
def test_target_rate_counts_images_of_other_classes_that_land_in_any_target(arrays: Arrays, target: set[int]) -> None:
    predicted, labels = (array.tolist() for array in arrays)
    others = [p for p, y in zip(predicted, labels, strict=True) if y not in target]
    found = target_rate(arrays[0], arrays[1], target)
    assert found.n == len(others)
    if others:
        assert found == sum(p in target for p in others) / len(others)
    else:
        assert math.isnan(found)


def test_target_rate_with_several_targets_counts_a_prediction_of_either() -> None:
    predicted, labels = np.array([3, 4, 3, 0, 0]), np.array([0, 1, 3, 2, 4])
    # The third and the fifth image are of a target class: they cannot be attacked towards it.
    assert target_rate(predicted, labels, {3, 4}) == 2 / 3
    assert target_rate(predicted, labels, [3]) == 1 / 4


@quick
@given(predictions(2))
def test_accuracy_agrees_with_scikit_learn(arrays: Arrays) -> None:
    predicted, labels = arrays
    assert accuracy(predicted, labels) == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)


def test_accuracy_agrees_with_torchmetrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    import torch

    generator = np.random.default_rng(0)
    predicted, labels = generator.integers(0, CLASSES, (2, 500))
    expected = torchmetrics.multiclass_accuracy(
        torch.tensor(predicted), torch.tensor(labels), num_classes=CLASSES, average="micro"
    )
    assert accuracy(predicted, labels) == pytest.approx(float(expected), abs=1e-6)


@quick
@given(predictions(3))
def test_accuracy_drop_is_the_difference_of_two_accuracies(arrays: Arrays) -> None:
    clean, intervened, labels = arrays
    expected = accuracy_score(labels, clean) - accuracy_score(labels, intervened)
    assert flips.accuracy_drop(clean, intervened, labels) == pytest.approx(expected, abs=1e-12)


@quick
@given(predictions(2), st.integers(0, 5))
def test_class_shift_counts_each_class_and_sums_to_zero(arrays: Arrays, unseen: int) -> None:
    clean, intervened = arrays
    before, after = Counter(clean.tolist()), Counter(intervened.tolist())
    shift = flips.class_shift(clean, intervened, CLASSES + unseen)
    assert shift.shape == (CLASSES + unseen,)
    assert shift == pytest.approx([(after[c] - before[c]) / len(clean) for c in range(CLASSES + unseen)], abs=1e-12)
    assert shift.sum() == pytest.approx(0.0, abs=1e-12)


@quick
@given(predictions(2))
def test_skew_is_what_the_gaining_classes_gain_together(arrays: Arrays) -> None:
    shift = flips.class_shift(arrays[0], arrays[1], CLASSES)
    assert flips.skew(*arrays) == pytest.approx(shift[shift > 0].sum(), abs=1e-12)


# -------------------------------------------------------------------------- relations and symmetries


@quick
@given(predictions(2))
def test_skew_is_at_most_asr(arrays: Arrays) -> None:
    assert flips.skew(*arrays) <= asr(*arrays)


@quick
@given(predictions(2))
def test_asr_and_skew_do_not_care_which_of_the_two_is_the_intervention(arrays: Arrays) -> None:
    clean, intervened = arrays
    assert figures(asr(clean, intervened)) == figures(asr(intervened, clean))
    assert flips.skew(clean, intervened) == flips.skew(intervened, clean)


@quick
@given(predictions(3))
def test_accuracy_drop_changes_its_sign_with_the_roles(arrays: Arrays) -> None:
    clean, intervened, labels = arrays
    there, back = (
        flips.accuracy_drop(clean, intervened, labels),
        flips.accuracy_drop(intervened, clean, labels),
    )
    assert there == -back


@quick
@given(predictions(5), st.randoms(use_true_random=False))
def test_the_order_of_the_images_decides_nothing(arrays: Arrays, random: Any) -> None:
    order = list(range(len(arrays[0])))
    random.shuffle(order)
    found = estimates_of(MetricInputs(*observations(arrays), target=[0, 1]))
    shuffled = estimates_of(MetricInputs(*observations([array[order] for array in arrays]), target=[0, 1]))
    assert found.keys() == shuffled.keys()
    for name, estimate in found.items():
        assert same(estimate, shuffled[name]), name
        # Not only the value: the intervals too, to the last bit.
        assert figures(estimate)[1:] == figures(shuffled[name])[1:], name


@quick
@given(predictions(3), st.permutations(range(CLASSES)))
def test_the_numbering_of_the_classes_decides_nothing(arrays: Arrays, names: list[int]) -> None:
    renamed = [np.array(names, dtype=np.int64)[array] for array in arrays]
    for metric in (asr, flips.skew):
        assert metric(*renamed[:2]) == metric(*arrays[:2])
    assert same(conditional_asr(*renamed), conditional_asr(*arrays))
    assert flips.accuracy_drop(*renamed) == flips.accuracy_drop(*arrays)


@quick
@given(predictions(2), st.integers(2, 4))
def test_values_do_not_change_when_every_image_is_there_several_times(arrays: Arrays, copies: int) -> None:
    more: Arrays = [np.tile(array, copies) for array in arrays]
    for metric in (asr, flips.skew):
        assert metric(*more) == pytest.approx(metric(*arrays), abs=1e-12)


@quick
@given(predictions(2))
def test_excess_against_oneself_is_exactly_zero_and_sure(arrays: Arrays) -> None:
    clean, intervened = arrays
    flipped = clean != intervened
    asr_excess = flips.asr_excess(flipped, flipped)
    skew_excess = flips.skew_excess(clean, intervened, clean, intervened)
    assert asr_excess == skew_excess == 0.0
    assert asr_excess.low <= 0.0 <= asr_excess.high
    assert skew_excess.low <= 0.0 <= skew_excess.high


@quick
@given(predictions(4))
def test_excess_is_the_difference_to_the_control(arrays: Arrays) -> None:
    clean, intervened, control_clean, control_intervened = arrays
    by_asr = flips.asr_excess(clean != intervened, control_clean != control_intervened)
    assert by_asr == pytest.approx(asr(clean, intervened) - asr(control_clean, control_intervened), abs=1e-12)
    by_skew = flips.skew_excess(*arrays)
    assert by_skew == pytest.approx(
        flips.skew(clean, intervened) - flips.skew(control_clean, control_intervened), abs=1e-12
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64, np.int64])
def test_every_integer_dtype_gives_the_same_values(dtype: type[np.generic]) -> None:
    # Up to the largest class of the dtype, which must not be taken for something else.
    largest = 127 if dtype is np.int8 else 255
    arrays = list(np.random.default_rng(1).choice([0, 1, largest - 1, largest], (5, 60)))
    expected = estimates_of(MetricInputs(*observations(arrays), target=[largest]))
    found = estimates_of(MetricInputs(*observations([array.astype(dtype) for array in arrays]), target=[largest]))
    assert {n: float(e) for n, e in found.items()} == {n: float(e) for n, e in expected.items()}


# ------------------------------------------------------------------------------- estimates together


@settings(max_examples=60, deadline=None)
@given(predictions(5), st.sets(st.integers(0, CLASSES - 1), min_size=1), confidences)
def test_every_interval_contains_its_value_and_stays_in_the_range_of_its_metric(
    arrays: Arrays, target: set[int], confidence: float
) -> None:
    for name, estimate in estimates_of(MetricInputs(*observations(arrays), target, confidence)).items():
        least = -1.0 if name in SIGNED else 0.0
        assert least <= estimate.low <= estimate.high <= 1.0, name
        assert math.isnan(estimate) or estimate.low <= estimate <= estimate.high, name
        assert estimate.confidence == confidence
        assert estimate.n <= len(arrays[0])


def test_more_confidence_gives_wider_intervals() -> None:
    generator = np.random.default_rng(2)
    arrays = list(generator.integers(0, CLASSES, (5, 80)))
    some = estimates_of(MetricInputs(*observations(arrays), target=[1], confidence=0.8))
    more = estimates_of(MetricInputs(*observations(arrays), target=[1], confidence=0.99))
    for name in some:
        assert more[name].low <= some[name].low, name
        assert some[name].high <= more[name].high, name
        assert more[name].high - more[name].low > some[name].high - some[name].low, name


def test_estimates_are_those_that_the_predictions_allow() -> None:
    clean, intervened, labels = np.array([0, 1]), np.array([1, 1]), np.array([0, 0])
    unlabelled = PairedPredictions(clean, intervened, None)
    always = {"asr", "skew", "corrected_skew"}
    assert estimates_of(MetricInputs(unlabelled)).keys() == always
    assert estimates_of(MetricInputs(unlabelled, target=[1])).keys() == always
    assert estimates_of(MetricInputs(unlabelled, unlabelled)).keys() == always | NEED_CONTROL
    labelled = PairedPredictions(clean, intervened, labels)
    assert estimates_of(MetricInputs(labelled)).keys() == always | NEED_LABELS
    # Class 0 is falsy, and is a target all the same.
    assert estimates_of(MetricInputs(labelled, unlabelled, [0])).keys() == (
        always | NEED_LABELS | NEED_TARGET | NEED_CONTROL
    )


def test_estimates_are_named_after_what_they_are() -> None:
    clean, intervened = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 0])
    labels = np.array([0, 0, 1, 1, 2])
    control = PairedPredictions(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 1, 1]), labels)
    found = estimates_of(MetricInputs(PairedPredictions(clean, intervened, labels), control, target=[1]))
    assert 0 < found.pop("corrected_skew") < found["skew"]
    assert {name: round(float(estimate), 12) for name, estimate in found.items()} == {
        "asr": 0.6,
        "skew": 0.4,
        "conditional_asr": 0.5,
        "accuracy": 0.8,
        "intervened_accuracy": 0.6,
        "accuracy_drop": 0.2,
        "targeted_asr": round(1 / 3, 12),
        "targeted_excess": round(1 / 3, 12),
        "clean_target_rate": 0.0,
        "asr_excess": 0.4,
        "skew_excess": 0.2,
    }


@quick
@given(predictions(3), st.sets(st.integers(0, CLASSES - 1), min_size=1, max_size=3))
def test_the_targeted_excess_is_a_difference_and_that_of_doing_nothing_is_0(arrays: Arrays, target: set[int]) -> None:
    clean, intervened, labels = arrays
    found = estimates_of(MetricInputs(PairedPredictions(clean, intervened, labels), target=target))
    if math.isnan(found["targeted_asr"]):
        assert math.isnan(found["targeted_excess"])
        return
    expected = found["targeted_asr"] - found["clean_target_rate"]
    assert found["targeted_excess"] == pytest.approx(expected, abs=1e-12)
    nothing = estimates_of(MetricInputs(PairedPredictions(clean, clean, labels), target=target))
    assert nothing["targeted_excess"] == 0.0
    assert nothing["targeted_asr"] == nothing["clean_target_rate"]


def measurement(estimates: dict[str, Estimate], shift: list[float]) -> Measurement:
    names = [f"class {place}" for place in range(len(shift))]
    nothing = np.array([], dtype=np.int64)
    return Measurement(
        model="m",
        dataset="d",
        intervention="i",
        n=1,
        total=1,
        estimates=estimates,
        clean=CleanPerformance(1, None, len(shift), 1, ClassShare("a", 1.0), ClassShare("a", 1.0), ""),
        clean_shares=np.full(len(shift), 1 / len(shift)),
        class_shift=np.array(shift),
        class_names=names,
        flips=[],
        control=None,
        computed=0,
        early=None,
        provenance=Provenance(None, ""),
        outcomes=outcomes_of(MetricInputs(PairedPredictions(nothing, nothing, None)), nothing),
    )


def test_most_gained_is_the_class_with_the_largest_shift_and_the_first_of_equals() -> None:
    found = measurement({}, [-0.5, 0.2, 0.2, 0.1])
    assert (found.most_gained.index, found.most_gained.name, found.most_gained.shift) == (1, "class 1", 0.2)
    assert [one.index for one in found.gained(3)] == [1, 2, 3]


@pytest.mark.parametrize("metric", sorted(NEED_LABELS | NEED_TARGET | NEED_CONTROL))
def test_a_metric_that_is_not_available_says_what_it_needs(metric: str) -> None:
    found = measurement({"asr": proportion(1, 2)}, [0.0])
    assert found.asr == 0.5
    need = {**dict.fromkeys(NEED_TARGET, "target"), **dict.fromkeys(NEED_CONTROL, "control model")}
    with pytest.raises(BiasTransferError, match=f"{metric} of m on d .*{need.get(metric, 'class names')}"):
        getattr(found, metric)


# --------------------------------------------------------------------------------- exact intervals


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2000), st.data(), st.floats(0.5, 0.999))
@example(n=1, data=None, confidence=0.95)
def test_proportions_have_the_interval_of_clopper_and_pearson(
    n: int, data: st.DataObject | None, confidence: float
) -> None:
    counts = [0, n] if data is None else [0, n, data.draw(st.integers(0, n))]
    for count in counts:
        found = proportion(count, n, confidence)
        expected = stats.binomtest(count, n).proportion_ci(confidence, method="exact")
        assert found == count / n
        assert found.low == pytest.approx(expected.low, abs=1e-9)
        assert found.high == pytest.approx(expected.high, abs=1e-9)
        assert (found.n, found.method) == (n, "clopper-pearson")


def test_proportion_of_nothing_is_unknown() -> None:
    found = proportion(0, 0)
    assert math.isnan(found)
    assert (found.low, found.high) == (0.0, 1.0)


@quick
@given(st.integers(1, 300), st.data())
def test_the_interval_of_a_share_mirrors_that_of_its_complement(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    one, other = proportion(count, n), proportion(n - count, n)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


@pytest.mark.parametrize("images", [20, 500])
def test_images_that_all_agree_leave_room_for_those_that_were_not_seen(images: int) -> None:
    agree, others = np.zeros(images, dtype=np.int64), np.ones(images, dtype=np.int64)
    reach = float(stats.binomtest(0, images).proportion_ci(0.95, method="exact").high)
    wilson = 1.959963984540054**2 / (images + 1.959963984540054**2)
    never, always = flips.skew(agree, agree), flips.skew(agree, others)
    assert (never.low, never, always, always.high) == (0.0, 0.0, 1.0, 1.0)
    assert never.high == pytest.approx(reach, abs=1e-9)
    assert always.low == pytest.approx(1 - wilson, abs=1e-5)
    drop = flips.accuracy_drop(agree, agree, agree)
    assert (drop.low, drop.high) == pytest.approx((-wilson, wilson), abs=1e-9)


# ---------------------------------------------------------------------------------------- estimate


def an_estimate(value: float = 0.25) -> Estimate:
    return Estimate(value, low=0.1, high=0.5, confidence=0.95, n=8, method="clopper-pearson")


def test_an_estimate_compares_adds_and_formats_as_the_float_it_is() -> None:
    estimate = an_estimate()
    assert isinstance(estimate, float)
    assert estimate == 0.25
    assert estimate < 0.3
    assert hash(estimate) == hash(0.25)
    assert estimate + 1 == 1.25
    assert type(estimate * 2) is float
    assert f"{estimate:.3f}" == "0.250"
    assert math.isclose(sum([estimate, estimate]), 0.5)
    assert float(np.asarray([estimate]).sum()) == 0.25


def test_an_estimate_shows_its_interval() -> None:
    assert repr(an_estimate()) == "0.25 [0.1, 0.5]"
    assert f"{an_estimate()}" == "0.25 [0.1, 0.5]"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [0.25, 1 / 3, float("nan"), -0.0])
def test_an_estimate_survives_pickling(value: float, protocol: int) -> None:
    estimate = an_estimate(value)
    back = pickle.loads(pickle.dumps(estimate, protocol))
    assert type(back) is Estimate
    assert same(back, estimate)
    assert math.copysign(1, back) == math.copysign(1, estimate)
    assert figures(back)[1:] == figures(estimate)[1:]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copied_estimate_keeps_its_interval(copied: Callable[[Estimate], Estimate]) -> None:
    assert figures(copied(an_estimate())) == figures(an_estimate())


def test_an_estimate_is_a_number_in_json() -> None:
    estimate = an_estimate(1 / 3)
    assert json.dumps({"asr": estimate}) == json.dumps({"asr": 1 / 3})
    assert json.loads(json.dumps(estimate)) == estimate


@quick
@given(predictions(3))
def test_estimates_hold_plain_python_numbers_that_any_serializer_takes(arrays: Arrays) -> None:
    found = estimates_of(MetricInputs(PairedPredictions(*arrays), PairedPredictions(*arrays), [0]))
    for estimate in found.values():
        assert [type(part) for part in figures(estimate)] == [float, float, float, float, int, str]
        assert estimate.__reduce__()[0].__module__.startswith("pytest_biastransfer")
