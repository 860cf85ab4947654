"""The parts of a test's name: file, test function, and case, which is the intervention or the gap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    or targets is divided by them. A case has the id that the test's name has for it, unless that is of several cases.
    """
    keys = [(_function(test.key), *_split(test.key[1])) for test in tests if test.key]
    qualifiers: dict[str, set[str]] = {}
    for function, _, qualifier in keys:
        qualifiers.setdefault(function, set()).add(qualifier)
    divided = {function for function, different in qualifiers.items() if len(different) > 1}
    ids = _ids(tests)
    cases = sorted({ids.get(case, case) for _, case, _ in keys})
    models = {qualifier for _, _, qualifier in keys if qualifier.startswith("model=")}
    return [
        _of_key(test, test.key, divided, ids) if test.key else _of_name(test.name, cases, models, divided)
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


def _ids(tests: Sequence[Result]) -> Mapping[str, str]:
    """Return the ids of cases in the names of tests: they are shorter than the cases, or what a marker calls them.

    Left out are cases with several ids, and ids of several cases.
    """
    ids: dict[str, set[str]] = {}
    cases: dict[str, set[str]] = {}
    for test in tests:
        if test.key:
            case, qualifiers = _split(test.key[1])
            name = _id(test, case, qualifiers)
            ids.setdefault(case, set()).add(name)
            cases.setdefault(name, set()).add(case)
    return {case: name for case, names in ids.items() for name in names if len(names) == len(cases[name]) == 1}


def _id(test: Result, case: str, qualifiers: str) -> str:
    """Return what is in the brackets of a test's name, without other parameters and fixtures; the case if it is there.

    A fixture is a qualifier of the key, such as ``model=resnet``, and the end of the id, ``blur-resnet``.
    """
    inside = test.name.partition("[")[2].removesuffix("]")
    assert test.key is not None
    parameters = test.key[0].partition("[")[2].removesuffix("]")
    if parameters:
        inside = inside.removeprefix(f"{parameters}-").removesuffix(f"-{parameters}")
    for qualifier in reversed(_QUALIFIERS.split(qualifiers)):
        fixture = qualifier.partition("=")[2]
        inside = inside.removesuffix(f"-{fixture}") if fixture else inside
    return case if case in inside or not inside else inside


def _of_key(test: Result, key: Sequence[str], divided: set[str], ids: Mapping[str, str]) -> NameParts:
    function, (case, qualifiers) = _function(key), _split(key[1])
    if function in divided and qualifiers:
        function = f"{function} {qualifiers}"
    return NameParts(test.name.partition("::")[0], function, ids.get(case, case))


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
