"""The executor of this process: chunks are computed on one device, which is kept busy if it computes on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import torch

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.evaluation.chunk_runner import ChunkRunner, ComputedChunk, LoadedChunk
from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.pipeline import Depth, Pipeline

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import Evaluation
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.store.chunks import Content

# The companions of a task, and the task itself.
_Computed = tuple[Sequence[tuple[ChunkTask, ComputedChunk]], tuple[ChunkTask, ComputedChunk]]
_Results = Sequence[tuple[ChunkTask, "Content"]]

# A chunk of 256 images of 224 pixels takes 38 MB, of pinned memory and of the device's.
_AHEAD: Final = Depth(loaders=4, loaded=6, computed=4)
# A CPU computes in the thread that waits for it: what was loaded ahead would only take memory.
_ONE_BY_ONE: Final = Depth(loaders=1, loaded=0, computed=1)


def computes_beside(device: torch.device) -> bool:
    """Whether a device computes while this process does something else."""
    return device.type != "cpu"


class LocalExecutor:
    """Computes chunks in this process.

    Parameters
    ----------
    environment
        Has the device, the decoded pixels, the batch sizes and the checks of models.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runners: dict[Evaluation, ChunkRunner] = {}
        # Companions that the tests which need them will find to fail.
        self._failed: set[Evaluation] = set()
        self._open = contextlib.ExitStack()

    @property
    def device(self) -> str:
        """Where models run."""
        return self._environment.device

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield each task with its result, in the order of the tasks; see `Executor.run`."""
        pipeline: Pipeline[ChunkTask, LoadedChunk, _Computed, _Results] = Pipeline(
            lambda task: self._runner(task.evaluation).load(task.positions),
            self._compute,
            self._read,
            _AHEAD if self._computes_beside else _ONE_BY_ONE,
            in_threads=lambda task: self._runner(task.evaluation).loads_in_threads,
        )
        for _, results in pipeline.run(tasks):
            yield from results

    @property
    def _computes_beside(self) -> bool:
        return computes_beside(torch.device(self.device))

    def _compute(self, task: ChunkTask, loaded: LoadedChunk) -> _Computed:
        """Compute a task, and its companions if their pixels would have to be loaded again."""
        own = self._runner(task.evaluation).compute(loaded)
        # A CPU reads pixels from its own memory, and computes so much longer that this does not count.
        companions = task.companions() if loaded.shareable and self._computes_beside else ()
        beside = []
        for evaluation in companions:
            if evaluation not in self._failed:
                try:
                    runner = self._runner(evaluation)
                    beside.append((ChunkTask(evaluation, task.positions), runner.compute(runner.load_beside(loaded))))
                except BiasTransferError:
                    self._failed.add(evaluation)
        return beside, (task, own)

    def _read(self, _: ChunkTask, computed: _Computed) -> _Results:
        beside, (task, own) = computed
        results = []
        for companion, work in beside:
            try:
                results.append((companion, self._runner(companion.evaluation).result(work)))
            except BiasTransferError:
                self._failed.add(companion.evaluation)
        return [*results, (task, self._runner(task.evaluation).result(own))]

    def _runner(self, evaluation: Evaluation) -> ChunkRunner:
        if evaluation not in self._runners:
            model = evaluation.model.get(self._environment.store.facts)
            device = torch.device(self.device)
            memory = freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext()
            self._open.enter_context(self._environment.device_memory.models.ready(model.module, device))
            self._open.enter_context(memory)
            self._runners[evaluation] = ChunkRunner(evaluation, self._environment)
        return self._runners[evaluation]

    def release(self) -> None:
        """Return the models to the state that they had, but for the device of those that stay; give memory back."""
        self._runners.clear()
        self._open.close()

    def close(self) -> None:
        """Release the models."""
        self.release()
