"""Makes modules of Hugging Face's transformers from directories: from safetensors only, and only if all weights fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, first_of
from pytest_biastransfer.models.safe_loading.hub_config import require_no_reference
from pytest_biastransfer.models.safe_loading.json_files import read_json
from pytest_biastransfer.models.safe_loading.training_tensors import is_for_training
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import torch

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
# Tensors of a backbone that classifiers do not use or that transformers recomputes: pooler, masks, positions.
_UNUSED: Final = re.compile(r"(^|\.)pooler\.|(^|\.)(mask_token|position_ids|\w*relative_position_index|attn_mask)$")
# Security: read only files in the directory, and run no code from it.
OWN_CODE_ONLY: Final = {"trust_remote_code": False, "local_files_only": True}


def transformers_of(spec: Spec) -> Any:
    """Return the library transformers; raise `SpecError` if it is not installed."""
    return need("transformers", "hf", f"spec {spec.text!r}")


def config_of(spec: Spec, directory: Path) -> Any:
    """Return the configuration in a directory; raise `ModelError` if it refers to anything outside."""
    require_no_reference(spec, directory)
    with clear_errors(spec, directory):
        return transformers_of(spec).AutoConfig.from_pretrained(directory, **OWN_CODE_ONLY)


def weights_in(spec: Spec, directory: Path) -> list[Path]:
    """Return the files of weights in a directory, sorted by name."""
    if (directory / _WEIGHTS).is_file():
        return [directory / _WEIGHTS]
    index = directory / _INDEX
    if not index.is_file():
        raise ModelError(
            f"spec {spec.text!r}: {directory} has no {_WEIGHTS}; nothing else is loaded, as it could run code. Save "
            f"the model again with save_pretrained()"
        )
    try:
        names = sorted(set(read_json(spec, index)["weight_map"].values()), key=str)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"spec {spec.text!r}: {index} is damaged ({error!r})") from error
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside:
        raise ModelError(f"spec {spec.text!r}: {index} names {outside[0]!r}, which is not in its directory")
    return [directory / name for name in names]


def untrained_module(spec: Spec, directory: Path, config: Any) -> torch.nn.Module:
    """Return the image classifier of a configuration, with random weights."""
    with clear_errors(spec, directory):
        auto = transformers_of(spec).AutoModelForImageClassification
        module: torch.nn.Module = auto.from_config(config, trust_remote_code=False)
    return module


def trained_module(
    spec: Spec, directory: Path, config: Any, replaced: Collection[str] | None = None
) -> torch.nn.Module:
    """Return the image classifier in a directory.

    Parameters
    ----------
    spec
        The spec that names it, for error messages.
    directory
        The directory, as `save_pretrained` writes it.
    config
        Its configuration.
    replaced
        The tensors of the module that an adapter replaces, a new head among them; None without a new head. The
        directory may have none, or others, in their place: they become zeros.

    Raises
    ------
    ModelError
        If another tensor is missing, has another shape, or is left over.
    """
    with clear_errors(spec, directory):
        module, info = with_own_tensors(transformers_of(spec).AutoModelForImageClassification, directory, config)
    # transformers initializes missing and mismatched tensors at random, and only warns.
    mismatched = {name: (saved, expected) for name, saved, expected in info["mismatched_keys"]}
    missing = set(info["missing_keys"])
    for name in (missing | mismatched.keys()) & set(replaced or ()):
        module.state_dict()[name].zero_()
    _require_fit(spec, directory, mismatched, missing, replaced)
    _require_nothing_left(spec, directory, module, info["unexpected_keys"], has_new_head=replaced is not None)
    return module


def with_own_tensors(kind: Any, directory: Path, config: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return a module of a class of transformers, and which tensors of the directory's files did not fit it.

    The caller has to look at the latter: transformers initializes missing and mismatched tensors at random.
    """
    module, info = kind.from_pretrained(
        directory,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **OWN_CODE_ONLY,
    )
    # The tensors may be the mapped file itself. A copy does not change when the file is overwritten during the tests.
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
    return module, info


