"""Finetuning in the test session: transferred models, and the biases that they inherit from their source.

Importing this package imports neither torch nor numpy: the names below are resolved at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.transfer.attribution import attribute_bias as attribute_bias
    from pytest_biastransfer.transfer.attribution_result import Attribution as Attribution
    from pytest_biastransfer.transfer.curation.combination import concat as concat
    from pytest_biastransfer.transfer.curation.combination import mixture as mixture
    from pytest_biastransfer.transfer.curation.combination import subset as subset
    from pytest_biastransfer.transfer.curation.contingency_table import contingency as contingency
    from pytest_biastransfer.transfer.curation.functions import balanced as balanced
    from pytest_biastransfer.transfer.curation.functions import of_classes as of_classes
    from pytest_biastransfer.transfer.curation.functions import plant as plant
    from pytest_biastransfer.transfer.curation.functions import reweighted as reweighted
    from pytest_biastransfer.transfer.curation.functions import with_correlation as with_correlation
    from pytest_biastransfer.transfer.curation.functions import with_share as with_share
    from pytest_biastransfer.transfer.dose_experiment import dose_response as dose_response
    from pytest_biastransfer.transfer.dose_result import DoseResponse as DoseResponse
    from pytest_biastransfer.transfer.dose_result import DoseResponses as DoseResponses
    from pytest_biastransfer.transfer.recipe import Recipe as Recipe
    from pytest_biastransfer.transfer.sweep_experiment import sweep as sweep
    from pytest_biastransfer.transfer.sweep_result import Sweep as Sweep
    from pytest_biastransfer.transfer.transfer_model import transfer as transfer

# The module of each public name.
_MODULES = {
    "Attribution": "attribution_result",
    "DoseResponse": "dose_result",
    "DoseResponses": "dose_result",
    "Recipe": "recipe",
    "Sweep": "sweep_result",
    "attribute_bias": "attribution",
    "balanced": "curation.functions",
    "concat": "curation.combination",
    "contingency": "curation.contingency_table",
    "dose_response": "dose_experiment",
    "mixture": "curation.combination",
    "of_classes": "curation.functions",
    "plant": "curation.functions",
    "reweighted": "curation.functions",
    "subset": "curation.combination",
    "sweep": "sweep_experiment",
    "transfer": "transfer_model",
    "with_correlation": "curation.functions",
    "with_share": "curation.functions",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
