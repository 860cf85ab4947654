"""What comes back from other processes: the results of chunks, handed over with their tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation
    from pytest_biastransfer.evaluation.chunk_worker import Computed
    from pytest_biastransfer.store.chunks import Content


class RemoteResults:
    """The results of an executor whose chunks are computed by other processes."""

    def __init__(self) -> None:
        self._reading_more: set[Evaluation] = set()

    def contents(self, batch: Sequence[ChunkTask], computed: Computed) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield the tasks of one evaluation with their results.

        Raises `ReadsMoreError` once if the model reads more than its key covers. Each process notices that for itself,
        but the collecting side has to start again only once.
        """
        contents, reads_more = computed
        evaluation = batch[0].evaluation
        if reads_more and evaluation not in self._reading_more:
            self._reading_more.add(evaluation)
            raise ReadsMoreError
        yield from zip(batch, contents, strict=True)
