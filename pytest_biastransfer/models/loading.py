"""Loads the `Model` of a spec string: imports its scheme's module, and applies the options of its query."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.models.model import Model, with_spec, wrap_module
from pytest_biastransfer.models.scheme import NotRecognizableError, Scheme, Sources
from pytest_biastransfer.models.spec_options import with_declared
from pytest_biastransfer.specs.plugin_loader import PluginLoader, no_plugin
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts

# The module of each scheme. It is imported only for a spec of that scheme, as some need slow libraries.
_MODULES: Final = MappingProxyType(
    {
        "checkpoint": "checkpoint",
        "export": "exported",
        "hf": "hugging_face",
        "onnx": "onnx_models",
        "probe": "probe",
        "python": "python",
        "timm": "timm_models",
        "torchscript": "torchscript",
        "torchvision": "torchvision_models",
        "zeroshot": "zero_shot",
    }
)
SCHEMES: Final = tuple(_MODULES)


def load_model(
    spec: str | Spec,
    *,
    directory: Path | None = None,
    plugins: PluginLoader = no_plugin,
    facts: Facts | None = None,
) -> Model:
    """Load the model that a spec string names.

    Parameters
    ----------
    spec
        ``scheme:rest?key=value&key=value``; the schemes are ``torchvision``, ``checkpoint``, ``torchscript``,
        ``export``, ``timm``, ``hf``, ``zeroshot``, ``onnx``, ``probe`` and ``python``. All take the keys of
        `Preprocess` (``size``, ``resize``, ``crop``, ``mean``, ``std``, ``interpolation``, ...), ``classes`` (a file of
        names: a JSON list, or one a line), ``output`` (the entry of the output that is the logits) and ``name``.
        Schemes with a file of weights also take ``sha256``, which is compared before the file is parsed.
    directory
        The directory of relative paths; default: the current directory.
    plugins
        Loads specs of other schemes, and returns None for a scheme that no plugin has.
    facts
        Where what takes long is kept, such as embeddings of texts; default: nowhere.

    Raises
    ------
    SpecError
        If the spec is malformed, or needs a library that is not installed.
    ModelError
        If the model or its weights are missing or unsafe, or do not fit.

    Examples
    --------
    >>> load_model("torchvision:resnet18?num_classes=10&size=32").preprocess.crop
    32
    """
    parsed = spec if isinstance(spec, Spec) else Spec.parse(spec, directory)
    if parsed.scheme in _MODULES:
        model = _scheme(parsed).load(parsed, _Architectures(plugins, facts))
    else:
        model = _model_of_plugin(parsed, plugins)
    return with_declared(model, parsed)


def as_model(model: object, origin: str) -> Model:
    """Return a spec string, a `Model` or a module as a `Model`.

    `origin` says in error messages where the model came from.
    """
    if not isinstance(model, str):
        return wrap_module(model, origin)
    spec = Spec.parse(model)
    loaded = load_model(spec)
    try:
        sources_of(spec)
    except NotRecognizableError:
        return loaded
    return with_spec(loaded, spec)


def sources_of(spec: Spec, plugins: PluginLoader = no_plugin) -> Sources:
    """Return the sources of the model that a spec names.

    Raises
    ------
    NotRecognizableError
        If the model depends on more than files and code: on weights that are drawn at random, on a branch that moves,
        or on another plugin's scheme, whose code may read anything.
    """
    sources = _of_own_scheme(spec).sources_of(spec, _Architectures(plugins))
    return sources + Sources((spec.path(spec.query["classes"]),)) if "classes" in spec.query else sources


def inner_of(spec: Spec) -> Spec | None:
    """Return the spec of another model that a spec's model is made of, such as ``arch=``; None if there is none."""
    return _scheme(spec).inner(spec) if spec.scheme in _MODULES else None


@dataclass(frozen=True)
class _Architectures:
    """The architectures of all schemes."""

    plugins: PluginLoader
    known: Facts | None = None

    @property
    def facts(self) -> Facts:
        from pytest_biastransfer.store import Store

        return self.known or Store().facts

    def model(self, spec: Spec) -> Model:
        if spec.scheme not in _MODULES:
            return with_declared(_model_of_plugin(spec, self.plugins), spec)
        architecture = _scheme(spec).architecture
        if architecture is None:
            raise SpecError(f"spec {spec.text!r}: arch= needs a module with named weights, which {spec.scheme}: is not")
        return with_declared(architecture(spec), spec)

    def sources_of(self, spec: Spec) -> Sources:
        return _of_own_scheme(spec).architecture_sources(spec)

    def trained(self, spec: Spec) -> Model:
        return load_model(spec, plugins=self.plugins, facts=self.known)

    def sources_of_trained(self, spec: Spec) -> Sources:
        return sources_of(spec, self.plugins)


def _scheme(spec: Spec) -> Scheme:
    scheme: Scheme = importlib.import_module(f"{__package__}.schemes.{_MODULES[spec.scheme]}").SCHEME
    return scheme


def _of_own_scheme(spec: Spec) -> Scheme:
    if spec.scheme not in _MODULES:
        raise NotRecognizableError(f"{spec.scheme}: is the scheme of a plugin, whose code may read anything")
    return _scheme(spec)


def _model_of_plugin(spec: Spec, plugins: PluginLoader) -> Model:
    model = plugins(spec)
    if model is None:
        spec.choose_scheme(_MODULES)
    if "sha256" in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: sha256= is checked by this package's own schemes, {spec.scheme}: is another's; "
            f"check the file where the model is loaded"
        )
    return wrap_module(model, f"spec {spec.text!r}")
