"""Where a model looks, against models whose sensitive part is known, and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.evaluation.occlusion import GRID, PASSES, WINDOW, saliency

SIDE = 32
CELL = SIDE // GRID


def part(row: int, column: int) -> tuple[slice, slice]:
    """Return the pixels of a cell."""
    return slice(row * CELL, (row + 1) * CELL), slice(column * CELL, (column + 1) * CELL)


@given(st.integers(0, GRID - 1), st.integers(0, GRID - 1))
def test_it_peaks_where_the_model_looks(row: int, column: int) -> None:
    image = torch.zeros(3, SIDE, SIDE)
    rows, columns = part(row, column)
    image[:, rows, columns] = 1.0
    found = saliency(image, lambda images: images[:, 0, rows, columns].mean(dim=(1, 2)))
    assert found[row, column] == found.max() > 0.5
    # What shares no window with the cell does not matter.
    far = torch.ones(GRID, GRID, dtype=torch.bool)
    far[max(row - WINDOW + 1, 0) : row + WINDOW, max(column - WINDOW + 1, 0) : column + WINDOW] = False
    assert (found[far] == 0).all()


def test_what_speaks_against_the_prediction_is_negative() -> None:
    image = torch.zeros(1, SIDE, SIDE)
    rows, columns = part(0, 0)
    image[:, rows, columns] = 1.0
    found = saliency(image, lambda images: 1 - images[:, 0, rows, columns].mean(dim=(1, 2)))
    assert found[0, 0] == found.min() < -0.5


@pytest.mark.parametrize(("height", "width"), [(32, 32), (30, 45), (8, 9)])
def test_it_is_the_mean_loss_over_the_windows_that_hide_a_cell(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height)
    image = torch.rand(3, height, width, generator=generator)
    weights = torch.randn(3, height, width, generator=generator) / (height * width) ** 0.5
    calls = []

    def probability(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        outputs: torch.Tensor = (images * weights).sum(dim=(1, 2, 3))
        return outputs.sigmoid()

    found = saliency(image, probability)
    assert calls == [PASSES]
    # In numpy, one window after the other.
    pixels, filters = image.double().numpy(), weights.double().numpy()
    ends = [[round(cell * side / GRID) for cell in range(GRID + 1)] for side in (height, width)]
    losses: list[list[list[float]]] = [[[] for _ in range(GRID)] for _ in range(GRID)]
    plain = 1 / (1 + np.exp(-(pixels * filters).sum()))
    for top in range(GRID - WINDOW + 1):
        for left in range(GRID - WINDOW + 1):
            hidden = pixels.copy()
            window = np.s_[:, ends[0][top] : ends[0][top + WINDOW], ends[1][left] : ends[1][left + WINDOW]]
            hidden[window] = pixels.mean(axis=(1, 2))[:, None, None]
            loss = plain - 1 / (1 + np.exp(-(hidden * filters).sum()))
            for row in range(top, top + WINDOW):
                for column in range(left, left + WINDOW):
                    losses[row][column].append(loss)
    expected = [[np.mean(cell) for cell in row] for row in losses]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-5)
