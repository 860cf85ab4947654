"""The images that a report shows of a test: their pictures, what the model says of them, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture file.

    Attributes
    ----------
    data
        The file, in base64.
    media_type
        Its media type, such as ``"image/webp"``.
    width, height
        Its size, in pixels.
    """

    data: str
    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Saliency:
    """Where a model looks: how much less probable its prediction is if a part of the image is hidden.

    Attributes
    ----------
    clean, intervened
        The loss of probability, in [-1, 1], of each cell of a grid: rows from the top, cells from the left. The
        prediction is that of the clean image, and that of the intervened image.
    passes
        How many images were run through the model for both.
    """

    clean: Sequence[Sequence[float]]
    intervened: Sequence[Sequence[float]]
    passes: int


@dataclass(frozen=True)
class Shown:
    """An image, and the same image under the intervention.

    Attributes
    ----------
    index
        Its index in the dataset.
    label
        The name that the dataset has for its class.
    before, after
        The predicted classes; equal if the image is an example of the intervention and does not flip. Of an error in
        a group of a gap, the predicted class is `before`, and `after` is empty.
    confidence_before, confidence_after
        The probabilities of these classes, in [0, 1]; None if they were not computed.
    new
        Whether it is in the set that is shown, and was not when the baseline was accepted; None without a baseline.
    file
        Its file, relative to the dataset; empty if it has none.
    clean
        The clean image; None if there is no picture.
    changed
        What the intervention changes: a picture of the same size that is transparent where nothing changes, to lay
        upon the clean one. None if there is no intervention, or no picture.
    middle
        The middle of what changes, from 0 at the left edge to 1 at the right one.
    saliency
        Where the model looks; None if it was not computed.
    """

    index: int
    label: str
    before: str
    after: str
    confidence_before: float | None = None
    confidence_after: float | None = None
    new: bool | None = None
    file: str = ""
    clean: Picture | None = None
    changed: Picture | None = None
    middle: float = 0.5
    saliency: Saliency | None = None
