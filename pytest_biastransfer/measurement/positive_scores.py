"""How probable a model finds the positive classes of a gap, for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.evaluation.chunk_task import OutputReader
from pytest_biastransfer.evaluation.per_image_outputs import per_image_outputs
from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class PositiveScores:
    """Scores of images.

    Attributes
    ----------
    indices
        The images' indices in the dataset, int64 [images], ascending.
    log_odds
        Logarithm of the odds of the positive classes, float32 [images].
    classes
        Predicted classes, int64 [images].
    computed
        How many images were run through the model.
    """

    indices: npt.NDArray[np.int64]
    log_odds: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    computed: int


@dataclass(frozen=True)
class LogOddsAndClass:
    """Reads the log-odds of the positive classes, and the predicted class, from logits [batch, classes]."""

    positive: tuple[int, ...]

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return float32 [batch, 2]."""
        import torch

        is_positive = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        is_positive[list(self.positive)] = True
        log_odds = logits[:, is_positive].logsumexp(1) - logits[:, ~is_positive].logsumexp(1)
        # float32 represents class numbers exactly, so one array holds both figures.
        return torch.stack((log_odds.float(), logits.argmax(1).float()), dim=1)


def positive_scores(
    evaluator: Evaluator, model: Model, images: LabelledImages, positive: Sequence[int], count: int
) -> PositiveScores:
    """Return the scores of the first `count` images of the visiting order; `positive` are class numbers."""
    kind = fingerprint("log-odds and class", sorted(positive))
    reader = OutputReader(kind, LogOddsAndClass(tuple(positive)), of_logits=True)
    outputs = per_image_outputs(evaluator, model, images, reader, limit=count)
    log_odds, classes = outputs.rows[outputs.indices].T
    return PositiveScores(outputs.indices, np.ascontiguousarray(log_odds), classes.astype(np.int64), outputs.computed)
