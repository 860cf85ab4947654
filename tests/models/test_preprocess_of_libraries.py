"""Preprocessing from torchvision's weights, timm's data configs and Hugging Face's processors: the same pixels."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image, ImageOps
from torchvision import models

from pytest_biastransfer import Preprocess
from pytest_biastransfer.data.picture_decoding import read_picture
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.image_processor import channels_are_flipped, preprocess_of
from pytest_biastransfer.models.schemes.timm_models import _preprocess as of_timm
from pytest_biastransfer.models.schemes.torchvision_models import _described
from pytest_biastransfer.specs.spec import Spec

# One step of a pixel of 8 bits, and what float32 rounds.
STEP = 1 / 255 + 1e-5


def drawn(extent: tuple[int, int]) -> Image.Image:
    """Return a picture (height, width) with edges and noise, where resizing filters differ most."""
    generator = np.random.default_rng(extent[0])
    pixels = generator.integers(0, 256, (*extent, 3), dtype=np.uint8)
    pixels[extent[0] // 3 :, extent[1] // 2 :] = (255, 255, 0)
    return Image.fromarray(pixels)


def photographs() -> list[Path]:
    data = os.environ.get("BIASTRANSFER_DATA")
    return sorted((Path(data) / "imagenet_sample").glob("*/*.jpg"))[::125] if data else []


@functools.cache
def pictures() -> list[Image.Image]:
    made = [drawn((301, 450)), drawn((467, 340)), drawn((100, 100))]
    return made + [Image.open(path).convert("RGB") for path in photographs()]


def ours(preprocess: Preprocess, picture: Image.Image) -> torch.Tensor:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    path = Path("picture.png")
    path.write_bytes(buffer.getvalue())
    pixels = np.ascontiguousarray(preprocess.resize_and_crop(read_picture(path)))
    return preprocess.normalize(torch.from_numpy(pixels)[None].float() / 255)[0]


def largest_difference(preprocess: Preprocess, theirs: torch.Tensor, picture: Image.Image) -> float:
    """Return the largest difference of two preprocessed images, in units of pixels in [0, 1]."""
    actual = ours(preprocess, picture)
    assert actual.shape == theirs.shape
    std: Any = 1.0 if preprocess.std is None else torch.tensor(preprocess.std).reshape(-1, 1, 1)
    return float(((actual - theirs) * std).abs().max())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ------------------------------------------------------------------------------------------- torchvision


def torchvisions() -> list[Any]:
    """Return weights with every combination of sizes, normalization and interpolation that torchvision has."""
    every = [weights for name in models.list_models(module=models) for weights in models.get_model_weights(name)]
    return list({repr(weights.transforms()): weights for weights in every}.values())


@pytest.mark.parametrize("weights", torchvisions(), ids=str)
def test_pixels_of_torchvisions_weights(weights: Any) -> None:
    spec = Spec.parse("torchvision:any")
    preprocess = _described(torch.nn.Flatten(), weights, spec).preprocess
    for picture in pictures():
        assert largest_difference(preprocess, weights.transforms()(picture), picture) <= 1e-6


# ------------------------------------------------------------------------------------------- timm

timm_data: Any = timm.data


def timms() -> list[dict[str, Any]]:
    """Return the data configs with every combination that timm's models have, but for their sizes."""
    kinds: dict[object, dict[str, Any]] = {}
    for name in timm.list_models(pretrained=True):
        config = timm_data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())  # type: ignore[union-attr]
        height, width = config["input_size"][1:]
        kind = (config["crop_mode"], config["interpolation"], config["crop_pct"], height == width)
        # The smallest of them: large ones take long, and differ in nothing else.
        if kind not in kinds or config["input_size"] < kinds[kind]["input_size"]:
            kinds[kind] = config
    return list(kinds.values())


@pytest.mark.parametrize("config", timms(), ids=lambda config: "-".join(str(value) for value in config.values()))
def test_pixels_of_timms_data_configs(config: dict[str, Any]) -> None:
    preprocess = of_timm(Spec.parse("timm:any"), config)
    transform = timm_data.create_transform(**config, is_training=False)
    for picture in pictures():
        if config["input_size"][0] == 3:
            assert largest_difference(preprocess, transform(picture), picture) <= 1e-6


def test_a_data_config_of_timm_that_is_unknown() -> None:
    config = timm_data.resolve_data_config({"crop_mode": "spiral"}, pretrained_cfg={"input_size": (3, 8, 8)})
    with pytest.raises(ModelError, match="crop_mode 'spiral', expected one of"):
        of_timm(Spec.parse("timm:any"), config)


