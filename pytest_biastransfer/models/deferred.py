"""What is known of the model of a spec from an earlier session, so that it need not be loaded to be told.

A model that is made of a file of weights and of code is the same one as long as these are, and all else that was
read when it was loaded: files, directories and environment variables.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pytest_biastransfer.errors import BiasTransferError, ModelError
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.fingerprints.imports import module_named
from pytest_biastransfer.fingerprints.observation import (
    Reads,
    is_of_a_library,
    observing,
    reads_below_python,
    reads_of_imports,
    variable,
)
from pytest_biastransfer.fingerprints.source_code import libraries, records, user_files, user_modules, versions
from pytest_biastransfer.models.model import Model, with_spec
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.scheme import PluginLoader, no_plugin
from pytest_biastransfer.specs.class_order import ClassOrder
from pytest_biastransfer.specs.python_factory import importable_beside
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.models.scheme import Parts
    from pytest_biastransfer.store import Facts

# What every loaded model rests on.
_ALWAYS: Final = ("pytest-biastransfer", "torch", "torchvision")


def _is_preprocess(parts: Mapping[str, Any]) -> bool:
    try:
        Preprocess(**parts)
    except (TypeError, ValueError, BiasTransferError):
        return False
    return True


class Description(TypedDict):
    """What `DeferredModel.of` makes a model of, beside its name."""

    fingerprint: Digest
    preprocess: Annotated[dict[str, Any], _is_preprocess]
    classes: list[str] | None


class _Known(Description):
    name: str
    class_order: ClassOrder | None
    # None for what was looked for and is not there.
    files: dict[str, Digest | None]
    variables: dict[str, Digest | None]
    modules: dict[str, str | None]
    libraries: dict[str, str | None]
    types: dict[str, Digest]
    listings: dict[str, list[str]]


class DeferredModel(Model):
    """A model that is loaded when its module is first asked for."""

    _load: Callable[[], Model]
    _known_fingerprint: str
    _is_untouched: Callable[[], bool]

    @classmethod
    def of(
        cls, known: Mapping[str, Any], load: Callable[[], Model], is_untouched: Callable[[], bool] = lambda: True
    ) -> DeferredModel:
        """Return the model that `_description` described.

        `is_untouched` tells whether nobody can have changed its code in this process.
        """
        model = object.__new__(cls)
        values = {
            "preprocess": Preprocess(**known["preprocess"]),
            "classes": None if known["classes"] is None else tuple(known["classes"]),
            "name": known["name"],
            "class_order": known.get("class_order"),
            "_load": load,
            "_known_fingerprint": known["fingerprint"],
            "_is_untouched": is_untouched,
        }
        vars(model).update(values)
        return model

    @functools.cached_property
    def module(self) -> torch.nn.Module:
        """The module, loaded now."""
        loaded = self._load()
        # Predictions are kept under what was known: weights that a training job writes now are another model's.
        if loaded.fingerprint != self._known_fingerprint:
            raise ModelError(f"model {self.name}: has changed since the tests began; run them again")
        return loaded.module

    def __reduce__(self) -> tuple[Any, ...]:
        # How it is loaded cannot be sent to another process, so a plain model is sent.
        return Model, (self.module, self.preprocess, self.classes, self.name, self.class_order)

    @property
    def is_loaded(self) -> bool:
        """Whether the module was asked for."""
        return "module" in vars(self)

    @property
    def fingerprint(self) -> str:
        """Hash of the module's content; it is loaded for it if somebody may have changed its code."""
        if "module" not in vars(self) and not self._is_untouched():
            vars(self)["module"] = self._load().module
        return super().fingerprint if "module" in vars(self) else self._known_fingerprint


