"""The output of ``biastransfer scan`` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.display.content import control_text
from pytest_biastransfer.reporting.performance import performance_of
from pytest_biastransfer.reporting.ranking import ranking_lines
from pytest_biastransfer.reporting.summary_table import performance_rows
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.search.ranking import Ranked
    from pytest_biastransfer.search.scan import ScanResults
    from pytest_biastransfer.search.severity_effect import SeverityEffect


def results_lines(results: ScanResults, width: int) -> list[str]:
    """Return the results for a terminal of `width` columns.

    These are the ranking, the skipped interventions with the reason, and the models' performance on clean images.
    """
    ranking = ranking_lines(results.ranking.entries, width) if results.measured else []
    skipped = [f"  {intervention.name}: {intervention.reason}" for intervention in results.skipped]
    performances = [performance_of(measurement) for measurement in results.performances]
    performance_lines = [f"{line.text}{line.verdict}" for line in performance_rows(performances, width)]
    return [*ranking, *(["", "not measured:", *skipped] if skipped else []), "", *performance_lines]


def severity_lines(effects: Sequence[SeverityEffect], limit: float) -> list[str]:
    """Return the table of corruptions by severity; empty if there are none.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> from pytest_biastransfer.search.severity_effect import SeverityEffect
    >>> mean = Estimate(0.112, low=0.1, high=0.13)
    >>> blur = SeverityEffect("gaussian_blur", "sigma", [0.004, 0.009], [0.02, 0.204], "asr", mean)
    >>> for line in severity_lines([blur], 0.1):
    ...     print(line)
    severity       1      2      mean   asr above 0.1 from
    gaussian_blur  0.020  0.204  0.112  severity 2 (sigma 0.009)
    """
    if not effects:
        return []
    severities = [str(number) for number in range(1, len(effects[0].asr) + 1)]
    headings = ["severity", *severities, "mean", f"asr above {limit:g} from"]
    rows = [headings, *(_severities(effect, limit) for effect in effects)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _severities(effect: SeverityEffect, limit: float) -> list[str]:
    first = effect.first_above(limit)
    place = "none" if first is None else f"severity {first} ({effect.field} {effect.strengths[first - 1]:g})"
    mean = sum(effect.asr) / len(effect.asr)
    return [effect.name, *(f"{asr:.3f}" for asr in effect.asr), f"{mean:.3f}", place]


def sentence(results: ScanResults, info: ScanInfo) -> str:
    """Return the sentence with the numbers of interventions, evaluated images and reused predictions."""
    compared = f", beside the {control_text(info.control)}" if info.control else ""
    return (
        f"{counted(len(results.measured), 'intervention')}{_ladders_text(results)}, "
        f"{info.model} on {info.images}{compared}: "
        f"{results.computed:,} images evaluated, {results.reused:,} predictions reused"
    )


def _ladders_text(results: ScanResults) -> str:
    return f" and {counted(len(results.ladders), 'ladder')} of severities" if results.ladders else ""


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
