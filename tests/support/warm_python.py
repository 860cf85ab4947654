"""Pythons for inner sessions, forked from one that has imported torch: its import takes seconds each time otherwise.

Forks share what was imported, and the seed of hashes: sessions whose workers must be as strange to one another as a
user's, or that count what they import, have Pythons of their own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

# What takes long to import, or cannot be imported twice. No plugins of pytest are among these: their assertions could
# not be rewritten any more.
IMPORTED_ONCE = ("torch", "torchvision", "numpy.fft", "PIL.Image", "scipy.sparse", "scipy.special", "jinja2")


class WarmPython:
    """A Python to run pytest with; as a plugin of a session, the Python of its workers."""

    def __init__(self, address: str) -> None:
        self._address = address

    def command(self, *arguments: str) -> list[str]:
        """Return a command that asks for a fork and ends when it ends, with the same status."""
        asking = Path(__file__).with_name("ask_warm_python.py")
        return [sys.executable, "-I", "-S", str(asking), self._address, *arguments]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        for spec in specs:
            spec.python = shlex.join(self.command())


@contextmanager
def warm_python() -> Iterator[WarmPython]:
    """Keep the process that forks."""
    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/socket"
        command = [sys.executable, "-P", __file__, address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"warm\n"
            yield WarmPython(address)


def serve(address: str) -> None:
    """Fork for everyone who asks, until standard input is closed."""
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    # Nobody here waits for a fork.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Collecting a fork's garbage is not to walk through all of torch.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        os.write(1, b"warm\n")
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                answer(connection, address)
            connection.close()


def answer(connection: socket.socket, address: str) -> NoReturn:
    """Be the Python that was asked for."""
    asked, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    directory, environment, arguments = json.loads(asked)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if threads := environment.get("OMP_NUM_THREADS"):
        # OpenMP read its number when torch was imported.
        sys.modules["torch"].set_num_threads(int(threads))
    main = sys.modules["__main__"] = ModuleType("__main__")
    status = 0
    match arguments:
        case [*_, "-c", code]:
            exec(code, vars(main))
        case ["-m", "pytest", *options]:
            sys.path.insert(0, directory)
            sys.argv = ["pytest", *options]
            status = pytest.main(options, plugins=[WarmPython(address)])
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(bytes([status]))
    # Nothing is left to do but to take torch to pieces, which takes half a second.
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
