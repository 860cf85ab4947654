"""An executor for pools of processes and for clusters: whatever has ``submit`` and returns futures."""

from __future__ import annotations

import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.remote_results import RemoteResults

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation
    from pytest_biastransfer.store.chunks import Content


class Pool(Protocol):
    """What `PoolExecutor` needs of a pool; those of concurrent.futures, Dask, MPI and submitit have it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call a function elsewhere; return an object whose ``result()`` waits for what it returns."""


class PoolExecutor:
    """Computes chunks in the processes of a pool, on this machine or on others.

    A model and a dataset of a spec travel as text, and are opened in each process; any other model or dataset travels
    pickled, once for each process. Results are the same as without a pool, and come back to this process, which writes
    them to the store. The pool's workers may be lost and replaced, if the pool does that; a failed task fails its test.

    Parameters
    ----------
    pool
        Has ``submit(function, *arguments)``, which returns futures. It is not shut down here.
    device
        Where its processes compute; the same kind in all of them.
    ahead
        How many calls are submitted before the first result is waited for: the number of workers, and some more.
    together
        Tasks of up to 256 images in one call. Where a call is a job of its own, let it be worth its start.
    directory
        A directory that all processes see, for the evaluations that they read; default: a temporary one of this
        machine.

    Examples
    --------
    >>> import concurrent.futures
    >>> from pytest_biastransfer import PoolExecutor
    >>> with concurrent.futures.ThreadPoolExecutor(1) as pool:
    ...     executor = PoolExecutor(pool, ahead=2)
    ...     executor.device, list(executor.run([]))
    ...     executor.close()
    ('cpu', [])

    The hook of a conftest file that returns one is in ``docs/cluster.md``.
    """

    def __init__(
        self, pool: Pool, *, device: str = "cpu", ahead: int = 4, together: int = 1, directory: Path | None = None
    ) -> None:
        self.device = device
        self._pool = pool
        self._ahead = ahead
        self._together = together
        self._directory = tempfile.TemporaryDirectory(prefix="biastransfer-", dir=directory)
        self._files: dict[Evaluation, Path] = {}
        self._remote_results = RemoteResults()

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield each task with its result, in the order of the tasks; see `Executor.run`."""
        submitted: deque[tuple[Sequence[ChunkTask], Any]] = deque()
        try:
            for evaluation, own in itertools.groupby(tasks, lambda task: task.evaluation):
                while batch := list(itertools.islice(own, self._together)):
                    submitted.append((batch, self._submit(evaluation, batch)))
                    if len(submitted) > self._ahead:
                        yield from self._results(*submitted.popleft())
            while submitted:
                yield from self._results(*submitted.popleft())
        finally:
            # Of no use once a test has failed or stopped early.
            for _, future in submitted:
                future.cancel()

    def _submit(self, evaluation: Evaluation, batch: Sequence[ChunkTask]) -> Any:
        # Imports torch, which the names of this module need not.
        from pytest_biastransfer.evaluation.chunk_worker import compute_chunks

        if evaluation not in self._files:
            file = Path(self._directory.name, f"{len(self._files)}.pickle")
            file.write_bytes(evaluation.to_bytes())
            self._files[evaluation] = file
        positions = [task.positions for task in batch]
        return self._pool.submit(compute_chunks, self._files[evaluation], self.device, positions)

    def _results(self, batch: Sequence[ChunkTask], future: Any) -> Iterator[tuple[ChunkTask, Content]]:
        try:
            computed = future.result()
        except BrokenExecutor as error:
            raise BiasTransferError(
                f"the pool of PoolExecutor has lost a process while chunk {batch[0].positions} of "
                f"{batch[0].evaluation.images.name} was computed ({error}); what was finished is in the store, so run "
                f"the same command again, with fewer processes if their memory was short"
            ) from error
        yield from self._remote_results.contents(batch, computed)

    def release(self) -> None:
        """Do nothing: the processes of the pool have models of their own."""

    def close(self) -> None:
        """Remove the evaluations that were written for the pool."""
        self._files.clear()
        self._directory.cleanup()
