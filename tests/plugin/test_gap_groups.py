"""Gaps between intersections, intervals of numbers and missing values, and groups that are too small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_biastransfer import Gap, Model, measure_gaps
from pytest_biastransfer.errors import BiasTransferError, UnjudgedWarning
from tests.plugin.test_gap_marker import GROUPS, Scored, module, scored

CONFTEST = (
    GROUPS
    + """

@pytest.fixture(scope="session")
def bias_dataset():
    def group(count, color, light, age):
        return [(color, 2, {"light": light, "age": age})] * count

    return Named(
        group(20, RED, "night", 30) + group(20, BLUE, "night", 30) + group(40, BLUE, "night", 50)
        + group(40, BLUE, "day", 30) + group(40, RED, "day", 70) + group(3, BLUE, "day", 50)
        + group(5, BLUE, None, 30) + group(2, BLUE, "day", float("nan"))
    )
"""
)
MARKER = '("light", "age"), positive="red", bins={"age": [40, 60]}'


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "140")
    pytester.makeconftest(CONFTEST)
    return pytester


def test_a_failure_shows_the_intersections_and_counts_missing_values(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_g=module(f"{MARKER}, max_gap=0.1", "assert bias.missing == 7"))
    result = inner.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "  gap       fpr of red by light & age (age at 40, 60)",
            "  dataset   list, 170 images",
            "  FAILED  gap  1.000 *n = 160)  limit 0.1",
            "    day & <40      0.000 *n = 40  best",
            "    day & 40-60    0.000 *n = 3  too few, not judged",
            "    day & >=60     1.000 *n = 40  worst",
            "    night & <40    0.500 *n = 40",
            "    night & 40-60  0.000 *n = 40",
            "    7 images have no value, and no group",
        ]
    )


def test_reports_count_the_images_in_no_group(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_g=module(f"{MARKER}, max_gap=0.1"))
    inner.runpytest_inprocess("--bias-report=r.json", "--bias-report=r.html").assert_outcomes(failed=1)
    (test,) = json.loads((inner.path / "r.json").read_text())["tests"]
    assert test["details"]["missing"] == 7
    assert len(test["details"]["groups"]) == 5
    assert "By group; 7 without a value, in no group" in (inner.path / "r.html").read_text()


def test_two_intersections_are_compared_with_their_sign(inner: pytest.Pytester) -> None:
    pair = 'between=("night & <40", "day & <40")'
    inner.makepyfile(test_g=module(f"{MARKER}, {pair}, max_gap=0.6", "assert bias.gap == 0.5"))
    inner.runpytest_inprocess().assert_outcomes(passed=1)


def test_groups_that_are_too_small_fail_or_are_warned_of(inner: pytest.Pytester) -> None:
    for unjudged, outcomes in [
        ("fail", {"errors": 1}),
        ("warn", {"passed": 1, "warnings": 1}),
        ("list", {"passed": 1}),
    ]:
        inner.makepyfile(test_g=module(f"{MARKER}, max_gap=1, unjudged={unjudged!r}"))
        result = inner.runpytest_inprocess("-W", "default::pytest_biastransfer.errors.UnjudgedWarning")
        result.assert_outcomes(**outcomes)
        if unjudged != "list":
            result.stdout.fnmatch_lines(
                ["*groups of list with fewer than 30 negatives, which are not judged: day & 40-60 3*"]
            )


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('("light", "light"), positive="red", max_gap=0.1', "attribute=('light', 'light'), expected the name of an"),
        ('(), positive="red", max_gap=0.1', "attribute=(), expected the name of an attribute of the dataset"),
        ('"light", positive="red", max_gap=0.1, bins={"age": [1]}', "bins of 'age', which is not grouped by"),
        (
            '"age", positive="red", max_gap=0.1, bins={"age": [2, 1]}',
            "bins={'age': [[]2, 1]}, expected ascending numbers",
        ),
        ('"age", positive="red", max_gap=0.1, bins=[1]', "bins=[[]1], expected ascending numbers by attribute"),
        ('"light", positive="red", max_gap=0.1, unjudged="error"', "unjudged='error'; "),
    ],
)
def test_a_marker_that_cannot_be_is_one_line(inner: pytest.Pytester, marker: str, message: str) -> None:
    inner.makepyfile(test_g=module(marker))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_g.py::test_groups: bias_gap: *{message}*"])


def test_missing_values_change_nothing_about_the_others(tmp_path: Path) -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    hidden = [
        (image, label, {"place": None if number % 7 == 0 else rest["place"]})
        for number, (image, label, rest) in enumerate(images)
    ]
    shown = [item for item in hidden if item[2]["place"] is not None]
    for metric in ("fpr", "auc", "calibration"):
        options: dict[str, Any] = {"metric": metric, "positive": 1, "control": model, "min_group_size": 5}
        with_missing = measure_gaps(model, hidden, "place", store=tmp_path, **options)
        without = measure_gaps(model, shown, "place", **options)
        assert with_missing.groups == without.groups
        assert repr(with_missing.gap) == repr(without.gap)
        assert repr(with_missing.gap_excess) == repr(without.gap_excess)
        assert (with_missing.missing, without.missing, with_missing.n) == (58, 0, 400)
        assert with_missing.clean.images == 400
        again = measure_gaps(model, hidden, "place", store=tmp_path, **options)
        assert (again.computed, again.missing, repr(again)) == (0, 58, repr(with_missing))


def test_bins_and_small_groups_of_a_measurement(tmp_path: Path) -> None:
    images, *_ = scored()
    model = Model(Scored(), name="scored")
    ages = np.random.default_rng(0).integers(20, 80, len(images))
    aged = [(image, label, {"age": int(age)}) for (image, label, _), age in zip(images, ages, strict=True)]
    options: dict[str, Any] = {"metric": "accuracy", "store": tmp_path}
    young = measure_gaps(model, aged, "age", bins={"age": [50]}, **options)
    old = measure_gaps(model, aged, "age", bins={"age": [70]}, **options)
    assert [figure.size for figure in young.groups] == [np.count_nonzero(ages < 50), np.count_nonzero(ages >= 50)]
    assert [figure.size for figure in old.groups] == [np.count_nonzero(ages < 70), np.count_nonzero(ages >= 70)]
    with pytest.warns(UnjudgedWarning, match="groups of list with fewer than 30 images, which are not judged: "):
        measure_gaps(model, aged, "age", bins={"age": [21, 50]}, unjudged="warn", **options)
    with pytest.raises(BiasTransferError, match="or allow it by unjudged='warn'"):
        measure_gaps(model, aged, "age", bins={"age": [21, 50]}, unjudged="fail", **options)


def test_a_gap_names_its_attributes_and_bins() -> None:
    gap = Gap(["gender", "age"], positive=1, bins={"age": [40, 60]})
    assert str(gap) == "fpr of 1 by gender & age (age at 40, 60)"
    assert gap.label == "gender-age-fpr-1-age40,60"
    assert hash(gap) == hash(Gap(("gender", "age"), positive=(1,), bins={"age": (40.0, 60.0)}))
