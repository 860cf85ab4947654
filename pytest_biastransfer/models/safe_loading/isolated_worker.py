"""The process that computes one program: it loads a verified archive in a sandbox, and answers batches with logits."""

from __future__ import annotations

import io
import os
import select
import socket
import sys
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.logits import logits_of
from pytest_biastransfer.models.safe_loading import sandbox
from pytest_biastransfer.models.safe_loading.channel import Channel, ChannelError, described, tensor_of
from pytest_biastransfer.models.safe_loading.numeric_settings import apply_settings, computing
from pytest_biastransfer.models.safe_loading.programs import FORMATS, Program
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE


def main(descriptor: int) -> None:
    """Answer what comes through a socket, until nobody is at its other end."""
    connection = socket.socket(fileno=descriptor)
    channel = Channel(connection)

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        channel.send({"error": kind.__name__, "message": str(error)})

    # What nobody expected is told too, and ends this process.
    sys.excepthook = tell
    try:
        program = _loaded(channel, connection)
        while program is not None:
            _answer(channel, program)
    except EOFError:
        return


def _loaded(channel: Channel, connection: socket.socket) -> Program | None:
    header, archive = channel.receive()
    load = FORMATS[header["format"]].load
    device = torch.device(header["device"])
    # What loading and computing need is imported, and the GPU is set up, before files cannot be written any more.
    import torchvision  # noqa: F401  (its operators)

    if device.type != "cpu":
        _set_up(device)
    try:
        sandbox.enter()
    except sandbox.SandboxError as error:
        channel.send({"error": "sandbox", "message": str(error)})
        return None
    _end_with_the_other_end(connection)
    try:
        program = load(io.BytesIO(archive), header["place"])
    except ModelError as error:
        channel.send({"error": "model", "message": str(error)})
        return None
    channel.send({"shape": list(program.shape)})
    return program


def _set_up(device: torch.device) -> None:
    """Compute something of each kind, so that libraries open what they need of a GPU."""
    images = torch.rand(2, 3, 16, 16, device=device)
    for kind in (torch.float32, torch.bfloat16):
        torch.nn.functional.conv2d(images.to(kind), torch.rand(4, 3, 3, 3, device=device, dtype=kind))
        (images.to(kind).flatten(1) @ images.to(kind).flatten(1).T).sum().item()


def _answer(channel: Channel, program: Program) -> None:
    header, content = channel.receive()
    try:
        logits = _computed(program, header, content)
        if isinstance(logits, torch.Tensor):
            description, body = described(logits)
            channel.send({"logits": description}, body)
        else:
            channel.send({"error": "output", "message": type(logits).__name__})
    except torch.OutOfMemoryError as error:
        channel.send({"error": "memory", "message": str(error)})
    except (*UNREADABLE, NotImplementedError, ChannelError) as error:
        channel.send({"error": "program", "message": f"{type(error).__name__}: {error}"})


def _computed(program: Program, header: dict[str, Any], content: bytearray) -> Any:
    device = torch.device(header["device"])
    apply_settings(header["settings"])
    images = tensor_of(header["images"], content).to(device)
    run = program.run_on(device, header["training"])
    with ExitStack() as contexts:
        for context in computing(header["settings"], device):
            contexts.enter_context(context)
        return logits_of(run(images))


def _end_with_the_other_end(connection: socket.socket) -> None:
    """End this process when the other one has ended, whatever is being computed."""
    events = select.poll()
    # No event is asked for: that nobody is at the other end is told anyway.
    events.register(connection, 0)

    def wait() -> None:
        events.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
