"""``python:package.module:factory``: the user's own code."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.models.model import Model, wrap_module
from pytest_biastransfer.models.safe_loading.weights_file import without_weights_file
from pytest_biastransfer.models.scheme import Architectures, Parts, Scheme
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.specs.python_factory import call_factory
from pytest_biastransfer.specs.spec import Spec


def _architecture(spec: Spec) -> Model:
    without_weights_file(spec, "check the file in the factory, or name it with checkpoint:FILE?arch=python:...")
    return wrap_module(call_factory(spec, reserved=SHARED_KEYS), f"spec {spec.text!r}")


def _load(spec: Spec, architectures: Architectures) -> Model:
    return _architecture(spec)


def _made_of(spec: Spec, architectures: Architectures) -> Parts | None:
    # A factory may do anything.
    return None


def _architecture_made_of(spec: Spec) -> Parts:
    # Its weights are all replaced; what is left is its code.
    return Parts(modules=(spec.rest.partition(":")[0],))


SCHEME: Final = Scheme(_load, _made_of, _architecture, _architecture_made_of)
