"""The tile sheet of a test: one picture of all its shown images, clean and intervened, and the model's confidences."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import torch
from PIL import Image, features
from torch.nn import functional

from pytest_biastransfer.evaluation.confidences import confidences_of
from pytest_biastransfer.evaluation.preview import Preview
from pytest_biastransfer.measurement.decisions import decision_of
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.report import Pictures, Shown

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model

# A page with 200 tests of 16 images each stays below 5 MB: base64 adds a third, and the page has texts besides.
_MOST_BYTES: Final = 9_500
# Small sheets are lossless. Lossy compression lets colours bleed from a tile into its neighbour, so it comes last.
_QUALITIES: Final[Sequence[Mapping[str, Any]]] = (
    {"lossless": True},
    *({"quality": quality} for quality in (80, 60, 45, 30, 20, 10, 5)),
)
_SIDE: Final = 64
_MEDIA_TYPES: Final = ("image/webp", "image/jpeg")
_COLUMNS: Final = 8


@dataclass(frozen=True)
class TileSheet:
    """The pictures of a test.

    Attributes
    ----------
    pictures
        Two tiles per image, clean and intervened; None if the images have neither 1 nor 3 channels.
    confidences
        The probabilities of the predicted classes, clean and intervened, per image; empty if they were not computed.
    example
        The first image as an example of the intervention, if no image flipped.
    """

    pictures: Pictures | None
    confidences: Sequence[Sequence[float | None]]
    example: Shown | None = None


def _is_sheet(content: Any) -> bool:
    try:
        sheet = from_plain(TileSheet, content)
        if sheet.pictures is not None:
            base64.b64decode(sheet.pictures.data, validate=True)
    except (TypeError, ValueError, LookupError):
        return False
    return sheet.pictures is None or sheet.pictures.media_type in _MEDIA_TYPES


# The store accepts plain data as a sheet only if `_is_sheet` does: its files may come from another machine.
SheetForm: Final = Annotated[Any, _is_sheet]


def draw(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    indices: Sequence[int],
    *,
    ask: bool,
    positive: Sequence[int | str] = (),
) -> TileSheet:
    """Return the tile sheet of the images at `indices`.

    With `ask`, the model predicts them again for its confidences: the store keeps classes, not probabilities.
    `positive` says which decision is judged; see `decision_of`.
    """
    preview = Preview(images, model.preprocess, indices)
    changed = preview.changed(intervention)

    def confidence(outputs: torch.Tensor) -> torch.Tensor:
        return decision_of(model, images, positive, outputs.shape[1]).confidence(outputs)

    confidences = confidences_of(evaluator, model, images, (preview.pixels, changed), confidence) if ask else []
    return TileSheet(_sheet(preview.pixels, changed), confidences)


def sheet_from_plain(content: Any) -> TileSheet:
    """Return the sheet that the store has as plain data."""
    sheet: TileSheet = from_plain(TileSheet, content)
    return sheet


def _sheet(clean: torch.Tensor, changed: torch.Tensor) -> Pictures | None:
    """Draw images of shape (n, channels, height, width) with values from 0 to 1 as tiles in one picture."""
    if clean.shape[1] not in (1, 3):
        return None
    # An image's clean tile is followed by its intervened one.
    tiles = torch.stack([clean, changed], dim=1).flatten(0, 1).cpu()
    # Small images keep their size: the browser enlarges them, and the file stays small.
    scale = min(1.0, _SIDE / max(tiles.shape[-2:]))
    height, width = (max(round(side * scale), 1) for side in tiles.shape[-2:])
    if scale < 1:
        tiles = functional.interpolate(tiles, (height, width), mode="bilinear", antialias=True)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    pixels = (tiles.expand(-1, 3, -1, -1).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for number, tile in enumerate(pixels):
        row, column = divmod(number, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    name = "webp" if features.check("webp") else "jpeg"
    data = base64.b64encode(_compressed(Image.fromarray(sheet), name)).decode()
    return Pictures(data, f"image/{name}", width, height, columns, len(tiles))


def _compressed(picture: Image.Image, name: str) -> bytes:
    """Return the file of the best quality that has at most `_MOST_BYTES`, or else of the lowest quality."""
    for quality in _QUALITIES[name != "webp" :]:
        file = io.BytesIO()
        picture.save(file, name, **quality)
        if file.tell() <= _MOST_BYTES:
            break
    return file.getvalue()
