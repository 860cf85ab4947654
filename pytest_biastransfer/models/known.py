"""What is known of the model of a spec from an earlier session, so that it need not be loaded to be told.

A model that is made of a file of weights and of code is the same one as long as these are.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pytest_biastransfer.class_order import ClassOrder
from pytest_biastransfer.errors import BiasTransferError, ModelError
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.fingerprints.source_code import libraries, reads_elsewhere, records, user_files, versions
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.others import Others, nobody_else
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.specs import Spec
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
    files: dict[str, Digest]
    libraries: dict[str, str | None]
    listings: dict[str, list[str]]


class DeferredModel(Model):
    """A model that is loaded when its module is first asked for."""

    _load: Callable[[], Model]
    _known_fingerprint: str

    @classmethod
    def of(cls, known: Mapping[str, Any], load: Callable[[], Model]) -> DeferredModel:
        """Return the model that `_description` described."""
        model = object.__new__(cls)
        values = {
            "preprocess": Preprocess(**known["preprocess"]),
            "classes": None if known["classes"] is None else tuple(known["classes"]),
            "name": known["name"],
            "class_order": known.get("class_order"),
            "_load": load,
            "_known_fingerprint": known["fingerprint"],
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

    @property
    def is_loaded(self) -> bool:
        """Whether the module was asked for."""
        return "module" in vars(self)

    @property
    def fingerprint(self) -> str:
        """Hash of the module's content; as long as it is not loaded, nobody can have changed it."""
        return super().fingerprint if "module" in vars(self) else self._known_fingerprint


def model_of_spec(text: str, directory: Path, facts: Facts, others: Others = nobody_else) -> Model:
    """Return the model that a spec string names, not loaded yet if it is known from an earlier session.

    Raises what `load_model` raises.
    """
    spec = Spec.parse(text, directory)

    def load() -> Model:
        from pytest_biastransfer.models.loading import load_model

        return load_model(spec, others=others)

    key = fingerprint("model", text, str(directory.absolute()), versions(_ALWAYS), sys.version)
    known = facts.get(key, _Known)
    if known is not None and _is_unchanged(known, facts):
        return DeferredModel.of(known, load)
    from pytest_biastransfer.models.loading import made_of

    parts = made_of(spec, others)
    if parts is None:
        return load()
    # Before loading: if a file changes meanwhile, the model is not known to be made of it.
    digests = {str(file): facts.digest(file) for file in parts.files if file.is_file()}
    model = load()
    if len(digests) == len(parts.files):
        _note(key, model, digests, parts, facts)
    return model


def _note(key: str, model: Model, files: dict[str, str], parts: Parts, facts: Facts) -> None:
    """Keep what the model is, and all that this rests on, unless it may rest on more than can be told."""
    modules = {*parts.modules, *(type(part).__module__ for part in model.module.modules())}
    code = user_files(modules)
    if reads_elsewhere(code) or not _is_made_of_its_file(model.module):
        return
    try:
        content = model.fingerprint
    except NotFingerprintableError:
        return
    known = {
        "fingerprint": content,
        "preprocess": dataclasses.asdict(model.preprocess),
        "classes": model.classes,
        "name": model.name,
        "class_order": model.class_order,
        "files": files | {str(file): facts.digest(file) for file in code},
        "libraries": libraries(modules),
        "listings": {str(directory): _listing(directory) for directory in parts.directories},
    }
    facts.put(key, known)


def _is_unchanged(known: Mapping[str, Any], facts: Facts) -> bool:
    try:
        files = all(facts.digest(Path(file)) == digest for file, digest in known["files"].items())
        files = files and all(_listing(Path(place)) == names for place, names in known["listings"].items())
    except OSError:
        return False
    return files and records(known["libraries"]) == known["libraries"]


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
