"""Pictures of images beside what an intervention makes of them, and how sure the model is of its predictions."""

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

from pytest_biastransfer.evaluation.predictor import Predictor, ready_to_evaluate
from pytest_biastransfer.evaluation.preview import Canvas
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.report import Pictures, Shown

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model

# Two hundred tests of sixteen images fit into five megabytes, as text and with all that is written beside them.
_MOST_BYTES: Final = 9_500
# Small pictures lose nothing; of larger ones, colours bleed from one tile into the next.
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
        Of each image two tiles, clean and intervened; None where images of so many channels cannot be drawn.
    confidences
        The probabilities of the predicted class of each image, clean and intervened; none if the model was not asked.
    example
        The first image as an example of the intervention, where nothing flipped.
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


# The form of a sheet as plain data.
SheetForm: Final = Annotated[Any, _is_sheet]


def draw(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    places: Sequence[int],
    *,
    ask: bool,
) -> TileSheet:
    """Return the pictures of the images at `places`; `ask` also asks the model how sure it is."""
    canvas = Canvas(images, model.preprocess, places)
    changed = canvas.changed(intervention)
    confidences = _confidences(evaluator, model, images, (canvas.pixels, changed)) if ask else []
    return TileSheet(_sheet(canvas.pixels, changed), confidences)


def sheet_from_plain(content: Any) -> TileSheet:
    """Return the sheet that JSON holds."""
    found: TileSheet = from_plain(TileSheet, content)
    return found


def _confidences(
    evaluator: Evaluator, model: Model, images: LabelledImages, both: Sequence[torch.Tensor]
) -> list[tuple[float, float]]:
    device = torch.device(evaluator.device)
    (key,) = evaluator.keys(model, images, [None])
    predictor = Predictor(model, device, evaluator.batch_size(key), evaluator.precision)
    with ready_to_evaluate(model.module, device):
        found = [predictor.logits(part.to(device)).float().softmax(dim=1).amax(dim=1).tolist() for part in both]
    return list(zip(*found, strict=True))


def _sheet(clean: torch.Tensor, changed: torch.Tensor) -> Pictures | None:
    if clean.shape[1] not in (1, 3):
        return None
    # Clean and intervened take turns.
    tiles = torch.stack([clean, changed], dim=1).flatten(0, 1).cpu()
    scale = min(1.0, _SIDE / max(tiles.shape[-2:]))
    height, width = (max(round(side * scale), 1) for side in tiles.shape[-2:])
    if scale < 1:
        tiles = functional.interpolate(tiles, (height, width), mode="bilinear", antialias=True)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    together = np.full((rows * height, columns * width, 3), 255, np.uint8)
    pixels = (tiles.expand(-1, 3, -1, -1).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for place, tile in enumerate(pixels):
        row, column = divmod(place, columns)
        together[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    name = "webp" if features.check("webp") else "jpeg"
    data = base64.b64encode(_compressed(Image.fromarray(together), name)).decode()
    return Pictures(data, f"image/{name}", width, height, columns, len(tiles))


def _compressed(picture: Image.Image, name: str) -> bytes:
    """Return the file of the best quality that is small enough, or else of the lowest."""
    for quality in _QUALITIES[name != "webp" :]:
        file = io.BytesIO()
        picture.save(file, name, **quality)
        if file.tell() <= _MOST_BYTES:
            break
    return file.getvalue()
