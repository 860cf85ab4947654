"""The pages for contributors name files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ("CONTRIBUTING.md", "docs/architecture.md", "docs/extending.md")
# What the paths of the pages are relative to: the repository, the package, or the room that a sentence is about.
BASES: Final = tuple(
    ROOT / name
    for name in ("", "pytest_biastransfer", "pytest_biastransfer/plugin", "pytest_biastransfer/interventions")
)
# Files of a user, and what is built.
ELSEWHERE: Final = frozenset({"cifar10/", "imagenet_sample/", "weights/", "conftest.py", "build/site"})


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:py|toml|ini|md))`", text))
    assert paths
    missing = {path for path in paths - ELSEWHERE if not any((base / path).exists() for base in BASES)}
    assert not missing
