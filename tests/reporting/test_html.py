"""The HTML report, as text: what it says of each test, to whom it says it, and what it makes of hostile names."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.display.axes import axis_over
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html import render_html, render_trend
from pytest_biastransfer.reporting.report import Details, Report, Result, read_report, to_json
from tests.support.sample_reports import HOSTILE, hostile_report, report_of, sample_report, several_runs

FAILED: Final = "test_objects.py::test_nothing_inherited[yellow-square]"
ADDRESSES: Final = {"href", "src", "xlink:href", "action", "data", "srcset", "poster"}
# Elements of a page; SVG's among them.
EXPECTED_TAGS: Final = frozenset(
    {"html", "head", "meta", "title", "link", "style", "body", "main", "script", "header", "section", "article"}
    | {"h1", "h2", "h3", "h4", "p", "b", "a", "small", "bdi", "code", "pre", "span", "div", "ol", "li", "details"}
    | {"label", "input", "select", "option", "output", "button", "summary", "figure", "figcaption"}
    | {"ul", "dl", "dt", "dd", "fieldset", "legend", "kbd", "i", "wbr"}
    | {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    | {"svg", "defs", "image", "use", "path", "line", "circle", "text", "em", "i"}
)


class Page(HTMLParser):
    """The elements of a page in order, each with the text up to the next one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Mapping[str, str]]] = []
        self._texts: list[list[str]] = [[]]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._texts.append([])

    def handle_data(self, data: str) -> None:
        self._texts[-1].append(data)

    def all(self, tag: str) -> Iterator[Mapping[str, str]]:
        return (attributes for name, attributes in self.elements if name == tag)

    @property
    def text(self) -> str:
        return " ".join(" ".join("".join(pieces) for pieces in self._texts).split())


def section(text: str, number: int) -> str:
    """Return the part of a page that is about the test with that number."""
    start = text.index(f'<details class="test" data-test="{number}"')
    end = text.find('<details class="test"', start + 1)
    return text[start : end if end > 0 else text.index('<section aria-labelledby="environment"')]


@pytest.fixture(scope="module")
def sample() -> str:
    return render_html(sample_report())


@pytest.fixture(scope="module")
def trend() -> str:
    return render_trend(several_runs(4))


def test_the_headline_counts_outcomes_in_words_and_images(sample: str) -> None:
    text = Page(sample).text
    assert (
        "10 bias tests: 3 failed, 1 error, 1 lost, 1 passed unexpectedly, 2 passed, 1 failed as expected, "
        "1 skipped. 2 regressions since the baseline was accepted." in text
    )
    assert "42,000 images evaluated, 13,000 predictions reused." in text


def test_a_report_without_tests_says_so() -> None:
    text = Page(render_html(report_of())).text
    assert "No bias tests ran, so there is nothing to report." in text
    assert "Search" not in text
    assert "Bias report: no tests" in text


def test_a_report_of_no_session_is_a_page_too() -> None:
    assert "The report names no session." in Page(render_html(Report(sessions=()))).text


def test_the_table_is_in_the_order_of_the_report_and_the_sections_begin_with_the_worst(sample: str) -> None:
    page, report = Page(sample), sample_report()
    rows = [int(row["data-test"]) for row in page.all("tr") if "data-test" in row]
    assert rows == list(range(1, len(report.tests) + 1))
    sections = [attributes for attributes in page.all("details") if "data-test" in attributes]
    outcomes = [report.tests[int(attributes["data-test"]) - 1].outcome for attributes in sections]
    assert outcomes == ["failed"] * 3 + ["error", "lost", "xpassed", "xfailed", "passed", "passed", "skipped"]
    assert ["open" in attributes for attributes in sections] == [True] * 5 + [False] * 5


def test_of_failed_tests_regressions_come_first_then_what_is_furthest_beyond_its_limit() -> None:
    def failed(name: str, observed: float, standing: str) -> Result:
        limit = Limit("asr", 0.1, "point", False, "", Interval(observed, 0.0, 1.0, 0.95, 100), None)
        return Result(name, "test_a.py", 1, "failed", 1.0, limits=[limit], standing=standing)

    tests = [failed("a", 0.2, ""), failed("b", 0.9, ""), failed("c", 0.11, "regression")]
    page = Page(render_html(report_of(*tests)))
    assert [details["data-test"] for details in page.all("details") if "data-test" in details] == ["3", "2", "1"]


