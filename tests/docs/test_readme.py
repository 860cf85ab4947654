"""The README: one screen, two commands, badges that say what pyproject.toml says, and snippets that run as pasted."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST_LINES: Final = 70


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_it_is_one_screen_with_two_commands() -> None:
    assert len(PAGE.splitlines()) <= MOST_LINES
    quickstart, tests = blocks("sh")
    assert quickstart.endswith("pytest examples/quickstart\n")
    assert tests.endswith("pytest -n 2\n")


def test_its_badges_say_what_the_project_declares() -> None:
    classifiers = PROJECT["classifiers"]
    versions = [entry.rpartition(" ")[2] for entry in classifiers if re.search(r":: 3\.\d+$", entry)]
    (pytest_bound,) = [entry.partition(">=")[2] for entry in PROJECT["dependencies"] if entry.startswith("pytest>=")]
    (status,) = [entry.rpartition(" - ")[2] for entry in classifiers if entry.startswith("Development Status")]
    badges = re.findall(r"badge/([^)]+)-\w+\)", PAGE)
    assert badges == [
        f"python-{'_|_'.join(versions)}", f"pytest-{pytest_bound}_or_newer", f"status-{status.lower()}",
        f"license-{PROJECT['license']}",
    ]  # fmt: skip


def test_its_snippets_run_as_pasted(pytester: pytest.Pytester) -> None:
    (ini,) = blocks("ini")
    (test,) = blocks("python")
    # The README's checkpoint and images, made small.
    pytester.makepyfile(
        make="""
        import torch
        from torchvision.models import resnet18

        torch.save(resnet18(num_classes=37).state_dict(), "pets.pt")
        """
    )
    assert pytester.runpython(pytester.path / "make.py").ret == 0
    for label in range(2):
        folder = pytester.path / "data" / "val" / f"class{label}"
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (90 * label, 40, 40)).save(folder / "image.png")
    pytester.makeini(ini.replace("size=224", "size=32"))
    pytester.makepyfile(test_pets=test)
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    # The weights are random, so the verdicts are; what counts is that three tests were measured.
    assert sum(result.parseoutcomes().values()) == 3, result.stdout.str()
    result.stdout.fnmatch_lines(["*3 bias tests: *"])
    assert "INTERNALERROR" not in result.stdout.str()
