"""The connection to a Ray cluster; without an address, a cluster of this machine that ends with the session."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.optional_dependencies import need

_ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
_HEAD_SECONDS: Final = 10.0
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
    ray = need("ray", "ray", _ORIGIN)
    address = cluster_address(address)
    with contextlib.ExitStack() as stack:
        if ray.is_initialized():
            # By the user's own code, which also ends the connection.
            yield ray
            return
        if address is None:
            stack.enter_context(_local_cluster(ray, directory))
        else:
            _connect(ray, address)
            stack.callback(ray.shutdown)
        yield ray


@contextlib.contextmanager
def _local_cluster(ray: Any, directory: Path | None) -> Iterator[None]:
    """Connect to the session's cluster on this machine; the first process of the session starts it."""
    if directory is None:
        _connect(ray, "local")
        try:
            yield
        finally:
            ray.shutdown()
        return
    from filelock import FileLock

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = directory / "ray.address"
    users = directory / f"{os.getpid()}.ray-user"
    with contextlib.ExitStack() as stack:
        # Held until this process has disconnected, or has died.
        stack.enter_context(FileLock(users))
        stack.callback(ray.shutdown)
        with FileLock(directory / "ray.lock"):
            starts = not address.exists()
            _connect(ray, "local" if starts else address.read_text(encoding="utf-8"))
            if starts:
                address.write_text(ray.get_runtime_context().gcs_address, encoding="utf-8")
        try:
            yield
        finally:
            if starts:
                # The cluster ends with the process that started it, so that is the last one to leave.
                address.unlink(missing_ok=True)
                for other in set(directory.glob("*.ray-user")) - {users}:
                    with FileLock(other):
                        pass


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        # A test run sends no statistics to the makers of Ray, unless the user has asked for that.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options["include_dashboard"] = False
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
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
    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_HEAD_SECONDS).close()
    except OSError as error:
        raise BiasTransferError(
            f"the head of the Ray cluster at {address} is gone ({error}); what was finished is in the store: run the "
            f"same command again when the cluster is back"
        ) from error
