"""``hf:DIR_OR_ID?revision=...``: an image classifier of Hugging Face's transformers, from safetensors only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.image_processor import channels_are_flipped, preprocess_of
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.safe_loading.hub_config import require_no_adapter, require_no_reference
from pytest_biastransfer.models.safe_loading.state_dicts import is_for_training
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE
from pytest_biastransfer.models.safe_loading.weights_file import weights_files, without_weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources
from pytest_biastransfer.models.spec_options import SHARED_KEYS, declares_all_preprocessing
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.spec import Spec

_KEYS: Final = (*SHARED_KEYS, *hub.KEYS)
_PATTERNS: Final = ("*.json", "*.safetensors")
_PROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
# Tensors of a backbone that classifiers do not use or that transformers recomputes: pooler, masks, positions.
_UNUSED: Final = re.compile(r"(^|\.)pooler\.|(^|\.)(mask_token|position_ids|\w*relative_position_index|attn_mask)$")
# Security: read only files in the directory, and run no code from it.
_OWN_CODE_ONLY: Final = {"trust_remote_code": False, "local_files_only": True}


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys(_KEYS)
    snapshot = _snapshot(spec)
    require_no_adapter(spec, snapshot.directory)
    weights_files(spec, _weights(spec, snapshot.directory))
    config = _config(spec, snapshot.directory)
    return _model(spec, snapshot, _trained(spec, snapshot.directory), config)


def _architecture(spec: Spec) -> Model:
    """Build the model of the configuration, with the spec's number of classes, and without its weights."""
    spec.check_keys((*_KEYS, "num_classes"))
    without_weights_file(spec, "check the checkpoint's file")
    snapshot = _snapshot(spec)
    require_no_adapter(spec, snapshot.directory)
    config = _config(spec, snapshot.directory)
    count = spec.number("num_classes")
    if count is not None and count != config.num_labels:
        config.num_labels = count
    with _clear_errors(spec, snapshot.directory):
        module = _transformers(spec).AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    return _model(spec, snapshot, module, config)


def _model(spec: Spec, snapshot: hub.Snapshot, module: Any, config: Any) -> Model:
    preprocess = Preprocess()
    if any((snapshot.directory / name).is_file() for name in _PROCESSORS):
        with _clear_errors(spec, snapshot.directory):
            processor = _transformers(spec).AutoImageProcessor.from_pretrained(snapshot.directory, **_OWN_CODE_ONLY)
        if channels_are_flipped(processor):
            module.register_forward_pre_hook(_flip_channels)
        preprocess = _preprocess(spec, processor)
    elif not declares_all_preprocessing(spec):
        raise ModelError(
            f"spec {spec.text!r}: {snapshot.directory} has no {_PROCESSORS[0]}; declare the preprocessing, such as "
            f"&size=224&mean=0.5&std=0.5"
        )
    name = snapshot.directory.name if snapshot.commit is None else f"{spec.rest}{snapshot.revision}"
    _forget_directory(module)
    # Always float32, whatever the dtype of the file: the evaluation chooses the precision.
    return Model(module.float(), preprocess, classes=_classes(spec, config), name=name, class_order="string")


def _preprocess(spec: Spec, processor: Any) -> Preprocess:
    try:
        return preprocess_of(processor, f"spec {spec.text!r}")
    except ModelError:
        # The spec replaces all of it, so the processor need not be understood.
        if not declares_all_preprocessing(spec):
            raise
        return Preprocess()


def _forget_directory(module: Any) -> None:
    """Remove the directory from the module's attributes: a copy in another directory has the same fingerprint."""
    for layer in module.modules():
        if hasattr(layer, "name_or_path"):
            layer.name_or_path = layer.config.name_or_path = ""


def _flip_channels(module: torch.nn.Module, images: tuple[torch.Tensor]) -> torch.Tensor:
    return images[0].flip(1)


