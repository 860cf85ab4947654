"""Makes the `Model` of a module of Hugging Face's transformers, with the preprocessing of its saved processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.image_processor import channels_are_flipped, preprocess_of
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.pretrained_module import OWN_CODE_ONLY, clear_errors, transformers_of
from pytest_biastransfer.models.spec_options import declares_all_preprocessing
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import torch

_PROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")


def pretrained_model(
    spec: Spec, module: torch.nn.Module, directories: Sequence[Path], *, name: str, classes: Sequence[str] | None
) -> Model:
    """Return a module with the preprocessing of the first directory that has an image processor.

    Raises `ModelError` if no directory has one and the spec does not declare the preprocessing either.
    """
    directory = next(filter(_has_processor, directories), None)
    preprocess = Preprocess()
    if directory is not None:
        with clear_errors(spec, directory):
            processor = transformers_of(spec).AutoImageProcessor.from_pretrained(directory, **OWN_CODE_ONLY)
        if channels_are_flipped(processor):
            module.register_forward_pre_hook(_flip_channels)
        preprocess = _preprocess(spec, processor)
    elif not declares_all_preprocessing(spec):
        raise ModelError(
            f"spec {spec.text!r}: {directories[-1]} has no {_PROCESSORS[0]}; declare the preprocessing, such as "
            f"&size=224&mean=0.5&std=0.5"
        )
    forget_directory(module)
    # Always float32, whatever the dtype of the file: the evaluation chooses the precision.
    return Model(module.float(), preprocess, classes=classes, name=name, class_order="string")


def forget_directory(module: Any) -> None:
    """Remove the directory from the module's attributes: a copy in another directory has the same fingerprint."""
    for layer in module.modules():
        # Inner layers may have a copy of the configuration.
        owners: tuple[Any, ...] = (layer, getattr(layer, "config", None))
        for owner in owners:
            if hasattr(owner, "name_or_path"):
                owner.name_or_path = ""


def _has_processor(directory: Path) -> bool:
    return any((directory / name).is_file() for name in _PROCESSORS)


def _preprocess(spec: Spec, processor: Any) -> Preprocess:
    try:
        return preprocess_of(processor, f"spec {spec.text!r}")
    except ModelError:
        # The spec replaces all of it, so the processor need not be understood.
        if not declares_all_preprocessing(spec):
            raise
        return Preprocess()


def _flip_channels(module: torch.nn.Module, images: tuple[torch.Tensor]) -> torch.Tensor:
    return images[0].flip(1)
