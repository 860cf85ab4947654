"""Tensors and arrays: equal fingerprints for equal types, shapes and bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_biastransfer.fingerprints import fingerprint

arrays = hnp.arrays(
    dtype=st.sampled_from(["u1", "i4", "i8", "f2", "f4", "f8", "?", "c8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
)


@settings(max_examples=100, deadline=None)
@given(arrays, arrays)
def test_arrays_have_equal_fingerprints_if_and_only_if_dtype_shape_and_bytes_are_equal(
    one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]
) -> None:
    equal = (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert (fingerprint(one) == fingerprint(other)) == equal
    tensors = torch.from_numpy(one.copy()), torch.from_numpy(other.copy())
    assert (fingerprint(tensors[0]) == fingerprint(tensors[1])) == equal


@settings(max_examples=100, deadline=None)
@given(arrays)
def test_the_layout_in_memory_is_no_content(content: np.ndarray[Any, Any]) -> None:
    assert fingerprint(content.copy(order="F")) == fingerprint(content)
    doubled = np.repeat(content[None], 2, axis=0)[::-1][0]
    assert fingerprint(doubled) == fingerprint(content)
    tensor = torch.from_numpy(content.copy())
    turned = tensor.mT.contiguous().mT if tensor.ndim >= 2 else tensor.clone()
    assert fingerprint(turned) == fingerprint(tensor)


@pytest.mark.parametrize("dtype", ["u1", "f4", "i8"])
def test_arrays_and_tensors_without_elements_are_fingerprinted(dtype: str) -> None:
    flat, wide = np.empty((0,), dtype), np.empty((0, 3), dtype)
    assert fingerprint(flat) == fingerprint(flat.copy()) != fingerprint(wide)
    tensors = torch.from_numpy(flat), torch.from_numpy(wide)
    assert fingerprint(tensors[0]) == fingerprint(tensors[0].clone()) != fingerprint(tensors[1])


def test_gradients_are_no_content_of_a_tensor() -> None:
    tensor = torch.tensor([1.0, 2.0])
    tracked = tensor.clone().requires_grad_()
    torch.autograd.backward(tracked.square().sum())
    assert fingerprint(tracked) == fingerprint(tensor)


def test_precisions_that_numpy_does_not_know_are_fingerprinted() -> None:
    one = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert fingerprint(one) == fingerprint(one.clone())
    assert fingerprint(one) != fingerprint(one * 2)
    assert fingerprint(one) != fingerprint(one.half())
