"""What travels to another process: views of a tensor without the rest of it, everything else as torch pickles it."""

from __future__ import annotations

import pickle

import pytest
import torch

from pytest_biastransfer.evaluation.compact_pickles import compact_dumps


def test_views_of_one_tensor_travel_without_the_rest_of_it() -> None:
    whole = torch.arange(60_000.0).reshape(100, 600)
    views = [*whole]
    pickled = compact_dumps(views)
    # 240 kB of values; torch alone would need a hundred times as many.
    assert len(pickled) < 300_000
    assert all(map(torch.equal, pickle.loads(pickled), views))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1).expand(1000),
        torch.arange(6.0).reshape(2, 3).T,
        torch.arange(20)[::3],
        torch.tensor(3.0),
        torch.empty(0, 3),
        torch.nn.Parameter(torch.ones(4)[:2]),
    ],
    ids=["expanded", "transposed", "strided", "scalar", "empty", "parameter"],
)
def test_any_tensor_arrives_as_it_was(tensor: torch.Tensor) -> None:
    arrived = pickle.loads(compact_dumps(tensor))
    assert type(arrived) is type(tensor)
    assert arrived.dtype == tensor.dtype
    assert torch.equal(arrived, tensor)
    assert arrived.requires_grad == tensor.requires_grad


def test_the_same_tensor_travels_once() -> None:
    weight = torch.zeros(10_000)
    assert len(compact_dumps([weight, weight])) < 50_000
