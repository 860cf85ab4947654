"""``torchscript:FILE``: a program that ``torch.jit.save`` wrote."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.models.file_program import saved_program
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.safe_loading.weights_file import weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.specs.spec import Spec


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys((*SHARED_KEYS, "trust"))
    path = weights_file(spec)
    program = saved_program("torchscript", path, trusted=bool(spec.switch("trust")), output=spec.query.get("output"))
    return Model(program, name=path.stem)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    return Sources((spec.path(),))


SCHEME: Final = Scheme(_load, _sources_of)
