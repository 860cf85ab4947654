"""A program of a stranger, computed in a process of its own that cannot change anything."""

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
from pytest_biastransfer.models.safe_loading.channel import Channel, ChannelError, Message, described, tensor_of
from pytest_biastransfer.models.safe_loading.numeric_settings import settings_for
from pytest_biastransfer.models.safe_loading.programs import FORMATS

# How often it is looked whether the process is still there.
_PERIOD_S: Final = 0.5
# A process that computes uses the processor; loading torch from a slow disk may keep it waiting.
_IDLE_S: Final = 120.0
_LONGEST_S: Final = 3600.0
# Logits, and an error.
_LONGEST_ANSWER: Final = 2**30
_LONGEST_MESSAGE: Final = 1000
# The same packages as here, whatever there is in the current directory.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pytest_biastransfer.models.safe_loading.isolated_worker import main; main(int(sys.argv[2]))"
)


class ProgramError(ModelError, RuntimeError):
    """What a program raised for its images; a `RuntimeError` as it would be in this process."""


class IsolatedProgram:
    """Starts the process when it is first needed on a device, and ends it with this object.

    Parameters
    ----------
    kind
        The format of the file, a key of `FORMATS`.
    path
        The file. It is verified here; the process gets the archive that was written anew.
    """

    def __init__(self, kind: str, path: Path) -> None:
        self._kind = kind
        self._path = path
        self._process: _Process | None = None
        self.shape: list[int | None] = [None] * 4
        """What the program takes, [batch, channels, height, width]; None for each of them that may vary."""

    def __deepcopy__(self, memo: object) -> IsolatedProgram:
        return type(self)(self._kind, self._path)

    def __reduce__(self) -> tuple[type[IsolatedProgram], tuple[str, Path]]:
        return type(self), (self._kind, self._path)

    def start(self, device: torch.device) -> None:
        """Load the program, ready to compute on a device.

        Raises `ModelError` if the file is not verified, if torch cannot load it, or where there is no sandbox.
        """
        self.end()
        place = f"{self._kind} {self._path}"
        reason = sandbox.unsupported() or (None if sys.executable else "this Python does not know its own path")
        if reason is not None:
            raise self._without_sandbox(reason)
        archive = FORMATS[self._kind].verified(self._path)
        self._process = _Process(device)
        header = {"format": self._kind, "place": place, "device": str(device)}
        answer, _ = self._asked(header, memoryview(archive.read()))
        shape = answer.get("shape")
        if not isinstance(shape, list) or len(shape) != 4 or not all(_is_side(side) for side in shape):
            raise self._ended(f"answered {answer!r:.80}")
        self.shape = shape

    def start_on(self, device: torch.device) -> bool:
        """Start the process if there is none that computes on a device, and return whether there was none."""
        if self._process is not None and self._process.device == device:
            return False
        self.start(device)
        return True

    def run(self, images: torch.Tensor, training: bool | None) -> torch.Tensor:
        """Return the logits of images, on their device.

        Raises `ProgramError` for what the program raises, `ModelError` if its process ends or does nothing more.
        """
        self.start_on(images.device)
        settings = settings_for(images.device)
        description, body = described(images)
        header = {"device": str(images.device), "settings": settings, "training": training, "images": description}
        answer, content = self._asked(header, body)
        try:
            return tensor_of(answer.get("logits"), content).to(images.device)
        except ChannelError as error:
            raise self._ended(f"answered with {error}") from error

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _asked(self, header: dict[str, Any], body: memoryview) -> Message:
        """Return what the process answers; raise what it says went wrong."""
        process = cast("_Process", self._process)
        try:
            answer, content = process.ask(header, body)
        except (EOFError, ChannelError) as error:
            raise self._ended(process.how_it_ended() if isinstance(error, EOFError) else str(error)) from error
        except BaseException:
            # An answer that nobody waited for would be taken for that to the next question.
            self.end()
            raise
        if "error" in answer:
            raise self._error(str(answer["error"]), _shown(str(answer.get("message"))))
        return answer, content

    def _error(self, kind: str, message: str) -> Exception:
        if kind == "memory":
            return torch.OutOfMemoryError(message)
        if kind == "program":
            return ProgramError(f"{self._kind} {self._path}: {message}")
        if kind == "output":
            self.end()
            return ModelError(
                f"{self._kind} {self._path}: its program returned a {message}, expected logits [batch, classes]"
            )
        self.end()
        if kind == "model":
            return ModelError(message)
        return self._without_sandbox(message) if kind == "sandbox" else self._ended(f"raised {kind}: {message}")

    def _ended(self, how: str) -> ModelError:
        self.end()
        return ModelError(f"{self._kind} {self._path}: the process that computes its program {how}")

    def _without_sandbox(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._kind} {self._path}: its program was not run, as nothing would keep it from changing files here: "
            f"{reason}. If you trust whoever made the file, add trust=1 to its spec"
        )


class _Process:
    """The process, and the channel to it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        here, there = socket.socketpair()
        with there:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(_paths()), str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(there.fileno(),),
                # Ctrl+C is for this process, which ends the other one.
                start_new_session=True,
            )
        here.settimeout(_PERIOD_S)
        self._progress = _Progress(self._popen)
        # Nothing of the channel refers to this object: it ends with its last user.
        self._channel = Channel(here, self._progress.require)
        self.end = weakref.finalize(self, _end, self._popen, here, os.getpid())

    def ask(self, header: dict[str, Any], body: memoryview) -> Message:
        """Return the answer to a message."""
        self._progress.begin()
        self._channel.send(header, body)
        return self._channel.receive(_LONGEST_ANSWER)

    def how_it_ended(self) -> str:
        """Return how the process ended that is not at the other end any more."""
        try:
            status = self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if status >= 0:
            return f"ended with exit status {status}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"was ended by the signal {name}"


class _Progress:
    """Whether there is something to wait for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.begin()

    def begin(self) -> None:
        """Begin to wait for an answer."""
        self._begun = self._changed = time.monotonic()
        self._work = -1

    def require(self) -> None:
        """Raise `ChannelError` for a process that is stopped or does nothing, `EOFError` for one that has ended."""
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
    # A process that was forked from this one has copies of both, and must not end what is not its own.
    connection.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _activity(process: int) -> tuple[str, int]:
    """Return the state of a process, and how long it has computed."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        return fields[0], int(fields[11]) + int(fields[12])
    return "", -1


def _paths() -> list[str]:
    return [path or str(Path.cwd()) for path in sys.path]


def _is_side(side: object) -> bool:
    return side is None or (type(side) is int and side >= 0)


def _shown(message: str) -> str:
    """Return one line of printable characters: the process may write what it likes."""
    line = "".join(character if character.isprintable() else " " for character in message)
    words = " ".join(line.split())
    if len(words) <= _LONGEST_MESSAGE:
        return words
    half = _LONGEST_MESSAGE // 2
    return f"{words[:half]} ... {words[-half:]}"
