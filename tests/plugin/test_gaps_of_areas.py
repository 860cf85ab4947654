"""Gaps of areas under the ROC curve in the baseline: what it keeps of each image, and what a change means."""

from __future__ import annotations

import json
import re

import numpy as np
import numpy.typing as npt
import pytest

from pytest_biastransfer import Gap, Model, measure_gaps
from pytest_biastransfer.baseline.component_encoding import decode_components
from pytest_biastransfer.measurement.gap_evidence import image_evidence
from pytest_biastransfer.measurement.gap_outcomes import GapOutcomes
from pytest_biastransfer.metrics.clean_performance import CleanPerformance
from pytest_biastransfer.names import GapMetric, Negatives
from tests.conftest import INNER_CONFTEST, MODES, Run
from tests.plugin.test_gap_marker import Scored, module, scored

# 400 images by night and 400 by day, half of them positive. The first channel is the score of a good model: positives
# are 2 higher by night, and 1.2 by day. The second one marks the positives by day, the third one is noise.
CONFTEST = (
    INNER_CONFTEST
    + """

class Ranking(torch.nn.Module):
    def forward(self, images):
        score, marked, noise = images.mean(dim=(2, 3)).T
        logit = 12 * score - 6 - FALL * marked + NOISE * (noise - 0.5)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.fixture(scope="session")
def transferred_model():
    return Model(Ranking(), preprocess=Preprocess(mean=0, std=1), classes=["red", "green"], name="ranking")


class Images(list):
    classes = ["red", "green"]


@pytest.fixture(scope="session")
def bias_dataset():
    generator = torch.Generator().manual_seed(0)
    scores, noise = torch.randn(2, 800, generator=generator)
    found = []
    for place in range(800):
        is_positive, by_day = place % 2 == 0, place % 4 < 2
        score = scores[place] + is_positive * (1.2 if by_day else 2.0)
        pixel = torch.stack([(score + 5) / 12, torch.tensor(float(is_positive and by_day)), (noise[place] + 5) / 10])
        image = pixel.clip(0, 1).reshape(3, 1, 1).expand(3, 4, 4)
        found.append((image, 0 if is_positive else 1, {"light": "day" if by_day else "night"}))
    return Images(found)
"""
)


def ranking(pytester: pytest.Pytester, fall: float, noise: float) -> None:
    """Have the positives by day score lower by `fall`, and all scores have some noise."""
    pytester.makeconftest(f"{CONFTEST}\n\nFALL, NOISE = {fall}, {noise}\n")


@pytest.mark.parametrize("between", ["", 'between=("night", "day"), '])
@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_an_area_that_fell_on_the_same_images_is_a_regression(
    pytester: pytest.Pytester, run_elsewhere: Run, mode: str, between: str
) -> None:
    limits = "max_gap=0.9, max_accuracy_regression=1"
    pytester.makepyfile(test_g=module(f'"light", "auc", positive="red", {between}{limits}'))
    ranking(pytester, 0.0, 0.0)
    run_elsewhere("--bias-update=new", *MODES[mode]).assert_outcomes(passed=1)
    ((entry,),) = (
        tests.values() for tests in json.loads((pytester.path / "bias-baseline.json").read_text())["tests"].values()
    )
    # Two characters for each image, and a few for each group.
    assert 1600 < len(entry["evidence"]["components"]) < 1800
    run_elsewhere(*MODES[mode]).stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    ranking(pytester, 0.0, 1.5)
    run_elsewhere(*MODES[mode]).assert_outcomes(passed=1)
    ranking(pytester, 0.4, 1.5)
    worse = run_elsewhere(*MODES[mode])
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    found = re.search(r"bias regression: gap 0\.1\d\d → 0\.2\d\d \(p = ([^)]*)\)", worse.stdout.str())
    assert found is not None
    assert float(found.group(1)) < 1e-5


