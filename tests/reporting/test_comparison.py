"""Two reports side by side: which images flip in one only, against the sets by hand; and the page in a real browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from pytest_biastransfer.reporting.comparison import ComparedTest, FlipsOfOne, ReportComparison, compare_reports
from pytest_biastransfer.reporting.html import render_comparison
from pytest_biastransfer.reporting.image_strips import ImageStrips
from pytest_biastransfer.reporting.markdown import render_comparison_markdown
from pytest_biastransfer.reporting.report import Report, read_report
from pytest_biastransfer.reporting.report.image_choice import MOST_IMAGES
from tests.conftest import WEIGHING_BLUE
from tests.reporting.test_html_browser import BEYOND, OPEN_ALL, WIDTHS, Open, browser, folder, opened
from tests.support.sample_reports import HOSTILE, hostile_report, large_report

__all__ = ["browser", "folder", "opened"]

SUITE = (
    WEIGHING_BLUE
    + """
@pytest.mark.bias_intervention("yellow-square", max_asr={limit}, max_skew=0.9)
def test_it():
    pass

@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_gray():
    pass
"""
)


@pytest.fixture
def two(colors: pytest.Pytester) -> ReportComparison:
    """30 images flip before, and these and 30 others now."""
    reports = []
    for name, blue, limit in (("main", 1, 0.4), ("branch", 0.97, 0.3)):
        colors.makepyfile(test_it=SUITE.format(blue=blue, limit=limit))
        colors.runpytest_inprocess("-p", "no:xdist", f"--bias-report={name}.json", "--bias-images=all")
        reports.append(read_report(colors.path / f"{name}.json"))
    return compare_reports(reports[0], reports[1], (Path("main.json"), Path("branch.json")))


def test_the_images_that_flip_in_one_only_are_those_of_the_sets(two: ReportComparison) -> None:
    square = next(test for test in two.tests if "square" in test.name)
    assert (square.is_worse, square.newly_fails, square.differs) == (True, True, True)
    assert square.flips is not None
    before, now = square.flips
    assert (list(before.images), len(now.images)) == ([], 30)
    assert square.now is not None
    assert square.now.details is not None
    assert {image.index for image in now.shown} == {
        image.index for image in square.now.details.shown if image.index in set(now.images)
    }
    assert now.shown
    gray = next(test for test in two.tests if "gray" in test.name)
    assert not gray.differs
    # The other way round, the same images flip in the earlier one only.
    reverse = compare_reports(two.new, two.old, (Path("branch.json"), Path("main.json")))
    flips = next(test.flips for test in reverse.tests if "square" in test.name)
    assert flips is not None
    assert [list(one.images) for one in flips] == [list(now.images), []]
    assert not reverse.is_worse


def test_other_images_are_not_compared_one_by_one(two: ReportComparison) -> None:
    moved = []
    for test in two.new.tests:
        assert test.entry is not None
        entry = json.loads(json.dumps(test.entry))
        entry["dataset"]["fingerprint"] = "another"
        moved.append(dataclasses.replace(test, entry=entry))
    other = compare_reports(two.old, dataclasses.replace(two.new, tests=moved), (Path("a.json"), Path("b.json")))
    assert [test.flips for test in other.tests] == [None, None]


def test_a_test_that_is_in_one_report_only_differs(two: ReportComparison) -> None:
    without = dataclasses.replace(two.new, tests=two.new.tests[:1])
    lost = compare_reports(two.old, without, (Path("a.json"), Path("b.json")))
    assert [(test.before is None, test.now is None) for test in lost.tests] == [(False, False), (False, True)]
    assert "1 test only in a" in render_comparison_markdown(lost)
    assert "only in one report" in render_comparison(lost)


def test_the_page_shows_both_values_and_the_images(two: ReportComparison) -> None:
    page = render_comparison(two)
    assert '<b class="bad">1 test worse in branch than in main</b>' in page
    assert "30 images that flip in <bdi>branch</bdi> and not in <bdi>main</bdi>" in page
    assert re.search(r"0\.250 <small>.*</small></td><td>0\.500 <small>", page)
    assert "<b>+0.250</b>" in page
    # Each image as on the page of one report: the clean picture once, and upon it what changes.
    gallery = page.partition('<div class="gallery">')[2].partition("</div>\n<p")[0]
    assert 'class="stage pixels"' in gallery
    assert "<b>new</b>" not in gallery
    clean, changed = (
        re.findall(rf'<image id="{name}\d+(?:-\d+)?"[^>]* href="data:image/webp;base64,([^"]+)"', text)
        for name, text in (("c", page), ("d", gallery))
    )
    assert len(changed) == gallery.count("<figure") > 0
    tiles = []
    for data in (clean[0], changed[0]):
        with Image.open(io.BytesIO(base64.b64decode(data))) as tile:
            assert tile.size == (16, 16)
            tiles.append(tile.convert("RGBA").getpixel((1, 1)))
    # The intervened image has a yellow corner.
    before, after = tiles
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    assert after[0] - after[2] > 100 > before[0] - before[2]
    assert after[3] == 255


def test_all_images_that_a_report_shows_are_on_the_page(two: ReportComparison) -> None:
    square = next(test for test in two.tests if "square" in test.name)
    assert square.flips is not None
    # As many as a report has of a test.
    shown = [dataclasses.replace(square.flips[1].shown[0], index=number) for number in range(MOST_IMAGES)]
    flips = square.flips[0], dataclasses.replace(square.flips[1], shown=shown)
    page = render_comparison(dataclasses.replace(two, tests=[dataclasses.replace(square, flips=flips)]))
    assert page.count('<figure class="shown">') == len(shown)
    assert f"{len(shown)} of 30 images: those that the report of <bdi>branch</bdi> shows." in page


def test_metrics_have_their_plain_names_and_are_explained(two: ReportComparison) -> None:
    page = render_comparison(two)
    assert '<th scope="row"><a class="metric" href="#metric=asr">flip rate (asr)</a> <small>at most 0.3</small>' in page
    assert '<dt id="metric=asr">flip rate (asr)</dt>' in page
    # What differs is listed with its figure, before all else.
    index = page.partition('<nav aria-label="What differs">')[2].partition("</nav>")[0]
    assert "0.250 → 0.500; 30 images newly flip, 0 no longer do" in index
    # Of the skew, the table shows all that there is to say.
    assert "shift of the classes (skew)</a> 0." not in page.partition("</nav>")[2]


def test_pictures_are_limited_and_the_other_tests_list_their_images(
    two: ReportComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = next(test for test in two.tests if "square" in test.name)
    copies = [dataclasses.replace(square, name=f"test_it.py::copy[{number}]") for number in range(3)]
    three = dataclasses.replace(two, tests=copies)
    assert square.flips is not None
    first = square.flips[1].shown[0]
    assert first.clean is not None
    assert first.changed is not None
    assert render_comparison(three).count('class="changed"') == 3 * len(square.flips[1].shown)
    # Room for the first image of two tests; the clean picture is there once.
    room = len(first.clean.data) + 2 * len(first.changed.data)
    monkeypatch.setattr("pytest_biastransfer.reporting.html.galleries.MOST_CHARACTERS", room)
    page = render_comparison(three)
    assert page.count('class="changed"') == 2
    left_out = len(square.flips[1].shown) - 1
    assert page.count(f"1 of 30 images; {left_out} more images of the report of <bdi>branch</bdi> had no room") == 2
    assert page.count("The page has no room for their pictures.") == 1


def test_a_report_without_pictures_says_how_to_get_some(two: ReportComparison) -> None:
    square = next(test for test in two.tests if "square" in test.name)
    assert square.flips is not None
    assert square.now is not None
    assert square.now.details is not None
    flips = square.flips[0], dataclasses.replace(square.flips[1], shown=[])
    others = dataclasses.replace(square, flips=flips)
    assert "The report of <bdi>branch</bdi> shows other images." in render_comparison(
        dataclasses.replace(two, tests=[others])
    )
    bare = dataclasses.replace(square.now, details=dataclasses.replace(square.now.details, shown=[]))
    none = dataclasses.replace(others, now=bare)
    assert "<code>--bias-images=all</code> draws" in render_comparison(dataclasses.replace(two, tests=[none]))


def test_the_same_reports_give_the_same_texts(two: ReportComparison) -> None:
    assert render_comparison(two) == render_comparison(two)
    strips = ImageStrips("x"), ImageStrips("x")
    texts = [render_comparison_markdown(two, one) for one in strips]
    assert texts[0] == texts[1]
    assert strips[0].files == strips[1].files != {}


PATHS = Path("main.json"), Path("branch.json")


@pytest.mark.parametrize("report", [hostile_report(name) for name in HOSTILE], ids=map(str, range(len(HOSTILE))))
def test_hostile_names_are_only_letters(report: Report) -> None:
    comparison = compare_reports(report, report, PATHS)
    page, text = render_comparison(comparison), render_comparison_markdown(comparison)
    page.encode()
    assert "<script>alert" not in page
    assert len(text) < 65_536
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        parts = [token, *(token.children or [])]
        html = "".join(part.content for part in parts if part.type in ("html_block", "html_inline"))
        assert not re.search(r"<(?!/?(?:details|summary|br)\b|!-- pytest)", html), html


def test_a_comparison_of_200_tests_stays_small() -> None:
    report = large_report(200, 16)
    # All images of all tests flip in one report only.
    sets = [
        FlipsOfOne([shown.index for shown in test.details.shown], test.details.shown)
        for test in report.tests
        if test.details
    ]
    tests = [
        ComparedTest(test.name, test, test, None, (FlipsOfOne([], []), flips))
        for test, flips in zip(report.tests, sets, strict=True)
    ]
    comparison = ReportComparison(report, report, ("main", "branch"), tests)
    assert len(render_comparison(comparison).encode()) < 8_000_000
    assert len(render_comparison_markdown(comparison)) < 65_536


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_width_and_is_accessible(
    two: ReportComparison, folder: Path, opened: Open, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (folder / "comparison.html").write_text(render_comparison(two), encoding="utf-8")
    for width in WIDTHS:
        tab = opened("comparison", width, color_scheme=scheme)
        tab.evaluate(OPEN_ALL)
        assert tab.evaluate(BEYOND) == []
        found = axe.run(tab).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_images_of_the_comparison_have_sliders_and_fit_two_a_line(
    two: ReportComparison, folder: Path, opened: Open
) -> None:
    (folder / "comparison.html").write_text(render_comparison(two), encoding="utf-8")
    tab = opened("comparison", 400)
    section = tab.locator("section.compared").first
    boxes = [section.locator("figure.shown").nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[1]["x"] + boxes[1]["width"] <= 400
    section.get_by_label("All images of this test").fill("100")
    assert section.locator(".stage input").first.input_value() == "100"


def test_a_link_to_a_folded_test_opens_it(two: ReportComparison, folder: Path, opened: Open) -> None:
    (folder / "comparison.html").write_text(render_comparison(two), encoding="utf-8")
    folded = opened("comparison").locator("details.test").first
    address = folded.get_attribute("id")
    assert address is not None
    assert folded.get_attribute("open") is None
    opened_there = opened("comparison", fragment=f"#{address}").locator("details.test").first
    assert opened_there.get_attribute("open") is not None
