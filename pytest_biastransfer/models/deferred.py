"""Caches the fingerprints of models across sessions, so that a model need not be loaded to be identified.

A model depends on its file of weights, its code, and everything that was read while it was loaded: files, directories
and environment variables. As long as all of these are unchanged, so is the model.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict

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
from pytest_biastransfer.models.thresholds import DEFAULT
from pytest_biastransfer.names import Outputs
from pytest_biastransfer.specs.class_order import ClassOrder
from pytest_biastransfer.specs.plugin_loader import PluginLoader, no_plugin
from pytest_biastransfer.specs.python_factory import importable_beside
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.models.scheme import Sources
    from pytest_biastransfer.store import Facts

# The distributions that every loaded model depends on.
_ALWAYS: Final = ("pytest-biastransfer", "torch", "torchvision")


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


class _CachedModel(Description):
    name: str
    class_order: ClassOrder | None
    outputs: Outputs
    threshold: float | dict[str, float] | Literal["prevalence"]
    # The digest is None for a file or variable that was looked for and does not exist.
    files: dict[str, Digest | None]
    variables: dict[str, Digest | None]
    modules: dict[str, str | None]
    libraries: dict[str, str | None]
    types: dict[str, Digest]
    listings: dict[str, list[str]]


class DeferredModel(Model):
    """A model that is loaded at the first use of its module."""

    _load: Callable[[], Model]
    _cached_fingerprint: str
    _is_untouched: Callable[[], bool]

    @classmethod
    def of(
        cls, description: Mapping[str, Any], load: Callable[[], Model], is_untouched: Callable[[], bool] = lambda: True
    ) -> DeferredModel:
        """Return the model of a `Description` with a name.

        `is_untouched` tells whether the model's code cannot have been changed in this process.
        """
        model = object.__new__(cls)
        values = {
            "preprocess": Preprocess(**description["preprocess"]),
            "classes": None if description["classes"] is None else tuple(description["classes"]),
            "name": description["name"],
            "class_order": description.get("class_order"),
            "outputs": description.get("outputs", "softmax"),
            "threshold": description.get("threshold", DEFAULT),
            "has_known_logits": description.get("has_known_logits", False),
            "_load": load,
            "_cached_fingerprint": description["fingerprint"],
            "_is_untouched": is_untouched,
        }
        vars(model).update(values)
        return model

    @functools.cached_property
    def module(self) -> torch.nn.Module:
        """The module; it is loaded at the first access."""
        loaded = self._load()
        # Predictions are stored under the cached fingerprint. A training job may have overwritten the weights since.
        if loaded.fingerprint != self._cached_fingerprint:
            raise ModelError(f"model {self.name}: has changed since the tests began; run them again")
        return loaded.module

    def __reduce__(self) -> tuple[Any, ...]:
        # How it is loaded cannot be sent to another process, so a plain model is sent.
        fields = (self.module, self.preprocess, self.classes, self.name, self.class_order, self.outputs, self.threshold)
        return Model, fields, {"has_known_logits": self.has_known_logits}

    @property
    def is_loaded(self) -> bool:
        """Whether the module is in memory."""
        return "module" in vars(self)

    @property
    def fingerprint(self) -> str:
        """Hash of the module's content; the module is loaded if its code may have been changed in this process."""
        if "module" not in vars(self) and not self._is_untouched():
            vars(self)["module"] = self._load().module
        return super().fingerprint if "module" in vars(self) else self._cached_fingerprint


def model_of_spec(text: str, directory: Path, facts: Facts, plugins: PluginLoader = no_plugin) -> Model:
    """Return the model that a spec string names; it is not loaded if an earlier session has cached its fingerprint.

    Raises the errors of `load_model`.
    """
    spec = Spec.parse(text, directory)

    def load() -> Model:
        from pytest_biastransfer.models.loading import load_model

        return load_model(spec, plugins=plugins)

    key = fingerprint("model", text, str(directory.absolute()), versions(_ALWAYS), sys.version)
    cached = facts.get(key, _CachedModel)
    if cached is not None and _is_unchanged(cached, spec, facts):
        return with_spec(DeferredModel.of(cached, load, lambda: _is_untouched(cached)), spec)
    from pytest_biastransfer.models.loading import sources_of

    sources = sources_of(spec, plugins)
    if sources is None:
        return load()
    # Digests are taken before loading: a file that changes in between then never matches the loaded model.
    digests = {str(file): facts.digest(file) for file in sources.files if file.is_file()}
    listings = {str(directory): _listing(directory) for directory in sources.directories}
    with observing() as reads:
        model = with_spec(load(), spec)
    if len(digests) == len(sources.files):
        _store_description(key, model, digests, listings, sources, reads, facts)
    return model


