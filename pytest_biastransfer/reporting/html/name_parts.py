"""The parts of a test's name: file, test function, and case, which is the intervention or the gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_biastransfer.reporting.report import Result


@dataclass(frozen=True)
class NameParts:
    """The parts of a name; `case` is empty if the name has no brackets, and `file` if it has no colons."""

    file: str
    function: str
    case: str


def name_parts(tests: Sequence[Result]) -> Sequence[NameParts]:
    """Return the parts of each test's name.

    The key of the baseline tells the case from the other parameters of a test. A test that was not measured has none;
    its case is found among those of the other tests, or is all that is in brackets.
    """
    cases = {test.key[1] for test in tests if test.key}
    return [_of_key(test.name, test.key) if test.key else _of_name(test.name, cases) for test in tests]


def _of_key(name: str, key: Sequence[str]) -> NameParts:
    # The key's path is relative to the baseline, the name's to the directory that pytest was started in.
    return NameParts(name.partition("::")[0], key[0].partition("::")[2] or key[0], key[1])


def _of_name(name: str, cases: set[str]) -> NameParts:
    file, colons, rest = name.partition("::")
    if not colons:
        file, rest = "", name
    function, bracket, inside = rest.partition("[")
    inside = inside.removesuffix("]")
    for case in sorted(cases):
        for other in (inside.removesuffix(f"-{case}"), inside.removeprefix(f"{case}-")):
            if other != inside:
                return NameParts(file, f"{function}[{other}]", case)
    return NameParts(file, function, inside if bracket else "")
