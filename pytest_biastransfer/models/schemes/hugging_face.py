"""``hf:DIR_OR_ID?revision=...``: image classifiers of Hugging Face's transformers, from safetensors only."""

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
from pytest_biastransfer.models.scheme import Architectures, Parts, Scheme
from pytest_biastransfer.models.spec_options import SHARED_KEYS, declares_all_preprocessing
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.spec import Spec

_KEYS: Final = (*SHARED_KEYS, *hub.KEYS)
_PATTERNS: Final = ("*.json", "*.safetensors")
_PROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
# What classifiers do not use of a backbone, and what transformers computes anew: pooled features, masks, positions.
_OF_NO_USE: Final = re.compile(r"(^|\.)pooler\.|(^|\.)(mask_token|position_ids|\w*relative_position_index|attn_mask)$")
# Nothing but what is in the directory, and no code that is in it.
_OWN_CODE_ONLY: Final = {"trust_remote_code": False, "local_files_only": True}


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys(_KEYS)
    found = _snapshot(spec)
    require_no_adapter(spec, found.directory)
    weights_files(spec, _weights(spec, found.directory))
    config = _config(spec, found.directory)
    return _model(spec, found, _trained(spec, found.directory), config)


def _architecture(spec: Spec) -> Model:
    """Build the model as its configuration says, with as many classes as the spec does."""
    spec.check_keys((*_KEYS, "num_classes"))
    without_weights_file(spec, "check the checkpoint's file")
    found = _snapshot(spec)
    require_no_adapter(spec, found.directory)
    config = _config(spec, found.directory)
    count = spec.number("num_classes")
    if count is not None and count != config.num_labels:
        config.num_labels = count
    with _clear_errors(spec, found.directory):
        module = _transformers(spec).AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    return _model(spec, found, module, config)


def _model(spec: Spec, found: hub.Snapshot, module: Any, config: Any) -> Model:
    preprocess = Preprocess()
    if any((found.directory / name).is_file() for name in _PROCESSORS):
        with _clear_errors(spec, found.directory):
            processor = _transformers(spec).AutoImageProcessor.from_pretrained(found.directory, **_OWN_CODE_ONLY)
        if channels_are_flipped(processor):
            module.register_forward_pre_hook(_flip_channels)
        preprocess = _preprocess(spec, processor)
    elif not declares_all_preprocessing(spec):
        raise ModelError(
            f"spec {spec.text!r}: {found.directory} has no {_PROCESSORS[0]}; declare the preprocessing, such as "
            f"&size=224&mean=0.5&std=0.5"
        )
    name = found.directory.name if found.commit is None else f"{spec.rest}{found.revision}"
    _forget_place(module)
    # In float32, whatever the file's numbers are: the device's precision is chosen elsewhere.
    return Model(module.float(), preprocess, classes=_classes(spec, config), name=name, class_order="string")


def _preprocess(spec: Spec, processor: Any) -> Preprocess:
    try:
        return preprocess_of(processor, f"spec {spec.text!r}")
    except ModelError:
        # Then sizes and normalization are to be as the spec says.
        if not declares_all_preprocessing(spec):
            raise
        return Preprocess()


def _forget_place(module: Any) -> None:
    """Remove where the model was loaded from: it is the same model in another directory."""
    for part in module.modules():
        if hasattr(part, "name_or_path"):
            part.name_or_path = part.config.name_or_path = ""


def _flip_channels(module: torch.nn.Module, images: tuple[torch.Tensor]) -> torch.Tensor:
    return images[0].flip(1)


def _trained(spec: Spec, directory: Path) -> Any:
    auto = _transformers(spec).AutoModelForImageClassification
    with _clear_errors(spec, directory):
        module, info = auto.from_pretrained(
            directory, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **_OWN_CODE_ONLY
        )
    # What is missing, or of another shape, would be drawn at random, with no more than a warning.
    misfits = [f"{name} is {list(saved)}, expected {list(wanted)}" for name, saved, wanted in info["mismatched_keys"]]
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
    # A head that transformers does not know of is left out with no more than a warning.
    files = [f"{name} {list(tensor.shape)}" for name, tensor in _unused(spec, directory, info["unexpected_keys"])]
    if files:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has weights that {type(module).__name__} has no place for: "
            f"{', '.join(files[:5])}; the model that was saved is another one: load it in a fixture, or save what is "
            f"meant with save_pretrained()"
        )
    # It may be the file itself, mapped into memory, which is not to change while tests run.
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
    return module


def _unused(spec: Spec, directory: Path, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that were not loaded, but for those that no prediction depends on."""
    from safetensors import safe_open

    wanted = {name for name in names if not _OF_NO_USE.search(name)}
    for path in _weights(spec, directory) if wanted else ():
        with safe_open(path, framework="pt") as file:
            for name in sorted(wanted & set(file.keys())):
                tensor = file.get_tensor(name)
                if not is_for_training(name, tensor):
                    yield name, tensor


def _made_of(spec: Spec, architectures: Architectures) -> Parts | None:
    found = _snapshot(spec)
    return Parts(tuple(_weights(spec, found.directory))) + _described_by(found) if _stays(spec, found) else None


def _architecture_made_of(spec: Spec) -> Parts | None:
    found = _snapshot(spec)
    return _described_by(found) if _stays(spec, found) else None


def _stays(spec: Spec, found: hub.Snapshot) -> bool:
    """Whether the spec means these files tomorrow too: a branch may move."""
    return found.commit is None or found.commit == spec.query.get("revision")


def _described_by(found: hub.Snapshot) -> Parts:
    # Which of them transformers takes depends on which there are.
    return Parts(tuple(sorted(found.directory.glob("*.json"))), directories=(found.directory,))


def _snapshot(spec: Spec) -> hub.Snapshot:
    return hub.snapshot(spec, extra="hf", patterns=_PATTERNS, kind="model")


def _weights(spec: Spec, directory: Path) -> list[Path]:
    """Return the files of weights, by name."""
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
    """Return the names of the classes, unless they are no more than their numbers."""
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
    """Name the directory in what transformers raises for files that it cannot use."""
    from safetensors import SafetensorError

    try:
        with hub.offline():
            yield
    except (*UNREADABLE, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"spec {spec.text!r}: {directory} cannot be loaded: {reason}") from error


SCHEME: Final = Scheme(_load, _made_of, _architecture, _architecture_made_of)
