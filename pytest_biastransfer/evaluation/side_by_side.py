"""Pictures of interventions: before and after, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import DatasetError, InterventionError
from pytest_biastransfer.interventions import Intervention

if TYPE_CHECKING:
    import torch
    from PIL import Image, ImageDraw

    from pytest_biastransfer.data.arrays import Image as Pixels

_SIDE = 224
_GAP = 8


def side_by_side(intervention: Intervention, image: Path | None = None, mask: Path | None = None) -> Image.Image:
    """Return the picture in a file, or a drawn landscape, before and after the intervention.

    All masks that the intervention takes are the picture in the file `mask`, or the house and the tree of the
    landscape.

    Raises
    ------
    DatasetError
        If the file cannot be read.
    InterventionError
        If the intervention cannot be applied to it.
    """
    before = sample() if image is None else _pixels(image)
    return draw_pair(before, intervention.apply(before, masks=_masks(intervention, image, mask)))


def draw_pair(before: torch.Tensor, after: torch.Tensor) -> Image.Image:
    """Draw two images, float [1, channels, height, width] in [0, 1], side by side."""
    from PIL import Image

    pictures = [drawn(before), drawn(after)]
    width, height = pictures[0].size
    together = Image.new("RGB", (2 * width + _GAP, height), "white")
    together.paste(pictures[0], (0, 0))
    together.paste(pictures[1], (width + _GAP, 0))
    return together


def drawn(images: torch.Tensor) -> Image.Image:
    """Draw one image, float [1, channels, height, width] in [0, 1]; raises `DatasetError` unless it is gray or RGB."""
    from PIL import Image

    if images.shape[1] not in (1, 3):
        raise DatasetError(f"images of {images.shape[1]} channels cannot be drawn")
    return Image.fromarray((images[0].expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).numpy())


def _masks(intervention: Intervention, image: Path | None, mask: Path | None) -> dict[str, torch.Tensor]:
    if not intervention.mask_names:
        return {}
    if mask is None and image is not None:
        raise InterventionError(
            f"{intervention} needs the mask {intervention.mask_names[0]!r}; add --mask=FILE, white on black"
        )
    covered = sample_mask() if mask is None else _mask(mask)
    return dict.fromkeys(intervention.mask_names, covered)


def _pixels(path: Path) -> torch.Tensor:
    import torch

    return torch.from_numpy(_read(path, "image").copy())[None].float() / 255


def _mask(path: Path) -> torch.Tensor:
    import torch

    from pytest_biastransfer.data.masks import mask_of_pixels

    return torch.from_numpy(mask_of_pixels(_read(path, "mask"), f"mask {path}"))[None]


def _read(path: Path, kind: str) -> Pixels:
    from pytest_biastransfer.data.picture_decoding import read_picture

    if not path.is_file():
        raise DatasetError(f"{kind} {path}: no such file")
    return read_picture(path)


def sample() -> torch.Tensor:
    """Return a landscape in plain colours, float [1, 3, 224, 224]: a sky, a meadow, a sun, a house and a tree."""
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    rows = np.linspace(0, 1, _SIDE)[:, None, None]
    sky = (1 - rows) * np.array((96, 160, 224)) + rows * np.array((216, 232, 248))
    picture = Image.fromarray(np.broadcast_to(sky, (_SIDE, _SIDE, 3)).round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 150, _SIDE, _SIDE), fill=(104, 152, 72))
    draw.ellipse((150, 24, 194, 68), fill=(248, 216, 88))
    _draw_objects(draw)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


def sample_mask() -> torch.Tensor:
    """Return the mask of the house and the tree of the landscape, float [1, 1, 224, 224]."""
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_SIDE, _SIDE))
    _draw_objects(ImageDraw.Draw(picture))
    return torch.from_numpy(np.asarray(picture).any(axis=2))[None, None].float()


def _draw_objects(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((40, 110, 104, 172), fill=(192, 96, 72))
    draw.polygon([(30, 110), (72, 74), (114, 110)], fill=(112, 56, 48))
    draw.rectangle((62, 138, 82, 172), fill=(72, 48, 40))
    draw.rectangle((158, 130, 168, 178), fill=(104, 72, 48))
    draw.ellipse((136, 84, 190, 140), fill=(56, 112, 56))
