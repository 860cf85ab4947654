"""Decisions of yes or no: by outputs with a sigmoid, and by classes of a softmax; against plain torch and scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, precision_score, roc_auc_score

from pytest_biastransfer import Model, Preprocess, Square, each, measure, measure_gaps
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, DatasetError, ModelError
from pytest_biastransfer.measurement.decisions import decision_of
from pytest_biastransfer.models.loading import load_model
from pytest_biastransfer.names import GapMetric, Outputs

N = 60
CHANGE = Square(size=0.5, color="white")
AS_IS = Preprocess(mean=0, std=1)


class Looked(torch.nn.Module):
    """Returns the outputs that a table has for the image whose number is its blue; others for images with a square."""

    def __init__(self, clean: torch.Tensor, intervened: torch.Tensor) -> None:
        super().__init__()
        self.clean = torch.nn.Parameter(clean, requires_grad=False)
        self.intervened = torch.nn.Parameter(intervened, requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        numbers = (images[:, 2, -1, -1] * 255).round().long()
        has_square = (images[:, 0] == 1).any(dim=2).any(dim=1)
        return torch.where(has_square[:, None], self.intervened[numbers], self.clean[numbers])


def dataset(labels: Any, groups: Any = None) -> list[Any]:
    items = []
    for number, label in enumerate(labels):
        image = torch.zeros(3, 8, 8)
        image[2] = number / 255
        items.append((image, label) if groups is None else (image, label, {"group": groups[number]}))
    return items


# Ties at the threshold, and between images, are as frequent as anything else.
logits = st.sampled_from([-3.0, -0.5, 0.0, 0.5, float(np.log(1.5)), 2.0])
states = st.sampled_from([1, 0, -1])


def table(values: st.SearchStrategy[Any], count: int, outputs: int) -> st.SearchStrategy[Any]:
    return st.lists(st.lists(values, min_size=outputs, max_size=outputs), min_size=count, max_size=count)


@given(
    clean=table(logits, 12, 3),
    intervened=table(logits, 12, 3),
    labels=table(states, 12, 3),
    threshold=st.sampled_from([0.5, 0.6, 0.3]),
    output=st.integers(0, 2),
)
@settings(deadline=None, max_examples=30)
def test_a_decision_by_one_of_several_outputs(
    clean: Any, intervened: Any, labels: Any, threshold: float, output: int
) -> None:
    # Somewhere in each dataset, an image has the label and one has not.
    labels = [*labels, [1, 1, 1], [0, 0, 0]]
    clean, intervened = torch.tensor([*clean, [1.0] * 3, [-2.0] * 3]), torch.tensor([*intervened, [1.0] * 3, [3.0] * 3])
    names = ["smiling", "young", "hat"]
    model = Model(Looked(clean, intervened), AS_IS, names, outputs="sigmoid", threshold=threshold)
    rows = [dict(zip(names, row, strict=True)) for row in labels]
    found = measure(model, dataset(rows), CHANGE, positive=names[output])
    before, after = (torch.sigmoid(values[:, output].double()) > threshold for values in (clean, intervened))
    truth = torch.tensor(labels)[:, output]
    known = truth >= 0
    assert float(found.asr) == pytest.approx((before != after).double().mean().item(), abs=1e-9)
    moved = (after.double().mean() - before.double().mean()).item()
    assert float(found.skew) == pytest.approx(abs(moved), abs=1e-9)
    assert found.class_shift.tolist() == pytest.approx([-moved, moved], abs=1e-9)
    assert found.class_names == (f"not {names[output]}", names[output])
    right = accuracy_score(truth[known], before[known].long())
    assert float(found.accuracy) == pytest.approx(right, abs=1e-9)
    assert float(found.accuracy_drop) == pytest.approx(
        right - accuracy_score(truth[known], after[known].long()), abs=1e-9
    )
    negatives = truth == 0
    assert float(found.targeted_asr) == pytest.approx(after[negatives].double().mean().item(), abs=1e-9)
    assert float(found.clean_target_rate) == pytest.approx(before[negatives].double().mean().item(), abs=1e-9)
    wronged = (before == truth.bool()) & known
    if wronged.any():
        assert float(found.conditional_asr) == pytest.approx(
            ((before != after)[wronged]).double().mean().item(), abs=1e-9
        )


@given(scores=st.lists(logits, min_size=10, max_size=10), truth=st.lists(st.booleans(), min_size=10, max_size=10))
@settings(deadline=None, max_examples=30)
def test_at_prevalence_as_many_are_positive_as_have_the_label(scores: Any, truth: Any) -> None:
    clean = torch.tensor([*scores, 9.0])[:, None]
    model = Model(Looked(clean, clean - 1), AS_IS, outputs="sigmoid", threshold="prevalence")
    labels = [*map(int, truth), 1]
    found = measure(model, dataset(labels), CHANGE)
    # Every threshold between two scores, and the one whose number of positives is nearest to that of the labels.
    cuts = [-np.inf, *np.unique(clean.numpy())]
    counts = [int((clean.numpy() > cut).sum()) for cut in cuts]
    nearest = min(cuts, key=lambda cut: (abs(counts[cuts.index(cut)] - sum(labels)), counts[cuts.index(cut)]))
    before = clean[:, 0].numpy() > nearest
    # The threshold is the lowest score that is positive.
    after = clean[:, 0].numpy() - 1 >= (clean[:, 0].numpy()[before].min() if before.any() else np.inf)
    assert float(found.asr) == pytest.approx((before != after).mean(), abs=1e-9)
    assert float(found.accuracy) == pytest.approx((before == np.array(labels)).mean(), abs=1e-9)


@given(
    clean=table(logits, 40, 2),
    labels=table(states, 40, 2),
    groups=st.lists(st.sampled_from("ab"), min_size=40, max_size=40),
    outputs=st.sampled_from(["sigmoid", "probabilities"]),
)
@settings(deadline=None, max_examples=20)
def test_gaps_of_one_output(clean: Any, labels: Any, groups: Any, outputs: Outputs) -> None:
    # Both groups have positives and negatives.
    clean = torch.tensor([*clean, *[[1.0, 5.0]] * 2, *[[-1.0, 5.0]] * 2])
    truth = np.array([*labels, [1, 1], [1, 1], [0, 0], [0, 0]])[:, 0]
    groups = [*groups, "a", "b", "a", "b"]
    values = clean if outputs == "sigmoid" else clean.sigmoid()
    model = Model(Looked(values, values), AS_IS, ["smiling", "young"], outputs=outputs)
    data = dataset([*labels, [1, 1], [1, 1], [0, 0], [0, 0]], groups)
    known = truth >= 0
    chosen, of_group = clean[:, 0].numpy() > 0, np.array(groups)
    for metric in ("fpr", "tpr", "accuracy", "selection_rate", "auc"):
        found = measure_gaps(model, data, "group", metric, positive="smiling", min_group_size=1)
        for group in "ab":
            inside = known & (of_group == group)
            own, positive = chosen[inside], truth[inside] == 1
            expected = {
                "fpr": own[~positive].mean(),
                "tpr": own[positive].mean(),
                "accuracy": (own == positive).mean(),
                "selection_rate": own.mean(),
                "auc": roc_auc_score(positive, values[:, 0].numpy()[inside]),
            }[metric]
            assert float(found.by_group[group]) == pytest.approx(expected, abs=1e-9)
        assert found.n == known.sum()


def test_a_class_or_several_of_a_softmax_are_a_decision() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, intervened = (torch.randn(N, 4, generator=generator) for _ in range(2))
    names = ["bird", "plane", "cat", "dog"]
    model, labels = Model(Looked(clean, intervened), AS_IS, names), torch.arange(N) % 4
    classes = type("Named", (list,), {"classes": names})(dataset(labels.tolist()))
    for positive, numbers in (("bird", [0]), (["plane", "dog"], [1, 3]), (2, [2])):
        found = measure(model, classes, CHANGE, positive=positive)
        before, after = (torch.isin(values.argmax(1), torch.tensor(numbers)) for values in (clean, intervened))
        assert float(found.asr) == pytest.approx((before != after).double().mean().item(), abs=1e-9)
        truth = torch.isin(labels, torch.tensor(numbers))
        assert float(found.accuracy) == pytest.approx((before == truth).double().mean().item(), abs=1e-9)
        assert float(found.targeted_asr) == pytest.approx(after[~truth].double().mean().item(), abs=1e-9)
    assert measure(model, classes, CHANGE, positive=["plane", "dog"]).class_names[1] == "plane or dog"


def one_output(**arguments: Any) -> Model:
    values = torch.linspace(-2, 2, N)[:, None]
    return Model(Looked(values, values + 1), AS_IS, outputs="sigmoid", **arguments)


def test_a_single_output_needs_no_name_and_may_be_squeezed(tmp_path: Path) -> None:
    labels = [int(number >= N // 2) for number in range(N)]
    found = measure(one_output(), dataset(labels), CHANGE, store=tmp_path)
    assert (float(found.accuracy), found.class_names) == (1.0, ("not positive", "positive"))
    assert float(found.asr) == pytest.approx(15 / N)

    class Squeezed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = one_output().module

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.inner(images)
            return outputs[:, 0]

    squeezed = measure(Model(Squeezed(), AS_IS, outputs="sigmoid"), dataset(labels), CHANGE)
    assert squeezed.estimates == found.estimates
    # Another threshold is a question to the scores that are stored.
    other = measure(one_output(threshold=0.4), dataset(labels), CHANGE, store=tmp_path)
    assert other.computed == 0
    assert other.estimates != found.estimates


def test_names_of_two_classes_say_which_one_is_positive() -> None:
    labels = [int(number < N // 2) for number in range(N)]
    named = type("Named", (list,), {"classes": ["smiling", "not smiling"]})(dataset(labels))
    assert float(measure(one_output(classes=["smiling"]), named, CHANGE).accuracy) == 1
    other = measure(one_output(classes=["young"]), named, CHANGE)
    assert other.clean.accuracy is None
    assert "none of its classes (smiling, not smiling) is called 'young'" in other.unlabelled


@given(rows=table(logits, 12, 3), threshold=st.sampled_from([0.5, 0.6, 0.3]))
def test_the_confidence_is_the_probability_of_the_decision(rows: Any, threshold: float) -> None:
    outputs, images = torch.tensor(rows), as_images(dataset([[1, 0, 1]] * 12), "images")
    net, classes = torch.nn.Flatten(), as_images(dataset([0] * 12), "classes")
    sigmoid = decision_of(Model(net, outputs="sigmoid", threshold=threshold), images, [1], 3)
    stated = decision_of(Model(net, outputs="probabilities", threshold=threshold), images, [1], 3)
    softmax = decision_of(Model(net), classes, [0, 2], 3)
    for row, *confidences in zip(
        rows,
        sigmoid.probability(outputs, outputs),
        stated.probability(outputs.sigmoid(), outputs.sigmoid()),
        softmax.probability(outputs, outputs),
        strict=True,
    ):
        p = 1 / (1 + np.exp(-row[1]))
        shares = np.exp(row) / np.exp(row).sum()
        # As in 32 bits, where a probability may be the threshold's.
        by_output = p if torch.tensor(row[1]).sigmoid() > threshold else 1 - p
        by_classes = shares[0] + shares[2] if int(np.argmax(row)) != 1 else shares[1]
        assert [float(each) for each in confidences] == pytest.approx([by_output, by_output, by_classes], abs=1e-6)


def test_thresholds_by_name() -> None:
    values = torch.linspace(-2, 2, N)[:, None].expand(N, 2).contiguous()
    model = Model(Looked(values, values), AS_IS, ["a", "b"], outputs="sigmoid", threshold={"b": 0.7})
    data = dataset([[1, 0]] * 30 + [[0, 1]] * 30)
    shares = {name: measure(model, data, CHANGE, positive=name).clean_shares[1] for name in "ab"}
    assert shares["a"] == (values[:, 0].sigmoid() > 0.5).double().mean()
    assert shares["b"] == (values[:, 0].sigmoid() > 0.7).double().mean()


TWO = torch.linspace(-2, 2, N)[:, None].expand(N, 2).contiguous()
HOT = [[number % 2, 1 - number % 2] for number in range(N)]


@pytest.mark.parametrize(
    ("arguments", "labels", "positive", "message"),
    [
        ({}, HOT, None, r"has 2 outputs, one for each label: a, b; say which is judged, such as positive='a'"),
        ({}, HOT, "c", "positive='c' is not a class of the model; Valid: a, b"),
        ({}, HOT, ["a", "b"], r"positive=\['a', 'b'\]: each output of .* is a decision of its own"),
        ({}, [[1, 0, 1], [0, 1, 0]] * 30, "a", "has 3 labels for each image, and model .* 2 outputs"),
        (
            {},
            [number % 5 for number in range(N)],
            "a",
            "has one class for each image, from 0 to 4, and model .* has 2 outputs",
        ),
        ({"threshold": 1.5}, HOT, "a", "threshold: 1.5, expected a probability above 0 and below 1"),
        ({"threshold": 40}, HOT, "a", "threshold: 40, expected a probability"),
        ({"threshold": "prevalent"}, HOT, "a", "threshold='prevalent'; did you mean prevalence"),
        ({"threshold": {"d": 0.5}}, HOT, "a", "threshold of 'd', which is no name of an output"),
        ({"outputs": "sigmod"}, HOT, "a", "outputs='sigmod'; did you mean sigmoid"),
        ({"outputs": "softmax", "threshold": 0.4}, HOT, "a", "threshold=0.4 is for outputs='sigmoid'"),
        ({"outputs": "probabilities"}, HOT, "a", r"its outputs are from -2 to 2; expected numbers in \[0, 1\]"),
    ],
)
def test_what_cannot_be_judged(arguments: Any, labels: Any, positive: Any, message: str) -> None:
    declared = {"outputs": "sigmoid"} | arguments

    def judged() -> None:
        measure(Model(Looked(TWO, TWO), AS_IS, ["a", "b"], **declared), dataset(labels), CHANGE, positive=positive)

    with pytest.raises((BiasTransferError, DatasetError, ModelError), match=message):
        judged()


def test_probabilities_are_told_from_logits() -> None:
    values = TWO.sigmoid()
    with pytest.raises(ModelError, match=r"all its outputs are in .*declare outputs='probabilities'"):
        measure(Model(Looked(values, values), AS_IS, outputs="sigmoid"), dataset(HOT), CHANGE, positive=0)
    judged = Model(Looked(values, values), AS_IS, outputs="probabilities")
    assert measure(judged, dataset(HOT), CHANGE, positive=0).clean_shares[1] == 0.5


def test_a_prevalence_without_labels_is_an_error() -> None:
    model = one_output(classes=["young"], threshold="prevalence")
    named = type("Named", (list,), {"classes": ["smiling", "other"]})(dataset([number % 2 for number in range(N)]))
    with pytest.raises(BiasTransferError, match="threshold='prevalence' needs labels: none of its classes"):
        measure(model, named, CHANGE)


def test_each_takes_classes_alone() -> None:
    assert each("a", 1) == ("a", 1)
    for nothing in ((), (1.5,)):
        with pytest.raises(BiasTransferError, match="expected a class or several"):
            each(*nothing)


def test_a_spec_declares_outputs_and_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch.nn.Linear(12, 2).state_dict(), tmp_path / "net.pt")
    (tmp_path / "net_of_decisions.py").write_text("import torch\n\ndef net():\n    return torch.nn.Linear(12, 2)\n")
    (tmp_path / "names.txt").write_text("smiling\nyoung\n")
    text = "checkpoint:net.pt?arch=python:net_of_decisions:net&outputs=sigmoid&classes=names.txt&threshold="
    monkeypatch.chdir(tmp_path)
    for value, expected in (
        ("0.4", 0.4),
        ("smiling:0.4,young:0.6", {"smiling": 0.4, "young": 0.6}),
        ("prevalence",) * 2,
    ):
        model = load_model(text + str(value))
        assert (model.outputs, model.threshold) == ("sigmoid", expected)
    for value, message in (
        ("4", "expected a probability"),
        ("some", "did you mean|prevalence"),
        ("old:0.5", "threshold of 'old'"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(text + value)


@settings(max_examples=25, deadline=None)
@given(
    clean=table(logits, 16, 2),
    labels=table(states, 16, 2),
    groups=st.lists(st.sampled_from(["a", "b", ""]), min_size=16, max_size=16),
    threshold=st.sampled_from([0.5, 0.6]),
)
def test_gaps_of_an_output_leave_out_unknown_labels_and_missing_groups(
    clean: list[list[float]], labels: list[list[int]], groups: list[str], threshold: float
) -> None:
    model = Model(
        Looked(torch.tensor(clean), torch.tensor(clean)),
        preprocess=AS_IS,
        outputs="sigmoid",
        threshold=threshold,
        classes=["one", "two"],
    )
    scores, truth, group = np.array(clean)[:, 1], np.array(labels)[:, 1], np.array(groups)
    cut = np.float32(np.log(threshold) - np.log1p(-threshold))
    expected: dict[str, dict[str, float]] = {"precision": {}, "average_precision": {}, "calibration": {}, "tpr": {}}
    for name in ("a", "b"):
        here = (group == name) & (truth != -1)
        true, predicted = truth[here], scores[here].astype(np.float32) > cut
        if predicted.any():
            expected["precision"][name] = precision_score(true, predicted)
        if (true == 1).any():
            expected["average_precision"][name] = average_precision_score(true, scores[here])
            expected["tpr"][name] = predicted[true == 1].mean()
        if here.any():
            probabilities = torch.tensor(scores[here]).double().sigmoid().numpy()
            expected["calibration"][name] = probabilities.mean() - true.mean()
    metrics: tuple[GapMetric, ...] = ("precision", "average_precision", "calibration", "tpr")
    for metric in metrics:
        own = expected[metric]
        options: dict[str, Any] = {"positive": "two", "min_group_size": 1, "between": ("a", "b")}
        if len(own) < 2:
            with pytest.raises(BiasTransferError):
                measure_gaps(model, dataset(labels, groups), "group", metric, **options)
            continue
        gaps = measure_gaps(model, dataset(labels, groups), "group", metric, **options)
        # Outputs are float32.
        assert gaps.by_group == pytest.approx(own, abs=1e-7 if metric == "calibration" else 1e-9)
        assert float(gaps.gap) == pytest.approx(own["a"] - own["b"], abs=1e-7 if metric == "calibration" else 1e-9)
        assert gaps.n == np.count_nonzero(truth != -1)
        assert gaps.missing == np.count_nonzero((truth != -1) & (group == ""))
