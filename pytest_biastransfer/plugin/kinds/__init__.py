"""The kinds of bias tests: an intervention, a gap between groups, a search. One module a kind, one protocol for all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.names import GAP_MARKER, INTERVENTION_MARKER, SEARCH_MARKER

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.plugin.kinds.protocol import MeasuredTest, TestInputs

# The module of each marker's tests, which has a function `measure`; imported when a test of that kind runs.
_MODULES: Final = {INTERVENTION_MARKER: "intervention", GAP_MARKER: "gap", SEARCH_MARKER: "search"}


def measure(inputs: TestInputs, case: Case) -> MeasuredTest:
    """Measure what a case declares, of whichever kind it is."""
    module = importlib.import_module(f"{__name__}.{_MODULES[case.marker]}")
    test: MeasuredTest = module.measure(inputs, case)
    return test
