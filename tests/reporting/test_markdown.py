"""The Markdown report: the verdict in its headline, what its table leaves out, its stability and its limit of length."""

from __future__ import annotations

import dataclasses
import io
import random
import re
from collections.abc import Sequence

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.reporting.decoded_pairs import decoded_pair
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.image_strips import ImageStrips, with_pictures
from pytest_biastransfer.reporting.markdown import render_markdown
from pytest_biastransfer.reporting.report import Report, Result
from tests.support.sample_reports import HOSTILE, hostile_report, large_report, report_of, sample_report


def result(name: str = "a", outcome: str = "passed", standing: str = "", **more: object) -> Result:
    return Result(f"test_it.py::{name}", "test_it.py", 1, outcome, 1.0, standing=standing, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ([], "⚠️ Bias transfer: no bias tests ran"),
        ([result()], "✅ Bias transfer: 1 test passes"),
        (
            [result(standing="unchanged"), result("b", "xfailed")],
            "✅ Bias transfer: 1 of 2 tests passes, 1 fails as expected, none got worse",
        ),
        ([result("b", "xfailed")], "✅ Bias transfer: 0 of 1 test pass, 1 fails as expected"),
        ([result(), result("b", "skipped")], "✅ Bias transfer: 1 of 2 tests passes"),
        ([result("b", "skipped")], "⚠️ Bias transfer: 0 of 1 test pass"),
        # With `bias_compare = warn`, a regression does not fail.
        (
            [result(standing="regression")],
            "⚠️ Bias transfer: 1 test got worse than the baseline, 1 test passes",
        ),
        (
            [result("a", "failed", "regression"), result("b", "error"), result("c", standing="improvement")],
            "❌ Bias transfer: 1 test got worse than the baseline, 2 of 3 tests fail, 1 got better",
        ),
        ([result("a", "lost")], "❌ Bias transfer: 1 of 1 test fails"),
    ],
)
def test_the_headline_is_the_verdict(tests: Sequence[Result], expected: str) -> None:
    assert render_markdown(report_of(*tests)).splitlines()[:2] == ["<!-- pytest-biastransfer -->", f"## {expected}"]


def test_metrics_of_means_are_explained_and_those_of_other_versions_left_out() -> None:
    observed = Interval(0.3, 0.2, 0.4, 0.95, 100)
    limits = [Limit(name, 0.1, "point", False, "", observed, None) for name in ("mean_asr", "of_another_version")]
    text = render_markdown(report_of(result("a", "failed", limits=limits)))
    assert "mean_asr 0.300" in text
    meanings = text.partition("What the metrics mean")[2]
    assert "- `asr`, attack success rate:" in meanings
    assert "of_another_version" not in meanings


def rows(text: str) -> list[str]:
    """The names in the table that is not folded."""
    return re.findall(r"^\| .*?`(test_.*?)` \|", text.partition("<details>")[0], re.MULTILINE)


def test_the_table_has_what_changed_the_worst_first() -> None:
    text = render_markdown(sample_report())
    assert [name.partition("::")[2] for name in rows(text)] == [
        "test_nothing_inherited[yellow-square]",
        "test_stays[tennis-ball]",
        "test_no_small_patch_decides[search-asr]",
        "test_crops[jpeg]",
        "test_nothing_inherited[tennis-ball]",
        "test_repaired[chain-link]",
        "test_no_gap[background-fpr]",
        # Its interval is on both sides of the limit.
        "test_known[watermark]",
    ]
    assert "<details><summary>2 tests without a change</summary>" in text


@pytest.mark.parametrize(("low", "high", "is_shown"), [(0.01, 0.09, False), (0.01, 0.11, True), (None, None, False)])
def test_a_limit_within_noise_is_a_change(low: float | None, high: float | None, is_shown: bool) -> None:
    limit = Limit("asr", 0.1, "point", True, "", Interval(0.05, low, high, 0.95, 50), None)
    text = render_markdown(report_of(result("a", limits=[limit])))
    assert rows(text) == ["test_it.py::a"] * is_shown
    assert (" within noise |" in text) == is_shown


def test_an_expected_failure_that_is_not_significant_is_a_change() -> None:
    limit = Limit("asr", 0.1, "point", False, "not significant", Interval(0.12, 0.05, 0.2, 0.95, 50), None)
    text = render_markdown(report_of(result("a", "xfailed", limits=[limit])))
    assert rows(text) == ["test_it.py::a"]
    assert "| not significant |" not in text
    assert " not significant |" in text
    assert "within noise" not in text


def test_the_text_depends_on_the_results_alone() -> None:
    report = sample_report()
    later = dataclasses.replace(
        report,
        sessions=[dataclasses.replace(session, started="2026-01-01", seconds=1.0) for session in report.sessions],
        tests=[dataclasses.replace(test, seconds=99.0) for test in report.tests],
        evaluated=0,
        reused=55_000,
    )
    assert render_markdown(later) == render_markdown(report)


REPORTS = [hostile_report(name) for name in HOSTILE] + [large_report(200, 4), sample_report()]


@pytest.mark.parametrize("report", REPORTS, ids=map(str, range(len(REPORTS))))
def test_github_takes_any_report_as_a_comment(report: Report) -> None:
    text = render_markdown(report, ImageStrips("https://example.org/pictures"))
    assert len(text) < 65_536
    # The marker is the first line, and everything that is opened is closed.
    assert text.startswith("<!-- pytest-biastransfer -->\n")
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert outside.count("<details>") == outside.count("</details>") == outside.count("<summary>")


