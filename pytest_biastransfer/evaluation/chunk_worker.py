"""The other end of an executor: computes chunks in a process, on any machine, that has no session of its own."""

from __future__ import annotations

import atexit
import functools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.environment import Environment
from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError
from pytest_biastransfer.evaluation.local_executor import LocalExecutor

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_task import Evaluation

# The results of chunks, see `ChunkTask`, and whether the model reads more than its key covers; see `ReadsMoreError`.
Computed = tuple[list[dict[str, "npt.NDArray[Any]"]], bool]

# Those that a test compares: clean and changed images, of a model and its control.
_MOST_OPEN = 4


class ChunkWorker:
    """Computes chunks, and keeps the models and datasets of the last evaluations open.

    Parameters
    ----------
    device
        Where models run: ``"cpu"``, ``"cuda"``, ...
    """

    def __init__(self, device: str) -> None:
        self._executor = LocalExecutor(Environment(device))
        self._evaluations: dict[Path, Evaluation] = {}

    def compute(self, evaluation_file: Path, chunks: Sequence[range]) -> Computed:
        """Return the results of chunks of the evaluation that was pickled into a file.

        Only files of one's own may be given: reading a pickle runs code.
        """
        if evaluation_file not in self._evaluations:
            if len(self._evaluations) == _MOST_OPEN:
                self._evaluations.clear()
                self._executor.release()
            self._evaluations[evaluation_file] = pickle.loads(evaluation_file.read_bytes())
        tasks = [ChunkTask(self._evaluations[evaluation_file], chunk) for chunk in chunks]
        try:
            return self._results(tasks), False
        except ReadsMoreError:
            # Raised once. Whether results may be stored is decided in the test's process.
            return self._results(tasks), True

    def close(self) -> None:
        """Give back the models."""
        self._executor.close()

    def _results(self, tasks: Sequence[ChunkTask]) -> list[dict[str, npt.NDArray[Any]]]:
        return [dict(content) for _, content in self._executor.run(tasks)]


@functools.cache
def _worker(device: str) -> ChunkWorker:
    """Return the worker of this process."""
    worker = ChunkWorker(device)
    # Otherwise the models would be given back while Python is taken to pieces.
    atexit.register(worker.close)
    return worker


def compute_chunks(evaluation_file: Path, device: str, chunks: Sequence[range]) -> Computed:
    """Compute chunks with the worker of this process; see `ChunkWorker.compute`."""
    return _worker(device).compute(evaluation_file, chunks)
