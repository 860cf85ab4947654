"""``biastransfer power``: what it prints, and what cannot be asked."""

from __future__ import annotations

import pytest

from pytest_biastransfer.__main__ import main


def test_what_so_many_images_can_tell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--limit", "0.05", "--images", "5000", "--regression", "0.01"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "limit 0.05, 5,000 images, 95 % interval:",
        '  rule="certain" passes with at most 219 (0.0438) of the images',
        '  rule="significant" fails from 282 (0.0564) on; in between, it is within noise',
        "  a true share of 0.025 is certain to meet it in 100 %, and significantly above it in 0 % of the cases",
        "  a true share of 0.05 is certain to meet it in 2 %, and significantly above it in 2 % of the cases",
        "  a true share of 0.1 is certain to meet it in 0 %, and significantly above it in 100 % of the cases",
        "regression by 0.01, alpha 0.01, comparisons 1:",
        "  if 1.4 % of the images newly count and 0.4 % no longer do, it is found in 100 % of the cases",
        "  to find it in 90 %, it takes 2,653 images",
    ]


def test_too_few_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--limit", "0.01", "--images", "100"]) == 0
    assert "  no count is certain to meet it; that takes at least 368 images" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "5", "--images", "100"], "--limit=5, expected a number from 0 to 1"),
        (["--limit", "0.1", "--images", "0"], "--images=0, expected a whole number above 0"),
        (
            ["--limit", "0.1", "--images", "10", "--regression", "0.9", "--no-longer", "0.1"],
            "--regression=0.9 and twice --no-longer=0.1 are more than all images",
        ),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", *arguments]) == 2
    assert message in capsys.readouterr().err
