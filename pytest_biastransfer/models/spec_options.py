"""The options that every model's spec takes: preprocessing, class names, a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

from pytest_biastransfer.errors import ModelError, SpecError, nearest
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.specs.class_names import as_names, read_class_file
from pytest_biastransfer.specs.class_order import ClassOrder
from pytest_biastransfer.specs.spec import Spec


def _text(spec: Spec, key: str) -> str | None:
    return spec.query.get(key)


_READERS: Final = MappingProxyType[str, Callable[[Spec, str], Any]](
    {
        "size": Spec.number,
        "crop_pct": Spec.decimal,
        "resize": Spec.numbers,
        "resize_mode": _text,
        "crop": Spec.numbers,
        "crop_rounding": _text,
        "fill": Spec.decimals,
        "mean": Spec.decimals,
        "std": Spec.decimals,
        "interpolation": _text,
        "antialias": Spec.switch,
        "resize_backend": _text,
        "channels": Spec.number,
        "normalized_input": Spec.switch,
    }
)
SHARED_KEYS: Final = (*_READERS, "class_order", "classes", "name", "output", "outputs", "sha256", "threshold")


def declares_all_preprocessing(spec: Spec) -> bool:
    """Whether the spec declares the size of the images and their normalization."""
    sized = any(key in spec.query for key in ("size", "resize", "crop"))
    return sized and "mean" in spec.query and "std" in spec.query


def with_declared(model: Model, spec: Spec) -> Model:
    """Return the model with the options of the spec's query, which replace those of the model's own files."""
    # A program selects its output itself: it may run in another process, which returns nothing else.
    from pytest_biastransfer.models.file_program import FileProgram

    changes: dict[str, Any] = {}
    declared = {key: value for key, read in _READERS.items() if (value := read(spec, key)) is not None}
    if declared:
        changes["preprocess"] = _preprocess(model.preprocess, declared, spec)
    if "classes" in spec.query:
        changes["classes"] = class_names(spec.path(spec.query["classes"]))
    if "class_order" in spec.query:
        changes["class_order"] = _class_order(spec)
    if "name" in spec.query:
        changes["name"] = spec.query["name"]
    if "outputs" in spec.query:
        changes["outputs"] = spec.query["outputs"]
    if "threshold" in spec.query:
        changes["threshold"] = _threshold(spec)
    if "output" in spec.query and not isinstance(model.module, FileProgram):
        changes["output"] = spec.query["output"]
    try:
        return dataclasses.replace(model, **changes) if changes else model
    except ModelError as error:
        raise ModelError(f"spec {spec.text!r}: {error}") from None


def _threshold(spec: Spec) -> Any:
    """Return one number, ``prevalence``, or numbers by name as in ``smiling:0.4,young:0.6``."""
    text = spec.query["threshold"]
    if ":" not in text:
        return _number(text)
    return {name: _number(value) for name, _, value in (part.rpartition(":") for part in text.split(","))}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _class_order(spec: Spec) -> str:
    order = spec.query["class_order"]
    if order not in get_args(ClassOrder):
        raise SpecError(f"spec {spec.text!r}: class_order={order!r}; {nearest(order, get_args(ClassOrder))}")
    return order


def _preprocess(inherited: Preprocess, declared: dict[str, Any], spec: Spec) -> Preprocess:
    # The size in a spec replaces the model's own resizing and cropping.
    changes = {"resize": None, "crop": None} if "size" in declared else {}
    if {"size", "resize"} & declared.keys():
        changes["resize_mode"] = None
    try:
        return dataclasses.replace(inherited, **changes | declared)
    except ModelError as error:
        raise ModelError(f"spec {spec.text!r}: {error}") from None


def class_names(path: Path) -> list[str]:
    """Return the class names in a file, in its order; raise `ModelError` if there are none."""

    def fail(problem: str) -> ModelError:
        return ModelError(f"class names {path}: {problem}")

    content = read_class_file(path, fail, unreadable="{}")
    return as_names(content, fail, "expected one name a line, or in a .json file a list of names")
