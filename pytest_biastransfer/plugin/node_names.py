"""Names that can be typed where pytest was started: of tests, and of the baseline's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.plugin.state import SETTINGS

if TYPE_CHECKING:
    import pytest


def typed_name(config: pytest.Config, nodeid: str) -> str:
    """Return the name of a test as pytest's own summary shows it, relative to the directory pytest was started in."""
    start = config.invocation_params.dir
    if start == config.rootpath:
        return nodeid
    path, *parts = nodeid.split("::")
    return "::".join([path_from(config.rootpath / path, start), *parts])


def baseline_name(config: pytest.Config) -> str:
    """Return the path of the baseline's file relative to the directory that pytest was started in."""
    return path_from(config.stash[SETTINGS].baseline, config.invocation_params.dir)
