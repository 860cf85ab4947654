"""The table, which a section of a Markdown file can hold as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.figures import Result

_HEADER = ("figure", "median", "beside", "ratio", "lowest to highest", "rounds", "must", "aim", "")
_SENSES = {"<=": "≤", ">=": "≥", "=": "="}


def markdown(machine: Mapping[str, str], command: str, found: Sequence[Result], remarks: Sequence[str]) -> str:
    """Return the command, the machine, the table and the remarks."""
    where = [f"- {name}: {text}" for name, text in machine.items()]
    return "\n".join([f"`{command}`", "", *where, "", *_table([_HEADER, *map(_row, found)]), "", *remarks, ""])


def _row(result: Result) -> tuple[str, ...]:
    figure = result.figure
    ratio = result.denominator is not None
    bounds = (min(result.values), max(result.values))
    return (
        figure.title,
        _quantity(result.numerator, figure.unit),
        "" if result.denominator is None else _quantity(result.denominator, figure.unit),
        f"{result.value:.2f}" if ratio else "",
        " to ".join(f"{bound:.2f}" if ratio else _quantity(bound, figure.unit) for bound in bounds),
        str(len(result.values)),
        *("" if target is None else f"{_SENSES[figure.sense]} {target:g}" for target in (figure.must, figure.aim)),
        result.verdict,
    )


def _quantity(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.2f} {unit}" if unit else f"{value:g}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
