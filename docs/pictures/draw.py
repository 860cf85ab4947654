"""Draw the picture of bias-transfer.md, with the checkpoints of the tutorial in the current directory.

After the tutorial's first script: ``python /path/to/docs/pictures/draw.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from pytest_biastransfer import Square, load_model

SPEC: Final = "checkpoint:shapes.pt?arch=python:network:make&size=32&mean=0&std=1"
SQUARE: Final = Square()


def main() -> None:
    """Write bias-transfer.png beside this script."""
    model = load_model(SPEC)
    classes = sorted(path.name for path in Path("val").iterdir())
    examples = [(name, picture(f"val/{name}/{number:03}.png")) for name in classes for number in (1, 2)]
    images = torch.stack([image for _, image in examples])
    marked = SQUARE.apply(images)
    figure, axes = plt.subplots(2, len(examples), figsize=(7, 3.9), dpi=110)
    for row, batch, title in zip(axes, (images, marked), ("as it is", "with a yellow square"), strict=True):
        predicted = model.module(batch).argmax(dim=1).tolist()
        row[0].set_ylabel(title, fontsize=10)
        for panel, image, (name, _), guess in zip(row, batch, examples, predicted, strict=True):
            show(panel, image, classes[guess], is_right=classes[guess] == name)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("bias-transfer.png"))


def picture(path: str) -> torch.Tensor:
    """Return a picture as a float tensor [3, height, width] in [0, 1]."""
    with Image.open(path) as opened:
        return torch.from_numpy(np.asarray(opened.convert("RGB")) / np.float32(255)).permute(2, 0, 1)


def show(panel: Any, image: torch.Tensor, predicted: str, *, is_right: bool) -> None:
    """Show an image with the predicted class, in words and not by colour alone."""
    panel.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    color = "#1a1a1a" if is_right else "#b3261e"
    panel.set_title(f"“{predicted}”{'' if is_right else ', wrong'}", fontsize=10, color=color)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    with torch.no_grad():
        main()
