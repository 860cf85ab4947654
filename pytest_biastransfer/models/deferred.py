"""Caches the fingerprints of models across sessions, so that a model need not be loaded to be identified.

A model depends on its file of weights, its code, and everything that was read while it was loaded: files, directories
and environment variables. As long as all of these are unchanged, so is the model.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.fingerprints.observation import observing, reads_of_imports
from pytest_biastransfer.fingerprints.reads import NotComparableError, Reads, is_of_a_library
from pytest_biastransfer.fingerprints.source_code import libraries, records, user_files, user_modules, versions
from pytest_biastransfer.models.known_description import KnownDescription, change_since, is_untouched, listing
from pytest_biastransfer.models.loading_reasons import (
    NEEDED,
    NO_STORE,
    PATCHED,
    Listener,
    LoadingReason,
    below_python,
    changing_file,
    no_listener,
    uncomparable,
    what_changed,
)
from pytest_biastransfer.models.model import Model, with_spec
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.models.thresholds import DEFAULT
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.progress.activities import reported
from pytest_biastransfer.specs.plugin_loader import PluginLoader, no_plugin
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.fingerprints.imports import Module
    from pytest_biastransfer.models.scheme import Sources
    from pytest_biastransfer.store import Facts

# The distributions that every loaded model depends on.
_ALWAYS: Final = ("pytest-biastransfer", "torch", "torchvision")


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
            "output": description.get("output"),
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
        names = [field.name for field in dataclasses.fields(Model) if field.init]
        return Model, tuple(getattr(self, name) for name in names), {"has_known_logits": self.has_known_logits}

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


def model_of_spec(
    text: str,
    directory: Path,
    facts: Facts,
    plugins: PluginLoader = no_plugin,
    listener: Listener = no_listener,
) -> Model:
    """Return the model that a spec string names; it is not loaded if an earlier session has cached its fingerprint.

    The `listener` is told why it was loaded, now or later. Raises the errors of `load_model`.
    """
    spec = Spec.parse(text, directory)

    def load() -> Model:
        from pytest_biastransfer.models.loading import load_model

        return load_model(spec, plugins=plugins, facts=facts)

    # Outside of what is observed to read files: a report may be written to one.
    task = f"loading {in_one_line(text.partition('?')[0])}"
    environment = {**versions(_ALWAYS), "Python": sys.version}
    question = (text, str(directory.absolute()))
    key = fingerprint("model", *question, environment)
    known = facts.get(key, KnownDescription)
    change = None if known is None else change_since(known, spec, facts)
    if known is not None and change is None:

        def load_later() -> Model:
            listener(deferred, NEEDED if is_untouched(known) else PATCHED)
            with reported(task):
                return load()

        deferred = DeferredModel.of(known, load_later, lambda: is_untouched(known))
        return with_spec(deferred, spec)
    last = fingerprint("model's environment", *question)
    before = facts.get(last, dict[str, str | None])
    reason = what_changed(environment, before) if change is None else LoadingReason(change)
    with reported(task):
        model, obstacle = _loaded(spec, load, plugins, facts, key) if facts.are_kept else (load(), None)
    # After the description, for other processes that load the same model now.
    if before != environment:
        facts.put(last, environment)
    if not facts.are_kept:
        reason = NO_STORE
    elif obstacle is not None:
        reason = LoadingReason(obstacle, lasts=True)
    listener(model, reason)
    return model


def _loaded(
    spec: Spec, load: Callable[[], Model], plugins: PluginLoader, facts: Facts, key: str
) -> tuple[Model, str | None]:
    """Load a model and cache its description; return what speaks against the latter, too."""
    from pytest_biastransfer.models.loading import sources_of

    try:
        sources = sources_of(spec, plugins)
    except NotRecognizableError as error:
        return load(), str(error)
    # Digests are taken before loading: a file that changes in between then never matches the loaded model.
    digests = {str(file): facts.digest(file) for file in sources.files if file.is_file()}
    listings = {str(directory): listing(directory) for directory in sources.directories}
    with observing() as reads:
        model = with_spec(load(), spec)
    # Otherwise one has been downloaded.
    if len(digests) == len(sources.files):
        try:
            facts.put(key, _description(model, digests, listings, sources, reads, facts))
        except NotRecognizableError as error:
            return model, str(error)
    return model, None


def _description(
    model: Model,
    files: dict[str, str],
    listings: dict[str, list[str]],
    sources: Sources,
    reads: Reads,
    facts: Facts,
) -> dict[str, Any]:
    """Return the model's description and everything that it depends on.

    Raises `NotRecognizableError` if some dependency cannot be checked.
    """
    kinds = {type(layer) for layer in model.module.modules()}
    modules = {*(name.partition(":")[0] for name in sources.modules), *(kind.__module__ for kind in kinds)}
    code = user_modules({*modules, *reads.modules})
    code_files = {str(file): facts.digest(file) for file in user_files(code)}
    directory = model.spec.directory if model.spec is not None else Path()
    unsaved = _unsaved_tensor(model.module)
    if unsaved is not None:
        raise NotRecognizableError(f"{unsaved} is a tensor that its file of weights does not have")
    reads |= _reads_of_imports(code)
    read = _read_files(reads, [*files, *code_files], directory)
    _require_all_seen(reads, code, _objects(sources, kinds, code), directory)
    try:
        content = model.fingerprint
    except NotFingerprintableError as error:
        raise NotRecognizableError(f"its content cannot be told: it holds {error}") from error
    return {
        "fingerprint": content,
        "preprocess": dataclasses.asdict(model.preprocess),
        "classes": model.classes,
        "name": model.name,
        "class_order": model.class_order,
        "outputs": model.outputs,
        "threshold": dict(model.threshold) if isinstance(model.threshold, Mapping) else model.threshold,
        "output": model.output,
        "files": files | code_files | read,
        "read": list(read),
        "variables": reads.variables,
        "modules": {name: module.file for name, module in code.items()},
        "libraries": libraries({*modules, *code}) | records(getattr(model.module, "runtimes", ())),
        "types": {f"{kind.__module__}:{kind.__qualname__}": fingerprint(kind) for kind in kinds},
        "listings": _read_listings(reads) | listings,
    }


def _reads_of_imports(code: Iterable[str]) -> Reads:
    try:
        return reads_of_imports(code)
    except NotComparableError as error:
        raise NotRecognizableError(
            f"its module {error.subject} was imported before, such as by a conftest.py, so what it reads is not known"
        ) from error


def _read_files(reads: Reads, covered: Collection[str], directory: Path) -> dict[str, str | None]:
    try:
        return reads.files_besides(covered)
    except NotComparableError as error:
        raise NotRecognizableError(changing_file(reads, error.subject, directory)) from error


def _read_listings(reads: Reads) -> dict[str, list[str]]:
    own = [directory for directory in reads.directories if not is_of_a_library(directory)]
    try:
        return {directory: listing(Path(directory)) for directory in own}
    except OSError as error:
        raise NotRecognizableError(f"its code lists {error.filename}, which has gone") from error


def _require_all_seen(reads: Reads, code: Mapping[str, Module], objects: Iterable[str], directory: Path) -> None:
    """Raise `NotRecognizableError` if code reads more than can be compared, or may read what is not reported."""
    if reads.elsewhere:
        raise NotRecognizableError(uncomparable(reads, directory))
    from pytest_biastransfer.fingerprints.unseen_reads import unseen_read

    mention = unseen_read(code, objects)
    if mention is not None:
        raise NotRecognizableError(below_python(mention, directory))


def _objects(sources: Sources, kinds: Iterable[type], code: Collection[str]) -> set[str]:
    """Return the classes and functions of the user's that a model is made of, as `unseen_read` takes them."""
    bases = {base for kind in kinds for base in kind.__mro__ if base.__module__ in code}
    return {*sources.modules, *(f"{base.__module__}:{base.__qualname__}" for base in bases)}


def _unsaved_tensor(module: torch.nn.Module) -> str | None:
    """Return the name of a tensor that is not from the file of weights: it may be initialized at random."""
    import torch

    from pytest_biastransfer.models.file_program import FileProgram

    if isinstance(module, FileProgram):
        return None
    state = module.state_dict()
    names = [name for name, _ in module.named_buffers() if name not in state]
    names += [
        f"{path}.{name}".lstrip(".")
        for path, layer in module.named_modules()
        for name, value in vars(layer).items()
        if isinstance(value, torch.Tensor)
    ]
    return names[0] if names else None
