"""The result of a search as text: how the worst intervention was found, and the marker that tests it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, INTERVENTION_MARKER, MODEL_FIXTURE

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.cases import SearchCase
    from pytest_biastransfer.search.search_result import SearchResult


def search_text(searched: SearchResult, case: SearchCase) -> str:
    """Return how the worst intervention was found, the path of its picture, and a marker to paste."""
    outcome, trial = searched.outcome, searched.trial
    observed = f"{case.metric} {trial.value:.3f} on {searched.images:,} images"
    if outcome.first is None:
        lines = [f"  found     as the worst of {outcome.searching}, none significantly above the limit; {observed}"]
    else:
        is_simplified = trial == outcome.simplest and trial != outcome.first
        simplified = (
            f"simplified with {outcome.searching - outcome.first.number + outcome.shrinking} more"
            if is_simplified
            else "as it is"
        )
        lines = [f"  found     at evaluation {outcome.first.number} of {case.budget}, {simplified}; {observed}"]
    if searched.picture is not None:
        lines.append(f"  picture   {_relative(searched.picture)}")
    lines += [
        f"  seed      {case.seed}; bias_search(..., seed={case.seed + 1}) searches elsewhere",
        "",
        "  To keep it as a test of its own, paste",
        f"    {marker_text(searched, case)}",
    ]
    # Pasted, the declaration of a function would not be valid Python.
    if "Custom(" in lines[-1]:
        lines[-2:] = ["  A function is not part of its declaration's text: to keep this one as a test, give it a name."]
    return "\n".join(lines)


def marker_text(searched: SearchResult, case: SearchCase) -> str:
    """Return the marker that tests the worst intervention; keywords with their default are left out."""
    arguments = [repr(searched.trial.intervention)]
    arguments += [f"model={case.model!r}"] * (case.model != MODEL_FIXTURE)
    arguments += [f"dataset={case.dataset!r}"] * (case.dataset != DATASET_FIXTURE)
    arguments += [f"control={case.control!r}"] * (case.control not in (None, CONTROL_FIXTURE))
    for keyword, classes in (("positive", case.expectation.positive), ("target", case.expectation.target)):
        arguments += [f"{keyword}={(classes[0] if len(classes) == 1 else list(classes))!r}" for _ in classes[:1]]
    arguments += [f"max_{case.metric}={case.limit!r}"]
    arguments += [f"confidence={case.expectation.confidence!r}"] * (case.expectation.confidence != 0.95)
    return f"@pytest.mark.{INTERVENTION_MARKER}({', '.join(arguments)})"


def _relative(path: Path) -> str:
    """Return a path relative to the current directory if it is inside."""
    directory = Path.cwd()
    return (path.relative_to(directory) if path.is_relative_to(directory) else path).as_posix()
