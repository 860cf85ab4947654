"""Messages between this process and the sandboxed one: a JSON header and the bytes of a tensor, never a pickle."""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import torch

_LENGTHS: Final = struct.Struct("<QQ")
_LONGEST_HEADER: Final = 2**20
# Batches of images are large. For answers, which are logits, the receiver sets a smaller limit.
_LONGEST_BODY: Final = 2**36
_TYPES: Final = MappingProxyType(
    {
        str(kind).removeprefix("torch."): kind
        for kind in (
            torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.bool,
        )
    }
)  # fmt: skip

Message = tuple[dict[str, Any], bytearray]


class ChannelError(Exception):
    """The received bytes are no valid message."""


class Channel:
    """Sends and receives messages.

    Parameters
    ----------
    connection
        A socket. If it has a timeout, `check` is called after each timeout.
    check
        Raises if waiting any longer is useless.
    """

    def __init__(self, connection: socket.socket, check: Callable[[], None] = lambda: None) -> None:
        self._connection = connection
        self._check = check

    def send(self, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
        """Send a message; raise `EOFError` if the other end is closed."""
        text = json.dumps(header).encode()
        self._send(_LENGTHS.pack(len(text), len(body)) + text)
        self._send(body)

    def receive(self, longest: int = _LONGEST_BODY) -> Message:
        """Return the next message; raise `EOFError` if the other end is closed, `ChannelError` if it is invalid."""
        header_length, body_length = _LENGTHS.unpack(self._receive(_LENGTHS.size))
        if header_length > _LONGEST_HEADER or body_length > longest:
            raise ChannelError(f"a message of {header_length} and {body_length} bytes")
        text = bytes(self._receive(header_length))
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ChannelError(f"a message that is no JSON ({error})") from error
        if not isinstance(header, dict):
            raise ChannelError("a message that is no JSON object")
        return header, self._receive(body_length)

    def _send(self, content: bytes | memoryview) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except TimeoutError:
                self._check()
            except (BrokenPipeError, ConnectionResetError) as error:
                raise EOFError from error

    def _receive(self, length: int) -> bytearray:
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            try:
                count = self._connection.recv_into(rest)
            except TimeoutError:
                self._check()
                continue
            except ConnectionResetError as error:
                raise EOFError from error
            if count == 0:
                raise EOFError
            rest = rest[count:]
        return content


def encode_tensor(tensor: torch.Tensor) -> tuple[dict[str, Any], memoryview]:
    """Return the description of a tensor (dtype, shape, memory format) and its bytes."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in _TYPES:
        raise ChannelError(f"a tensor of {tensor.dtype}")
    plain = (tensor.permute(0, 2, 3, 1) if last else tensor).detach().to("cpu").contiguous().reshape(-1)
    content = plain.view(torch.uint8).numpy().data if plain.numel() else memoryview(b"")
    return {"type": kind, "shape": list(tensor.shape), "last": last}, content


def decode_tensor(description: Any, content: bytearray) -> torch.Tensor:
    """Return the tensor of a description and its bytes; raise `ChannelError` if `encode_tensor` cannot have made them.

    The description comes from the process of an untrusted program, so each field is checked.
    """
    if not isinstance(description, dict):
        raise ChannelError("no description of a tensor")
    kind, shape, last = _TYPES.get(str(description.get("type"))), description.get("shape"), description.get("last")
    sizes = shape if isinstance(shape, list) else [-1]
    if kind is None or not all(type(size) is int and 0 <= size < 2**40 for size in sizes) or len(sizes) > 8:
        raise ChannelError(f"a tensor of {description!r:.80}")
    if math.prod(sizes) * kind.itemsize != len(content) or (last and len(sizes) != 4):
        raise ChannelError(f"{len(content)} bytes for a tensor of {description!r:.80}")
    if not content:
        return torch.empty(sizes, dtype=kind)
    flat = torch.frombuffer(content, dtype=kind)
    if not last:
        return flat.reshape(sizes)
    batch, channels, height, width = sizes
    return flat.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
