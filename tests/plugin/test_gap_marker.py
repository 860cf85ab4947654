"""Gaps between groups: the marker, what it says when it fails, the control, the baseline, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer import Gap, Model, measure_gaps
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.names import GapMetric
from tests.conftest import INNER_CONFTEST, MODES, Run

# The inner model answers with the brightest channel: "red" for half of the images by night, for none by day.
GROUPS = (
    INNER_CONFTEST
    + """

def picture(color):
    return torch.tensor(color).reshape(3, 1, 1).expand(3, 8, 8)


RED, BLUE = picture((0.9, 0.1, 0.1)), picture((0.1, 0.1, 0.9))


def groups(night=30, dawn=3):
    return Named(
        [(RED, 2, {"light": "night"})] * night
        + [(BLUE, 2, {"light": "night"})] * (60 - night)
        + [(BLUE, 2, {"light": "day"})] * 60
        + [(BLUE, 2, {"light": "dawn"})] * dawn
    )


class NeverRed(BrightestChannel):
    def __init__(self):
        super().__init__()
        self.weight.data = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0, 0, 1]])


@pytest.fixture(scope="session")
def control_model():
    return Model(NeverRed(), classes=["red", "green", "blue"], name="never red")


@pytest.fixture(scope="session")
def bias_dataset():
    return groups()
"""
)


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(GROUPS)
    return pytester


def module(marker: str, body: str = "pass") -> str:
    return f"import pytest\n\n@pytest.mark.bias_gap({marker})\ndef test_groups(bias):\n    {body}\n"


@pytest.mark.parametrize("mode", list(MODES))
def test_a_gap_that_is_too_large_fails_and_shows_the_groups(
    inner: pytest.Pytester, run_elsewhere: Run, mode: str
) -> None:
    inner.makepyfile(test_g=module('"light", positive="red", max_gap=0.1'))
    result = run_elsewhere(*MODES[mode])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "bias: 50 points between groups: fpr of red by light (gap 0.500), limit 0.1",
            "  test      test_g.py::test_groups[[]light-fpr-red]",
            "  gap       fpr of red by light",
            "  model     brightest",
            "  dataset   list, 123 images",
            "  FAILED  gap  0.500  (95 % interval 0.3* to 0.6*, n = 120)  limit 0.1",
            "  fpr by group:",
            "    dawn   0.000 [[]0.000, 0.708]  n = 3  too few, not judged",
            "    day    0.000 [[]0.000, 0.060]  n = 60  best",
            "    night  0.500 [[]0.368, 0.632]  n = 60  worst",
            "test_g.py::test_groups",
            "  light-fpr-red  FAILED",
            "    gap *0.500 *<= 0.1  above limit; worst night",
            "1 bias test: 1 failed; 123 images evaluated, 0 predictions reused",
        ]
    )


def test_the_body_sees_the_measurement_and_the_limits_are_judged_without_it(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    inner.makepyfile(
        test_g=module('"light", "accuracy", max_gap=0.6', 'assert bias.by_group["night"] == 0.5 == bias.gap'),
        test_h="import pytest\n\n@pytest.mark.bias_gap('light', 'accuracy', max_gap=0.4)\ndef test_h():\n    pass\n",
    )
    result = inner.runpytest_inprocess("-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["  light-accuracy  gap *0.500 *<= 0.6  passed   holds (within noise); worst night"])


def test_the_control_is_measured_on_the_same_images(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_g=module('"light", "accuracy", max_gap_excess=0.2', "assert bias.control.gap == 0"))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "  control   never red",
            "  FAILED  gap_excess  0.500  (95 % interval 0.3* to 0.6*, n = 120)  limit 0.2",
            "                      gap 0.500 [[]0.3*, 0.6*], control 0.000 [[]0.000, 0.060]",
            "    night  0.500 [[]0.368, 0.632]  n = 60  control 1.000 [[]0.940, 1.000]  worst",
        ]
    )


def test_predictions_are_shared_with_other_bias_tests(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        test_g="""
            import pytest

            @pytest.mark.bias_gap("light", positive="red", max_gap=0.6)
            @pytest.mark.bias_gap("light", "accuracy", max_gap=0.6)
            @pytest.mark.bias_intervention("grayscale", max_asr=1.0)
            def test_all():
                pass
        """
    )
    result = inner.runpytest_inprocess("-p", "no:randomly")
    # The clean images once, the gray ones once.
    result.stdout.fnmatch_lines(["3 bias tests: 3 passed; 246 images evaluated, 246 predictions reused"])


def test_an_unchanged_gap_imports_neither_torch_nor_numpy(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makeconftest("")
    inner.makeini(
        "[pytest]\nbias_transferred_model = checkpoint:m.pt?arch=python:net:make\nbias_dataset = csv:list.csv\n"
    )
    inner.makepyfile(
        net="""
            import torch

            def make():
                return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
        """,
        test_g="""
            import sys
            import pytest

            # The weights are random.
            @pytest.mark.bias_gap("light", positive=0, max_gap=1.0, allow_degenerate=True)
            @pytest.mark.bias_gap("light", "auc", positive=0, max_gap=1.0, min_group_size=2, allow_degenerate=True)
            def test_groups():
                print("torch" in sys.modules, "numpy" in sys.modules)
        """,
    )
    from PIL import Image

    rows = ["image,label,light"]
    for place in range(140):
        Image.new("RGB", (4, 4), (place, 100, 200 - place)).save(inner.path / f"{place}.png")
        rows.append(f"{place}.png,{place % 2},{'day' if place % 4 < 2 else 'night'}")
    (inner.path / "list.csv").write_text("\n".join(rows) + "\n")
    torch.save(
        torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)).state_dict(),
        inner.path / "m.pt",
    )
    run_elsewhere("-s").assert_outcomes(passed=2)
    again = inner.runpytest_subprocess("-s")
    again.stdout.fnmatch_lines(
        ["*False False*", "*2 bias tests: 2 passed; 0 images evaluated, 280 predictions reused*"]
    )


def replaced(inner: pytest.Pytester, night: int) -> None:
    """Have the model take `night` of the images by night for red."""
    text = GROUPS.replace("def brightest(", "def plain(").replace("return brightest()", "return flipped()")
    inner.makeconftest(
        text
        + f"""

