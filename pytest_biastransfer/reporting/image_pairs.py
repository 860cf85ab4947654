"""The pictures of a test: each shown image, what the intervention changes of it, and what the model says of both."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from pytest_biastransfer.evaluation.confidences import confidences_of, saliencies_of
from pytest_biastransfer.evaluation.occlusion import PASSES
from pytest_biastransfer.evaluation.preview import Preview
from pytest_biastransfer.measurement.decisions import decision_of
from pytest_biastransfer.reporting.decoded_pairs import picture_format
from pytest_biastransfer.reporting.from_json import from_plain
from pytest_biastransfer.reporting.report import Picture, Saliency, Shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model

    Pixels = npt.NDArray[np.uint8]

# The most bytes of a picture, before base64 adds a third. A page shows as many as fit into its size.
_MOST_BYTES: Final = 3_600
# Small pictures are lossless.
_QUALITIES: Final[Sequence[Mapping[str, Any]]] = (
    {"lossless": True},
    *({"quality": quality} for quality in (80, 65, 50, 35, 20, 10)),
)
_SIDE: Final = 160
_MEDIA_TYPES: Final = ("image/webp", "image/png")
# For so many images it is computed where a model looks.
SALIENT: Final = 4


@dataclass(frozen=True)
class ImagePair:
    """A clean image and its intervened one, with the probabilities of the predicted classes; see `Shown`."""

    clean: Picture | None
    changed: Picture | None
    middle: float = 0.5
    confidences: Sequence[float | None] = ()
    saliency: Saliency | None = None


@dataclass(frozen=True)
class ImagePairs:
    """The images that are shown of a test.

    Attributes
    ----------
    pairs
        One for each flipped image that is shown, in their order; none if the test shows no flips.
    example
        The first image as an example of the intervention, if no image flipped.
    """

    pairs: Sequence[ImagePair] = ()
    example: Shown | None = None


def _are_pairs(content: Any) -> bool:
    try:
        for pair in from_plain(Sequence[ImagePair], content):
            for picture in filter(None, (pair.clean, pair.changed)):
                base64.b64decode(picture.data, validate=True)
                if picture.media_type not in _MEDIA_TYPES:
                    return False
    except (TypeError, ValueError, LookupError):
        return False
    return True


# The store accepts plain data as pairs only if `_are_pairs` does: its files may come from another machine.
PairsForm: Final = Annotated[Any, _are_pairs]


def draw(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    indices: Sequence[int],
    *,
    ask: bool,
    salient: int = 0,
    positive: Sequence[int | str] = (),
) -> list[ImagePair]:
    """Return the pairs of the images at `indices`; without an intervention there is nothing changed.

    With `ask`, the model predicts them again for its confidences: the store keeps classes, not probabilities. For the
    first `salient` images, it is computed where the model looks. `positive` says which decision is judged; see
    `decision_of`.
    """
    preview = Preview(images, model.preprocess, indices)
    versions = [preview.pixels] if intervention is None else [preview.pixels, preview.changed(intervention)]

    def probability(outputs: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        return decision_of(model, images, positive, outputs.shape[1]).probability(outputs, predicted)

    confidences = confidences_of(evaluator, model, images, versions, probability) if ask else []
    maps = []
    if salient and intervention is not None:
        first = [version[:salient] for version in versions]
        maps = [(clean, changed) for clean, changed in saliencies_of(evaluator, model, images, first, probability)]
    pictures = _pictures(versions)
    return [
        ImagePair(
            *pictures[number],
            confidences[number] if confidences else (),
            Saliency(*maps[number], 2 * PASSES) if number < len(maps) else None,
        )
        for number in range(len(indices))
    ]


def pairs_from_plain(content: Any) -> Sequence[ImagePair]:
    """Return the pairs that the store has as plain data."""
    pairs: Sequence[ImagePair] = from_plain(Sequence[ImagePair], content)
    return pairs


def _pictures(versions: Sequence[torch.Tensor]) -> list[tuple[Picture | None, Picture | None, float]]:
    """Draw images of shape [images, channels, height, width] with values in [0, 1], and what changes of each.

    The third entry of each is the horizontal middle of what changes; see `Shown.middle`.
    """
    if versions[0].shape[1] not in (1, 3):
        return [(None, None, 0.5)] * len(versions[0])
    pixels = [_reduced(version) for version in versions]
    if len(pixels) == 1:
        return [(_picture(clean), None, 0.5) for clean in pixels[0]]
    return [
        (_picture(clean), _picture(_changed(clean, changed)), _middle(clean, changed))
        for clean, changed in zip(*pixels, strict=True)
    ]


def _middle(clean: Pixels, changed: Pixels) -> float:
    columns = np.flatnonzero((clean != changed).any(axis=(0, 2)))
    return round(float(columns.mean() + 0.5) / clean.shape[1], 2) if len(columns) else 0.5


def _reduced(version: torch.Tensor) -> Pixels:
    """Return images as RGB of at most `_SIDE` pixels a side, uint8 [images, height, width, 3].

    Small images keep their size: the browser enlarges them, and the file stays small.
    """
    tiles = version.cpu()
    scale = min(1.0, _SIDE / max(tiles.shape[-2:]))
    if scale < 1:
        size = [max(round(side * scale), 1) for side in tiles.shape[-2:]]
        tiles = functional.interpolate(tiles, size, mode="bilinear", antialias=True)
    tiles = tiles.expand(-1, 3, -1, -1).clamp(0, 1)
    pixels: Pixels = (tiles * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels


def _changed(clean: Pixels, changed: Pixels) -> Pixels:
    """Return a changed picture that is transparent where it is the clean one, uint8 [height, width, 4].

    Transparent pixels cost no bytes, and what is unchanged looks unchanged, whatever compression does to the rest.
    """
    differs = (clean != changed).any(axis=2)
    if differs.all():
        return changed
    rgba: Pixels = np.dstack([changed, differs.astype(np.uint8) * 255])
    rgba[~differs] = 0
    return rgba


def _picture(pixels: Pixels) -> Picture:
    name = picture_format()
    height, width = pixels.shape[:2]
    data = base64.b64encode(_compressed(Image.fromarray(pixels), name)).decode()
    return Picture(data, f"image/{name}", width, height)


def _compressed(picture: Image.Image, name: str) -> bytes:
    """Return the file of the best quality that has at most `_MOST_BYTES`, or else of the lowest quality."""
    file = io.BytesIO()
    for quality in _QUALITIES if name == "webp" else ({"optimize": True},):
        file = io.BytesIO()
        picture.save(file, name, **quality)
        if file.tell() <= _MOST_BYTES:
            break
    return file.getvalue()
