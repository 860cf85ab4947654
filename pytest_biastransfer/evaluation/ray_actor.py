"""The actor that computes chunks on a node of a Ray cluster.

The module imports nothing of this package at its top: the class travels to the nodes with its code, so that a node with
another release, or without any, can say so.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_worker import ChunkWorker, Computed


class ChunkActor:
    """Computes chunks in a process of a node.

    Parameters
    ----------
    device
        Where models run, ``"cpu"`` or ``"cuda"``; Ray decides which GPU that is.
    threads
        The CPU threads of torch.
    release
        The release of this package in the test's process.
    picture_formats
        Those that are opened besides the usual ones.
    session
        The name of the directory in which all actors of a node share decoded pixels and what they know about files.
    """

    def __init__(self, device: str, threads: int, release: str, picture_formats: Sequence[str], session: str) -> None:
        self._device = device
        self._threads = threads
        self._release = release
        self._picture_formats = picture_formats
        self._directory = Path(tempfile.gettempdir(), session)
        self._worker: ChunkWorker | None = None

    def start(self) -> str:
        """Prepare for chunks; return why that is not possible, and an empty text if it is."""
        node = f"node {platform.node()}"
        remedy = f"type there: pip install pytest-biastransfer=={self._release}"
        try:
            from pytest_biastransfer._version import __version__ as release
        except ImportError as error:
            return f"{node}: cannot import pytest-biastransfer ({error}); {remedy}"
        if release != self._release:
            return f"{node}: has pytest-biastransfer {release}, the test's process has {self._release}; {remedy}"
        from pytest_biastransfer.errors import BiasTransferError

        try:
            self._worker = self._worker or self._open_worker()
        except BiasTransferError as error:
            return f"{node}: {error}"
        return ""

    def compute(self, name: str, pickled: npt.NDArray[np.uint8], chunks: Sequence[range]) -> Computed:
        """Return the results of chunks of a pickled evaluation; see `ChunkWorker.compute`."""
        # The process may be another one than that which was started: Ray restarts an idle actor unnoticed.
        problem = self.start()
        if self._worker is None:
            raise RuntimeError(problem)
        # Ray maps the bytes into this process; they are not copied.
        return self._worker.compute(name, lambda: pickled.data, chunks)

    def close(self) -> None:
        """Give back the models, and remove what the actors of this node have shared."""
        if self._worker is not None:
            self._worker.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _open_worker(self) -> ChunkWorker:
        import torch

        from pytest_biastransfer.evaluation.chunk_worker import ChunkWorker
        from pytest_biastransfer.evaluation.devices import resolve_device
        from pytest_biastransfer.picture_files import allow_picture_formats
        from pytest_biastransfer.store import Store

        allow_picture_formats(*self._picture_formats)
        torch.set_num_threads(self._threads)
        # Nobody else can guess the name or read the directory: what is unpickled or trusted comes from this session.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        store = Store(self._directory)
        return ChunkWorker(resolve_device(self._device, store.facts), store)