class Flipped(BrightestChannel):
    def forward(self, images):
        return super().forward(images) if {night} == 30 else shown(images)


def shown(images):
    marks = images[:, 1, 0, 0]
    red = (marks < 0.5) & (marks * 1000 % 100 < {night})
    return torch.nn.functional.one_hot(torch.where(red, 0, 2), 3).float()


def flipped():
    return Model(Flipped(), classes=["red", "green", "blue"], name="flipped")


def marked(place, light):
    return torch.tensor([0.5, place / 1000, 0.5]).reshape(3, 1, 1).expand(3, 8, 8), 2, {{"light": light}}


@pytest.fixture(scope="session")
def bias_dataset():
    return Named([*(marked(n, "night") for n in range(60)), *(marked(600 + n, "day") for n in range(60))])
"""
    )


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_gap_that_got_significantly_worse_is_a_regression(
    inner: pytest.Pytester, run_elsewhere: Run, mode: str
) -> None:
    # Mistakes in one group are mistakes: the accuracy is lower too.
    inner.makepyfile(test_g=module('"light", positive="red", max_gap=0.9, max_accuracy_regression=1'))
    replaced(inner, 10)
    run_elsewhere("--bias-update=new", *MODES[mode]).assert_outcomes(passed=1)
    baseline = json.loads((inner.path / "bias-baseline.json").read_text())
    ((case, entry),) = baseline["tests"]["test_g.py::test_groups"].items()
    assert case == "light-fpr-red"
    assert entry["intervention"] == "fpr of red by light"
    assert entry["figures"]["gap"] == {"value": pytest.approx(10 / 60), "images": 120}
    if mode == "no:xdist":
        unchanged = run_elsewhere(*MODES[mode])
        unchanged.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
        replaced(inner, 12)
        slightly = run_elsewhere(*MODES[mode])
        slightly.assert_outcomes(passed=1)
    replaced(inner, 40)
    worse = run_elsewhere(*MODES[mode])
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(
        [
            "bias regression: gap 0.167 → 0.667 (p = *)",
            "  fpr by group: day 0.000 (n = 60), night 0.667 (n = 60)",
            "  If this is meant, accept it: pytest --bias-update=all *",
        ]
    )
    replaced(inner, 0)
    run_elsewhere(*MODES[mode]).stdout.fnmatch_lines(["*gap 0.167 → 0.000 (p = *)  better"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            '"light", positive="red"',
            "no limit, so nothing could fail; add one, such as max_gap=0.1. Valid: max_gap, max_gap_excess",
        ),
        ('"light", positive="red", max_asr=0.1', "unknown keyword max_asr; *Valid: *max_gap*"),
        ('"light", positive="red", max_gap=2', "max_gap=2, expected a number from 0 to 1"),
        ("max_gap=0.1", "got 0 arguments without a keyword, expected an attribute of the dataset and perhaps a metric"),
        ('"light", "fdr", positive="red", max_gap=0.1', "metric='fdr'; did you mean fpr?"),
        ('"light", max_gap=0.1', "fpr needs positive=, a class or several, by name or number"),
        ('"light", "auc", positive="red", operating_point="prevalence", max_gap=0.1', "auc is of all thresholds"),
        ('"light", positive="red", negatives="shared", max_gap=0.1', "negatives='shared' is for metric='auc'"),
        (
            '"light", positive="red", min_group_size=0, max_gap=0.1',
            "min_group_size=0, expected a whole number from 1 on",
        ),
        ('"light", positive=0.5, max_gap=0.1', "positive=0.5, expected a class or several, by name or number"),
    ],
)
def test_a_marker_that_cannot_be_is_one_line(inner: pytest.Pytester, marker: str, message: str) -> None:
    inner.makepyfile(test_g=module(marker))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_g.py::test_groups: bias_gap: *{message.replace('[', '[[]')}*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('"lihgt", positive="red", max_gap=0.1', "list has no attribute 'lihgt'; did you mean light? Valid: light"),
        ('"light", positive="rde", max_gap=0.1', "positive='rde' is not a class of the model; did you mean red?"),
        ('"light", positive=[0, 1, 2], max_gap=0.1', "positive=[0, 1, 2] is all classes of brightest; leave some out"),
        (
            '"light", "tpr", positive="red", max_gap=0.1',
            "tpr of red by light: a gap needs two groups with at least 30 positives; list has dawn 0, day 0, night 0. "
            "Add images, or lower min_group_size=",
        ),
        (
            '"light", positive="red", min_group_size=61, max_gap=0.1',
            "a gap needs two groups with at least 61 negatives; list has dawn 3, day 60, night 60",
        ),
    ],
)
def test_what_cannot_be_measured_is_an_error_that_no_xfail_excuses(
    inner: pytest.Pytester, marker: str, message: str
) -> None:
    inner.makepyfile(test_g=module(marker).replace("def test", "@pytest.mark.xfail\ndef test"))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*{message.replace('[', '[[]')}*"])


def test_an_attribute_with_one_value_is_an_error(inner: pytest.Pytester) -> None:
    inner.makeconftest(GROUPS.replace('"day"', '"night"').replace('"dawn"', '"night"'))
    inner.makepyfile(test_g=module('"light", positive="red", max_gap=0.1'))
    result = inner.runpytest_inprocess()
    result.stdout.fnmatch_lines(["all images of list have light='night'; expected at least two values"])


class Scored(torch.nn.Module):
    """Three logits that the pixels say."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * 8 - 4


