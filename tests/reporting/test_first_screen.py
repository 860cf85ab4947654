"""The first screen of the HTML report: verdict, facts, scorecard, filters, and addresses that stay."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html import render_html
from pytest_biastransfer.reporting.html.anchors import anchor, anchors
from pytest_biastransfer.reporting.html.filters import filters
from pytest_biastransfer.reporting.html.headline import headline, outcome_counts, page_title, subjects
from pytest_biastransfer.reporting.html.name_parts import NameParts, name_parts
from pytest_biastransfer.reporting.html.scorecard import DISTANCES, Scorecard, heat, scorecard
from pytest_biastransfer.reporting.html.states import gained_class, only_just, only_just_broken
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report import Report, Result, merged, read_from
from tests.reporting.test_html import Page
from tests.support.sample_reports import HOSTILE, large_report, report_of, sample_report


def limit(value: float, most: float = 0.1, spread: float = 0.02, holds: bool | None = None) -> Limit:
    observed = Interval(value, value - spread, value + spread, 0.95, 900)
    return Limit("asr", most, "point", value <= most if holds is None else holds, "", observed, None)


def result(name: str, outcome: Outcome = "passed", key: Sequence[str] | None = None, **fields: object) -> Result:
    test = Result(f"test_a.py::{name}", "test_a.py", 1, outcome, 0.1, key=key)
    return dataclasses.replace(test, **fields)  # type: ignore[arg-type]


def card(*tests: Result) -> Scorecard:
    return scorecard(tests, name_parts(tests), anchors([test.name for test in tests]))


@pytest.mark.parametrize(
    ("tests", "tone", "sentence"),
    [
        (
            [result("a", "failed", standing="regression"), result("b", "error"), result("c")],
            "bad",
            "Bias got worse: 1 of 3 tests is worse than accepted, 1 more failed.",
        ),
        ([result("a", standing="regression")], "bad", "Bias got worse: 1 of 1 test is worse than accepted."),
        ([result("a", "failed", limits=[limit(0.2)])], "bad", "Bias is above its limit: 1 of 1 test failed."),
        ([result("a", "lost"), result("b")], "bad", "Not everything was measured: 1 of 2 tests failed."),
        ([result("a", "skipped")], "odd", "Nothing was measured: 1 test, all skipped."),
        ([result("a", limits=[limit(0.05)])], "good", "All limits hold: 1 test, none failed."),
        (
            [result("a", limits=[limit(0.05)], standing="it measures something else now")],
            "good",
            "All limits hold: 1 test, none failed.",
        ),
        (
            [result("a", limits=[limit(0.09)], standing="unchanged"), result("b", limits=[limit(0.09)])],
            "good",
            "No bias got worse: 2 tests, none failed; 2 only just hold.",
        ),
        (
            [result("a", limits=[limit(0.05)]), result("b", "xfailed", limits=[limit(0.2)]), result("c", "skipped")],
            "good",
            "Nothing failed unexpectedly: 1 of 3 tests is above the limit, as expected; 1 skipped.",
        ),
    ],
)
def test_the_verdict_is_one_sentence(tests: list[Result], tone: str, sentence: str) -> None:
    verdict = headline(report_of(*tests))
    assert (verdict.tone, f"{verdict.verdict}: {verdict.reason}") == (tone, sentence)
    assert f"{verdict.verdict}. {verdict.reason}" in Page(render_html(report_of(*tests))).text


def test_title_and_header_name_model_dataset_accuracy_and_commit() -> None:
    report = sample_report()
    title = page_title(headline(report), outcome_counts(report.tests), subjects(report))
    assert title.startswith("Bias got worse: 3 failed, 1 error, 1 lost")
    # The control model's accuracy, 0.81, is not that of what was tested.
    assert title.endswith("MobileNetV2, fixed-feature on cifar10/test; birds; accuracy 0.661; commit 9a15309c0c")
    assert f"<title>{title}</title>" in render_html(report)
    header = Page(render_html(report).partition("<header>")[2].partition("</header>")[0]).text
    for fact in ("model MobileNetV2, fixed-feature", "accuracy 0.661", "commit 9a15309c0c", "and 1 more"):
        assert fact in header


def test_many_names_are_counted() -> None:
    details = sample_report().tests[0].details
    assert details is not None
    tests = [result("a", details=dataclasses.replace(details, model=f"model {number}")) for number in range(4)]
    assert {fact.name: fact.text for fact in subjects(report_of(*tests))}["model"] == "4 models"


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_heat_is_the_distance_to_the_limit(value: float, most: float) -> None:
    side, depth = heat(limit(value, most)).split("-")
    assert side == ("in" if value <= most else "out")
    # Rounding of the difference may put a distance that is just a bound on either side of it.
    distance = abs(value - most)
    assert int(depth) in {1 + sum(distance > least + offset for least in DISTANCES) for offset in (-1e-9, 1e-9)}


def test_a_limit_that_is_judged_otherwise_than_by_its_value_is_at_the_limit() -> None:
    assert heat(limit(0.04, holds=False)) == "out-1"
    assert heat(limit(0.9, holds=True)) == "in-1"
    assert heat(None) == "none"
    assert heat(dataclasses.replace(limit(0.1), holds=None)) == "none"


def test_the_scorecard_is_a_table_of_functions_and_interventions_the_worst_first() -> None:
    tests = [
        result(f"{function}[{case}]", "failed" if case == "c" else "passed", (f"x/test_a.py::{function}", case))
        for function in ("one", "two")
        for case in ("a", "b", "c")
    ]
    score = card(*tests)
    assert score.columns == ["one", "two"]
    assert [row.name for row in score.rows] == ["c", "a", "b"]
    assert [[cell.test for cells in row.cells for cell in cells] for row in score.rows] == [[3, 6], [1, 4], [2, 5]]
    assert [symbol for symbol, _ in score.symbols] == ["✗", "✓"]


def test_a_scorecard_with_few_cells_in_common_is_a_list() -> None:
    score = card(*[result(f"{name}[{name}]") for name in "abcdefgh"])
    assert score.columns == []
    assert [row.name for row in score.rows] == list("abcdefgh")


@pytest.mark.parametrize("count", [1, 2, 21, 200])
def test_each_test_has_one_cell_with_a_link(count: int) -> None:
    page = Page(render_html(large_report(count, 1)))
    cells = [one for one in page.all("a") if one.get("class", "").startswith("cell")]
    assert sorted(int(cell["data-test"]) for cell in cells) == list(range(1, count + 1))
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert all(cell["href"].removeprefix("#") in ids for cell in cells)


def test_a_cell_says_in_words_what_its_colour_says() -> None:
    tests = sample_report().tests
    cells = [cell for row in card(*tests).rows for column in row.cells for cell in column]
    by_test = {cell.test: cell for cell in cells}
    assert by_test[2].label == (
        "test_objects.py::test_nothing_inherited[yellow-square]: failed; asr 0.381 (0.367 to 0.395), limit 0.05; "
        "control 0.144; asr is worse than the baseline (p = 3e-12)"
    )
    assert (by_test[5].symbol, by_test[5].figure, by_test[5].metric) == ("≈", "0.230", "gap")
    assert by_test[5].label.startswith("test_groups.py::test_no_gap[background-fpr]: passed, only just; gap 0.230")
    assert {cell.symbol for cell in cells} == set("✗!X≈✓x–")


def test_the_baseline_s_key_tells_the_intervention_from_other_parameters() -> None:
    tests = [
        result("t[resnet-circle-left]", key=("tests/test_a.py::t[resnet]", "circle-left")),
        # Not measured: its case is that of another test.
        result("t[vit-circle-left]", "lost"),
        result("t[vit-unknown]", "skipped"),
        result("plain", "skipped"),
    ]
    assert name_parts(tests) == [
        NameParts("test_a.py", "t[resnet]", "circle-left"),
        NameParts("test_a.py", "t[vit]", "circle-left"),
        NameParts("test_a.py", "t", "vit-unknown"),
        NameParts("test_a.py", "plain", ""),
    ]


def test_a_case_has_the_id_of_its_tests_unless_other_cases_have_it() -> None:
    def cases(*tests: Result) -> list[str]:
        return [part.case for part in name_parts(tests)]

    ladder = result("f[noise-scale]", key=("test_a.py::f", "noise-scale-0.02-0.05-0.1"))
    named = result("g[centre-vit]", key=("test_a.py::g", "circle-0.3-center-ccff00 model=vit"))
    # Not measured: it has no key, and its case is found by the id.
    skipped = result("h[centre]", "skipped")
    assert cases(ladder, named, skipped) == ["noise-scale", "centre", "centre"]
    with_parameter = result("k[a-square]", key=("test_a.py::k[a]", "square-0.16"))
    assert cases(with_parameter) == ["square"]
    larger = result("m[square]", key=("test_a.py::m", "square-0.25"))
    assert cases(with_parameter, larger) == ["square-0.16", "square-0.25"]


def test_what_is_above_its_limit_as_expected_comes_before_what_holds() -> None:
    tests = [result("a[x]"), result("b[x]", "xfailed"), result("c[x]", "skipped"), result("d[x]", "failed")]
    assert [row.name for row in card(*tests).rows] == ["d", "b", "a", "c"]


def test_a_function_of_several_models_has_a_row_for_each() -> None:
    def keyed(function: str, case: str) -> Result:
        return result(f"{function}[{case}]", key=(f"test_a.py::{function}", case))

    tests = [
        keyed("f", "blur model=resnet"),
        keyed("f", "blur model=vit target=dog, cat"),
        keyed("g", "blur model=resnet"),
        # Not measured, so that they have no key.
        result("f[blur-resnet]", "error"),
        result("g[blur-resnet]", "error"),
    ]
    parts = name_parts(tests)
    functions = ["f model=resnet", "f model=vit target=dog, cat", "g", "f model=resnet", "g"]
    assert [part.function for part in parts] == functions
    assert {part.case for part in parts} == {"blur"}


def test_what_only_just_holds_has_its_limit_in_its_interval() -> None:
    close, exceeded, clear = limit(0.09), limit(0.11), limit(0.02)
    test = result("a", limits=[close, exceeded, clear])
    assert only_just(test) == [close]
    assert only_just_broken(test) == [exceeded]
    # Without an interval, nothing is known of other images.
    bare = dataclasses.replace(close, observed=Interval(0.09, None, None, None, 900))
    assert only_just(result("a", limits=[bare])) == []


def test_filters_say_which_tests_have_a_value() -> None:
    report = sample_report()
    found = filters(report, name_parts(report.tests))
    having = {
        (group.name, choice.name): [number for number, values in enumerate(found.values, 1) if choice.number in values]
        for group in found.groups
        for choice in group.choices
    }
    assert having["Show", "worse than baseline"] == [2, 7]
    assert having["Show", "within noise"] == [2, 5]
    assert having["Show", "not certain"] == [8]
    assert having["Session", "gpu.json, job bias-gpu"] == [4]
    assert ("Intervention", "yellow-square") in having
    # All measured tests have one model, so that it narrows nothing.
    assert "Model" not in {kind for kind, _ in having}
    for group in found.groups:
        for choice in group.choices:
            assert len(having[group.name, choice.name]) == choice.tests


def test_the_class_that_gained_is_that_of_the_model_under_test() -> None:
    details = sample_report().tests[1].details
    assert details is not None
    assert details.shares[0].role == "source"
    assert gained_class(sample_report().tests[1]) == "airplane"
    source_alone = dataclasses.replace(details, shares=details.shares[:1])
    assert gained_class(dataclasses.replace(sample_report().tests[1], details=source_alone)) == "tennis ball"
    assert gained_class(result("a")) == ""


@given(st.lists(st.text(max_size=300), max_size=6))
def test_addresses_are_fragments_that_differ_and_do_not_depend_on_the_other_tests(names: list[str]) -> None:
    addresses = anchors(names)
    assert len(set(addresses)) == len(names)
    for name, address in zip(names, addresses, strict=True):
        assert re.fullmatch(r"test=[!-~]*", address)
        assert len(address) < 220
        assert address.startswith(anchor(name))
        if len(address) < 200 and name and names.count(name) == 1 and "\ufffd" not in name:
            assert unquote(address.removeprefix("test=")) == name


def test_an_address_is_the_same_when_a_test_is_added() -> None:
    tests = sample_report().tests
    before = render_html(report_of(*tests[1:]))
    after = render_html(report_of(*tests))
    address = 'id="test=test_objects.py::test_nothing_inherited[yellow-square]"'
    assert before.count(address) == after.count(address) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_have_addresses(name: str) -> None:
    assert re.fullmatch(r"test=[!-~]{1,210}", anchor(name))
    assert not re.search(r"[\"'<>`\s]", anchor(name))


def test_results_of_joined_reports_name_their_session() -> None:
    first, second = report_of(result("a"), result("b", "failed")), report_of(result("b"), result("c"))
    report = merged([read_from(first, "one.json"), read_from(second, "parts/two.json")])
    labels = {test.name: report.sessions[test.session].label for test in report.tests}
    assert labels == {
        "test_a.py::a": "one.json",
        # The worse result is that of the first file.
        "test_a.py::b": "one.json",
        "test_a.py::c": "parts/two.json",
    }
    # Joined again, the files of the parts stay.
    again = merged([report_of(result("z")), read_from(report, "joined.json")])
    assert {again.sessions[test.session].label for test in again.tests} == {"", "one.json", "parts/two.json"}
    text = Page(render_html(report)).text
    assert "Session 2, parts/two.json" in text
    # A single session needs no name on each of its tests.
    assert "one.json" not in Page(render_html(read_from(first, "one.json"))).text.partition("Environment")[0]


def test_each_metric_of_a_page_is_explained_once() -> None:
    page = render_html(sample_report())
    names = set(re.findall(r'href="#metric=(\w+)"', page))
    assert {"asr", "skew", "gap", "accuracy"} <= names
    for name in names:
        assert page.count(f'<dt id="metric={name}">') == 1
        assert page.count(f'a[href="#metric={name}"]::after{{content:"{METRICS[name].explanation}"}}') == 1


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_explanations_are_plain_text(metric: object) -> None:
    # They stand in a style sheet, as they are.
    explanation = metric.explanation  # type: ignore[attr-defined]
    assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9 ,.:'\-]+\.", explanation)


def test_a_metric_of_another_version_has_its_name_and_no_link() -> None:
    test = result("a", limits=[dataclasses.replace(limit(0.05), metric="of_another_version")])
    page = render_html(report_of(test))
    assert "of_another_version at most 0.1" in Page(page).text
    assert "#metric=of_another_version" not in page


def test_a_page_without_results_has_no_scorecard() -> None:
    text = render_html(Report(sessions=()))
    assert 'class="cell' not in text
    assert "What the metrics mean" not in text
