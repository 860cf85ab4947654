"""From a spec string to a `Model`: which scheme it is, and what its query declares."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.models.model import Model, with_spec, wrap_module
from pytest_biastransfer.models.scheme import Parts, PluginLoader, Scheme, no_plugin
from pytest_biastransfer.models.spec_options import with_declared
from pytest_biastransfer.specs.spec import Spec

# Where the scheme lives: a module of its own, imported when a spec asks for it.
_HOMES: Final = MappingProxyType(
    {
        "checkpoint": "checkpoint",
        "export": "exported",
        "hf": "hugging_face",
        "onnx": "onnx_models",
        "python": "python",
        "timm": "timm_models",
        "torchscript": "torchscript",
        "torchvision": "torchvision_models",
    }
)
SCHEMES: Final = tuple(_HOMES)


def load_model(spec: str | Spec, *, directory: Path | None = None, others: PluginLoader = no_plugin) -> Model:
    """Load the model that a spec string names.

    Parameters
    ----------
    spec
        ``scheme:rest?key=value&key=value``; the schemes are ``torchvision``, ``checkpoint``, ``torchscript``,
        ``export``, ``timm``, ``hf``, ``onnx`` and ``python``. All take the keys of `Preprocess` (``size``, ``resize``,
        ``crop``, ``mean``, ``std``, ``interpolation``, ...), ``classes`` (a file of names: a JSON list, or one a
        line) and ``name``; those with a file of weights ``sha256``, which is checked before the file is read.
    directory
        What relative paths are relative to; default: the current directory.
    others
        Loads what has none of these schemes; returns None for what it does not know either.

    Raises
    ------
    SpecError
        If the spec is malformed, or a library is missing that it needs.
    ModelError
        If what it names is missing, unsafe or does not fit.

    Examples
    --------
    >>> load_model("torchvision:resnet18?num_classes=10&size=32").preprocess.crop
    32
    """
    parsed = spec if isinstance(spec, Spec) else Spec.parse(spec, directory)
    if parsed.scheme in _HOMES:
        model = _scheme(parsed).load(parsed, _Architectures(others))
    else:
        model = _model_of_others(parsed, others)
    return with_declared(model, parsed)


def as_model(model: object, origin: str) -> Model:
    """Return a model of any accepted kind, a spec string among them; `origin` is for the error message."""
    if not isinstance(model, str):
        return wrap_module(model, origin)
    spec = Spec.parse(model)
    loaded = load_model(spec)
    return loaded if made_of(spec) is None else with_spec(loaded, spec)


def made_of(spec: Spec, others: PluginLoader = no_plugin) -> Parts | None:
    """Return what decides about the model that a spec names; None if that is more than files and code.

    Without a file of weights they are drawn at random, and code of somebody else's may do anything.
    """
    parts = _scheme(spec).made_of(spec, _Architectures(others)) if spec.scheme in _HOMES else None
    if parts is None or "classes" not in spec.query:
        return parts
    return parts + Parts((spec.path(spec.query["classes"]),))


@dataclass(frozen=True)
class _Architectures:
    """The architectures of all schemes."""

    others: PluginLoader

    def model(self, spec: Spec) -> Model:
        if spec.scheme not in _HOMES:
            return with_declared(_model_of_others(spec, self.others), spec)
        architecture = _scheme(spec).architecture
        if architecture is None:
            raise SpecError(f"spec {spec.text!r}: arch= needs a module with named weights, which {spec.scheme}: is not")
        return with_declared(architecture(spec), spec)

    def made_of(self, spec: Spec) -> Parts | None:
        return _scheme(spec).architecture_made_of(spec) if spec.scheme in _HOMES else None


def _scheme(spec: Spec) -> Scheme:
    found: Scheme = importlib.import_module(f"{__package__}.schemes.{_HOMES[spec.scheme]}").SCHEME
    return found


def _model_of_others(spec: Spec, others: PluginLoader) -> Model:
    found = others(spec)
    if found is None:
        spec.choose_scheme(_HOMES)
    if "sha256" in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: sha256= is checked by this package's own schemes, {spec.scheme}: is another's; "
            f"check the file where the model is loaded"
        )
    return wrap_module(found, f"spec {spec.text!r}")
