"""Refuses tokenizers that run code of a repository, read files from elsewhere, or are of a class that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.json_files import read_json
from pytest_biastransfer.specs.spec import Spec

_CONFIG: Final = "tokenizer_config.json"
# They read JSON, plain text and SentencePiece models. Classes of other models may unpickle their vocabularies.
_CLASSES: Final = (
    "CLIPTokenizer",
    "GemmaTokenizer",
    "PreTrainedTokenizer",
    "Siglip2Tokenizer",
    "SiglipTokenizer",
    "TokenizersBackend",
)
# The files of a tokenizer, each set of which is enough. Without any, transformers makes one without a vocabulary.
_FILES: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
# It only says where a file once was, and is in the configurations of published models.
_NOT_READ: Final = "special_tokens_map_file"


def require_plain_tokenizer(spec: Spec, directory: Path) -> None:
    """Raise `ModelError` unless a directory has a tokenizer of a known class that reads files of the directory only."""
    if not any(all((directory / name).is_file() for name in names) for names in _FILES):
        choices = ", ".join(" and ".join(names) for names in _FILES)
        raise ModelError(
            f"spec {spec.text!r}: {directory} has no {choices}; save the tokenizer that the model was trained with: "
            f"tokenizer.save_pretrained(DIR)"
        )
    path = directory / _CONFIG
    if not path.is_file():
        return
    config = read_json(spec, path)
    if not isinstance(config, dict):
        raise ModelError(f"spec {spec.text!r}: {path} has a {type(config).__name__}, expected a JSON object")
    kind = config.get("tokenizer_class")
    if kind is not None and (not isinstance(kind, str) or kind.removesuffix("Fast") not in _CLASSES):
        raise ModelError(
            f"spec {spec.text!r}: {path} has tokenizer_class={kind!r:.60}, expected one of {', '.join(_CLASSES)}; save "
            f"the tokenizer that the model was trained with: tokenizer.save_pretrained(DIR)"
        )
    name = next((name for name, value in config.items() if _names_a_file(name, value)), None)
    if name is not None:
        raise ModelError(
            f"spec {spec.text!r}: {path} refers to {name}={config[name]!r:.80}, which is not loaded: a tokenizer is "
            f"read from its directory only; remove this entry"
        )


def _names_a_file(name: str, value: Any) -> bool:
    is_file = name.endswith(("_file", "_files")) and name != _NOT_READ
    return bool(value) and (is_file or name == "auto_map")
