"""The memory that loading one model takes: the most beside what was there, and the size of its file. Prints bytes.

The model is large and plain: five layers of 4,096 by 4,096 numbers.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pytest_biastransfer.models.loading import load_model

_IMAGES = torch.rand(2, 3, 8, 8)


class Wide(torch.nn.Module):
    """Maps the mean of an image through many numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(4096, 4096) for _ in range(5)))
        self.head = torch.nn.Linear(4096, 10)

    def forward(self, images: torch.Tensor) -> Any:
        """Return logits [batch, 10]."""
        return self.head(self.layers(images.flatten(1).mean(1, keepdim=True).expand(-1, 4096)))


def _hugging_face(path: str) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    ViTForImageClassification(ViTConfig()).save_pretrained(path)
    ViTImageProcessor().save_pretrained(path)


def _adapter(path: str) -> None:
    """Save a base and an adapter of it: a LoRA of rank 16 on queries and values, and a new head."""
    import peft
    from transformers import AutoModelForImageClassification

    _hugging_face("vit")
    base = AutoModelForImageClassification.from_pretrained("vit", num_labels=37, ignore_mismatched_sizes=True)
    names = {name.rpartition(".")[2] for name, _ in base.named_modules()}
    targets = [new if new in names else old for new, old in (("q_proj", "query"), ("v_proj", "value"))]
    config = peft.LoraConfig(r=16, target_modules=targets, modules_to_save=["classifier"])
    peft.get_peft_model(base, config).save_pretrained(path)


def _timm(path: str) -> None:
    import timm

    torch.save(timm.create_model("vit_base_patch16_224").state_dict(), path)


def _onnx(path: str) -> None:
    torch.onnx.export(Wide().eval(), (_IMAGES,), path, dynamo=True, external_data=False, verbose=False)


# What a spec is, how its file is made, and what is imported before memory is looked at.
_SPECS: Mapping[str, tuple[str, str, Callable[[str], object], tuple[str, ...]]] = {
    "pt": (
        "checkpoint:wide.pt?arch=python:loading:Wide",
        "wide.pt",
        lambda path: torch.save(Wide().state_dict(), path),
        (),
    ),
    "safetensors": (
        "checkpoint:wide.safetensors?arch=python:loading:Wide",
        "wide.safetensors",
        lambda path: save_file(Wide().state_dict(), path),
        (),
    ),
    "half": (
        "checkpoint:half.pt?arch=python:loading:Wide",
        "half.pt",
        lambda path: torch.save(Wide().half().state_dict(), path),
        (),
    ),
    "torchscript": (
        "torchscript:script.pt",
        "script.pt",
        lambda path: torch.jit.trace(Wide().eval(), _IMAGES).save(path),  # type: ignore[no-untyped-call]
        (),
    ),
    "export": (
        "export:wide.pt2",
        "wide.pt2",
        lambda path: torch.export.save(torch.export.export(Wide().eval(), (_IMAGES,)), path),
        ("torch.export",),
    ),
    "onnx": ("onnx:wide.onnx", "wide.onnx", _onnx, ("onnx", "onnxruntime")),
    "timm": ("timm:vit_base_patch16_224?checkpoint=vit.pth", "vit.pth", _timm, ("timm",)),
    "hf": (
        "hf:vit",
        "vit/model.safetensors",
        lambda _: _hugging_face("vit"),
        ("transformers.models.vit.modeling_vit",),
    ),
    "adapter": (
        "hf:vit?adapter=pets",
        "vit/model.safetensors",
        lambda _: _adapter("pets"),
        ("transformers.models.vit.modeling_vit", "peft"),
    ),
    "unmerged": (
        "hf:vit?adapter=pets&merge=0",
        "vit/model.safetensors",
        lambda _: _adapter("pets"),
        ("transformers.models.vit.modeling_vit", "peft"),
    ),
}


def main() -> None:
    """Make a file, or load it; a process of its own for each, as memory is not given back."""
    what, name = sys.argv[1:]
    spec, file, make, modules = _SPECS[name]
    if what == "make":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(file)
        return
    for module in (*modules, "torchvision"):
        importlib.import_module(module)
    before = _status("VmRSS")
    # Linux then forgets what the most was until now.
    Path("/proc/self/clear_refs").write_text("5")
    model = load_model(spec)
    peak = _status("VmHWM") - before
    del model
    sys.stdout.write(json.dumps({"bytes": peak, "file": Path(file).stat().st_size}) + "\n")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