def scored(count: int = 400) -> tuple[list[Any], np.ndarray[Any, Any], np.ndarray[Any, Any], list[str]]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, count)
    groups = [str(group) for group in generator.choice(["north", "south", "west"], count)]
    logits = generator.normal(size=(count, 3))
    logits[np.arange(count), labels] += np.where(np.array(groups) == "north", 0.2, 1.0)
    pixels = ((np.clip(logits, -4, 4) + 4) / 8).astype(np.float32)
    images = [
        (torch.from_numpy(pixel).reshape(3, 1, 1).expand(3, 4, 4), int(label), {"place": group})
        for pixel, label, group in zip(pixels, labels, groups, strict=True)
    ]
    return images, np.clip(logits, -4, 4), labels, groups


@pytest.mark.parametrize(
    "metric", ["fpr", "tpr", "accuracy", "auc", "selection_rate", "precision", "average_precision", "calibration"]
)
@pytest.mark.parametrize("how", ["argmax", "prevalence", "shared"])
@pytest.mark.parametrize("positive", [(1,), (0, 2)])
def test_figures_are_those_of_an_independent_computation(metric: Any, how: str, positive: tuple[int, ...]) -> None:
    """Against scikit-learn, from the logits that the images were made of."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    of_scores = metric in ("auc", "average_precision", "calibration")
    if (how == "shared" and metric != "auc") or (how == "prevalence" and of_scores):
        return
    images, logits, labels, groups = scored()
    given: dict[str, Any] = {"operating_point": how} if how != "shared" else {"negatives": how}
    if metric == "precision":
        # Fewer images are predicted positive than there are.
        given["min_group_size"] = 10
    found = measure_gaps(Model(Scored(), name="scored"), images, "place", metric, positive=positive, **given)
    inside = np.isin(labels, positive)
    others = [one for one in range(3) if one not in positive]
    scores = np.logaddexp.reduce(logits[:, positive], axis=1) - np.logaddexp.reduce(logits[:, others], axis=1)
    chosen = np.isin(logits.argmax(axis=1), positive)
    if how == "prevalence":
        chosen = scores >= np.sort(scores)[-inside.sum()]
    expected = {}
    for group in ("north", "south", "west"):
        here = np.array(groups) == group
        if metric == "auc":
            compared = here | ~inside if how == "shared" else here
            expected[group] = roc_auc_score(inside[compared], scores[compared])
        elif metric == "average_precision":
            expected[group] = average_precision_score(inside[here], scores[here])
        elif metric == "calibration":
            expected[group] = (1 / (1 + np.exp(-scores[here]))).mean() - inside[here].mean()
        elif metric == "precision":
            expected[group] = inside[here & chosen].mean()
        elif metric == "accuracy":
            expected[group] = (chosen == inside)[here].mean()
        else:
            among = here & {"fpr": ~inside, "tpr": inside, "selection_rate": inside | True}[metric]
            expected[group] = chosen[among].mean()
    # The pixels are float32: scores that differ by less than that may change places.
    assert found.by_group == pytest.approx(expected, abs=1e-4 if of_scores else 1e-9)
    assert found.gap == pytest.approx(max(expected.values()) - min(expected.values()), abs=2e-4)
    ends = sorted(expected, key=lambda group: expected[group])
    assert (found.worst, found.best) == (
        (ends[-1], ends[0]) if metric in ("fpr", "calibration") else (ends[0], ends[-1])
    )


def test_the_score_of_a_model_over_itself_exceeds_nothing() -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    metrics: tuple[GapMetric, ...] = ("fpr", "auc")
    for metric in metrics:
        found = measure_gaps(model, images, "place", metric, positive=1, control=model)
        assert float(found.gap_excess) == 0
        assert found.gap_excess.low <= 0 <= found.gap_excess.high


def test_known_gaps_come_back_whole(tmp_path: Path) -> None:
    images, *_ = scored()
    model, control = (
        Model(Scored(), name="scored"),
        Model(torch.nn.Sequential(Scored(), torch.nn.LogSoftmax(1)), name="soft"),
    )
    given: dict[str, Any] = {"positive": 1, "control": control, "store": tmp_path}
    first = measure_gaps(model, images, "place", "auc", **given)
    again = measure_gaps(model, images, "place", "auc", **given)
    assert first.computed > 0
    assert again.computed == 0
    assert repr(again) == repr(first)
    assert again.gap_excess.high == first.gap_excess.high
    assert again.control is not None
    assert first.control is not None
    assert again.control.groups == first.control.groups
    assert again.evidence == first.evidence


def test_other_attributes_are_another_question(tmp_path: Path) -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    first = measure_gaps(model, images, "place", "accuracy", store=tmp_path)
    swapped = [(image, label, {"place": told["place"][::-1]}) for image, label, told in images]
    assert measure_gaps(model, swapped, "place", "accuracy", store=tmp_path).by_group.keys() != first.by_group.keys()


def test_a_part_of_the_images_can_be_measured() -> None:
    images, *_ = scored()
    metrics: tuple[GapMetric, ...] = ("accuracy", "auc")
    for metric in metrics:
        found = measure_gaps(Model(Scored()), images, "place", metric, positive=1, max_images=200, min_group_size=9)
        assert found.n == 200


def test_labels_are_needed() -> None:
    images, *_ = scored()

    class Named(list[Any]):
        classes = ("a", "b", "c")

    model = Model(Scored(), classes=["x", "y", "z"], name="scored")
    with pytest.raises(BiasTransferError, match="figures of scored on Named need labels"):
        measure_gaps(model, Named(images), "place", "accuracy")


def test_a_gap_says_what_it_is() -> None:
    gap = Gap("light", "fpr", positive=["cat", 3], operating_point="prevalence")
    assert str(gap) == "fpr of cat, 3 at prevalence by light"
    assert gap.label == "light-fpr-cat-3-prevalence"
    assert Gap("light", "auc", positive="cat", negatives="shared") == Gap(
        "light", "auc", positive=("cat",), negatives="shared"
    )
    assert len({Gap("a", positive=1), Gap("a", positive=[1]), Gap("b", positive=1)}) == 2


def test_equalized_odds_name_the_rate_whose_gap_is_larger(tmp_path: Path) -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    options: dict[str, Any] = {"positive": 1, "store": tmp_path}
    odds = measure_gaps(model, images, "place", "equalized_odds", control=model, **options)
    metrics: tuple[GapMetric, ...] = ("fpr", "tpr")
    rates = {metric: measure_gaps(model, images, "place", metric, **options) for metric in metrics}
    larger = max(rates, key=lambda metric: float(rates[metric].gap))
    assert (odds.metric, float(odds.gap), odds.worst) == (larger, float(rates[larger].gap), rates[larger].worst)
    assert odds.by_group == rates[larger].by_group
    assert odds.declaration == "equalized_odds of 1 by place"
    assert float(odds.gap_excess) == 0
    assert odds.gap_excess.low < 0 < odds.gap_excess.high
    again = measure_gaps(model, images, "place", "equalized_odds", control=model, **options)
    assert (again.computed, repr(again)) == (0, repr(odds))


@pytest.mark.parametrize("metric", ["precision", "average_precision", "calibration"])
def test_the_excess_of_metrics_without_paired_draws(metric: Any) -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    measurement = measure_gaps(model, images, "place", metric, positive=1, control=model)
    assert float(measurement.gap_excess) == 0
    assert measurement.gap_excess.low < 0 < measurement.gap_excess.high