def test_what_got_worse_is_at_the_top_with_its_images(sample: str) -> None:
    top = sample[sample.index('id="worse"') : sample.index('id="all"')]
    text = Page(top).text
    assert "flip rate (asr) 0.381 (0.367 to 0.395), limit 0.05; control 0.144" in text
    assert "(asr_excess) 0.237 (0.220 to 0.254), limit 0.1; asr of the control 0.144" in text
    assert "flip rate (asr) 0.321 → 0.381; 446 images newly flip, 146 no longer do ( p = 3e-12)" in text
    assert "the worker died" in text
    assert top.count("<figure ") == 9
    assert "skew" not in text


def test_a_regression_that_fails_nobody_is_at_the_top_too() -> None:
    regression = dataclasses.replace(sample_report().tests[6], outcome="passed")
    text = render_html(report_of(regression))
    assert '<h2 id="worse">' in text
    assert '<h2 id="worse">' not in render_html(report_of(sample_report().tests[0]))


def test_more_failures_than_fit_on_top_are_counted() -> None:
    tests = [Result(f"test_a.py::test_{number}", "test_a.py", number, "error", 0.1, "no") for number in range(15)]
    assert "And 3 tests more, in the table." in Page(render_html(report_of(*tests))).text


def test_a_limit_is_on_one_axis_with_interval_control_and_baseline(sample: str) -> None:
    plot = section(sample, 2).partition('<table class="plot')[2].partition("</table>")[0]
    assert "flip rate (asr) at most 0.05: above limit 95 % intervals, n = 5,000" in Page(f"<p{plot}").text
    rows = re.findall(r'<tr class="(\w+)"><th>(\w+)</th><td>([\d.]+)(?: <small>([^<]*))?', plot)
    assert rows == [
        ("observed", "observed", "0.381", "0.367 to 0.395"),
        ("limit", "limit", "0.05", ""),
        ("control", "control", "0.144", "0.130 to 0.158"),
        ("baseline", "baseline", "0.321", ""),
    ]
    # The axis goes from 0 to 0.4, and the rows have a quarter of the height each.
    assert '<path class="limit" d="M12.5 0v1"/>' in plot
    assert '<line class="observed" x1="91.8%" x2="98.8%" y1="12.5%" y2="12.5%"/>' in plot
    assert re.findall(r'<circle class="(\w+)" cx="([\d.]+)%" cy="([\d.]+)%"', plot) == [
        ("observed", "95.2", "12.5"),
        ("control", "36", "62.5"),
        ("baseline", "80.2", "87.5"),
    ]


def test_an_excess_is_beside_both_figures_that_it_is_the_difference_of(sample: str) -> None:
    assert re.findall(r"<th>(asr, \w+)</th><td>([\d.]+)", section(sample, 2)) == [
        ("asr, here", "0.381"),
        ("asr, control", "0.144"),
    ]


def test_what_is_undefined_has_words_and_no_mark() -> None:
    limit = Limit("asr", 0.1, "point", False, "", Interval(None, None, None, None, 0), None)
    text = section(render_html(report_of(dataclasses.replace(_measured(), limits=[limit]))), 1)
    assert "flip rate (asr) at most 0.1: undefined on these images" in Page(text).text
    assert "<td>undefined</td>" in text
    assert "<circle" not in text


def test_groups_have_their_sizes_and_those_that_were_not_judged_say_so(sample: str) -> None:
    text = Page(section(sample, 5)).text
    assert "bird on water 0.310 0.284 to 0.336, n = 642 " in text
    assert re.search(r"on ice 0\.500, too few [\d.]+ to [\d.]+, n = 9 ", text)
    assert "improvement gap between groups (gap) 0.290 → 0.230 ( p = 0.0004)" in text


