"""The ids of bias tests: short ones by default, or those of the marker; the baseline depends on neither."""

from __future__ import annotations

import json

import pytest

from pytest_biastransfer import Blur, Circle, Custom, Grayscale, Intervention, OneOf, Square, Text, ladder
from pytest_biastransfer.interventions import Ladder
from pytest_biastransfer.interventions.short_labels import distinct_labels, short_label
from tests.conftest import Run


@pytest.mark.parametrize(
    ("declared", "label"),
    [
        (Circle(size=0.535714, anchor="center", color="#ccff00"), "circle-center"),
        (Square(), "square"),
        (Square(color="blue", size=0.1), "square-blue"),
        (Square(anchor=(0.1, 0.2)), "square"),
        (Text("SAMPLE", size=0.8), "text-sample"),
        (Blur(sigma=0.02), "blur"),
        (Grayscale() | Circle(size=0.1, anchor="top"), "grayscale+circle-top"),
        (Custom(abs, name="negative"), "negative"),
        (OneOf([Square(size=0.1), Circle(color="red")]), "oneof-square-or-circle-red"),
        (ladder(Blur(), "sigma", [0.01, 0.02]), "blur-sigma"),
    ],
)
def test_names_that_a_person_would_give(declared: Intervention | Ladder, label: str) -> None:
    assert short_label(declared) == label


def test_equal_names_are_told_apart_by_what_differs() -> None:
    squares = [Square(size=0.1, margin=0.2), Square(size=0.2, margin=0.2), Blur(), Square(size=0.1, margin=0.3)]
    assert distinct_labels(squares) == [
        "square-size-0.1-margin-0.2", "square-size-0.2-margin-0.2", "blur", "square-size-0.1-margin-0.3",
    ]  # fmt: skip
    ladders = [ladder(Blur(), "sigma", [0.01, 0.02]), ladder(Blur(), "sigma", [0.01, 0.03])]
    assert distinct_labels(ladders) == ["blur-sigma-0.01-0.02", "blur-sigma-0.01-0.03"]


IDS = """
import pytest
from pytest_biastransfer import Circle, Square

@pytest.mark.bias_intervention(Circle(size=0.3, anchor="center"), "yellow-square", max_asr=1{ids})
@pytest.mark.bias_intervention(Square(size=0.3), max_asr=1{id})
@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_it():
    pass
"""


def test_a_baseline_stays_as_ids_change(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=IDS.format(ids="", id=""))
    first = run("-v", "--bias-update=new")
    first.stdout.fnmatch_lines(
        [f"*test_it[[]{one}] PASSED*" for one in ("grayscale", "square", "circle-center", "yellow-square")]
    )
    (cases,) = json.loads((colors.path / "bias-baseline.json").read_text())["tests"].values()
    assert list(cases) == ["circle-0.3-center", "grayscale", "square-0.3", "yellow-square"]
    colors.makepyfile(test_it=IDS.format(ids=", id=['ball', 'mark']", id=", id='big one'"))
    second = run("-v")
    second.stdout.fnmatch_lines([f"*test_it[[]{one}] PASSED*" for one in ("grayscale", "big one", "ball", "mark")])
    second.stdout.fnmatch_lines(["compared with bias-baseline.json: 4 no worse"])


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("id=3", "*id=3, expected a text such as id='logo'*"),
        ("id=''", "*id='', expected a text*"),
        ("id='a[b]'", "*expected a text such as id='logo', without*"),
        ("id=['a', 'b']", "*id=['a', 'b'] names 2 of 1 tests; give one id to each intervention*"),
    ],
)
def test_what_is_no_id(colors: pytest.Pytester, run: Run, keyword: str, message: str) -> None:
    colors.makepyfile(
        test_it=f"import pytest\n\n@pytest.mark.bias_intervention('blur', max_asr=1, {keyword})\ndef test_it(): pass\n"
    )
    run().stdout.fnmatch_lines([message.replace("[", "[[]")])


def test_each_decision_has_the_id_with_its_name(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(
        """
        import pytest
        from pytest_biastransfer import each

        @pytest.mark.bias_intervention("yellow-square", max_asr=1, positive=each("red", "blue"), id="mark")
        @pytest.mark.bias_search(__import__("pytest_biastransfer").strategies.patches(), max_asr=1, budget=1, id="worst")
        def test_it():
            pass
        """
    )
    run("-v").stdout.fnmatch_lines([f"*test_it[[]{one}] PASSED*" for one in ("worst", "mark-red", "mark-blue")])
