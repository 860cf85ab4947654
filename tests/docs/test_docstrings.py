"""The examples in the docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import pytest_biastransfer

MODULES = [found.name for found in pkgutil.walk_packages(pytest_biastransfer.__path__, "pytest_biastransfer.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    failures, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failures == 0


def test_public_names_are_documented_with_an_example() -> None:
    missing = [
        name for name in pytest_biastransfer.__all__ if ">>>" not in (getattr(pytest_biastransfer, name).__doc__ or "")
    ]
    # Results are made by functions, which have the examples.
    results = ["GapMeasurement", "LadderMeasurement", "Measurement", "Ranking", "SearchResult"]
    assert missing == ["BiasTransferError", *results]