def _store_description(
    key: str,
    model: Model,
    files: dict[str, str],
    listings: dict[str, list[str]],
    sources: Sources,
    reads: Reads,
    facts: Facts,
) -> None:
    """Cache the model's description and everything that it depends on, unless some dependency cannot be checked."""
    modules = {*sources.modules, *(type(layer).__module__ for layer in model.module.modules())}
    code = user_modules({*modules, *reads.modules})
    imports = reads_of_imports(code)
    if imports is None or not _has_only_saved_tensors(model.module):
        return
    reads |= imports
    code_files = {str(file): facts.digest(file) for file in user_files(code)}
    other_files = reads.files_besides([*files, *code_files])
    if other_files is None or reads.elsewhere or reads_below_python(map(Path, code_files)):
        return
    try:
        content = model.fingerprint
        read_listings = {
            directory: _listing(Path(directory)) for directory in reads.directories if not is_of_a_library(directory)
        }
    except (NotFingerprintableError, OSError):
        return
    classes = {type(layer) for layer in model.module.modules()}
    description = {
        "fingerprint": content,
        "preprocess": dataclasses.asdict(model.preprocess),
        "classes": model.classes,
        "name": model.name,
        "class_order": model.class_order,
        "outputs": model.outputs,
        "threshold": dict(model.threshold) if isinstance(model.threshold, Mapping) else model.threshold,
        "files": files | code_files | other_files,
        "variables": reads.variables,
        "modules": {name: module.file for name, module in code.items()},
        "libraries": libraries({*modules, *code}) | records(getattr(model.module, "runtimes", ())),
        "types": {f"{kind.__module__}:{kind.__qualname__}": fingerprint(kind) for kind in classes},
        "listings": read_listings | listings,
    }
    facts.put(key, description)


def _is_unchanged(cached: Mapping[str, Any], spec: Spec, facts: Facts) -> bool:
    try:
        same_files = all(_digest(Path(file), facts) == digest for file, digest in cached["files"].items())
        same_files = same_files and all(
            _listing(Path(directory)) == names for directory, names in cached["listings"].items()
        )
    except OSError:
        return False
    return (
        same_files
        and all(variable(name) == value for name, value in cached["variables"].items())
        and records(cached["libraries"]) == cached["libraries"]
        and _is_untouched(cached)
        and _imports_are_same(cached["modules"], spec)
    )


def _is_untouched(cached: Mapping[str, Any]) -> bool:
    """Whether none of the user's modules is imported, as it may be patched, and no library class is patched."""
    if cached["modules"].keys() & sys.modules.keys():
        return False
    for name, content in cached["types"].items():
        module, _, path = name.partition(":")
        if module in sys.modules and fingerprint(_member(sys.modules[module], path)) != content:
            return False
    return True


def _member(module: object, path: str) -> object:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _imports_are_same(modules: Mapping[str, str | None], spec: Spec) -> bool:
    """Whether importing the model's modules would load the same files."""
    with importable_beside(spec):
        current = {name: module_named(name) for name in modules}
    return all(module is not None and module.file == modules[name] for name, module in current.items())


def _digest(file: Path, facts: Facts) -> str | None:
    return facts.digest(file) if file.exists() else None


def _listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _has_only_saved_tensors(module: torch.nn.Module) -> bool:
    """Whether all tensors come from the file of weights: other tensors may be initialized at random."""
    import torch

    from pytest_biastransfer.models.file_program import FileProgram

    if isinstance(module, FileProgram):
        return True
    state = module.state_dict()
    attributes = (value for layer in module.modules() for value in vars(layer).values())
    return all(name in state for name, _ in module.named_buffers()) and not any(
        isinstance(value, torch.Tensor) for value in attributes
    )
