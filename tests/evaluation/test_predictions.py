"""Predictions in the dataset's order."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_biastransfer.evaluation.predictions import Predictions
from pytest_biastransfer.evaluation.visiting_order import visiting_order


@pytest.mark.parametrize("count", [1, 2, 99, 100])
def test_predictions_in_order_are_those_of_the_same_images(count: int) -> None:
    """Of all images, and of the first ones in the visiting order."""
    outputs = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    order = visiting_order(100, 0)[:count]
    predictions = Predictions(outputs[order], order, outputs=3, computed=7)
    in_order, one = predictions.in_order(), predictions.of_output(2).in_order()
    assert in_order.indices.tolist() == one.indices.tolist() == sorted(order.tolist())
    np.testing.assert_array_equal(in_order.values, outputs[in_order.indices])
    np.testing.assert_array_equal(one.values, outputs[one.indices, 2:])
    assert (one.outputs, one.computed) == (3, 7)
