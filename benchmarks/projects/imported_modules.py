"""The conftest of every project: each process notes which heavy modules it had imported when it ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "torch", "torchvision")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave a file with one module a line."""
    notes = Path(config.rootpath, "imported")
    notes.mkdir(exist_ok=True)
    (notes / str(os.getpid())).write_text("\n".join(name for name in HEAVY if name in sys.modules))
