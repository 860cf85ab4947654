"""Where a model looks: parts of an image are hidden, one after the other, and the prediction becomes less probable.

The method is that of Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), in section
4.2. It needs nothing of a model but its outputs, and is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

# An image is a grid of so many cells in each direction, and a window hides so many of them in each direction.
GRID: Final = 8
WINDOW: Final = 2
# The number of images that are run through the model for the saliency of one.
PASSES: Final = (GRID - WINDOW + 1) ** 2 + 1


def saliency(image: torch.Tensor, probability: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return by how much the probability of a prediction falls if a part of the image is hidden.

    A window hides `WINDOW` x `WINDOW` cells by the image's mean colour. It stands once at each cell. The saliency of a
    cell is the mean over all windows that hide it.

    Parameters
    ----------
    image
        float32 of shape [channels, height, width], with values in [0, 1], before normalization.
    probability
        Takes `PASSES` images, float32 [images, channels, height, width], of which the first is the unchanged image, and
        returns the probability of what is predicted for the first one, [images].

    Returns
    -------
    torch.Tensor
        float32 of shape [GRID, GRID], in [-1, 1]: rows from the top, columns from the left. It is positive where the
        prediction depends on what is there, and negative where that speaks against it.

    Examples
    --------
    >>> image = torch.zeros(3, 16, 16)
    >>> image[:, :4, :4] = 1.0
    >>> corner = saliency(image, lambda images: images[:, 0, :4, :4].mean(dim=(1, 2)))
    >>> corner.shape, bool(corner[0, 0] > 0.5), float(corner[7, 7])
    (torch.Size([8, 8]), True, 0.0)
    """
    positions = GRID - WINDOW + 1
    versions = image.repeat(PASSES, 1, 1, 1)
    rows, columns = _edges(image.shape[1]), _edges(image.shape[2])
    fill = image.mean(dim=(1, 2))[:, None, None]
    for number in range(positions**2):
        row, column = divmod(number, positions)
        window = (slice(rows[row], rows[row + WINDOW]), slice(columns[column], columns[column + WINDOW]))
        versions[number + 1][:, window[0], window[1]] = fill
    probabilities = probability(versions).float().cpu()
    losses = (probabilities[0] - probabilities[1:]).reshape(positions, positions)
    total, windows = torch.zeros(GRID, GRID), torch.zeros(GRID, GRID)
    for down in range(WINDOW):
        for right in range(WINDOW):
            total[down : down + positions, right : right + positions] += losses
            windows[down : down + positions, right : right + positions] += 1
    return total / windows


def _edges(side: int) -> list[int]:
    """Return where the cells of a side begin, and where the last one ends, in pixels."""
    return [round(cell * side / GRID) for cell in range(GRID + 1)]