@pytest.mark.parametrize("name", ["sample", "trend"])
def test_every_picture_has_a_text_or_is_beside_it(name: str, request: pytest.FixtureRequest) -> None:
    depth, outer = 0, []
    for tag in re.finditer(r"<(/?)svg([^>]*)>", request.getfixturevalue(name)):
        # The inner ones are parts of the picture around them.
        outer += [tag[2]] * (depth == 0)
        depth += -1 if tag[1] else 1
    assert len(outer) > 20
    for attributes in outer:
        assert 'aria-hidden="true"' in attributes or re.search(r'role="img" aria-label="[^"]{5,}"', attributes)


def test_notes_and_messages_are_preformatted(sample: str) -> None:
    text = section(sample, 2)
    assert "<pre>attribution of asr, 5 seeds\n  from the source   0.237 [0.221, 0.254]\n" in text
    assert "<summary>pytest's message</summary><pre>bias: asr above 0.05\n\n  test          test_objects" in text
    assert "<pre>no GPU</pre>" in section(sample, 9)


def test_it_says_how_to_reproduce_and_of_a_regression_how_to_accept(sample: str) -> None:
    assert Page(section(sample, 2)).text.endswith(
        f'To run it again: pytest "{FAILED}" If the change is intended, accept it: pytest --bias-update=all "{FAILED}"'
    )
    assert "--bias-update" not in section(sample, 1)
    together = Page(sample).text.partition("All failed tests:")[2]
    assert together.count("test_objects.py::") == 5


def test_it_says_how_to_repeat_all_where_nothing_failed() -> None:
    text = Page(render_html(report_of(sample_report().tests[0]))).text
    assert "Each test above has the command that runs it alone. All tests: pytest --bias-only" in text


def test_environments_are_told_by_session(sample: str) -> None:
    text = Page(sample).text
    assert "Session 1, cpu.json, job bias, started 2025-05-04 03:02 UTC, took 1 min 14 s" in text
    assert "Session 2, gpu.json, job bias-gpu, started" in text
    assert "commit 9a15309c0c8f1e4a1d6d5a3c8d7b6f5e4d3c2b1a" in text
    assert "device cuda:0, NVIDIA L4" in text