def model_of_spec(text: str, directory: Path, facts: Facts, others: PluginLoader = no_plugin) -> Model:
    """Return the model that a spec string names, not loaded yet if it is known from an earlier session.

    Raises what `load_model` raises.
    """
    spec = Spec.parse(text, directory)

    def load() -> Model:
        from pytest_biastransfer.models.loading import load_model

        return load_model(spec, others=others)

    key = fingerprint("model", text, str(directory.absolute()), versions(_ALWAYS), sys.version)
    known = facts.get(key, _Known)
    if known is not None and _is_unchanged(known, spec, facts):
        return with_spec(DeferredModel.of(known, load, lambda: _is_untouched(known)), spec)
    from pytest_biastransfer.models.loading import made_of

    parts = made_of(spec, others)
    if parts is None:
        return load()
    # Before loading: if a file changes meanwhile, the model is not known to be made of it.
    digests = {str(file): facts.digest(file) for file in parts.files if file.is_file()}
    listings = {str(place): _listing(place) for place in parts.directories}
    with observing() as reads:
        model = with_spec(load(), spec)
    if len(digests) == len(parts.files):
        _note(key, model, digests, listings, parts, reads, facts)
    return model


def _note(
    key: str,
    model: Model,
    files: dict[str, str],
    listings: dict[str, list[str]],
    parts: Parts,
    reads: Reads,
    facts: Facts,
) -> None:
    """Keep what the model is, and all that this rests on, unless it may rest on more than can be told."""
    modules = {*parts.modules, *(type(part).__module__ for part in model.module.modules())}
    code = user_modules({*modules, *reads.modules})
    imports = reads_of_imports(code)
    if imports is None or not _is_made_of_its_file(model.module):
        return
    reads |= imports
    own = {str(file): facts.digest(file) for file in user_files(code)}
    others = reads.files_besides([*files, *own])
    if others is None or reads.elsewhere or reads_below_python(map(Path, own)):
        return
    try:
        content = model.fingerprint
        places = {place: _listing(Path(place)) for place in reads.directories if not is_of_a_library(place)}
    except (NotFingerprintableError, OSError):
        return
    classes = {type(part) for part in model.module.modules()}
    known = {
        "fingerprint": content,
        "preprocess": dataclasses.asdict(model.preprocess),
        "classes": model.classes,
        "name": model.name,
        "class_order": model.class_order,
        "files": files | own | others,
        "variables": reads.variables,
        "modules": {name: module.file for name, module in code.items()},
        "libraries": libraries({*modules, *code}) | records(getattr(model.module, "runtimes", ())),
        "types": {f"{kind.__module__}:{kind.__qualname__}": fingerprint(kind) for kind in classes},
        "listings": places | listings,
    }
    facts.put(key, known)


def _is_unchanged(known: Mapping[str, Any], spec: Spec, facts: Facts) -> bool:
    try:
        files = all(_digest(Path(file), facts) == digest for file, digest in known["files"].items())
        files = files and all(_listing(Path(place)) == names for place, names in known["listings"].items())
    except OSError:
        return False
    return (
        files
        and all(variable(name) == value for name, value in known["variables"].items())
        and records(known["libraries"]) == known["libraries"]
        and _is_untouched(known)
        and _are_found_again(known["modules"], spec)
    )


def _is_untouched(known: Mapping[str, Any]) -> bool:
    """Whether none of the code was imported, as it may have been patched, and what was of the libraries is not."""
    if known["modules"].keys() & sys.modules.keys():
        return False
    for name, content in known["types"].items():
        module, _, path = name.partition(":")
        if module in sys.modules and fingerprint(_member(sys.modules[module], path)) != content:
            return False
    return True


def _member(module: object, path: str) -> object:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _are_found_again(modules: Mapping[str, str | None], spec: Spec) -> bool:
    """Whether an import of the model's modules would give the same files."""
    with importable_beside(spec):
        reached = {name: module_named(name) for name in modules}
    return all(module is not None and module.file == modules[name] for name, module in reached.items())


def _digest(file: Path, facts: Facts) -> str | None:
    return facts.digest(file) if file.exists() else None


def _listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _is_made_of_its_file(module: torch.nn.Module) -> bool:
    """Whether all tensors come from the file of weights: others may have been drawn at random."""
    import torch

    from pytest_biastransfer.models.file_program import FileProgram

    if isinstance(module, FileProgram):
        return True
    state = module.state_dict()
    attributes = (value for part in module.modules() for value in vars(part).values())
    return all(name in state for name, _ in module.named_buffers()) and not any(
        isinstance(value, torch.Tensor) for value in attributes
    )
