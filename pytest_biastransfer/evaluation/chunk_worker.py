"""The other end of an executor: computes chunks in a process, on any machine, that has no session of its own."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import pickle
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.device_memory import lasting_memory
from pytest_biastransfer.evaluation.environment import Environment
from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError
from pytest_biastransfer.evaluation.local_executor import LocalExecutor

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_task import Evaluation
    from pytest_biastransfer.store import Store

# The results of chunks, see `ChunkTask`, and whether the model reads more than its key covers; see `ReadsMoreError`.
Computed = tuple[list[dict[str, "npt.NDArray[Any]"]], bool]

# Those that a test compares: clean and changed images, of a model and its control.
MOST_OPEN: Final = 4


class ChunkWorker:
    """Computes chunks, and keeps the models and datasets of the last evaluations open.

    Parameters
    ----------
    device
        Where models run: ``"cpu"``, ``"cuda"``, ...
    store
        What the processes of this machine share, such as decoded pixels; default: nothing.
    """

    def __init__(self, device: str, store: Store | None = None) -> None:
        self._executor = LocalExecutor(Environment(device, store, device_memory=lasting_memory(device)))
        self._evaluations: dict[str, Evaluation] = {}

    def compute(self, name: str, read: Callable[[], bytes | memoryview], chunks: Sequence[range]) -> Computed:
        """Return the results of chunks of a pickled evaluation, which is read once as long as it stays open.

        Parameters
        ----------
        name
            Identifies the evaluation.
        read
            Returns its pickle. Only one's own may be given: reading a pickle runs code.
        chunks
            The positions of each task in the visiting order.

        Raises
        ------
        BiasTransferError
            If the evaluation needs what cannot be imported in this process, or fails.
        """
        if name not in self._evaluations:
            if len(self._evaluations) == MOST_OPEN:
                # The newest stays, since the next one is likely to be of the same model and dataset.
                self._evaluations = dict([self._evaluations.popitem()])
                self._executor.release()
            self._evaluations[name] = self._with_open_resources(_read(read()))
        tasks = [ChunkTask(self._evaluations[name], positions) for positions in chunks]
        try:
            return self._results(tasks), False
        except ReadsMoreError:
            # Raised once. Whether results may be stored is decided in the test's process.
            return self._results(tasks), True

    def close(self) -> None:
        """Give back the models."""
        self._executor.close()

    def _with_open_resources(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation that has the model and the dataset of a spec from the last ones: opening takes long."""
        open_models = {other.model.identity: other.model for other in self._evaluations.values()}
        open_images = {other.images.identity: other.images for other in self._evaluations.values()}
        return dataclasses.replace(
            evaluation,
            model=open_models.get(evaluation.model.identity, evaluation.model),
            images=open_images.get(evaluation.images.identity, evaluation.images),
        )

    def _results(self, tasks: Sequence[ChunkTask]) -> list[dict[str, npt.NDArray[Any]]]:
        return [dict(content) for _, content in self._executor.run(tasks)]


def _read(pickled: bytes | memoryview) -> Evaluation:
    try:
        evaluation: Evaluation = pickle.loads(pickled)
    except (ImportError, AttributeError) as error:
        raise BiasTransferError(
            f"{platform.node()}: cannot import what the model or the dataset of a fixture needs ({error}); install the "
            f"same packages there as in the test's process"
        ) from error
    return evaluation


@functools.cache
def _worker(device: str) -> ChunkWorker:
    """Return the worker of this process."""
    worker = ChunkWorker(device)
    # Otherwise the models would be given back while Python is taken to pieces.
    atexit.register(worker.close)
    return worker


def compute_chunks(evaluation_file: Path, device: str, chunks: Sequence[range]) -> Computed:
    """Compute chunks with the worker of this process; see `ChunkWorker.compute`."""
    return _worker(device).compute(str(evaluation_file), evaluation_file.read_bytes, chunks)
