"""The floor: nothing but forward passes over pixels that are there already. Prints the seconds of each pass."""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from resnet20 import ResNet20  # type: ignore[import-not-found]
from safetensors.torch import load_file
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Decode once, then time the passes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("weights")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    device = torch.device(options.device)
    pixels = torch.stack([image for image, _ in ImageFolder(options.images, transform=v2.ToImage())]).to(device)
    model = ResNet20()
    model.load_state_dict(load_file(options.weights))
    model.eval().to(device)
    # Real float32, as bias tests compute in: by default torch rounds the factors of convolutions on CUDA.
    torch.backends.cudnn.allow_tf32 = False
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")
    with torch.inference_mode(), autocast:
        # What the first batch alone pays for, such as choosing kernels, is no part of the floor.
        one_pass(model, pixels[: options.batch], options.batch)
        seconds = [one_pass(model, pixels, options.batch) for _ in range(options.passes)]
    sys.stdout.write(json.dumps({"passes": seconds}) + "\n")


def one_pass(model: torch.nn.Module, pixels: torch.Tensor, batch: int) -> float:
    """Return the seconds of one forward pass over all images, uint8 [images, 3, height, width]."""
    mean, std = (torch.tensor(values, device=pixels.device).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    start = time.perf_counter()
    for images in torch.split(pixels, batch):
        classes = model((images.float() / 255 - mean) / std).argmax(dim=1)
    classes.cpu()  # A GPU is done when its last result is here.
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