def require_same_tensors(spec: Spec, directory: Path, kind: str, info: Mapping[str, Any], left: Sequence[str]) -> None:
    """Raise `ModelError` if tensors of a class `kind` are missing or have other shapes, or if some are `left`."""
    missing = [f"no {name}" for name in sorted(info["missing_keys"])]
    misfits = [f"{name} {list(saved)}, expected {list(expected)}" for name, saved, expected in info["mismatched_keys"]]
    problems = [*sorted(misfits), *missing, *(f"{name}, which it does not have" for name in sorted(left))]
    if problems:
        raise ModelError(
            f"spec {spec.text!r}: the weights in {directory} are not those of a {kind} of its config.json: "
            f"{first_of(problems, 3, '; ')}. Save the whole model with save_pretrained()"
        )


def _require_fit(
    spec: Spec,
    directory: Path,
    mismatched: dict[str, tuple[Iterable[int], Iterable[int]]],
    missing: set[str],
    replaced: Collection[str] | None,
) -> None:
    misfits = [
        f"{name} is {list(saved)}, expected {list(expected)}"
        for name, (saved, expected) in mismatched.items()
        if name not in (replaced or ())
    ]
    if misfits:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has weights of other shapes than its config.json says: "
            f"{first_of(sorted(misfits), 3, '; ')}. Its number of classes comes from id2label, or from num_labels "
            f"where id2label is missing or null"
        )
    absent = sorted(missing - set(replaced or ()))
    if absent:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has no weights for {first_of(absent)}; expected a fine-tuned image "
            f"classifier, as save_pretrained() of an AutoModelForImageClassification writes it, or an adapter that has "
            f"these among its modules_to_save"
        )


def _require_nothing_left(
    spec: Spec, directory: Path, module: Any, names: Iterable[str], *, has_new_head: bool
) -> None:
    """Raise for tensors that transformers dropped, with a warning only; other heads are fine beside a new one."""
    left = {name for name in names if not _UNUSED.search(name)}
    if not left:
        return
    saved = saved_tensors(spec, directory, left)
    backbone = f"{module.base_model_prefix}."
    # A file of the backbone alone has its tensors without the prefix, and no heads.
    if has_new_head and any(name.startswith(backbone) for name in saved):
        left = {name for name in left if name.startswith(backbone)}
    # transformers may have other names for tensors than the file; then their shapes are unknown.
    tensors = {name: saved.get(name) for name in sorted(left)}
    described = [
        f"{name} {'' if tensor is None else list(tensor.shape)}".rstrip()
        for name, tensor in tensors.items()
        if tensor is None or not is_for_training(name, tensor)
    ]
    if described:
        raise ModelError(
            f"spec {spec.text!r}: {directory} has weights that {type(module).__name__} does not have: "
            f"{first_of(described)}; another model was saved there: load it in a fixture, or save the intended "
            f"model with save_pretrained()"
        )


def saved_tensors(spec: Spec, directory: Path, names: Collection[str]) -> dict[str, torch.Tensor | None]:
    """Return all names in a directory's files, with the tensors of some."""
    from safetensors import safe_open

    saved: dict[str, torch.Tensor | None] = {}
    for path in weights_in(spec, directory):
        with safe_open(path, framework="pt") as file:
            saved |= {name: file.get_tensor(name) if name in names else None for name in file.keys()}  # noqa: SIM118
    return saved


@contextmanager
def clear_errors(spec: Spec, directory: Path) -> Iterator[None]:
    """Turn the exceptions of transformers for unusable files into a `ModelError` that names the directory."""
    from safetensors import SafetensorError

    try:
        with hub.offline():
            yield
    except (*UNREADABLE, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"spec {spec.text!r}: {directory} cannot be loaded: {reason}") from error
