"""``checkpoint:FILE?arch=SPEC&num_classes=N``: weights for an architecture, read without unpickling objects."""

from __future__ import annotations

import dataclasses
from typing import Final

from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.safe_loading.state_loading import load_checkpoint
from pytest_biastransfer.models.safe_loading.weights_file import weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.specs.spec import Spec

_KEYS: Final = (*SHARED_KEYS, "arch", "num_classes", "entry", "prefix")


def _load(spec: Spec, architectures: Architectures) -> Model:
    from pytest_biastransfer.models.selected_output import without_selection

    spec.check_keys(_KEYS)
    arch = _arch(spec)
    path = weights_file(spec)
    model = architectures.model(arch)
    load_checkpoint(without_selection(model.module), path, spec.query.get("entry"), spec.query.get("prefix"))
    return dataclasses.replace(model, name=path.stem)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    return Sources((spec.path(),)) + architectures.sources_of(_arch(spec))


def _arch(spec: Spec) -> Spec:
    if "arch" not in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: a state dict needs its architecture, such as &arch=torchvision:resnet18 "
            f"or &arch=python:package.module:factory"
        )
    return spec.nested("arch", num_classes=spec.query.get("num_classes"))


SCHEME: Final = Scheme(_load, _sources_of, inner=lambda spec: spec.nested("arch") if "arch" in spec.query else None)
