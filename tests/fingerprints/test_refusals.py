"""What has no content to describe is refused, and never left out."""

from __future__ import annotations

import array
import collections
import contextlib
import decimal
import io
import multiprocessing
import random
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from tests.support.fingerprinted_objects import Linked, Multiplier, Settings, fingerprint_or_refusal


class Text(str):
    pass


class Queue(collections.deque[int]):
    pass


class Named(list[int]):
    def __init__(self, *members: int, name: str) -> None:
        super().__init__(members)
        self.name = name


class NamedMapping(dict[str, int]):
    def __init__(self, name: str) -> None:
        self.name = name


class Noise:
    """A callable with a generator of its own, as users write them."""

    def __init__(self, seed: int) -> None:
        self.generator = random.Random(seed)


def masked(*mask: bool) -> object:
    return np.ma.masked_array([1, 2], mask=mask)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Text("a"), Text("b")),
        (Queue([1]), Queue([2])),
        (Named(1, name="a"), Named(1, name="b")),
        (NamedMapping("a"), NamedMapping("b")),
        (collections.defaultdict(int), collections.defaultdict(list)),
        (collections.deque([1]), collections.deque([2])),
        (random.Random(1), random.Random(2)),
        (Noise(1), Noise(2)),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (np.random.RandomState(1), np.random.RandomState(2)),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        (io.BytesIO(b"a"), io.BytesIO(b"b")),
        (io.StringIO("a"), io.StringIO("b")),
        (ValueError("a"), ValueError("b")),
        (array.array("i", [1]), array.array("i", [2])),
        (bytearray(b"a"), bytearray(b"b")),
        (decimal.Decimal(1), decimal.Decimal(2)),
        (masked(False, True), masked(False, False)),
        (slice(np.arange(3), None), slice(np.arange(4), None)),
        (slice(np.zeros(2000)), slice(np.eye(1, 2000, 1000)[0])),
        (10**5000, 10**5000 + 1),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 3j]).conj()),
        (weakref.ref(Settings), weakref.ref(Multiplier)),
        ([].append, [1].append),
    ],
    ids=lambda value: type(value).__name__,
)
def test_content_held_outside_of_attributes_counts_or_is_refused_but_is_never_left_out(
    one: object, other: object
) -> None:
    assert fingerprint_or_refusal(one) != fingerprint_or_refusal(other)


def generator() -> Iterator[int]:
    yield 1


@pytest.fixture
def opened() -> Iterator[dict[str, Any]]:
    """Yield things that hold on to the operating system, and close them."""
    with contextlib.ExitStack() as stack:
        yield {
            "text file": stack.enter_context(tempfile.TemporaryFile("w+")),
            "binary file": stack.enter_context(tempfile.TemporaryFile()),
            "unbuffered file": stack.enter_context(tempfile.TemporaryFile(buffering=0)),
            "named file": stack.enter_context(tempfile.NamedTemporaryFile()),
            "socket": stack.enter_context(socket.socket()),
        }


@pytest.mark.parametrize("kind", ["text file", "binary file", "unbuffered file", "named file", "socket"])
def test_what_is_open_is_refused(opened: dict[str, Any], kind: str) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(opened[kind])
    with pytest.raises(NotFingerprintableError):
        fingerprint({"log": [opened[kind]]})


@pytest.mark.parametrize(
    "make",
    [
        generator,
        threading.Lock,
        threading.RLock,
        threading.Thread,
        lambda: memoryview(b"1"),
        sys._getframe,
        lambda: np.array([object()]),
        lambda: torch.eye(2).to_sparse(),
    ],
)
def test_what_has_no_content_to_hash_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(make())
    with pytest.raises(NotFingerprintableError):
        fingerprint(Settings(1, [make()]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    "make",
    [multiprocessing.Lock, multiprocessing.Queue, lambda: torch.quantized_lstm],
    ids=["lock", "queue", "pybind11"],
)
def test_an_object_that_cannot_be_saved_is_refused_with_whatever_error_it_says_so(
    make: Callable[[], object],
) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(Settings(1, [make()]))  # type: ignore[list-item]


def test_the_order_in_which_attributes_were_set_is_no_content() -> None:
    one, other = Linked(1), Linked(1)
    del other.content
    other.content = 1
    assert list(vars(one)) != list(vars(other))
    assert fingerprint(one) == fingerprint(other)


def test_a_variable_that_is_not_set_yet_is_refused_or_described_but_is_no_crash() -> None:
    def make(wanted: bool) -> Callable[[], float]:
        if wanted:
            factor = 2.0
        return lambda: factor

    assert fingerprint_or_refusal(make(False)) != fingerprint_or_refusal(make(True))
