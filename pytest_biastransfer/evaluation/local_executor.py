"""The executor of this process: one task after another, on one device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.evaluation.chunk_runner import ChunkRunner
from pytest_biastransfer.evaluation.predictor import ready_to_evaluate

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.store.chunks import Content


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
        self._open = contextlib.ExitStack()

    @property
    def device(self) -> str:
        """Where models run."""
        return self._environment.device

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield each task with its result; a task is taken when the one before it is done."""
        for task in tasks:
            yield task, self._runner(task.evaluation).content(task.chunk)

    def _runner(self, evaluation: Evaluation) -> ChunkRunner:
        if evaluation not in self._runners:
            model = evaluation.model.get(self._environment.store.facts)
            device = torch.device(self.device)
            memory = freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext()
            self._open.enter_context(ready_to_evaluate(model.module, device))
            self._open.enter_context(memory)
            self._runners[evaluation] = ChunkRunner(evaluation, self._environment)
        return self._runners[evaluation]

    def release(self) -> None:
        """Return the models to the mode and the device that they had, and freed memory to the system."""
        self._runners.clear()
        self._open.close()

    def close(self) -> None:
        """Release the models."""
        self.release()
