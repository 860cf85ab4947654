"""The HTML report in a real browser: it opens, sorts, filters, fits small and large screens, and is accessible."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from PIL import Image

from pytest_biastransfer.reporting.html import render_html, render_trend
from tests.support.browser import browser
from tests.support.sample_reports import HOSTILE, hostile_report, large_report, report_of, sample_report, several_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

__all__ = ["browser"]

WIDTHS: Final = (400, 1400)
PASSED: Final = "#test=test_objects.py::test_nothing_inherited[grayscale]"
OPEN_ALL, CLOSE_ALL = (
    f"document.querySelectorAll('details').forEach((part) => {{ part.open = {whether}; }})"
    for whether in ("true", "false")
)
# Elements whose own text or picture goes beyond the window; what a box cuts off or scrolls is inside.
BEYOND: Final = """() => {
  const cut = (part) => part && (getComputedStyle(part).overflowX !== 'visible' || cut(part.parentElement));
  return [...document.body.querySelectorAll('*')]
    .filter((part) => part.getBoundingClientRect().right > innerWidth + 1 && !cut(part.parentElement))
    .map((part) => part.outerHTML.slice(0, 80));
}"""
PAGES: Final[dict[str, Callable[[], str]]] = {
    "sample": lambda: render_html(sample_report()),
    "empty": lambda: render_html(report_of()),
    "large": lambda: render_html(large_report(60, 2)),
    "trend": lambda: render_trend(several_runs(6)),
    **{f"hostile-{row}": (lambda name=name: render_html(hostile_report(name))) for row, name in enumerate(HOSTILE)},  # type: ignore[misc]
}

Open = Callable[..., "Tab"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Iterator[Open]:
    """Open a page; it must neither ask for anything nor complain, and no script of a name may run."""
    tabs: list[Tab] = []
    complaints: list[str] = []

    def open_page(name: str, width: int = 1400, fragment: str = "", **options: object) -> Tab:
        file = folder / f"{name}.html"
        if not file.exists():
            file.write_text(PAGES[name](), encoding="utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
        tabs.append(tab)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        address = file.as_uri()
        tab.on(
            "request",
            lambda request: complaints.append(request.url) if not request.url.startswith((address, "data:")) else None,
        )
        tab.goto(address + fragment)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert complaints == []


def rows(tab: Tab) -> list[int]:
    """Return the numbers of the tests that the table shows, in its order."""
    numbers: list[str] = tab.locator("#tests tbody tr:visible").evaluate_all(
        "rows => rows.map((row) => row.dataset.test)"
    )
    return [int(number) for number in numbers]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(opened: Open, name: str) -> None:
    tab = opened(name)
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        for details in (CLOSE_ALL, OPEN_ALL):
            tab.evaluate(details)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            assert tab.evaluate(BEYOND) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_screenshot_is_as_wide_as_the_window_and_as_light_as_wished(opened: Open, width: int) -> None:
    tab = opened("sample", width)
    for scheme, least, most in (("light", 240, 255), ("dark", 0, 40)):
        tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        with Image.open(io.BytesIO(tab.screenshot(full_page=True))) as picture:
            assert picture.width == width
            background = picture.convert("L").getpixel((2, 2))
        assert isinstance(background, int)
        assert least <= background <= most


# Widths decide what is laid out, schemes the colours: each of both is looked at, and not all pairs of them.
@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("sample", 400, "dark"),
        ("sample", 1400, "light"),
        ("sample", 1400, "dark"),
        ("large", 400, "light"),
        ("large", 1400, "dark"),
        ("empty", 400, "light"),
        ("trend", 1400, "dark"),
    ],
)
def test_axe_finds_no_serious_fault(opened: Open, name: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
    tab = opened(name, width, color_scheme=scheme)
    tab.evaluate(OPEN_ALL)
    violations = axe.Axe().run(tab).response["violations"]
    assert [
        (fault["id"], fault["nodes"][0]["html"]) for fault in violations if fault["impact"] in ("serious", "critical")
    ] == []


def test_columns_sort_up_and_down_by_what_they_mean(opened: Open) -> None:
    tab = opened("sample")
    observed = [limits[0].observed.value if (limits := test.limits) else None for test in sample_report().tests]
    button = tab.get_by_role("button", name="Observed")
    button.click()
    with_value = [number for number in rows(tab) if observed[number - 1] is not None]
    values = [observed[number - 1] for number in with_value]
    assert values == sorted(values, key=float)  # type: ignore[arg-type]
    # What has no value is last, both ways.
    assert rows(tab)[: len(with_value)] == with_value
    assert tab.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert [observed[number - 1] for number in rows(tab)[: len(with_value)]] == values[::-1]
    assert tab.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    tab.get_by_role("button", name="Outcome").click()
    labels = tab.locator("#tests tbody .badge").all_inner_texts()
    assert labels == sorted(labels)
    assert tab.locator("th[aria-sort]").count() == 1


def press(tab: Tab, name: str) -> None:
    tab.locator(".chips button", has_text=name).click()


def test_filters_narrow_the_table_and_the_sections(opened: Open) -> None:
    tab = opened("sample")
    search = tab.get_by_role("searchbox")
    assert rows(tab) == list(range(1, 11))
    search.fill("TENNIS")
    assert rows(tab) == [3, 7]
    assert tab.locator("#matching").inner_text() == "2 of 10 shown"
    assert tab.locator("details.test:visible").count() == 2
    press(tab, "lost")
    assert rows(tab) == [3]
    search.fill("")
    # Of one kind, either is enough.
    press(tab, "worse than baseline")
    assert rows(tab) == [2, 3, 7]
    press(tab, "lost")
    assert rows(tab) == [2, 7]
    # Of several kinds, each has to fit.
    press(tab, "within noise")
    press(tab, "worse than baseline")
    assert rows(tab) == [2, 5]
    tab.get_by_label("Intervention").select_option(label="background-fpr (1)")
    assert rows(tab) == [5]
    search.fill("no such test")
    assert rows(tab) == []
    assert tab.locator("a.cell:not(.faded)").count() == 0
    tab.get_by_role("button", name="Show all").click()
    assert rows(tab) == list(range(1, 11))
    assert tab.locator("#matching").inner_text() == ""
    assert tab.locator("a.cell.faded").count() == 0
    assert tab.locator("[aria-pressed=true]").count() == 0


def test_tests_are_filtered_by_the_session_that_they_are_of(opened: Open) -> None:
    tab = opened("sample")
    press(tab, "gpu.json, job bias-gpu")
    assert rows(tab) == [4]


def test_links_open_what_they_lead_to(opened: Open) -> None:
    tab = opened("sample")
    passed = tab.locator("details[data-test='1']")
    assert passed.get_attribute("open") is None
    tab.locator(f"#tests a[href='{PASSED}']").click()
    assert passed.get_attribute("open") is not None
    address = "#test=test_objects.py::test_on_gpu[vignette]"
    assert opened("sample", fragment=address).locator("details[data-test='9']").get_attribute("open") is not None


def test_a_link_leads_to_its_test_without_javascript_too(opened: Open) -> None:
    tab = opened("sample", fragment=PASSED, java_script_enabled=False)
    assert tab.locator("details[data-test='1'] .facts").is_visible()
    tab.locator("a.cell[data-test='9']").click()
    assert tab.locator("details[data-test='9'] .here").is_visible()


def test_a_link_shows_a_test_that_is_filtered_out(opened: Open) -> None:
    tab = opened("sample")
    press(tab, "lost")
    tab.locator("a.cell[data-test='1']").click()
    assert tab.locator("details[data-test='1'] .facts").is_visible()
    assert rows(tab) == list(range(1, 11))


def test_keys_lead_to_the_search_and_from_test_to_test(opened: Open) -> None:
    tab = opened("sample")
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "filter"
    # In the search they are letters.
    tab.keyboard.type("j/k")
    assert tab.get_by_role("searchbox").input_value() == "j/k"
    tab.keyboard.press("Escape")
    assert tab.get_by_role("searchbox").input_value() == ""
    tab.evaluate("document.activeElement.blur()")
    focused = "document.activeElement.closest('details').dataset.test"
    for key, test in (("j", "2"), ("j", "7"), ("k", "2")):
        tab.keyboard.press(key)
        assert tab.evaluate(focused) == test


def test_commands_are_copied(opened: Open) -> None:
    tab = opened("sample")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    command = tab.locator("details[data-test='2'] pre.command").first
    text = command.evaluate("part => part.firstChild.textContent")
    command.get_by_role("button", name="Copy the command").click()
    # The browser copies in its own time. Of several buttons that say so, waiting would be an error.
    tab.get_by_text("Copied", exact=True).wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == text
    assert text == 'pytest "test_objects.py::test_nothing_inherited[yellow-square]"'


@pytest.mark.parametrize("width", WIDTHS)
def test_a_metric_is_explained_when_it_has_the_focus(opened: Open, width: int) -> None:
    tab = opened("sample", width)
    display = "link => getComputedStyle(link, '::after').display"
    for number in range(min(tab.locator("a.metric:visible").count(), 30)):
        link = tab.locator("a.metric:visible").nth(number)
        assert link.evaluate(display) == "none"
        link.focus()
        assert link.evaluate(display) == "block"
        assert tab.evaluate("document.documentElement.scrollWidth") == width
    content = tab.locator("a.metric", has_text="flip rate (asr)").first.evaluate(
        "link => getComputedStyle(link, '::after').content"
    )
    assert "share of images whose predicted class" in content


def test_all_open_and_close_at_once(opened: Open) -> None:
    tab = opened("sample")
    tab.get_by_role("button", name="Open all").click()
    assert tab.locator("details.test[open]").count() == 10
    tab.get_by_role("button", name="Close all").click()
    assert tab.locator("details.test[open]").count() == 0


def test_without_javascript_all_is_there_but_what_needs_it(opened: Open) -> None:
    tab = opened("sample", java_script_enabled=False)
    assert tab.locator("#tests tbody tr:visible").count() == 10
    assert tab.locator(".controls:visible").count() == 0
    assert tab.locator("button:visible").count() == 0
    assert tab.locator("details[data-test='2'] figure:visible").count() == 21
    tab.locator("details[data-test='1'] > summary").click()
    assert tab.locator("details[data-test='1'] table.shares").is_visible()


def test_the_intervened_image_is_beside_the_clean_one(opened: Open) -> None:
    tab = opened("sample")
    picture = tab.locator("article figure .stage").first.screenshot()
    with Image.open(io.BytesIO(picture)) as pair:
        width, height = pair.size
        clean, intervened = (pair.convert("RGB").getpixel((x, height // 8)) for x in (width // 16, width * 9 // 16))
    # A yellow square, as far as a compressed picture keeps it.
    assert isinstance(clean, tuple)
    assert isinstance(intervened, tuple)
    assert min(intervened[:2]) > 200
    assert intervened[2] < 100
    assert clean != intervened


def test_a_printed_page_is_on_white_paper_with_its_pictures(opened: Open) -> None:
    tab = opened("sample", color_scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.locator(".controls:visible, .command button:visible").count() == 0
    assert tab.locator("article figure svg").first.is_visible()


def test_all_tests_are_printed_with_and_without_javascript(opened: Open) -> None:
    for javascript in (True, False):
        tab = opened("sample", java_script_enabled=javascript)
        folded = tab.locator("details.test:not([open])")
        assert folded.count() == 5
        tab.emulate_media(media="print")
        assert tab.locator("details.test .facts:visible").count() == tab.locator("details.test .facts").count()
        assert tab.locator("details.test pre.command:visible").count() == 12


def test_a_large_report_opens(opened: Open) -> None:
    tab = opened("large")
    assert len(rows(tab)) == 60
    press(tab, "failed")
    assert rows(tab) == [4, 14, 24, 34, 44, 54]


def test_the_scorecard_of_many_tests_fits_its_window(opened: Open, folder: Path) -> None:
    (folder / "many.html").write_text(render_html(large_report(200, 1)), encoding="utf-8")
    tab = opened("many")
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        score = tab.locator(".score")
        assert score.evaluate("part => part.scrollWidth <= part.clientWidth")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.locator("a.cell:visible").count() == 200
        sizes = tab.locator("a.cell").evaluate_all("all => all.map((one) => [one.offsetWidth, one.offsetHeight])")
        # The smallest target of WCAG 2.2.
        assert min(min(size) for size in sizes) >= 24
