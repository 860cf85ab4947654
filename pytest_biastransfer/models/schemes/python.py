"""``python:package.module:factory``: a model that the user's own code returns."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.models.model import Model, wrap_module
from pytest_biastransfer.models.safe_loading.weights_file import without_weights_file
from pytest_biastransfer.models.scheme import Architectures, NotRecognizableError, Scheme, Sources
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.specs.python_factory import call_factory
from pytest_biastransfer.specs.spec import Spec


def _architecture(spec: Spec) -> Model:
    without_weights_file(spec, "check the file in the factory, or name it with checkpoint:FILE?arch=python:...")
    return wrap_module(call_factory(spec, reserved=SHARED_KEYS), f"spec {spec.text!r}")


def _load(spec: Spec, architectures: Architectures) -> Model:
    return _architecture(spec)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    raise NotRecognizableError(
        "a factory may read anything; name its weights with checkpoint:FILE?arch=python:MODULE:FACTORY"
    )


def _architecture_sources(spec: Spec) -> Sources:
    # A checkpoint replaces all its weights, so only the code matters.
    return Sources(modules=(spec.rest,))


SCHEME: Final = Scheme(_load, _sources_of, _architecture, _architecture_sources)
