"""The kinds of bias tests: intervention, ladder, gap of groups, search. One module a kind, one protocol for all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs


def measure(inputs: TestInputs, case: Case) -> MeasuredTest:
    """Measure what a case declares, of whichever kind it is."""
    # The module of a kind has a function `measure`, and is imported when a test of that kind runs.
    module = importlib.import_module(f"{__name__}.{case.kind}")
    test: MeasuredTest = module.measure(inputs, case)
    return test