def _trained(spec: Spec, directory: Path) -> Any:
    auto = _transformers(spec).AutoModelForImageClassification
    with _clear_errors(spec, directory):
        module, info = auto.from_pretrained(
            directory, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **_OWN_CODE_ONLY
        )
    # transformers initializes missing and mismatched tensors at random, and only warns.
    misfits = [
        f"{name} is {list(saved)}, expected {list(expected)}" for name, saved, expected in info["mismatched_keys"]
    ]
    if misfits:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has weights of other shapes than its config.json says: "
            f"{'; '.join(sorted(misfits)[:3])}. Its number of classes comes from id2label, or from num_labels where "
            f"id2label is missing or null"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has no weights for {', '.join(missing[:5])}; expected a fine-tuned image "
            f"classifier, as save_pretrained() of an AutoModelForImageClassification writes it"
        )
    # transformers drops tensors that its model does not have, such as another head, and only warns.
    files = [f"{name} {list(tensor.shape)}" for name, tensor in _unused(spec, directory, info["unexpected_keys"])]
    if files:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has weights that {type(module).__name__} does not have: "
            f"{', '.join(files[:5])}; another model was saved there: load it in a fixture, or save the intended model "
            f"with save_pretrained()"
        )
    # The tensors may be the mapped file itself. A copy does not change when the file is overwritten during the tests.
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
    return module


def _unused(spec: Spec, directory: Path, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that were not loaded, except those that no prediction depends on."""
    from safetensors import safe_open

    relevant = {name for name in names if not _UNUSED.search(name)}
    for path in _weights(spec, directory) if relevant else ():
        with safe_open(path, framework="pt") as file:
            for name in sorted(relevant & set(file.keys())):
                tensor = file.get_tensor(name)
                if not is_for_training(name, tensor):
                    yield name, tensor


def _sources_of(spec: Spec, architectures: Architectures) -> Sources | None:
    snapshot = _snapshot(spec)
    return (
        Sources(tuple(_weights(spec, snapshot.directory))) + _description_files(snapshot)
        if _is_fixed(spec, snapshot)
        else None
    )


def _architecture_sources(spec: Spec) -> Sources | None:
    snapshot = _snapshot(spec)
    return _description_files(snapshot) if _is_fixed(spec, snapshot) else None


def _is_fixed(spec: Spec, snapshot: hub.Snapshot) -> bool:
    """Whether the spec always names these files: a branch may move, a commit or a directory does not."""
    return snapshot.commit is None or snapshot.commit == spec.query.get("revision")


def _description_files(snapshot: hub.Snapshot) -> Sources:
    # The listing counts too: the files that transformers reads depend on the files that exist.
    return Sources(tuple(sorted(snapshot.directory.glob("*.json"))), directories=(snapshot.directory,))


def _snapshot(spec: Spec) -> hub.Snapshot:
    return hub.snapshot(spec, extra="hf", patterns=_PATTERNS, kind="model")


def _weights(spec: Spec, directory: Path) -> list[Path]:
    """Return the files of weights, sorted by name."""
    if (directory / _WEIGHTS).is_file():
        return [directory / _WEIGHTS]
    index = directory / _INDEX
    if not index.is_file():
        raise ModelError(
            f"spec {spec.text!r}: {directory} has no {_WEIGHTS}; nothing else is loaded, as it could run code. Save "
            f"the model again with save_pretrained()"
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()), key=str)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"spec {spec.text!r}: {index} is damaged ({error!r})") from error
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside:
        raise ModelError(f"spec {spec.text!r}: {index} names {outside[0]!r}, which is not in its directory")
    return [directory / name for name in names]


def _config(spec: Spec, directory: Path) -> Any:
    require_no_reference(spec, directory)
    with _clear_errors(spec, directory):
        return _transformers(spec).AutoConfig.from_pretrained(directory, **_OWN_CODE_ONLY)


def _classes(spec: Spec, config: Any) -> list[str] | None:
    """Return the class names, or None if they are only numbered placeholders."""
    names = [config.id2label.get(number, f"LABEL_{number}") for number in range(config.num_labels)]
    if not all(isinstance(name, str) for name in names):
        raise ModelError(
            f"spec {spec.text!r}: id2label in config.json has {names!r:.200}, expected a text for each class"
        )
    return None if names == [f"LABEL_{number}" for number in range(len(names))] else names


def _transformers(spec: Spec) -> Any:
    return need("transformers", "hf", f"spec {spec.text!r}")


@contextmanager
def _clear_errors(spec: Spec, directory: Path) -> Iterator[None]:
    """Turn the exceptions of transformers for unusable files into a `ModelError` that names the directory."""
    from safetensors import SafetensorError

    try:
        with hub.offline():
            yield
    except (*UNREADABLE, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"spec {spec.text!r}: {directory} cannot be loaded: {reason}") from error


SCHEME: Final = Scheme(
    _load,
    _sources_of,
    _architecture,
    _architecture_sources,
    "its branch on the hub may move; name a commit with &revision=",
)
