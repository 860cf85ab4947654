"""The connection to a Ray cluster; without an address, a cluster of this machine that ends with the session."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.optional_dependencies import need

_ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
_HEAD_SECONDS: Final = 10.0
# What Ray calls a cluster that it starts on this machine.
_LOCAL: Final = "local"
_AUTHENTICATION: Final = "RAY_AUTH_MODE"
_ORIGIN: Final = "--bias-executor=ray"


def cluster_address(address: str | None) -> str | None:
    """Return the address of the cluster to connect to; None if a cluster of this machine is to be started."""
    return address or os.environ.get(_ADDRESS_VARIABLE) or None


@contextlib.contextmanager
def connected(address: str | None, directory: Path | None) -> Iterator[Any]:
    """Connect to a cluster, and return the module ``ray``.

    Parameters
    ----------
    address
        Such as ``ray://host:10001``; None for that in the environment variable, or for a cluster of this machine.
    directory
        Shared by the processes of a session, which then share the cluster that one of them starts.

    Raises
    ------
    BiasTransferError
        If the cluster cannot be reached, or has other versions of Ray or Python.
    """
    address = cluster_address(address) or _LOCAL
    ray: Any = sys.modules.get("ray")
    with contextlib.ExitStack() as stack:
        # Where the user's own code has connected, that code also ends the connection.
        if ray is None or not ray.is_initialized():
            shared = address == _LOCAL and directory is not None
            ray = stack.enter_context(_shared_cluster(directory) if shared and directory else _connection(address))
        yield ray


@contextlib.contextmanager
def _shared_cluster(directory: Path) -> Iterator[Any]:
    """Connect to the session's cluster on this machine, which the first process of the session starts."""
    from filelock import FileLock

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, own = directory / "ray.json", directory / f"{os.getpid()}.ray-user"
    with contextlib.ExitStack() as stack:
        # Held until this process has disconnected, or has died.
        stack.enter_context(FileLock(own))
        with FileLock(directory / "ray.lock"):
            starts = not file.exists()
            cluster = {"address": _LOCAL} if starts else json.loads(file.read_text(encoding="utf-8"))
            # Ray reads this when it is imported. A cluster that it starts accepts only those who know its token.
            os.environ.update({name: value for name, value in cluster.items() if name == _AUTHENTICATION})
            ray = stack.enter_context(_connection(cluster["address"]))
            if starts:
                cluster = {"address": ray.get_runtime_context().gcs_address}
                cluster |= {name: os.environ[name] for name in (_AUTHENTICATION,) if name in os.environ}
                file.write_text(json.dumps(cluster), encoding="utf-8")
                stack.callback(_wait_for_others, file, own)
        yield ray


def _wait_for_others(file: Path, own: Path) -> None:
    """Wait until nobody else uses the cluster: it ends with the process that has started it."""
    from filelock import FileLock

    file.unlink(missing_ok=True)
    for other in set(file.parent.glob("*.ray-user")) - {own}:
        with FileLock(other):
            pass


@contextlib.contextmanager
def _connection(address: str) -> Iterator[Any]:
    ray = need("ray", "ray", _ORIGIN)
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == _LOCAL:
        # A test run sends no statistics to the makers of Ray, unless the user has asked for that.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options["include_dashboard"] = False
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        if re.fullmatch(r"[^/]+:\d+", address):
            # Ray would try for minutes.
            _reach(address)
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        raise BiasTransferError(
            f"{_ORIGIN}: cannot connect to the Ray cluster at {address} ({' '.join(str(error).split())}); expected the "
            f"address of a running cluster in {_ADDRESS_VARIABLE}, or ray://HOST:PORT, with the same versions of Ray "
            f"and Python"
        ) from error
    finally:
        if handler is not None:
            # Ray turns the signal into SystemExit, which pytest would take for the failure of one test.
            signal.signal(signal.SIGTERM, handler)


def require_alive(ray: Any) -> None:
    """Raise `BiasTransferError` if the head of the cluster is gone; after a minute Ray would end this process."""
    from ray.util import client

    if client.ray.is_connected():  # type: ignore[no-untyped-call]
        # It is connected through a proxy, and raises an error itself.
        return
    address = ray.get_runtime_context().gcs_address
    try:
        _reach(address)
    except OSError as error:
        raise BiasTransferError(
            f"the head of the Ray cluster at {address} is gone ({error}); what was finished is in the store: run the "
            f"same command again when the cluster is back"
        ) from error


def _reach(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_HEAD_SECONDS).close()
