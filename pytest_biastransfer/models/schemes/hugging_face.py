"""``hf:DIR_OR_ID?adapter=DIR_OR_ID``: an image classifier of Hugging Face's transformers, from safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.peft_adapter import adapter_weights, read_adapter, with_adapter, with_classes_of
from pytest_biastransfer.models.pretrained_model import forget_directory, pretrained_model
from pytest_biastransfer.models.pretrained_module import (
    clear_errors,
    config_of,
    trained_module,
    transformers_of,
    untrained_module,
    weights_in,
)
from pytest_biastransfer.models.safe_loading.hub_config import require_no_adapter, require_no_reference
from pytest_biastransfer.models.safe_loading.weights_file import weights_files, without_weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources, require_fixed
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import torch

_KEYS: Final = (*SHARED_KEYS, *hub.KEYS)
_ADAPTER_KEYS: Final = ("adapter", "adapter_revision", "merge")
_PATTERNS: Final = ("*.json", "*.safetensors")
_CONFIG: Final = "config.json"


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys((*_KEYS, *_ADAPTER_KEYS))
    snapshot = _snapshot(spec)
    require_no_adapter(spec, snapshot.directory)
    if "adapter" in spec.query:
        return _adapted(spec, snapshot, _adapter_snapshot(spec))
    _require_adapter_for_its_keys(spec)
    weights_files(spec, weights_in(spec, snapshot.directory))
    config = config_of(spec, snapshot.directory)
    return _model(spec, snapshot, trained_module(spec, snapshot.directory, config), _classes(spec, config))


def _adapted(spec: Spec, base: hub.Snapshot, addition: hub.Snapshot) -> Model:
    """Return the model of a base with an adapter on it."""
    origin = f"spec {spec.text!r}"
    need("peft", "peft", origin)
    weights_files(spec, [*weights_in(spec, base.directory), adapter_weights(addition.directory, origin)])
    require_no_reference(spec, addition.directory)
    adapter = read_adapter(addition.directory, origin)
    config = config_of(spec, base.directory)
    with clear_errors(spec, base.directory):
        config, has_new_head = with_classes_of(adapter, config, transformers_of(spec).AutoModelForImageClassification)
    replaced = adapter.replaced.keys() if has_new_head else None
    module = trained_module(spec, base.directory, config, replaced).float()
    forget_directory(module)
    with clear_errors(spec, addition.directory):
        module = with_adapter(module, adapter, merge=spec.switch("merge") is not False)
    classes = _classes_of_head(spec, addition.directory, config.num_labels) if has_new_head else _classes(spec, config)
    return _model(spec, base, module, classes, addition)


def _require_adapter_for_its_keys(spec: Spec) -> None:
    for key in _ADAPTER_KEYS:
        if key in spec.query:
            raise ModelError(f"spec {spec.text!r}: {key}= is of an adapter, and this spec has none; add &adapter=DIR")


def _architecture(spec: Spec) -> Model:
    """Build the model of the configuration, with the spec's number of classes, and without its weights."""
    spec.check_keys((*_KEYS, "num_classes"))
    without_weights_file(spec, "check the checkpoint's file")
    snapshot = _snapshot(spec)
    require_no_adapter(spec, snapshot.directory)
    config = config_of(spec, snapshot.directory)
    count = spec.number("num_classes")
    if count is not None and count != config.num_labels:
        config.num_labels = count
    module = untrained_module(spec, snapshot.directory, config)
    return _model(spec, snapshot, module, _classes(spec, config))


def _model(
    spec: Spec,
    snapshot: hub.Snapshot,
    module: torch.nn.Module,
    classes: list[str] | None,
    addition: hub.Snapshot | None = None,
) -> Model:
    name = snapshot.name(spec.rest)
    if addition is not None:
        name += f" + {addition.name(spec.query['adapter'])}"
    # The processor of the fine-tuning, if it was saved beside the adapter, else the base's.
    directories = [each.directory for each in (addition, snapshot) if each is not None]
    return pretrained_model(spec, module, directories, name=name, classes=classes)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    snapshot = require_fixed(_snapshot(spec), spec)
    sources = Sources(tuple(weights_in(spec, snapshot.directory))) + _description_files(snapshot)
    if "adapter" not in spec.query:
        return sources
    addition = require_fixed(_adapter_snapshot(spec), spec, "adapter_revision")
    weights = adapter_weights(addition.directory, f"spec {spec.text!r}")
    # PEFT adds the adapter to the weights while loading, and may leave none of its own modules.
    return sources + Sources((weights,), modules=("peft",)) + _description_files(addition)


def _architecture_sources(spec: Spec) -> Sources:
    return _description_files(require_fixed(_snapshot(spec), spec))


def _description_files(snapshot: hub.Snapshot) -> Sources:
    # The listing counts too: the files that transformers reads depend on the files that exist.
    return Sources(tuple(sorted(snapshot.directory.glob("*.json"))), directories=(snapshot.directory,))


def _snapshot(spec: Spec) -> hub.Snapshot:
    # download=1 may be for the adapter alone.
    is_for_adapter = "adapter" in spec.query and not spec.path(spec.query["adapter"]).is_dir()
    keys = hub.KEYS[:1] if is_for_adapter else hub.KEYS
    return hub.snapshot(spec, extra="hf", patterns=_PATTERNS, kind="model", keys=keys)


def _adapter_snapshot(spec: Spec) -> hub.Snapshot:
    return hub.snapshot(
        spec, extra="hf", patterns=_PATTERNS, kind="model", name=spec.query["adapter"], keys=("adapter_revision",)
    )


def _classes_of_head(spec: Spec, directory: Path, count: int) -> list[str] | None:
    """Return the class names of an adapter's own head, of the configuration beside it; the base's are of other classes.

    A head of as many classes as the base's may be one of other classes, or of the same ones in another order.
    """
    if not (directory / _CONFIG).is_file():
        return None
    config = config_of(spec, directory)
    if config.num_labels != count and "classes" not in spec.query:
        raise ModelError(
            f"spec {spec.text!r}: {directory / _CONFIG} has {config.num_labels} classes, expected {count}, as the "
            f"adapter's head has; remove the file, or name the classes with &classes=FILE"
        )
    return _classes(spec, config)


def _classes(spec: Spec, config: Any) -> list[str] | None:
    """Return the class names, or None if they are only numbered placeholders."""
    names = [config.id2label.get(number, f"LABEL_{number}") for number in range(config.num_labels)]
    if not all(isinstance(name, str) for name in names):
        raise ModelError(
            f"spec {spec.text!r}: id2label in config.json has {names!r:.200}, expected a text for each class"
        )
    return None if names == [f"LABEL_{number}" for number in range(len(names))] else names


SCHEME: Final = Scheme(
    _load,
    _sources_of,
    _architecture,
    _architecture_sources,
)
