"""Tiny models of CLIP and SigLIP with random weights, each with a tokenizer of single characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch

SIZES: Final = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz.,-0123456789"
LENGTH: Final = {"clip": 48, "siglip": 40}
PICTURES: Final = {"image_size": 32, "patch_size": 8}


def save_clip(directory: str = "clip", *, width: int = 24, seed: int = 0) -> Any:
    """Save a CLIPModel with its tokenizer and its processor, and return the model."""
    import transformers

    vocabulary = _save_clip_tokenizer(Path(directory))
    texts: dict[str, Any] = {
        **SIZES, "vocab_size": len(vocabulary), "max_position_embeddings": LENGTH["clip"],
        "bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"],
    }  # fmt: skip
    torch.manual_seed(seed)
    config = transformers.CLIPConfig(text_config=texts, vision_config={**SIZES, **PICTURES}, projection_dim=width)
    return _saved(transformers.CLIPModel(config), directory, transformers.CLIPImageProcessor)


def save_siglip(directory: str = "siglip", *, seed: int = 0) -> Any:
    """Save a SiglipModel with its tokenizer and its processor, and return the model."""
    import transformers

    count = _save_siglip_tokenizer(Path(directory))
    texts: dict[str, Any] = {
        **SIZES, "vocab_size": count, "max_position_embeddings": LENGTH["siglip"], "projection_size": 32,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = transformers.SiglipConfig(text_config=texts, vision_config={**SIZES, **PICTURES})
    return _saved(transformers.SiglipModel(config), directory, transformers.SiglipImageProcessor)


def own_logits(module: Any, directory: str, texts: list[str], images: torch.Tensor) -> torch.Tensor:
    """Return the logits [images, texts] of the library's own model of both towers."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    kind = module.config.model_type
    padding = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": LENGTH[kind]}
    inputs = {"input_ids": tokenizer(texts, return_tensors="pt", **padding)["input_ids"], "pixel_values": images}
    with torch.inference_mode():
        logits: torch.Tensor = module(**inputs).logits_per_image
    return logits


def _saved(module: Any, directory: str, processor: Any) -> Any:
    # The initial scale makes nearly equal logits, which would hide an error.
    module.logit_scale.data.fill_(3.0)
    if hasattr(module, "logit_bias"):
        module.logit_bias.data.fill_(-2.5)
    module.eval().save_pretrained(directory)
    height = {"height": PICTURES["image_size"], "width": PICTURES["image_size"]}
    processor(size=height, crop_size=height, do_center_crop=False).save_pretrained(directory)
    return module


def _save_clip_tokenizer(directory: Path) -> dict[str, int]:
    directory.mkdir(exist_ok=True, parents=True)
    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return vocabulary


def _save_siglip_tokenizer(directory: Path) -> int:
    import tokenizers

    directory.mkdir(exist_ok=True, parents=True)
    tokens = ["<unk>", "</s>", " ", *LETTERS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer: Any = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>", "unk_token": "<unk>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return len(vocabulary)
