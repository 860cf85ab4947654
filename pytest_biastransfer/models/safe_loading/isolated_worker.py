"""The sandboxed process of one program: it loads a verified archive, and answers batches of images with logits."""

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
from pytest_biastransfer.models.logits import entry_of, logits_of, without_logits
from pytest_biastransfer.models.safe_loading import sandbox
from pytest_biastransfer.models.safe_loading.channel import Channel, ChannelError, decode_tensor, encode_tensor
from pytest_biastransfer.models.safe_loading.numeric_settings import apply_settings, computing
from pytest_biastransfer.models.safe_loading.programs import FORMATS, Program
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE


def main(descriptor: int) -> None:
    """Answer the messages of a socket until its other end is closed."""
    connection = socket.socket(fileno=descriptor)
    channel = Channel(connection)

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        channel.send({"error": kind.__name__, "message": str(error)})

    # An unexpected exception is reported too, and ends this process.
    sys.excepthook = report
    try:
        program = _load_program(channel, connection)
        while program is not None:
            _answer(channel, program)
    except EOFError:
        return


def _load_program(channel: Channel, connection: socket.socket) -> Program | None:
    header, archive = channel.receive()
    load, prepare = FORMATS[header["format"]].load, FORMATS[header["format"]].prepare
    device = torch.device(header["device"])
    # Imports and the set-up of the GPU need to write files, so they precede the sandbox.
    import torchvision  # noqa: F401  (its operators)

    prepare()
    if device.type != "cpu":
        _set_up(device)
    try:
        sandbox.enter()
    except sandbox.SandboxError as error:
        channel.send({"error": "sandbox", "message": str(error)})
        return None
    _exit_with_parent(connection)
    try:
        program = load(io.BytesIO(archive), header["location"])
    except ModelError as error:
        channel.send({"error": "model", "message": str(error)})
        return None
    channel.send({"shape": list(program.shape)})
    return program


def _set_up(device: torch.device) -> None:
    """Run a convolution and a product in each precision, so that libraries open the GPU before the sandbox."""
    images = torch.rand(2, 3, 16, 16, device=device)
    for kind in (torch.float32, torch.bfloat16):
        torch.nn.functional.conv2d(images.to(kind), torch.rand(4, 3, 3, 3, device=device, dtype=kind))
        (images.to(kind).flatten(1) @ images.to(kind).flatten(1).T).sum().item()


def _answer(channel: Channel, program: Program) -> None:
    header, content = channel.receive()
    try:
        logits = _compute(program, header, content)
        if isinstance(logits, torch.Tensor):
            description, body = encode_tensor(logits)
            channel.send({"logits": description}, body)
        else:
            count = header["images"]["shape"][0]
            channel.send({"error": "output", "message": f"program {without_logits(logits, count)}"})
    except ModelError as error:
        channel.send({"error": "output", "message": str(error)})
    except torch.OutOfMemoryError as error:
        channel.send({"error": "memory", "message": str(error)})
    except (*UNREADABLE, NotImplementedError, ChannelError) as error:
        channel.send({"error": "program", "message": f"{type(error).__name__}: {error}"})


def _compute(program: Program, header: dict[str, Any], content: bytearray) -> Any:
    device = torch.device(header["device"])
    apply_settings(header["settings"])
    images = decode_tensor(header["images"], content).to(device)
    run = program.run_on(device, header["training"])
    with ExitStack() as contexts:
        for context in computing(header["settings"], device):
            contexts.enter_context(context)
        output, key = run(images), header["output"]
        return logits_of(output) if key is None else entry_of(output, key, "program")


def _exit_with_parent(connection: socket.socket) -> None:
    """End this process as soon as its parent has ended, even during a computation."""
    events = select.poll()
    # poll() reports a closed connection (POLLHUP) without being asked for any event.
    events.register(connection, 0)

    def wait() -> None:
        events.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