def test_a_tolerance_counts_for_areas_too(pytester: pytest.Pytester, run_elsewhere: Run) -> None:
    pytester.makepyfile(
        test_g=module('"light", "auc", positive="red", max_gap=0.9, max_regression=0.1, max_accuracy_regression=1')
    )
    ranking(pytester, 0.0, 0.0)
    run_elsewhere("--bias-update=new").assert_outcomes(passed=1)
    ranking(pytester, 0.4, 1.5)
    run_elsewhere().assert_outcomes(passed=1)
    ranking(pytester, 1.0, 1.5)
    worse = run_elsewhere()
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(["bias regression: gap 0.1* → 0.4* (p = *; * of worse by more than 0.1)"])


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        (r'"components": "own;', '"components": "mine;', "expected 'own' or 'shared' and groups of a figure"),
        (r'(:[A-Za-z0-9+/]{10,})[A-Za-z0-9+/]{2}(;|")', r"\1\2", "its groups have other sizes than their hash says"),
        (r"(:[A-Za-z0-9+/]{10,})[A-Za-z0-9+/](;|\")", r"\1*\2", "base64 digits"),
    ],
)
def test_damaged_components_are_an_error_with_their_line(
    pytester: pytest.Pytester, run_elsewhere: Run, pattern: str, damage: str, message: str
) -> None:
    pytester.makepyfile(test_g=module('"light", "auc", positive="red", max_gap=0.9'))
    ranking(pytester, 0.0, 0.0)
    run_elsewhere("--bias-update=new").assert_outcomes(passed=1)
    path = pytester.path / "bias-baseline.json"
    damaged, count = re.subn(pattern, damage, path.read_text(), count=1)
    assert count == 1
    path.write_text(damaged)
    ranking(pytester, 0.4, 0.0)
    result = run_elsewhere()
    assert result.ret != pytest.ExitCode.OK
    output = result.stdout.str()
    assert re.search(rf"bias-baseline.json: line \d+: .*{re.escape(message)}.*It is left as it is", output), output
    assert path.read_text() == damaged


@pytest.mark.parametrize(
    ("metric", "negatives", "samples"),
    [("auc", "own", 2), ("auc", "shared", 2), ("calibration", "own", 1)],
)
def test_measurements_have_the_components_of_each_image(metric: GapMetric, negatives: Negatives, samples: int) -> None:
    images, _, labels, groups = scored()
    model = Model(Scored(), name="scored")
    found = measure_gaps(model, images, "place", metric, positive=1, negatives=negatives, control=model)
    components = decode_components(found.evidence["components"])
    by_group = found.by_group
    assert components.figures.tolist() == pytest.approx([float(by_group[name]) for name in sorted(by_group)], abs=1e-9)
    expected = []
    for group in sorted(by_group):
        positives, others = (int(((np.array(groups) == group) & (labels == 1)).sum()), labels != 1)
        own = int((others if negatives == "shared" else others & (np.array(groups) == group)).sum())
        expected.append([positives, own] if samples == 2 else [positives + own])
    assert components.sizes == expected
    assert components.is_shared == (negatives == "shared")
    # The control model's are compared with nothing.
    assert found.control is not None
    assert "components" not in found.control.evidence


def test_components_are_those_of_the_two_named_groups_in_their_order() -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    found = measure_gaps(model, images, "place", "auc", positive=1, between=("west", "north"))
    figures = decode_components(found.evidence["components"]).figures
    assert float(figures[0] - figures[1]) == pytest.approx(float(found.gap), abs=1e-12)


@pytest.mark.parametrize("metric", ["accuracy", "average_precision", "equalized_odds"])
def test_other_metrics_have_no_components(metric: GapMetric) -> None:
    images, *_ = scored()
    found = measure_gaps(Model(Scored(), name="scored"), images, "place", metric, positive=1)
    assert "components" not in found.evidence


def outcomes(positive: npt.NDArray[np.bool_]) -> GapOutcomes:
    """Return outcomes of as many images as `positive` has, whose scores are random."""
    n = len(positive)
    nothing = np.zeros(n, dtype=np.bool_)
    scores = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    clean = CleanPerformance.from_description(
        measure_gaps(Model(Scored()), scored()[0], "place", "auc", positive=1).clean.description()
    )
    return GapOutcomes(np.arange(n), positive, nothing, nothing, scores, None, clean, nothing, n)


@pytest.mark.parametrize(
    ("images", "groups", "negatives", "has_components"),
    [
        (100_000, 2, "own", True),
        (100_001, 2, "own", False),
        (50_000, 3, "own", True),
        (50_000, 2, "shared", True),
        (50_000, 4, "shared", False),
    ],
)
def test_more_components_than_images_have_keys_are_left_out(
    images: int, groups: int, negatives: Negatives, has_components: bool
) -> None:
    gap = Gap("place", "auc", positive=1, negatives=negatives)
    codes = np.arange(images) % groups
    found = image_evidence(gap, outcomes(np.arange(images) % 5 < 2), codes, np.arange(groups))
    assert ("components" in found) == has_components


def test_a_group_with_a_single_positive_has_no_components() -> None:
    gap, codes = Gap("place", "auc", positive=1, min_group_size=1), np.arange(100) // 50
    for positives, has_components in ((1, False), (2, True)):
        marked = np.isin(np.arange(100), [*range(positives), 60, 61])
        found = image_evidence(gap, outcomes(marked), codes, np.arange(2))
        assert ("components" in found) == has_components