def test_a_report_that_fills_each_section_leaves_room_for_what_a_job_adds() -> None:
    sample = sample_report()
    pictured = next(test for test in sample.tests if test.details is not None and test.details.shown)
    assert pictured.details is not None
    images = [dataclasses.replace(image, before="*" * 90, after="*" * 90) for image in pictured.details.shown] * 16
    limits = [Limit(name, 0.1, "point", False, "", Interval(0.5, 0.4, 0.6, 0.95, 50), None) for name in METRICS]
    worst = dataclasses.replace(
        pictured, name="|" * 300, limits=limits, details=dataclasses.replace(pictured.details, shown=images)
    )
    failures = [result(f"f{number}", "failed", message="x" * 90) for number in range(400)]
    others = [result(f"p{number}", stale=[f"stale {number}"]) for number in range(400)]
    performances = [
        dataclasses.replace(own, model=f"{own.model} {number}") for number in range(100) for own in sample.performances
    ]
    report = dataclasses.replace(sample, tests=[worst, *failures, *others], performances=performances)
    text = render_markdown(report, ImageStrips("https://example.org/" + "p" * 100))
    assert 55_000 < len(text) < 65_536 - 500
    for left_out in (
        "more changed tests.",
        "more tests.",
        "more stale predictions.",
        "more failed or got worse",
        " more.",
    ):
        assert left_out in text, left_out


def test_pictures_that_no_link_is_to_are_not_written() -> None:
    strips = ImageStrips("https://example.org/pictures")
    pictured = [test for test in sample_report().tests if test.details is not None and test.details.shown]
    assert pictured[0].details is not None
    link = strips.link(with_pictures(pictured[0].details.shown))
    strips.link(with_pictures(pictured[0].details.shown)[:1])
    assert len(strips.files) == 2
    assert list(strips.linked(f"![images]({link})")) == [link.rpartition("/")[2]]


def test_what_does_not_fit_is_counted() -> None:
    failures = [result(f"test_{number}", "failed", message="x" * 3_000) for number in range(50)]
    text = render_markdown(report_of(*failures))
    explained = len(re.findall("<details><summary>test_it", text))
    assert 0 < explained < 50
    assert f"{50 - explained} more failed or got worse; the report of `--bias-report=bias.html` shows all." in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_make_neither_markup_nor_cells(name: str) -> None:
    text = render_markdown(hostile_report(name))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    for token in tokens:
        parts = [token, *(token.children or [])]
        html = "".join(part.content for part in parts if part.type in ("html_block", "html_inline"))
        assert not re.search(r"<(?!/?(?:details|summary|br)\b|!-- pytest)", html), html
        assert all(part.type not in ("image", "link_open") for part in parts)


def test_strips_are_drawn_once_and_named_by_their_content() -> None:
    strips = ImageStrips("bias-images/")
    text = render_markdown(sample_report(), strips)
    links = re.findall(r"!\[[^]]*\]\((\S+)\)", text)
    assert {link.removeprefix("bias-images/") for link in links} == strips.files.keys()
    # The worst test's strip is seen without opening a section, and is in its section too.
    assert links[0] == links[1]
    again = ImageStrips("https://example.org/x")
    assert render_markdown(sample_report(), again) == text.replace("bias-images/", "https://example.org/x/")
    assert again.files == strips.files


@pytest.mark.parametrize(
    "damage", [{"data": "bm8gcGljdHVyZQ=="}, {"data": "no base64"}, {"width": 10**9}, {"height": -64}], ids=str
)
@pytest.mark.parametrize("part", ["clean", "changed"])
def test_pictures_of_a_strange_report_are_refused(part: str, damage: dict[str, object]) -> None:
    test = sample_report().tests[1]
    assert test.details is not None
    (image,) = with_pictures(test.details.shown)[:1]
    damaged = dataclasses.replace(image, **{part: dataclasses.replace(getattr(image, part), **damage)})
    with pytest.raises(ReportError, match="the pictures of a report cannot be decoded"):
        ImageStrips("x").link([damaged])


def test_a_strip_has_the_pixels_of_the_images() -> None:
    test = sample_report().tests[1]
    assert test.details is not None
    strips = ImageStrips("x")
    shown = random.Random(0).sample(list(test.details.shown), 3)
    name = strips.link(shown).removeprefix("x/")
    pairs = [decoded_pair(image) for image in shown]
    width, height = pairs[0][0].size
    with Image.open(io.BytesIO(strips.files[name])) as strip:
        assert strip.size == (3 * width + 2 * 4, 2 * height + 4)
        for column, (clean, intervened) in enumerate(pairs):
            corners = [(column * (width + 4) + 8, row * (height + 4) + 8) for row in range(2)]
            for pixels, corner in zip((clean, intervened), corners, strict=True):
                assert strip.getpixel(corner) == pixels.convert("RGBA").getpixel((8, 8))
            assert clean.getpixel((8, 8)) != intervened.getpixel((8, 8))
        # Between the images is the ground of the document.
        assert strip.getpixel((width + 2, 8)) == (0, 0, 0, 0)