@pytest.mark.parametrize("name", ["sample", "trend"])
def test_nothing_is_loaded_and_only_our_script_may_run(name: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(name)
    page = Page(text)
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in ADDRESSES]
    assert addresses
    assert all(value.startswith(("#", "data:image/")) or value == "data:," for value in addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_addresses_within_the_page_lead_somewhere(sample: str) -> None:
    page = Page(sample)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("href", "aria-labelledby"):
            value = attributes.get(name, "")
            if value.startswith("#") or (name == "aria-labelledby" and value):
                assert value.removeprefix("#") in ids


def test_the_same_report_gives_the_same_page(sample: str, trend: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(to_json(sample_report()), encoding="utf-8")
    assert render_html(read_report(file)) == sample
    assert render_html(sample_report()) == sample
    assert render_trend(several_runs(4)) == trend


@pytest.mark.parametrize("name", HOSTILE, ids=["html", "emoji", "right-to-left", "long", "control"])
def test_names_stay_text(name: str) -> None:
    report = hostile_report(name)
    for text in (render_html(report), render_trend([report, report])):
        text.encode()
        page = Page(text)
        assert {tag for tag, _ in page.elements} <= EXPECTED_TAGS
        assert len(list(page.all("script"))) == 1
        assert len(list(page.all("style"))) == 1
        assert not any(attribute.startswith("on") for _, attributes in page.elements for attribute in attributes)
        # JavaScript and CSS do not hold what is not of us, and no character is left that a page cannot hold.
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
        assert len(text) < 300_000


def test_hostile_names_are_shown_as_they_are() -> None:
    text = Page(render_html(hostile_report(HOSTILE[0]))).text
    assert (
        "<script>alert(1)</script><img src=https://example.org/x.png onerror=alert(2)>\"' {{ 7*7 }} {% raw %}" in text
    )
    text = Page(render_html(hostile_report(HOSTILE[2]))).text
    assert "שלום עולם → مرحبا بالعالم" in text
    # All of it, where it can be copied.
    assert "n" * 10_000 in Page(render_html(hostile_report(HOSTILE[3]))).text
    assert "control\ufffd\ufffdred \ufffd ]]> --> </style></svg>" in Page(render_html(hostile_report(HOSTILE[4]))).text


def test_names_do_not_turn_what_is_around_them(sample: str) -> None:
    text = render_html(hostile_report(HOSTILE[2]))
    bare = re.sub(r"<bdi>[^<]*</bdi>|<pre>[^<]*</pre>|<code>[^<]*</code>", "", text)
    table = bare[bare.index('<table class="tests"') : bare.index('id="each"')]
    assert "שלום" not in re.sub(r"<td[^>]*>[^<]*", "", table)


@given(st.lists(st.floats(-1, 1) | st.none(), max_size=6))
def test_an_axis_has_zero_and_all_values_on_it(values: Sequence[float | None]) -> None:
    axis = axis_over(values)
    defined = [0.0, *(value for value in values if value is not None)]
    assert axis.low <= min(defined) + 1e-9
    assert axis.high >= max(defined) - 1e-9
    positions = [axis.at(value) for value in sorted(defined)]
    assert positions == sorted(positions)
    assert all(0 <= position <= 100 for position in positions)
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.ticks[0].at, axis.ticks[-1].at) == (0, 100)
    assert "0" in [tick.text for tick in axis.ticks]


def test_an_axis_does_not_round_away_what_is_small() -> None:
    axis = axis_over([0.0004])
    assert (axis.low, axis.high, axis.at(0.0002)) == (0.0, 0.0004, 50.0)


def test_a_trend_has_a_point_for_each_run_in_which_it_was_measured(trend: str) -> None:
    trend_section = trend.partition("test_no_small_patch_decides")[2].partition("<section")[0]
    assert 'aria-label="asr over the runs: 0.191, 0.238, 0.286, 0.333; limit 0.3"' in trend_section
    assert re.findall(r"<title>([^<]*)</title>", trend_section.partition("</svg></div>")[0]) == [
        "2025-05-01 03:02, commit 0000000000, MobileNetV2, fixed-feature: 0.191",
        "2025-05-02 03:02, commit 1111111111, MobileNetV2, fixed-feature: 0.238",
        "2025-05-03 03:02, commit 2222222222, MobileNetV2, fixed-feature: 0.286",
        "2025-05-04 03:02, commit 3333333333, MobileNetV2, fixed-feature: 0.333",
    ]
    # The axis goes from 0 to 0.4, from the bottom.
    assert (
        '<path class="limit" d="M0 25h100"/><path class="line" d="M4 52.4L34.7 40.5L65.3 28.6L96 16.7"/>'
        in trend_section
    )
    assert "loss of accuracy (accuracy_drop)</a></b> 0.175" in trend_section


def test_a_run_without_the_test_is_a_gap(trend: str) -> None:
    trend_section = trend.partition("test_repaired[chain-link]")[2].partition("<section")[0]
    assert "not run" in trend_section
    assert 'over the runs: 0.010, not measured, 0.015, 0.018; limit 0.2"' in trend_section
    assert re.search(r'class="line" d="M4 [\d.]+M65\.3 [\d.]+L96 [\d.]+"', trend_section)
    assert len(re.findall("z|M", re.findall(r'class="band" d="([^"]*)"', trend_section)[0])) == 4


def test_runs_are_in_the_order_in_which_they_started(trend: str) -> None:
    assert render_trend(list(reversed(several_runs(4)))) == trend


def test_a_trend_of_one_run_and_of_none() -> None:
    text = render_trend(several_runs(1))
    assert "10 bias tests over 1 run." in Page(text).text
    assert 'cx="50%"' in text
    assert "No bias tests ran, so there is nothing to draw." in Page(render_trend([])).text
    assert "No bias tests ran, so there is nothing to draw." in Page(render_trend([report_of()])).text


def test_jinja_is_imported_by_rendering_only() -> None:
    code = "import sys, pytest_biastransfer.reporting.html; print('jinja2' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "False\n"


def _measured() -> Result:
    details = Details("intervention", "Square()", "model", "data", "", [], "cpu", {}, {})
    return Result("test_a.py::test_a", "test_a.py", 1, "failed", 1.0, images=10, total=10, details=details)
