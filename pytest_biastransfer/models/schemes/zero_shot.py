"""``zeroshot:DIR_OR_ID?classes=FILE``: CLIP or SigLIP of transformers, as a classifier of classes that a file names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.pretrained_model import pretrained_model
from pytest_biastransfer.models.pretrained_module import weights_in
from pytest_biastransfer.models.safe_loading.hub_config import require_no_adapter
from pytest_biastransfer.models.safe_loading.weights_file import weights_files
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources, require_fixed
from pytest_biastransfer.models.spec_options import SHARED_KEYS, class_names
from pytest_biastransfer.models.text_embeddings import ClassTexts
from pytest_biastransfer.models.towers import SavedTowers
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.class_names import as_names, read_class_file
from pytest_biastransfer.specs.spec import Spec

_KEYS: Final = (*SHARED_KEYS, *hub.KEYS, "template")
# The sentence of the papers of CLIP, for any kind of picture.
_DEFAULT: Final = "a photo of a {}."
# Tokenizers are in JSON, in a list of merges, or in a model of SentencePiece.
_TOKENIZERS: Final = ("merges.txt", "*.model")
_PATTERNS: Final = ("*.json", "*.safetensors", *_TOKENIZERS)


def _load(spec: Spec, architectures: Architectures) -> Model:
    import torch

    from pytest_biastransfer.models.zero_shot_classifier import ClassEmbeddings, ZeroShotClassifier

    spec.check_keys(_KEYS)
    classes, templates = _classes(spec), _templates(spec)
    snapshot = _snapshot(spec)
    require_no_adapter(spec, snapshot.directory)
    weights_files(spec, weights_in(spec, snapshot.directory))
    towers = SavedTowers(spec, snapshot.directory)
    texts = ClassTexts(towers, _files(spec, snapshot.directory), classes, templates)
    # First the texts: their tower is gone when that of the images is loaded.
    facts = architectures.facts
    identity = texts.identity(facts)
    embeddings = torch.from_numpy(texts.embeddings(facts, identity))
    module = ZeroShotClassifier(
        towers.images(),
        towers.pair.images.output,
        ClassEmbeddings(embeddings, identity),
        towers.scalars(),
    )
    name = snapshot.name(spec.rest)
    return pretrained_model(spec, module, [snapshot.directory], name=name, classes=classes)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    snapshot = require_fixed(_snapshot(spec), spec)
    own = _templates_file(spec)
    files = (*_files(spec, snapshot.directory), *(() if own is None else (own,)))
    # The listing counts too: the files that transformers reads depend on the files that exist.
    return Sources(files, directories=(snapshot.directory,))


def _snapshot(spec: Spec) -> hub.Snapshot:
    return hub.snapshot(spec, extra="hf", patterns=_PATTERNS, kind="model")


def _files(spec: Spec, directory: Path) -> list[Path]:
    others = {path for pattern in ("*.json", *_TOKENIZERS) for path in directory.glob(pattern)}
    return [*weights_in(spec, directory), *sorted(others)]


def _classes(spec: Spec) -> list[str]:
    if "classes" not in spec.query:
        raise SpecError(
            f"spec {spec.text!r}: zeroshot: has the classes that a file names; add &classes=FILE, with one name a "
            f"line, or a JSON list"
        )
    return class_names(spec.path(spec.query["classes"]))


def _templates(spec: Spec) -> list[str]:
    """Return the templates, each with one ``{}``: the default one, that of the spec, or those in a file."""
    path = _templates_file(spec)
    if path is None:
        templates, origin = [spec.query.get("template", _DEFAULT)], f"spec {spec.text!r}: template="
    else:
        origin = f"templates {path}: "

        def fail(problem: str) -> ModelError:
            return ModelError(f"{origin}{problem}; in a spec, template= is a text with one {{}}, or a file of them")

        content = read_class_file(path, fail, unreadable="{}")
        templates = as_names(content, fail, "expected one template a line, or in a .json file a list of them")
    for template in templates:
        if template.count("{}") != 1 or {"{", "}"} & set(template.replace("{}", "")):
            raise ModelError(f"{origin}{template!r:.100}, expected a text with one {{}}, such as {_DEFAULT!r}")
    return templates


def _templates_file(spec: Spec) -> Path | None:
    """Return the file of templates, None if the spec has the template itself: a text with a brace."""
    text = spec.query.get("template", _DEFAULT)
    return None if "{" in text else spec.path(text)


SCHEME: Final = Scheme(_load, _sources_of)
