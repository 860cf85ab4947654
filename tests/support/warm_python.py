"""Pythons for inner sessions, forked from one that has imported torch: its import takes seconds each time otherwise.

Forks share what was imported, and the seed of hashes: sessions whose workers must be as strange to one another as a
user's, or that count what they import, have Pythons of their own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import pkgutil
import re
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

# What takes long to import, or cannot be imported twice.
IMPORTED_ONCE = ("torch", "torchvision", "numpy.fft", "PIL.Image", "scipy.sparse", "scipy.special", "jinja2")
PACKAGE = "pytest_biastransfer"
# Tests replace `sys.executable`.
PYTHON = sys.executable
CAN_FORK = hasattr(os, "fork")


class WarmPython:
    """A Python to run pytest with; as a plugin of a session, the Python of its workers.

    Attributes
    ----------
    executable
        A file to start in place of `sys.executable`. It takes ``-c``, ``-m`` and a path. The process that was started
        passes its descriptors and Ctrl+C on to the fork, which dies with it.
    directory
        It has `executable` as ``python``, and ``pytest`` and ``biastransfer`` that are run by it.
    """

    def __init__(self, address: str, directory: Path) -> None:
        self._address = address
        self.directory = directory
        self.executable = directory / "python"
        for name, module in {"python": (), "pytest": ("-m", "pytest"), "biastransfer": ("-m", PACKAGE)}.items():
            path = directory / name
            path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(*module))} "$@"\n')
            path.chmod(0o700)

    def command(self, *arguments: str) -> list[str]:
        """Return a command that asks for a fork and ends when it ends, with the same status."""
        asking = Path(__file__).with_name("ask_warm_python.py")
        return [PYTHON, "-I", "-S", str(asking), self._address, *arguments]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        for spec in specs:
            spec.python = shlex.join(self.command())


class ColdPython(WarmPython):
    """In its place where nothing can fork, as on Windows: every process is a Python that starts anew."""

    def __init__(self) -> None:
        self.executable = Path(PYTHON)
        self.directory = self.executable.parent

    def command(self, *arguments: str) -> list[str]:
        return [PYTHON, *arguments]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        pass


@contextlib.contextmanager
def warm_python() -> Iterator[WarmPython]:
    """Keep the process that forks."""
    if not CAN_FORK:
        yield ColdPython()
        return
    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/socket"
        command = [PYTHON, "-P", __file__, address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"warm\n"
            executables = Path(directory, "bin")
            executables.mkdir()
            yield WarmPython(address, executables)


def import_once(but: str = "__main__") -> None:
    """Import what takes longer than most sessions: `IMPORTED_ONCE` and this package, but for some of its modules."""
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    for part in pkgutil.walk_packages(importlib.import_module(PACKAGE).__path__, f"{PACKAGE}."):
        if not re.search(f"__main__|{but}", part.name):
            importlib.import_module(part.name)


def other_plugins(*wanted: str) -> list[str]:
    """Return options that keep a session free of the plugins of others that are installed, but for those wanted."""
    plugins = importlib.metadata.entry_points(group="pytest11")
    return [f"-pno:{plugin.name}" for plugin in plugins if plugin.name not in ("biastransfer", *wanted)]


class ImportsOnce:
    """Imports in a session of pytest: what is imported outside of one is imported without pytest's rewriting of assertions."""

    def pytest_sessionstart(self) -> None:
        import_once(but="search|strategies")
        # Both keep what they find when they are imported: the directory for examples, and the path of modules.
        assert not {"hypothesis", "xdist.workermanage"} & sys.modules.keys()


def serve(address: str) -> None:
    """Fork for everyone who asks, until standard input is closed."""
    with tempfile.TemporaryDirectory() as empty, contextlib.redirect_stdout(sys.stderr):
        pytest.main(
            ["-q", "-p", "no:cacheprovider", *other_plugins(), f"--rootdir={empty}", empty], plugins=[ImportsOnce()]
        )
    signal.signal(signal.SIGCHLD, reap)
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


def reap(*_: object) -> None:
    """Wait for the forks that have ended: else their CPU time would not count as that of the tests."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def answer(connection: socket.socket, address: str) -> NoReturn:
    """Be the Python that was asked for."""
    request, received, _, _ = socket.recv_fds(connection, 1 << 20, 64)
    directory, environment, descriptors, arguments = json.loads(request)
    # The descriptors get the numbers that they have where they come from: their way is over numbers that none has.
    free = max(descriptors) + 1
    connection = socket.socket(fileno=moved(connection.detach(), free))
    for descriptor, copy in zip(descriptors, [moved(copy, free) for copy in received], strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.send(os.getpid().to_bytes(8, "little"))
    threading.Thread(target=die_with_the_other_end, args=[connection], daemon=True).start()
    if threads := environment.get("OMP_NUM_THREADS"):
        # OpenMP read its number when torch was imported.
        sys.modules["torch"].set_num_threads(int(threads))
    # What starts Pythons here, starts forks too.
    sys.executable = str(Path(address).with_name("bin") / "python")
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", *sys.path)]
    status = status_of(arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    connection.send(bytes([status]))
    # Nothing is left to do but to take torch to pieces, which takes half a second.
    os._exit(status)


def die_with_the_other_end(connection: socket.socket) -> None:
    """Be killed when the process is that asked for this one: nobody else knows of it."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def moved(descriptor: int, lowest: int) -> int:
    """Return another descriptor of the same file, of at least a number, and close the first one."""
    import fcntl

    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(descriptor)
    return copy


def status_of(arguments: list[str]) -> int:
    """Run what Python is given on its command line, and return the exit status."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    options = list(itertools.takewhile(lambda word: word in ("-u", "-P", "-I"), arguments))
    first, *rest = arguments[len(options) :]
    if first.startswith("-m"):
        # Pytester writes the two as one word.
        first, rest = "-m", [first[2:], *rest] if first[2:] else rest
    # A program's directory is in the path unless it is asked not to be.
    in_path = {"-c": "", "-m": os.getcwd()}.get(first, str(Path(first).parent))  # noqa: PTH109
    sys.path[:0] = [] if {"-P", "-I"} & {*options} else [in_path]
    try:
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(rest[0], vars(main))
        elif first == "-m" and rest[0] == "pytest":
            sys.argv = rest
            return pytest.main(rest[1:])
        elif first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return (end.code or 0) & 0xFF
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - as Python itself does.
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
