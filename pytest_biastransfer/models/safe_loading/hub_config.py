"""Refuses configurations of models that refer to other repositories or to code outside their directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.adapter_config import CONFIG
from pytest_biastransfer.models.safe_loading.json_files import read_json
from pytest_biastransfer.specs.spec import Spec

# Options for weights that other libraries read.
_FOREIGN: Final = ("quantization_config",)
# Options that name a function, or a repository with compiled functions.
_IMPLEMENTATIONS: Final = ("attn_implementation", "experts_implementation", "kernel_config")


def require_no_reference(spec: Spec, directory: Path) -> None:
    """Raise `ModelError` if a configuration in a directory makes transformers load something from elsewhere."""
    for path in sorted(directory.glob("*config.json")):
        reference = read_json(spec, path, lambda config: next(_references(config), None))
        if reference is not None:
            raise ModelError(
                f"spec {spec.text!r}: {path} refers to {reference}, which is not loaded; save the whole model with "
                f"save_pretrained(), or load it in a fixture"
            )


def require_no_adapter(spec: Spec, directory: Path) -> None:
    """Raise `ModelError` for a PEFT adapter, which only has changes to a model that is elsewhere."""
    path = directory / CONFIG
    if not path.is_file():
        return
    config = read_json(spec, path)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    raise ModelError(
        f"spec {spec.text!r}: {directory} is a PEFT adapter of {base or 'another model'}, which alone is no model; "
        f"type hf:BASE?adapter={spec.rest}, with the directory or the repository of its base as BASE"
    )


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)
    if not isinstance(value, dict):
        return
    if value.get("model_type") == "timm_wrapper":
        yield "a model of timm (use timm:NAME?checkpoint=FILE)"
    for name, inner in value.items():
        if name in _FOREIGN and inner:
            yield name
        plain = name.strip("_").removesuffix("_internal")
        if plain in _IMPLEMENTATIONS and any(sign in str(inner) for sign in "/:@"):
            yield f"{name} {inner!r}"
        yield from _references(inner)
