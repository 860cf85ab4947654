"""What computes chunks: this process, other processes, or other machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask
    from pytest_biastransfer.store.chunks import Content


@runtime_checkable
class Executor(Protocol):
    """Computes chunk tasks.

    It knows neither the store nor the tests. The collecting side looks chunks up, hands over the missing ones, and
    writes the results.
    """

    @property
    def device(self) -> str:
        """Where models run; its type is part of the keys of predictions."""

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield each task with its result, in the order in which they are computed.

        Parameters
        ----------
        tasks
            They may belong to several evaluations, such as the same chunk under several interventions. They come
            lazily: taking a task looks it up in the store and locks its chunks for this process. So an executor takes a
            few tasks ahead to keep its device busy, but not all of them: other processes share the work, and what is
            ahead is wasted if a test stops early. Tasks are taken in the thread that iterates over the results.

        Raises
        ------
        BiasTransferError
            If a task fails. Results of other tasks in flight are lost; nobody waits for them.
        """

    def release(self) -> None:
        """Leave the models as they were: a measurement is complete, and the tests may use their modules.

        Further tasks may follow.
        """

    def close(self) -> None:
        """Release the models, and end processes and connections. No task follows."""
