"""Features of a frozen source: computed once for all heads, recipes, workers and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_biastransfer.data.concatenation import Concatenation
from pytest_biastransfer.data.subset import Selection
from pytest_biastransfer.evaluation.chunk_task import OutputReader
from pytest_biastransfer.evaluation.per_image_outputs import per_image_outputs

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model

# From this selected share on, the features of the whole dataset are computed: other selections reuse them.
_WHOLE_DATASET_FROM = 1 / 4


def features_of(evaluator: Evaluator, backbone: Model, images: LabelledImages) -> npt.NDArray[np.float32]:
    """Return the outputs of a model without its head, float32 [images, features], in the dataset's order."""
    if isinstance(images, Selection) and len(images) >= _WHOLE_DATASET_FROM * len(images.inner):
        return features_of(evaluator, backbone, images.inner)[images.indices]
    if isinstance(images, Concatenation):
        return np.concatenate([features_of(evaluator, backbone, part) for part in images.parts])
    return per_image_outputs(evaluator, backbone, images, OutputReader("outputs", torch.Tensor.float)).rows
