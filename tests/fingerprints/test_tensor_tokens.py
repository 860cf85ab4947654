"""Large tensors are hashed once, and every change of one is noticed all the same."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.fingerprints import arrays, fingerprint
from pytest_biastransfer.fingerprints.tensor_tokens import TensorTokens, checksum_on_device

COUNT = 2**20 + 300
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.float64]


@given(
    dtype=st.sampled_from(DTYPES),
    position=st.integers(0, COUNT - 1),
    other=st.integers(0, COUNT - 1),
    start=st.integers(0, 1),
)
def test_the_checksum_of_a_device_is_that_of_values_and_order(
    dtype: torch.dtype, position: int, other: int, start: int
) -> None:
    tensor = torch.zeros(COUNT + 1, dtype=dtype)[start:][:COUNT]
    before = checksum_on_device(tensor)
    tensor[position] = 1
    changed = checksum_on_device(tensor)
    assert changed != before
    tensor[position] = 0
    tensor[other] = 1
    assert (checksum_on_device(tensor) == changed) == (position == other)
    tensor[other] = 0
    assert checksum_on_device(tensor.clone()) == before


def test_a_tensor_that_is_garbage_is_forgotten() -> None:
    tokens, tensor = TensorTokens(), torch.zeros(COUNT)
    tokens.token(tensor)
    tokens.note(tensor, b"token")
    assert tokens.token(tensor) == b"token"
    del tensor
    gc.collect()
    assert not list(tokens._entries)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the tensors that SHA-256 is computed of."""
    shapes: list[torch.Size] = []
    describe = arrays._tensor

    def observed(tensor: torch.Tensor) -> object:
        shapes.append(tensor.shape)
        return describe(tensor)

    monkeypatch.setattr(arrays, "_tensor", observed)
    return shapes


def test_only_what_has_changed_is_hashed_again(hashed: list[torch.Size]) -> None:
    first = torch.nn.Linear(300, 301)
    net = torch.nn.Sequential(first, torch.nn.Linear(301, 302))
    seen = {fingerprint(net)}
    assert len(hashed) == 4
    hashed.clear()
    assert fingerprint(net) in seen
    # Biases are small.
    assert hashed == [torch.Size([301]), torch.Size([302])]

    def in_place() -> None:
        with torch.no_grad():
            first.weight[5, 7] += 1

    def through_data() -> None:
        first.weight.data[5, 7] += 1

    def through_numpy() -> None:
        first.weight.detach().numpy()[5, 7] += 1

    for change in (in_place, through_data, through_numpy):
        hashed.clear()
        change()
        digits = fingerprint(net)
        assert digits not in seen
        seen.add(digits)
        assert hashed.count(torch.Size([301, 300])) == 1
        # The description of a tensor is that of one which was never seen before.
        copied = torch.nn.Sequential(*(torch.nn.Linear(*sizes) for sizes in ((300, 301), (301, 302))))
        copied.load_state_dict(net.state_dict())
        assert fingerprint(copied) == digits
    hashed.clear()
    # The same values in another order in memory.
    first.weight.data = first.weight.data.T.contiguous().T
    assert fingerprint(net) in seen
    assert torch.Size([301, 300]) not in hashed
