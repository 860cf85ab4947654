"""The images of a test in a real browser: the slider, the difference, and what is there without JavaScript."""

from __future__ import annotations

import io

from PIL import Image

from pytest_biastransfer.reporting.html import render_html
from tests.reporting.test_html_browser import (
    BEYOND,
    OPEN_ALL,
    PAGES,
    WIDTHS,
    Open,
    browser,
    folder,
    opened,
)
from tests.support.sample_reports import ladder_report

__all__ = ["browser", "folder", "opened"]

PAGES["ladder"] = lambda: render_html(ladder_report())


def pixel(picture: bytes, x: float, y: float) -> tuple[int, ...]:
    """Return the colour at a position, from 0 to 1, of a screenshot."""
    with Image.open(io.BytesIO(picture)) as image:
        found = image.convert("RGB").getpixel((round(x * (image.width - 1)), round(y * (image.height - 1))))
    assert isinstance(found, tuple)
    return found


def is_yellow(picture: bytes, x: float, y: float) -> bool:
    """Whether the square is there, as far as compression keeps its colour."""
    red, green, blue = pixel(picture, x, y)
    return min(red, green) > 230 and blue < 40


def test_the_slider_uncovers_the_intervened_image(opened: Open) -> None:
    tab = opened("sample")
    stage = tab.locator("details[data-test='2'] .flips .stage").first
    slider = stage.get_by_role("slider")
    assert slider.get_attribute("aria-label") == "#3: from intervened to clean"
    assert stage.bounding_box() is not None
    assert stage.bounding_box()["width"] >= 160  # type: ignore[index]
    # It begins in the middle of what changes, the square on the left.
    assert slider.input_value() == "13"
    assert is_yellow(stage.screenshot(), 0.2, 0.1)
    assert not is_yellow(stage.screenshot(), 0.05, 0.1)
    slider.focus()
    slider.press("Home")
    assert is_yellow(stage.screenshot(), 0.05, 0.1)
    slider.press("End")
    assert not is_yellow(stage.screenshot(), 0.2, 0.1)
    slider.press("Home")
    slider.press("ArrowRight")
    assert stage.evaluate("stage => stage.style.getPropertyValue('--at')") == "1%"


def test_one_slider_moves_all_images_of_a_test(opened: Open) -> None:
    tab = opened("sample")
    section = tab.locator("details[data-test='2']")
    section.get_by_label("All images of this test").fill("100")
    assert section.locator(".flips .stage").evaluate_all(
        "stages => [...new Set(stages.map((stage) => stage.style.getPropertyValue('--at')))]"
    ) == ["100%"]
    others = tab.locator("details[data-test='7'] .flips .stage")
    assert others.first.evaluate("stage => stage.style.getPropertyValue('--at')") == "13%"


def test_what_changed_is_bright_and_all_else_is_black(opened: Open) -> None:
    for scripts in (True, False):
        tab = opened("sample", java_script_enabled=scripts)
        section = tab.locator("details[data-test='2']")
        section.locator(".differs").check()
        stage = section.locator(".flips .stage").first
        assert pixel(stage.screenshot(), 0.75, 0.75) == (0, 0, 0)
        assert max(pixel(stage.screenshot(), 0.1, 0.1)) > 100


def test_without_javascript_both_images_are_beside_each_other(opened: Open) -> None:
    tab = opened("sample", java_script_enabled=False)
    stage = tab.locator("details[data-test='2'] .flips .stage").first
    clean, changed = (stage.locator(f"svg.{name}").bounding_box() for name in ("clean", "changed"))
    assert clean is not None
    assert changed is not None
    assert clean["x"] + clean["width"] <= changed["x"]
    assert clean["width"] >= 160
    assert stage.get_by_role("slider").count() == 0
    assert tab.get_by_label("All images of this test").locator("visible=true").count() == 0
    tab.locator("details[data-test='7']").scroll_into_view_if_needed()
    assert tab.locator("details[data-test='2'] .looked").first.is_visible()


def test_on_paper_both_images_are_beside_each_other(opened: Open) -> None:
    tab = opened("sample")
    stage = tab.locator("details[data-test='2'] .flips .stage").first
    stage.get_by_role("slider").fill("100")
    tab.emulate_media(media="print")
    clean, changed = (stage.locator(f"svg.{name}").bounding_box() for name in ("clean", "changed"))
    assert clean is not None
    assert changed is not None
    assert clean["x"] + clean["width"] <= changed["x"]
    assert is_yellow(stage.screenshot(), 0.6, 0.1)


def test_images_can_be_put_beside_each_other(opened: Open) -> None:
    tab = opened("sample")
    section = tab.locator("details[data-test='2']")
    section.get_by_label("beside each other").check()
    stage = section.locator(".flips .stage").first
    assert stage.get_by_role("slider").locator("visible=true").count() == 0
    assert is_yellow(stage.screenshot(), 0.6, 0.1)


def test_ladders_and_gaps_fit_and_are_accessible(opened: Open) -> None:
    tab = opened("ladder")
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate(OPEN_ALL)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate(BEYOND) == []
    from axe_playwright_python.sync_playwright import Axe

    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        violations = Axe().run(tab).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in violations] == []
