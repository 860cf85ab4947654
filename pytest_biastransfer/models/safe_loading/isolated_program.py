"""Runs an untrusted program in a sandboxed process, and exchanges images and logits with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, Final, cast

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading import sandbox
from pytest_biastransfer.models.safe_loading.channel import Channel, ChannelError, Message, decode_tensor, encode_tensor
from pytest_biastransfer.models.safe_loading.numeric_settings import settings_for
from pytest_biastransfer.models.safe_loading.programs import FORMATS

# The interval between checks that the process is alive and makes progress.
_PERIOD_S: Final = 0.5
# A computing process uses the CPU, but it may idle while it loads torch from a slow disk.
_IDLE_S: Final = 120.0
_LONGEST_S: Final = 3600.0
# The limits for logits and for error messages, in bytes and in characters.
_LONGEST_ANSWER: Final = 2**30
_LONGEST_MESSAGE: Final = 1000
# The process imports from the same paths as this one, so a module in the current directory cannot shadow a package.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pytest_biastransfer.models.safe_loading.isolated_worker import main; main(int(sys.argv[2]))"
)


class ProgramError(ModelError, RuntimeError):
    """An exception that the program raised for its images; a `RuntimeError`, as torch raises it in this process."""


class IsolatedProgram:
    """Starts the process at its first use on a device, and ends it together with this object.

    Parameters
    ----------
    kind
        The format of the file, a key of `FORMATS`.
    path
        The file. It is verified in this process; the sandboxed process gets the rewritten archive.
    output
        The key of the logits among several outputs of the program.
    """

    def __init__(self, kind: str, path: Path, output: str | None = None) -> None:
        self._kind = kind
        self._path = path
        self._output = output
        self._process: _Process | None = None
        self.shape: list[int | None] = [None] * 4
        """The shape of the input, [batch, channels, height, width]; None for each dimension that may vary."""

    def __deepcopy__(self, memo: object) -> IsolatedProgram:
        return type(self)(self._kind, self._path, self._output)

    def __reduce__(self) -> tuple[type[IsolatedProgram], tuple[str, Path, str | None]]:
        return type(self), (self._kind, self._path, self._output)

    def start(self, device: torch.device) -> None:
        """Start the process and load the program on a device.

        Raises `ModelError` if the file is refused, if torch cannot load it, or if the system has no sandbox.
        """
        self.end()
        location = f"{self._kind} {self._path}"
        reason = sandbox.unsupported() or (None if sys.executable else "this Python does not know its own path")
        if reason is not None:
            raise self._without_sandbox(reason)
        archive = FORMATS[self._kind].verified(self._path)
        self._process = _Process(device)
        header = {"format": self._kind, "location": location, "device": str(device)}
        answer, _ = self._request(header, memoryview(archive.read()))
        shape = answer.get("shape")
        if not isinstance(shape, list) or len(shape) != 4 or not all(_is_side(side) for side in shape):
            raise self._end_with(f"answered {answer!r:.80}")
        self.shape = shape

    def start_on(self, device: torch.device) -> bool:
        """Start the process unless it already runs on the device; return whether it was started."""
        if self._process is not None and self._process.device == device:
            return False
        self.start(device)
        return True

    def run(self, images: torch.Tensor, training: bool | None) -> torch.Tensor:
        """Return the logits of images, on their device.

        Raises `ProgramError` for an exception of the program, and `ModelError` if its process ends or hangs.
        """
        self.start_on(images.device)
        settings = settings_for(images.device)
        description, body = encode_tensor(images)
        header = {"device": str(images.device), "settings": settings, "training": training, "images": description}
        header["output"] = self._output
        answer, content = self._request(header, body)
        try:
            return decode_tensor(answer.get("logits"), content).to(images.device)
        except ChannelError as error:
            raise self._end_with(f"answered with {error}") from error

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _request(self, header: dict[str, Any], body: memoryview) -> Message:
        """Send a message to the process and return its answer; raise the error that it reports."""
        process = cast("_Process", self._process)
        try:
            answer, content = process.ask(header, body)
        except (EOFError, ChannelError) as error:
            raise self._end_with(process.how_it_ended() if isinstance(error, EOFError) else str(error)) from error
        except BaseException:
            # After an interruption the pending answer would be read as the answer to the next request.
            self.end()
            raise
        if "error" in answer:
            raise self._error(str(answer["error"]), _printable(str(answer.get("message"))))
        return answer, content

    def _error(self, kind: str, message: str) -> Exception:
        if kind == "memory":
            return torch.OutOfMemoryError(message)
        if kind == "program":
            return ProgramError(f"{self._kind} {self._path}: {message}")
        if kind == "output":
            self.end()
            return ModelError(f"{self._kind} {self._path}: its {message}")
        self.end()
        if kind == "model":
            return ModelError(message)
        return self._without_sandbox(message) if kind == "sandbox" else self._end_with(f"raised {kind}: {message}")

    def _end_with(self, how: str) -> ModelError:
        self.end()
        return ModelError(f"{self._kind} {self._path}: the process that computes its program {how}")

    def _without_sandbox(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._kind} {self._path}: its program was not run, as nothing would keep it from changing files here: "
            f"{reason}. If you trust whoever made the file, add trust=1 to its spec"
        )


class _Process:
    """The process and the channel to it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        own_end, other_end = socket.socketpair()
        with other_end:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(_paths()), str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other_end.fileno(),),
                # Its own session keeps Ctrl+C away from the process; this process ends it.
                start_new_session=True,
            )
        own_end.settimeout(_PERIOD_S)
        self._progress = _Progress(self._popen)
        # The channel holds no reference to this object, so the finalizer runs as soon as the last user is gone.
        self._channel = Channel(own_end, self._progress.require)
        self.end = weakref.finalize(self, _end, self._popen, own_end, os.getpid())

    def ask(self, header: dict[str, Any], body: memoryview) -> Message:
        """Return the answer to a message."""
        self._progress.begin()
        self._channel.send(header, body)
        return self._channel.receive(_LONGEST_ANSWER)

    def how_it_ended(self) -> str:
        """Return how the process ended, after the connection to it was closed."""
        try:
            status = self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if status >= 0:
            return f"ended with exit status {status}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"was ended by the signal {name}"