# ------------------------------------------------------------------------------------------- Hugging Face

PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {}),
    "swin 256, bicubic": ("ViTImageProcessor", {"size": {"height": 256, "width": 256}, "resample": 3}),
    "by Pillow, lanczos": ("ViTImageProcessorPil", {"size": {"height": 99, "width": 130}, "resample": 1}),
    "nearest": ("ViTImageProcessor", {"size": {"height": 99, "width": 130}, "resample": 0}),
    "deit": ("DeiTImageProcessor", {}),
    "beit": ("BeitImageProcessor", {}),
    "bit": ("BitImageProcessor", {}),
    "dinov2": (
        "BitImageProcessor",
        {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3},
    ),
    "an odd rest": (
        "BitImageProcessor",
        {"size": {"shortest_edge": 255}, "crop_size": {"height": 224, "width": 224}, "resample": 2},
    ),
    "clip": ("CLIPImageProcessor", {}),
    "convnext, cropped": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    "convnext, squeezed": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "resnet": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}),
    "efficientnet": ("EfficientNetImageProcessor", {"size": {"height": 224, "width": 224}}),
    "efficientnet, offset": (
        "EfficientNetImageProcessor",
        {"size": {"height": 240, "width": 240}, "rescale_factor": 1 / 127.5, "rescale_offset": True},
    ),
    "efficientnet, without top": ("EfficientNetImageProcessor", {"include_top": False}),
    "levit": ("LevitImageProcessor", {}),
    "mobilenet v1": ("MobileNetV1ImageProcessor", {}),
    "mobilenet v2": ("MobileNetV2ImageProcessor", {}),
    "mobilevit": ("MobileViTImageProcessor", {}),
    "poolformer": ("PoolFormerImageProcessor", {}),
    "pvt": ("PvtImageProcessor", {}),
    "siglip": ("SiglipImageProcessor", {}),
    "by Pillow": ("ViTImageProcessorPil", {"resample": 3}),
    "by Pillow, cropped": ("BitImageProcessorPil", {}),
    "not normalized": ("ViTImageProcessor", {"do_normalize": False}),
    "not rescaled": ("ViTImageProcessor", {"do_rescale": False, "image_mean": 127.5, "image_std": 127.5}),
}


@pytest.mark.parametrize("name", [name for name, (kind, _) in PROCESSORS.items() if kind in dir(transformers)])
def test_pixels_of_hugging_faces_processors(name: str) -> None:
    kind, options = PROCESSORS[name]
    processor = getattr(transformers, kind)(**options)
    preprocess = preprocess_of(processor, "spec")
    for picture in pictures():
        theirs = torch.as_tensor(np.asarray(processor(picture, return_tensors="np")["pixel_values"]))[0].float()
        theirs = theirs.flip(0) if channels_are_flipped(processor) else theirs
        assert largest_difference(preprocess, theirs, picture) <= STEP


def test_a_processor_that_cannot_be_expressed() -> None:
    class MirroringProcessor(transformers.ViTImageProcessor):
        """Does something that no other processor does."""

        def preprocess(self, images: Any, *arguments: Any, **options: Any) -> Any:
            return super().preprocess(ImageOps.mirror(images), *arguments, **options)

    with pytest.raises(ModelError, match=r"spec x: its MirroringProcessor .*cannot be expressed; declare the"):
        preprocess_of(MirroringProcessor(), "spec x")


# ------------------------------------------------------------------------------------------- without antialiasing


def test_without_antialiasing_as_torchvision_does_with_tensors() -> None:
    from torchvision.transforms import v2

    for interpolation in ("bilinear", "bicubic"):
        preprocess = Preprocess(resize=100, interpolation=interpolation, antialias=False)
        for picture in pictures():
            tensor = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
            mode = v2.InterpolationMode(interpolation)
            theirs = v2.functional.resize(tensor.float(), [100], mode, antialias=False) / 255
            assert largest_difference(preprocess, theirs.clamp(0, 1), picture) <= 0.51 / 255


def test_a_preprocess_survives_what_is_kept_of_it() -> None:
    declared = Preprocess(size=224, crop_pct=0.9, fill=(0.1, 0.2, 0.3), resize_mode="longest", crop_rounding="down")
    assert Preprocess(**dataclasses.asdict(declared)) == declared
    assert (declared.resize, declared.crop) == (248, 224)
