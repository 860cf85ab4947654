"""From a spec string to a `Model`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models import checkpoint, torchvision_models
from pytest_biastransfer.models.model import Model, as_model
from pytest_biastransfer.python_objects import call_factory
from pytest_biastransfer.specs import Spec

_PREPROCESS_KEYS: Final = ("size", "resize", "crop", "mean", "std", "interpolation", "normalized_input")
_SHARED_KEYS: Final = (*_PREPROCESS_KEYS, "classes", "name")


def load_model(spec: str | Spec, *, directory: Path | None = None) -> Model:
    """Load the model that a spec string names.

    Parameters
    ----------
    spec
        ``torchvision:NAME?weights=...``, ``checkpoint:FILE?arch=SPEC&num_classes=N`` or
        ``python:package.module:factory``; with any of the keys ``size``, ``resize``, ``crop``, ``mean``,
        ``std``, ``interpolation`` (see `Preprocess`), ``classes`` (a file of names: a JSON list, or one a
        line) and ``name``.
    directory
        What relative paths are relative to; default: the current directory.

    Raises
    ------
    SpecError
        If the spec is malformed.
    ModelError
        If what it names is missing, unsafe or does not fit.

    Examples
    --------
    >>> load_model("torchvision:resnet18?num_classes=10&size=32").preprocess.crop
    32
    """
    parsed = spec if isinstance(spec, Spec) else Spec.parse(spec, directory)
    scheme = parsed.choose_scheme(_SCHEMES)
    return _with_shared_keys(_SCHEMES[scheme](parsed), parsed)


@dataclass(frozen=True)
class Parts:
    """What the model of a spec is made of: files, and modules of code."""

    files: tuple[Path, ...]
    modules: tuple[str, ...]


def made_of(spec: Spec) -> Parts | None:
    """Return what decides about the model that a spec names; None if that is more than files and code.

    Without a file of weights they are drawn at random, and a factory of the user's may do anything.
    """
    names = (spec.path(spec.query["classes"]),) if "classes" in spec.query else ()
    if spec.scheme == "checkpoint" and "arch" in spec.query:
        arch = Spec.parse(spec.query["arch"], spec.directory)
        modules = (arch.rest.partition(":")[0],) if arch.scheme == "python" else ()
        return Parts((spec.path(), *names), modules)
    weights = torchvision_models.weights_file(spec) if spec.scheme == "torchvision" else None
    return Parts((weights, *names), ()) if weights is not None else None


def _load_python(spec: Spec) -> Model:
    return as_model(call_factory(spec, reserved=_SHARED_KEYS), f"spec {spec.text!r}")


def _load_torchvision(spec: Spec) -> Model:
    spec.check_keys((*_SHARED_KEYS, "weights", "num_classes"))
    return torchvision_models.load(spec)


def _load_checkpoint(spec: Spec) -> Model:
    spec.check_keys((*_SHARED_KEYS, "arch", "num_classes"))
    if "arch" not in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: a state dict needs its architecture, such as &arch=torchvision:resnet18 "
            f"or &arch=python:package.module:factory"
        )
    count = f"?num_classes={spec.query['num_classes']}" if "num_classes" in spec.query else ""
    model = load_model(Spec.parse(spec.query["arch"] + count, spec.directory))
    checkpoint.load_state(model.module, spec.path())
    return dataclasses.replace(model, name=spec.path().stem)


_SCHEMES: Final = MappingProxyType[str, Callable[[Spec], Model]](
    {"checkpoint": _load_checkpoint, "python": _load_python, "torchvision": _load_torchvision}
)


def _with_shared_keys(model: Model, spec: Spec) -> Model:
    preprocess: dict[str, Any] = {key: spec.number(key) for key in ("size", "resize", "crop")}
    preprocess |= {key: spec.decimals(key) for key in ("mean", "std")}
    preprocess["interpolation"] = spec.query.get("interpolation")
    preprocess["normalized_input"] = spec.switch("normalized_input")
    changes: dict[str, Any] = {}
    declared = {key: value for key, value in preprocess.items() if value is not None}
    if declared.get("size"):
        # The size of the spec replaces the resizing and cropping that came with the architecture.
        declared = {"resize": declared["size"], "crop": declared["size"]} | declared
    if declared:
        changes["preprocess"] = dataclasses.replace(model.preprocess, **declared)
    if "classes" in spec.query:
        changes["classes"] = _class_names(spec.path(spec.query["classes"]))
    if "name" in spec.query:
        changes["name"] = spec.query["name"]
    return dataclasses.replace(model, **changes) if changes else model


def _class_names(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"class names {path}: {error.strerror}") from error
    if path.suffix != ".json":
        return text.splitlines()
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"class names {path}: expected a JSON list of strings")
    return names