class _Progress:
    """Watches whether the process still makes progress."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.begin()

    def begin(self) -> None:
        """Start the clock of a new request."""
        self._begun = self._changed = time.monotonic()
        self._work = -1

    def require(self) -> None:
        """Raise `ChannelError` if the process is stopped or hangs, `EOFError` if it has ended."""
        if self._process.poll() is not None:
            raise EOFError
        now = time.monotonic()
        state, work = _activity(self._process.pid)
        if state in ("T", "t"):
            raise ChannelError("was stopped by a signal")
        if work != self._work:
            self._work, self._changed = work, now
        if now - self._changed > _IDLE_S:
            raise ChannelError(f"has done nothing for {_IDLE_S:.0f} seconds")
        if now - self._begun > _LONGEST_S:
            raise ChannelError(f"has not answered for {_LONGEST_S:.0f} seconds")


def _end(process: subprocess.Popen[bytes], connection: socket.socket, owner: int) -> None:
    # A fork of this process inherits this finalizer, and must not end the process of its parent.
    connection.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _activity(process: int) -> tuple[str, int]:
    """Return the state of a process and its CPU time in clock ticks."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        return fields[0], int(fields[11]) + int(fields[12])
    return "", -1


def _paths() -> list[str]:
    return [path or str(Path.cwd()) for path in sys.path]


def _is_side(side: object) -> bool:
    return side is None or (type(side) is int and side >= 0)


def _printable(message: str) -> str:
    """Return one line of printable characters: the message comes from an untrusted process."""
    line = "".join(character if character.isprintable() else " " for character in message)
    text = " ".join(line.split())
    if len(text) <= _LONGEST_MESSAGE:
        return text
    half = _LONGEST_MESSAGE // 2
    return f"{text[:half]} ... {text[-half:]}"
