"""The output of ``biastransfer scan`` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.reporting.performance import performance_of
from pytest_biastransfer.reporting.ranking import ranking_lines
from pytest_biastransfer.reporting.summary_table import performance_rows
from pytest_biastransfer.reporting.wording import counted
from pytest_biastransfer.search.ranking import worst_first

if TYPE_CHECKING:
    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.search.ranking import Ranked
    from pytest_biastransfer.search.scan import ScanResults


def results_lines(results: ScanResults, width: int) -> list[str]:
    """Return the results for a terminal of `width` columns.

    These are the ranking, the skipped interventions with the reason, and the models' performance on clean images.
    """
    ranking = ranking_lines(worst_first(results.measured), width) if results.measured else []
    skipped = [f"  {intervention.name}: {intervention.reason}" for intervention in results.skipped]
    performances = [performance_of(measurement) for measurement in results.performances]
    performance_lines = [f"{line.text}{line.verdict}" for line in performance_rows(performances, width)]
    return [*ranking, *(["", "not measured:", *skipped] if skipped else []), "", *performance_lines]


def sentence(results: ScanResults, info: ScanInfo) -> str:
    """Return the sentence with the numbers of interventions, evaluated images and reused predictions."""
    compared = f", beside the control {info.control}" if info.control else ""
    return (
        f"{counted(len(results.measured), 'intervention')}, {info.model} on {info.images}{compared}: "
        f"{results.computed:,} images evaluated, {results.reused:,} predictions reused"
    )


def unheld_lines(ranking: Sequence[Ranked]) -> list[str]:
    """Return the sentence about the interventions that no limit can hold; empty if there are none."""
    from pytest_biastransfer.cli.generated_tests import is_held

    unheld = [effect for effect in ranking if not is_held(effect)]
    if not unheld:
        return []
    names = ", ".join(f"{effect.name} ({effect.metric} {effect.figure:.3f})" for effect in unheld)
    return [
        f"no limit can hold {names}: expected to fail (xfail, strict), "
        f"so that {'it turns' if len(unheld) == 1 else 'they turn'} red when the model gets better"
    ]


def interrupted_sentence(results: ScanResults, store: Path | None) -> str:
    """Return the sentence about an interrupted scan: how many interventions are done, and whether it can continue."""
    done = len(results.measured) + len(results.skipped)
    storage = (
        "their predictions are stored" if store else "nothing is stored, because pytest has no cache here (--store=DIR)"
    )
    return (
        f"interrupted after {done} of {counted(results.interventions, 'intervention')}, no tests are written; "
        f"{storage}: "
        f"type the same command to {'continue' if store else 'start again'}"
    )
