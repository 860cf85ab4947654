"""Thresholds from validation images: `calibration_dataset=` of gaps at prevalence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pytest_biastransfer import Model, measure_gaps
from pytest_biastransfer.errors import BiasTransferError
from tests.conftest import MODES, Run
from tests.plugin.test_gap_marker import GROUPS, Scored, scored

# The calibration images are twice as often positive as the measured ones.
CONFTEST = (
    GROUPS
    + """

def shade(red):
    return picture((red, 0.3, 0.5))


@pytest.fixture(scope="session")
def bias_dataset():
    # By night, negatives score as high as positives do.
    return Named(
        [(shade(0.80), 2, {"light": "night"})] * 20
        + [(shade(0.20), 2, {"light": "night"})] * 40
        + [(shade(0.40), 2, {"light": "day"})] * 60
        + [(shade(0.90), 0, {"light": light}) for light in ("night", "day")] * 20
    )


@pytest.fixture(scope="session")
def validation_images():
    return Named([(shade(0.90), 0), (shade(0.35), 0)] * 30 + [(shade(0.10), 2)] * 60)


@pytest.fixture(scope="session")
def no_positives():
    return Named([(shade(0.10), 2)] * 60)
"""
)
MARKER = '"light", positive="red", operating_point="prevalence"'


def module(arguments: str, body: str = "pass") -> str:
    return f"import pytest\n\n@pytest.mark.bias_gap({MARKER}, {arguments})\ndef test_groups(bias):\n    {body}\n"


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "140")
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.mark.parametrize("mode", list(MODES))
def test_the_threshold_comes_from_the_calibration_dataset(
    inner: pytest.Pytester, run_elsewhere: Run, mode: str
) -> None:
    # With the measured images' own threshold, no negative is taken for red: as many are as there are positives.
    inner.makepyfile(
        test_own=module("max_gap=0.0", "assert bias.gap == 0"),
        test_other=module(
            'max_gap=0.5, calibration_dataset="validation_images"',
            'assert {group: float(rate) for group, rate in bias.by_group.items()} == {"day": 1, "night": 1 / 3}',
        ),
    )
    result = run_elsewhere("-v", *MODES[mode])
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "bias: 66.7 points between groups: fpr of red at prevalence by light, threshold from list (gap 0.667), limit 0.5",
            "  gap       fpr of red at prevalence by light, threshold from list",
            "  fixtures  transferred_model, bias_dataset, validation_images",
            "  FAILED  gap  0.667 *",
        ]
    )


def test_a_limit_with_another_calibration_dataset_is_another_entry(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makepyfile(test_g=module('max_gap=0.9, calibration_dataset="validation_images"'))
    run_elsewhere("--bias-update=new").assert_outcomes(passed=1)
    assert (
        "light-fpr-red-prevalence calibration_dataset=validation_images"
        in (inner.path / "bias-baseline.json").read_text()
    )
    run_elsewhere().stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            'max_gap=0.5, calibration_dataset="no_positives"',
            "none of the 60 images of list with a known label is positive",
        ),
    ],
)
def test_a_calibration_dataset_without_positives_is_an_error(
    inner: pytest.Pytester, arguments: str, message: str
) -> None:
    inner.makepyfile(test_g=module(arguments))
    result = inner.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"calibration_dataset: {message}*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            f'{MARKER}, max_gap=0.5, calibration_dataset="validation_image"',
            "calibration_dataset='validation_image' is not a fixture that this test can reach; did you mean validation_images?",
        ),
        (f"{MARKER}, max_gap=0.5, calibration_dataset=5", "calibration_dataset=5, expected the name of a fixture"),
        (
            '"light", positive="red", max_gap=0.5, calibration_dataset="validation_images"',
            "calibration_dataset= is where the threshold of operating_point='prevalence' is found",
        ),
    ],
)
def test_a_marker_that_cannot_be_is_one_line(inner: pytest.Pytester, marker: str, message: str) -> None:
    inner.makepyfile(test_g=f"import pytest\n\n@pytest.mark.bias_gap({marker})\ndef test_groups():\n    pass\n")
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_g.py::test_groups: bias_gap: *{message}*"])


def halves() -> tuple[list[Any], list[Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    images, logits, labels, groups = scored(800)
    return images[:500], images[500:], logits, labels, np.array(groups)


@pytest.mark.parametrize("is_sigmoid", [False, True])
def test_rates_at_the_threshold_of_other_images_are_those_of_numpy(is_sigmoid: bool) -> None:
    test, validation, logits, labels, groups = halves()
    if is_sigmoid:
        test, validation = (
            [(image, [int(label == 1)] * 3, rest) for image, label, rest in part] for part in (test, validation)
        )
        model = Model(Scored(), name="scored", outputs="sigmoid", classes=["a", "b", "c"])
        scores = logits[:, 1]
    else:
        model = Model(Scored(), name="scored")
        scores = logits[:, 1] - np.logaddexp(logits[:, 0], logits[:, 2])
    positive = labels == 1
    cut = np.sort(scores[500:])[-np.count_nonzero(positive[500:])]
    chosen = scores[:500] >= cut
    expected = {group: chosen[(groups[:500] == group) & ~positive[:500]].mean() for group in ("north", "south", "west")}
    gaps = measure_gaps(
        model,
        test,
        "place",
        positive="b" if is_sigmoid else 1,
        operating_point="prevalence",
        calibration_dataset=validation,
    )
    assert gaps.by_group == pytest.approx(expected, abs=1e-9)
    assert (gaps.n, gaps.calibration_images, gaps.predictions) == (500, 300, 800)


def test_a_cached_gap_depends_on_the_calibration_dataset(tmp_path: object) -> None:
    test, validation, *_ = halves()
    options: dict[str, Any] = {"positive": 1, "operating_point": "prevalence", "store": tmp_path}
    model = Model(Scored(), name="scored")
    first = measure_gaps(model, test, "place", calibration_dataset=validation, control=model, **options)
    # Images of another place are a validation set with another share of positives.
    positives = [item for item in validation if item[1] == 1]
    others = measure_gaps(model, test, "place", calibration_dataset=positives, control=model, **options)
    own = measure_gaps(model, test, "place", control=model, **options)
    again = measure_gaps(model, test, "place", calibration_dataset=validation, control=model, **options)
    assert len({tuple(map(float, gaps.by_group.values())) for gaps in (first, others, own)}) == 3
    assert (again.computed, repr(again), again.predictions) == (0, repr(first), 2 * 800)
    assert not math.isnan(first.gap_excess)


def test_a_dataset_that_is_not_used_is_an_error() -> None:
    test, validation, *_ = halves()
    with pytest.raises(BiasTransferError, match="calibration_dataset= is where the threshold"):
        measure_gaps(Model(Scored()), test, "place", positive=1, calibration_dataset=validation)
