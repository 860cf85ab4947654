"""Pictures of flipped images, drawn when a notebook shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.display.content import Album, CardPicture
from pytest_biastransfer.errors import BiasTransferError, first_line

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.metrics.measurement import Flip
    from pytest_biastransfer.models import Preprocess

# The longer side of a picture, in pixels: twice what a card shows, for screens of high density.
_SIDE: Final = 168
# Images with a shorter side keep their pixels, and their picture is lossless.
_SMALL_SIDE: Final = 64


@dataclass(frozen=True)
class FlipPictures:
    """Draws images before and after an intervention, as the model sees them before normalization.

    A pickled measurement has no pictures: it would contain the dataset.
    """

    images: LabelledImages
    preprocess: Preprocess
    intervention: Intervention

    def __call__(self, flips: Sequence[Flip]) -> Album:
        """Return the pictures of flipped images, or why there are none: a card does without them."""
        from pytest_biastransfer.evaluation.preview import Preview

        try:
            preview = Preview(self.images, self.preprocess, [flip.index for flip in flips])
            pairs = list(zip(preview.pixels, preview.changed(self.intervention), flips, strict=True))
            return Album([_picture(before, after, flip) for before, after, flip in pairs])
        except (BiasTransferError, OSError) as error:
            return Album(note=f"No pictures: {first_line(error)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def _picture(before: torch.Tensor, after: torch.Tensor, flip: Flip) -> CardPicture:
    return CardPicture(
        _data_uri(before),
        _data_uri(after),
        f"{flip.before} \N{RIGHTWARDS ARROW} {flip.after}",
        f"image {flip.index}, label {flip.label}",
        is_small=_is_small(before),
    )


def _is_small(image: torch.Tensor) -> bool:
    return max(image.shape[-2:]) <= _SMALL_SIDE


def _data_uri(image: torch.Tensor) -> str:
    from pytest_biastransfer.evaluation.side_by_side import drawn

    picture = drawn(image[None].cpu().clamp(0, 1))
    # It does nothing to a picture that is smaller.
    picture.thumbnail((_SIDE, _SIDE))
    file, form = io.BytesIO(), "png" if _is_small(image) else "jpeg"
    picture.save(file, form)
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"
