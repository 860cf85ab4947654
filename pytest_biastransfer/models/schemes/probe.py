"""``probe:BACKBONE?head=FILE``: a linear head on the features of another spec's model, as linear probes are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.safe_loading.weights_file import weights_file
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources
from pytest_biastransfer.specs.spec import Spec

# All other keys are the backbone's.
_KEYS: Final = frozenset({"class_order", "classes", "head", "name", "outputs", "sha256", "threshold"})


def _load(spec: Spec, architectures: Architectures) -> Model:
    from pytest_biastransfer.models.file_program import FileProgram
    from pytest_biastransfer.models.linear_probe import put_probe
    from pytest_biastransfer.models.safe_loading.head_file import read_head

    inner, path, origin = _backbone(spec), weights_file(spec, _head(spec)), f"spec {spec.text!r}"
    head = read_head(path, two_classes=spec.query.get("outputs", "softmax") == "softmax")
    if head.numbers is not None and "classes" not in spec.query:
        raise ModelError(
            f"{origin}: classes_ in {path} are the labels {head.numbers}, and labels are numbered from 0 on; name the "
            f"classes in the order of classes_ with &classes=FILE"
        )
    backbone = architectures.trained(inner)
    if isinstance(backbone.module, FileProgram):
        raise SpecError(f"{origin}: a probe needs a module with features, which {inner.scheme}: is not")
    module = put_probe(backbone, head, origin)
    return Model(module, backbone.preprocess, classes=head.classes, name=path.stem)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    return architectures.sources_of_trained(_backbone(spec)) + Sources((_head(spec),))


def _head(spec: Spec) -> Path:
    if "head" not in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: a probe needs the file of its head, such as &head=pets.npz or &head=pets.safetensors"
        )
    return spec.path(spec.query["head"])


def _backbone(spec: Spec) -> Spec:
    """Return the backbone's spec: the text after ``probe:``, in which ``?`` and ``&`` may be encoded, and its keys."""
    text = unquote(spec.rest)
    for key, value in spec.query.items():
        if key not in _KEYS:
            encoded = value.replace("%", "%25").replace("&", "%26")
            text += f"{'&' if '?' in text else '?'}{key}={encoded}"
    return Spec.parse(text, spec.directory)


SCHEME: Final = Scheme(_load, _sources_of, inner=_backbone)
