"""The parts of a test's name: file, test function, and case, which is the intervention or the gap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.report import Result

# What the key of a baseline appends to a case: the fixtures that are not the default ones, and the target.
_QUALIFIERS: Final = re.compile(r" (?=[a-z_]+=)")


@dataclass(frozen=True)
class NameParts:
    """The parts of a name; `case` is empty if the name has no brackets, and `file` if it has no colons."""

    file: str
    function: str
    case: str


def name_parts(tests: Sequence[Result]) -> Sequence[NameParts]:
    """Return the parts of each test's name.

    The key of the baseline tells the case from the other parameters of a test. A test that was not measured has none;
    its case is found among those of the other tests, or is all that is in brackets. A function that has several models
    or targets is divided by them.
    """
    keys = [(_function(test.key), *_split(test.key[1])) for test in tests if test.key]
    qualifiers: dict[str, set[str]] = {}
    for function, _, qualifier in keys:
        qualifiers.setdefault(function, set()).add(qualifier)
    divided = {function for function, different in qualifiers.items() if len(different) > 1}
    cases = sorted({case for _, case, _ in keys})
    models = {qualifier for _, _, qualifier in keys if qualifier.startswith("model=")}
    return [
        _of_key(test.name, test.key, divided) if test.key else _of_name(test.name, cases, models, divided)
        for test in tests
    ]


def _function(key: Sequence[str]) -> str:
    # The key's path is relative to the baseline, the name's to the directory that pytest was started in.
    return key[0].partition("::")[2] or key[0]


def _split(case: str) -> tuple[str, str]:
    """Return the intervention or the gap of a key's case, and its qualifiers.

    >>> _split("yellow-square model=resnet target=dog")
    ('yellow-square', 'model=resnet target=dog')
    """
    name, *qualifiers = _QUALIFIERS.split(case)
    return name, " ".join(qualifiers)


def _of_key(name: str, key: Sequence[str], divided: set[str]) -> NameParts:
    function, (case, qualifiers) = _function(key), _split(key[1])
    if function in divided and qualifiers:
        function = f"{function} {qualifiers}"
    return NameParts(name.partition("::")[0], function, case)


def _of_name(name: str, cases: Sequence[str], models: set[str], divided: set[str]) -> NameParts:
    file, colons, rest = name.partition("::")
    if not colons:
        file, rest = "", name
    function, bracket, inside = rest.partition("[")
    inside = inside.removesuffix("]")
    for case in cases:
        for other in (inside.removesuffix(f"-{case}"), inside.removeprefix(f"{case}-")):
            # The id of a case ends in the fixture of its model, if that is not the default one.
            if f"model={other}" in models:
                return NameParts(file, f"{function} model={other}" if function in divided else function, case)
            if other != inside:
                return NameParts(file, f"{function}[{other}]", case)
    return NameParts(file, function, inside if bracket else "")
