"""The inside of a test on the HTML page, as text: its images, where the model looks, and its charts."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.display.axes import axis_over
from pytest_biastransfer.reporting.figures import Interval
from pytest_biastransfer.reporting.html import render_html
from pytest_biastransfer.reporting.html.charts import shared_axis
from pytest_biastransfer.reporting.html.class_charts import CLASSES, moves_plot, shares_plots
from pytest_biastransfer.reporting.html.galleries import MOST_CHARACTERS, galleries
from pytest_biastransfer.reporting.html.heat import LEVELS, heat_map
from pytest_biastransfer.reporting.html.line_chart import line_chart
from pytest_biastransfer.reporting.report import Details, Move, Picture, Result, Shares, Shown
from tests.reporting.test_html import Page, section
from tests.support.sample_reports import ladder_report, large_report, report_of, sample_report


@pytest.fixture(scope="module")
def sample() -> str:
    return render_html(sample_report())


@pytest.fixture(scope="module")
def ladder() -> str:
    return render_html(ladder_report())


def details_of(number: int) -> Details:
    details = sample_report().tests[number - 1].details
    assert details is not None
    return details


def gallery_of(text: str) -> list[str]:
    """Return the figures of the flipped images, or errors, of one test."""
    return text.partition('<div class="gallery flips">')[2].partition("</div>\n<h4>")[0].split("</figure>")[:-1]


def test_an_image_has_its_file_label_and_confidences_and_what_is_new_is_marked(sample: str) -> None:
    text = section(sample, 2)
    assert "Flipped images: 16 of 1,905" in Page(text).text
    figures = gallery_of(text)[:16]
    assert ["<b>new</b>" in figure for figure in figures] == [True] * 5 + [False] * 11
    assert Page(figures[0]).text == "image #3 label cat new cat (52 %) → ship (41 %)"
    assert Page(figures[5]).text == "#88 ship/0088.jpg label ship ship (72 %) → airplane (76 %)"


def test_a_clean_picture_is_on_the_page_once_whatever_shows_it() -> None:
    report = sample_report()
    # The same images under two interventions.
    twice = dataclasses.replace(report.tests[1], name="test_objects.py::test_again")
    text = render_html(report_of(report.tests[1], twice))
    shown = details_of(2).shown
    for image in shown:
        assert image.clean is not None
        assert text.count(image.clean.data) == 1
    # Each clean picture of both galleries refers to one that is there.
    ids = re.findall(r'<image id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<use href="#([^"]+)"', text)) <= set(ids)
    numbers = [re.findall(r'<use href="#(c\d+)"', figure)[0] for figure in gallery_of(section(text, 2))[:16]]
    assert numbers == [f"c{number}" for number in range(16)]


def test_what_changes_lies_upon_the_clean_picture_of_the_same_size(sample: str) -> None:
    figure = gallery_of(section(sample, 2))[1]
    image = details_of(2).shown[1]
    assert image.changed is not None
    changed = figure.partition('<svg class="changed" viewBox="0 0 160 160" role="img" aria-label="20, intervened">')[2]
    assert re.match(
        r'<use href="#c\d+"/><image id="[^"]+" width="160" height="160" href="data:image/webp;base64,', changed
    )
    assert image.changed.data in changed
    # The slider begins where something changes.
    assert '<div class="stage" style="--at:13%">' in figure


def test_small_pictures_keep_their_pixels(sample: str) -> None:
    assert "pixels" in section(sample, 7)
    assert "pixels" not in section(sample, 2)


def picture(size: int, name: str) -> Picture:
    return Picture(f"{name}{'A' * (size - len(name))}", "image/webp", 160, 160)


def test_pictures_that_have_no_room_are_counted_and_failed_tests_come_first() -> None:
    size = MOST_CHARACTERS // 10

    def test_of(name: str, outcome: str, images: int) -> Result:
        shown = [
            Shown(number, "", "cat", "dog", clean=picture(size, f"{name}{number}"), changed=picture(10, ""))
            for number in range(images)
        ]
        details = Details("intervention", "", "", "", "", [], "cpu", {}, {}, shown=shown)
        return Result(name, "test_a.py", 1, outcome, 1.0, details=details)  # type: ignore[arg-type]

    tests = [test_of("a", "passed", 8), test_of("b", "failed", 8), test_of("c", "passed", 2)]
    pictures, found = galleries(tests)
    # Nine fit, with their changes: the first two of all tests, then three more, beginning with the failed one.
    assert [len(gallery.images) for gallery in found] == [3, 4, 2]
    assert [gallery.left_out for gallery in found] == [5, 4, 0]
    assert len(pictures) == 9
    assert (
        "5 more images had no room on the page; the JSON report has all." in Page(render_html(report_of(*tests))).text
    )


def test_a_large_page_stays_below_eight_megabytes() -> None:
    assert len(render_html(large_report(200, 16)).encode()) < 8_000_000


def test_tests_without_pictures_have_their_captions() -> None:
    test = sample_report().tests[1]
    assert test.details is not None
    shown = [dataclasses.replace(image, clean=None, changed=None, saliency=None) for image in test.details.shown]
    bare = dataclasses.replace(test, details=dataclasses.replace(test.details, shown=shown))
    text = section(render_html(report_of(bare)), 1)
    assert "image #3 label cat new cat (52 %) → ship (41 %)" in Page(text).text
    assert "<image" not in text
    assert 'class="tools"' not in text


def test_where_the_model_looks_has_a_legend_and_its_largest_figures(sample: str) -> None:
    text = section(sample, 2)
    words = Page(text).text
    assert "5 to 15 15 to 30 30 to 50 more than 50 points" in words
    assert "It took 100 forward passes for each image." in words
    assert words.count(": at most 80 points") == 4
    looked = text.partition("Where the model looks")[2].partition("</figure>")[0]
    # The cell in the corner has the highest level, on the intervened image alone.
    maps = re.findall(r'<svg class="heat" viewBox="0 0 8 8"[^>]*>(.*?)</svg>', looked)
    assert len(maps) == 2
    assert re.search(r'<path class="h4" d="M0 0h\d', maps[1])
    assert "M0 0" not in maps[0]
    assert "Where the model looks" not in Page(section(sample, 5)).text


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_each_cell_has_the_colour_of_its_level(grid: list[list[float]]) -> None:
    drawn = heat_map(grid)
    assert (drawn.columns, drawn.rows) == (3, len(grid))
    found = [[0] * 3 for _ in grid]
    for level, path in enumerate(drawn.paths, 1):
        for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
            for column in range(int(x), int(x) + int(width)):
                assert found[int(y)][column] == 0
                found[int(y)][column] = level
    assert found == [[sum(loss >= least for least in LEVELS) for loss in row] for row in grid]


def test_distributions_are_sorted_by_change_and_have_one_axis(sample: str) -> None:
    text = section(sample, 2)
    assert re.findall(r"<caption>(\w+): ([^<]*)", text)[:3] == [
        ("Source", "MobileNetV2 of ImageNet"),
        ("Transferred", "MobileNetV2, fixed-feature"),
        ("Control", "ResNet20 from scratch"),
    ]
    assert text.count('<tr class="most"><th>airplane<td>10.1<td>28.1<td>+18.0') == 1
    assert "<th>all other classes<td>82.3<td>82.4<td>0.0" not in text
    source, transferred, control = shares_plots(details_of(2))
    assert [bar.change for bar in transferred.bars[:4]] == ["+18.0", "+6.1", "−3.3", "−3.1"]
    # The control has the same classes, so it has the same order.
    assert [bar.name for bar in control.bars] == [bar.name for bar in transferred.bars]
    assert source.bars[-1].name == "all other classes"
    assert source.ticks == transferred.ticks == control.ticks
    assert [tick.text for tick in source.ticks] == ["0", "10", "20", "30"]
    # 28.1 % on an axis that ends at 30 %.
    assert transferred.after.startswith("M0 .7h93.6M0 1.7h")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_no_share_is_lost(pairs: list[tuple[float, float]]) -> None:
    before, after = zip(*pairs, strict=True)
    shares = Shares("transferred", "model", [f"{number}" for number in range(len(pairs))], before, after, None)
    details = Details("intervention", "", "", "", "", [], "cpu", {}, {}, shares=[shares])
    (plot,) = shares_plots(details)
    named = [bar for bar in plot.bars if bar.name != "all other classes"]
    assert len(named) == min(len(pairs), CLASSES)
    changes = [abs(float(bar.change.replace("−", "-"))) for bar in named]
    assert all(second <= first + 0.11 for first, second in itertools.pairwise(changes))
    for texts, values in (([bar.before for bar in plot.bars], before), ([bar.after for bar in plot.bars], after)):
        assert sum(map(float, texts)) == pytest.approx(100 * sum(values), abs=0.06 * len(plot.bars))


def test_classes_of_one_name_are_two_rows() -> None:
    shares = Shares("transferred", "model", ["crane", "crane"], [0.5, 0.5], [0.2, 0.8], None)
    (plot,) = shares_plots(Details("intervention", "", "", "", "", [], "cpu", {}, {}, shares=[shares]))
    assert [(bar.name, bar.change) for bar in plot.bars] == [("crane", "+30.0"), ("crane", "−30.0")]


def plotted_moves(moves: Sequence[Move], flips: int, rare: int) -> tuple[str, str]:
    details = Details("intervention", "", "", "", "", [], "cpu", {}, {}, moves=moves, flips=flips, rare_moves=rare)
    plot = moves_plot(details)
    return plot.caption, plot.rest


def test_flows_that_are_not_shown_are_counted() -> None:
    moves = [Move(f"{number}", "cat", 20 - number) for number in range(12)]
    assert plotted_moves(moves[:2], 39, 0) == ("all 39 flips", "")
    assert plotted_moves(moves[:2], 62, 23) == ("the most frequent of 62 flips", "23 flows of one image each")
    images = sum(move.images for move in moves)
    assert plotted_moves(moves, images + 5, 5) == (
        f"the most frequent of {images + 5} flips",
        "19 images in less frequent flows and 5 flows of one image each",
    )


def test_all_plots_of_a_test_have_one_axis(sample: str, ladder: str) -> None:
    for text in (section(sample, 2), section(ladder, 1), section(ladder, 2)):
        axes = re.findall(r"on an axis from (\S+) to ([^\"]+)\"", text)
        assert len(axes) > 1
        assert len(set(axes)) == 1


def test_a_curve_goes_through_its_strengths(ladder: str) -> None:
    text = section(ladder, 1)
    points = re.findall(r'<circle cx="([\d.]+)%" cy="([\d.]+)%" r="4"><title>([^<]*)</title>', text)
    assert [point[2] for point in points] == [
        "sigma 0.02: 0.010 (0.000 to 0.035)",
        "sigma 0.05: 0.030 (0.005 to 0.055)",
        "sigma 0.1: 0.090 (0.065 to 0.115)",
        "sigma 0.2: 0.240 (0.215 to 0.265)",
        "sigma 0.4: 0.410 (0.385 to 0.435)",
    ]
    # Labels at their distances would be on top of each other, and the legend says so. The axis goes from 0 to 0.6.
    assert [point[0] for point in points] == ["0", "25", "50", "75", "100"]
    assert [point[1] for point in points] == ["98.3", "95", "85", "60", "31.7"]
    assert "sigma (not to scale)" in Page(text).text
    assert '<path class="limit" d="M0 83.3h100"/>' in text


def test_strengths_that_have_room_are_to_scale_and_gaps_are_left_out() -> None:
    test = ladder_report().tests[0]
    curves = test.curves
    assert curves is not None
    (curve,) = curves.curves
    observed = [curve.observed[0], None, curve.observed[2], Interval(None, None, None, None, 0)]
    curves = dataclasses.replace(curves, strengths=[1, 2, 3, 5])
    chart = line_chart(dataclasses.replace(curve, observed=observed), curves, test, axis_over([1.0]))
    assert chart is not None
    assert chart.is_to_scale
    assert [point.x for point in chart.points] == [0, 50]
    assert [tick.at for tick in chart.strengths] == [0, 25, 50, 100]
    one = dataclasses.replace(curve, observed=[curve.observed[0], None, None, None])
    assert line_chart(one, curves, test, shared_axis(test)) is None


def test_findings_are_plotted_beside_their_figures(sample: str) -> None:
    plot = (
        section(sample, 2)
        .partition("<caption>asr, by where the model comes from</caption>")[2]
        .partition("</table>")[0]
    )
    assert re.findall(r"<th[^>]*>([^<]+)</th><td>([\d.]+) <small>([^<]+)", plot)[1:] == [
        ("control source", "0.144", "0.130 to 0.158"),
        ("source - control source", "0.237", "0.221 to 0.254"),
    ]
    assert plot.count("<circle ") == 3


def test_a_gap_shows_errors_of_its_worst_group(ladder: str) -> None:
    text = section(ladder, 2)
    assert "Errors in the group bird on water" in Page(text).text
    figures = gallery_of(text)
    assert Page(figures[1]).text == "#37 automobile/0037.jpg label automobile predicted bird"
    assert 'class="changed"' not in text
    assert "<input" not in text
