"""``python:package.module:factory?key=value``: a dataset that the user's own code returns."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.data.adapters import wrap_dataset
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.specs.python_factory import call_factory
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

KEYS: Final = None


def load(spec: Spec, facts: Facts | None) -> LabelledImages:
    """Return the factory's dataset; the factory gets all keys except those that every dataset's spec takes."""
    from pytest_biastransfer.data.spec_options import SHARED_KEYS

    return wrap_dataset(call_factory(spec, reserved=SHARED_KEYS), f"spec {spec.text!r}")
