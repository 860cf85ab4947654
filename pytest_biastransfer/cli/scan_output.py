"""What a scan says in the terminal."""

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
    """Return what there is to say for a terminal of `width` columns.

    That is the ranking, why interventions are missing in it, and how well the models do on images as they are.
    """
    ranking = ranking_lines(worst_first(results.measured), width) if results.measured else []
    skipped = [f"  {one.name}: {one.reason}" for one in results.skipped]
    performances = [performance_of(measurement) for measurement in results.performances]
    performance_lines = [f"{line.text}{line.verdict}" for line in performance_rows(performances, width)]
    return [*ranking, *(["", "not measured:", *skipped] if skipped else []), "", *performance_lines]


def sentence(results: ScanResults, scanned: ScanInfo) -> str:
    """Return the sentence that counts interventions, and predictions by where they came from."""
    compared = f", beside the control {scanned.control}" if scanned.control else ""
    return (
        f"{counted(len(results.measured), 'intervention')}, {scanned.model} on {scanned.images}{compared}: "
        f"{results.computed:,} images evaluated, {results.reused:,} predictions reused"
    )


def unheld_lines(ranking: Sequence[Ranked]) -> list[str]:
    """Return what is said of the interventions that no limit can hold."""
    from pytest_biastransfer.cli.generated_tests import is_held

    others = [one for one in ranking if not is_held(one)]
    if not others:
        return []
    names = ", ".join(f"{one.name} ({one.metric} {one.figure:.3f})" for one in others)
    return [
        f"no limit can hold {names}: expected to fail (xfail, strict), "
        f"so that {'it turns' if len(others) == 1 else 'they turn'} red when the model gets better"
    ]


def interrupted_sentence(results: ScanResults, store: Path | None) -> str:
    """Return the sentence that says how far it came, and what becomes of that."""
    done = len(results.measured) + len(results.skipped)
    kept = (
        "what was evaluated is kept" if store else "nothing is kept, because pytest keeps no cache here (--store=DIR)"
    )
    return (
        f"interrupted after {done} of {counted(results.interventions, 'intervention')}, no tests are written; {kept}: "
        f"type the same again to {'go on' if store else 'start anew'}"
    )
