"""The description of a model that an earlier session has loaded, and whether it still holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.imports import module_named
from pytest_biastransfer.fingerprints.reads import variable
from pytest_biastransfer.fingerprints.source_code import container_of, records
from pytest_biastransfer.models.loading_reasons import changed_file
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.names import Outputs
from pytest_biastransfer.specs.class_order import ClassOrder
from pytest_biastransfer.specs.python_factory import importable_beside
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    from pytest_biastransfer.specs.spec import Spec
    from pytest_biastransfer.store import Facts


def _is_preprocess(fields: Mapping[str, Any]) -> bool:
    try:
        Preprocess(**fields)
    except (TypeError, ValueError, BiasTransferError):
        return False
    return True


class Description(TypedDict):
    """The fields from which `DeferredModel.of` makes a model, besides its name."""

    fingerprint: Digest
    preprocess: Annotated[dict[str, Any], _is_preprocess]
    classes: list[str] | None


class KnownDescription(Description):
    """A description with everything that the model depends on."""

    name: str
    class_order: ClassOrder | None
    outputs: Outputs
    threshold: float | dict[str, float] | Literal["prevalence"]
    output: str | None
    # The digest is None for a file or variable that was looked for and does not exist.
    files: dict[str, Digest | None]
    # Those of the files that code has read.
    read: list[str]
    variables: dict[str, Digest | None]
    modules: dict[str, str | None]
    libraries: dict[str, str | None]
    types: dict[str, Digest]
    listings: dict[str, list[str]]


def change_since(known: Mapping[str, Any], spec: Spec, facts: Facts) -> str | None:
    """Return what has changed since a model was described, as part of a sentence; None if nothing has."""
    return next(_changes(known, spec, facts), None)


def is_untouched(known: Mapping[str, Any]) -> bool:
    """Whether none of the user's modules is imported, as it may be patched, and no library class is patched."""
    return next(_touched(known), None) is None


def listing(directory: Path) -> list[str]:
    """Return the names of a directory's entries."""
    return sorted(path.name for path in directory.iterdir())


def _changes(known: Mapping[str, Any], spec: Spec, facts: Facts) -> Iterator[str]:
    directory = spec.directory
    for file, digest in known["files"].items():
        path = Path(file)
        try:
            is_same = _digest(path, facts) == digest
        except OSError:
            is_same = False
        if not is_same:
            code = {str(container_of(module)) for module in known["modules"].values() if module}
            yield changed_file(file, path.exists(), code, known["read"], directory)
    for name, entries in known["listings"].items():
        try:
            is_same = listing(Path(name)) == entries
        except OSError:
            is_same = False
        if not is_same:
            yield f"the entries of {name} changed"
    for name, value in known["variables"].items():
        if variable(name) != value:
            yield f"the environment variable {name} changed, which its code reads"
    for name, record in records(known["libraries"]).items():
        if record != known["libraries"][name]:
            yield f"another {name} is installed than when it was measured"
    yield from _touched(known)
    yield from _other_imports(known["modules"], spec)


def _touched(known: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(known["modules"].keys() & sys.modules.keys()):
        yield f"its module {name} was imported before, such as by a conftest.py, and may have been changed"
    for name, content in known["types"].items():
        module, _, path = name.partition(":")
        if module in sys.modules and fingerprint(_member(sys.modules[module], path)) != content:
            yield f"{module}.{path} was changed in this session"


def _member(module: object, path: str) -> object:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _other_imports(modules: Mapping[str, str | None], spec: Spec) -> Iterator[str]:
    """Yield the modules that importing the model's code would load from another file."""
    with importable_beside(spec):
        current = {name: module_named(name) for name in modules}
    for name, module in current.items():
        if module is None or module.file != modules[name]:
            yield f"import {name} finds another file"


def _digest(file: Path, facts: Facts) -> str | None:
    return facts.digest(file) if file.exists() else None
