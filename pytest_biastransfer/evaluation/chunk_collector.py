"""Collects the chunks of one evaluation: from the store, and from the executor where the store has none."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.evaluation.chunk_task import ChunkTask, part_of
from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError
from pytest_biastransfer.evaluation.visiting_order import chunks_in, joined
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import Evaluation
    from pytest_biastransfer.evaluation.companions import Companions
    from pytest_biastransfer.evaluation.executor import Executor


class ChunkCollector:
    """Looks chunks up, hands the missing ones to an executor, and stores what comes back.

    Parameters
    ----------
    evaluation
        What the chunks are of.
    store, key
        Where they are stored; unused if the evaluation's key is not portable.
    accepts
        Whether the content of a file has the form of a result.
    start
        Returns the executor; called before the first chunk is computed.
    on_progress
        Called after each chunk, once something was computed.
    companions
        What is computed along with the chunks, for later.

    Attributes
    ----------
    computed
        How many images were computed, those of companions included.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        store: ChunkStore,
        key: str,
        accepts: Callable[[range, Content], bool],
        start: Callable[[Evaluation], Executor],
        on_progress: Callable[[Progress], None] | None,
        companions: Companions,
    ) -> None:
        self._evaluation = evaluation
        self._store = store
        self._key = key
        self._accepts = accepts
        self._start = start
        self._on_progress = on_progress
        self._companions = companions
        self._executor: Executor | None = None
        self._seconds = 0.0
        self.computed = 0

    def collect(self, chunks: Sequence[range], done: int = 0) -> Iterator[tuple[range, Content]]:
        """Yield each chunk with its content, in the order in which they become available.

        `done` images of the evaluation have been collected before.
        """
        start = time.monotonic() - self._seconds
        for chunk, content in self._stored_or_computed(chunks):
            done += len(chunk)
            yield chunk, content
            self._seconds = time.monotonic() - start
            if self._executor is not None and self._on_progress is not None:
                total = self._evaluation.count
                self._on_progress(Progress(self._evaluation.key.text, done, total, self.computed, self._seconds))

    def _stored_or_computed(self, chunks: Sequence[range]) -> Iterator[tuple[range, Content]]:
        left = list(chunks)
        try:
            for chunk, content in self._store.collect_from(self._key, chunks, self._compute, self._accepts):
                left.remove(chunk)
                yield chunk, content
        except ReadsMoreError:
            # The key does not cover what the model reads, so the other chunks must not be stored under it.
            self._store = ChunkStore(StoreDirectory(None))
            self._companions.end()
            yield from self._store.collect_from(self._key, left, self._compute, self._accepts)

    def _compute(self, claimed: Iterator[range]) -> Iterator[Mapping[range, Content]]:
        # Small batches would leave a GPU idle, so neighbouring chunks are one task.
        together = joined(claimed)
        first = next(together, None)
        if first is None:
            # Nothing is missing, so neither torch nor the model is needed.
            return
        if self._executor is None:
            self._executor = self._start(self._evaluation)
        # A generator: taking a task claims its chunks, and only the executor knows how many it can compute at once.
        tasks = map(self._task, itertools.chain([first], together))
        try:
            for task, content in self._executor.run(tasks):
                self.computed += len(task.positions)
                if task.evaluation == self._evaluation:
                    # Those that failed are left to the tests that need them.
                    self._companions.release(task.positions)
                    yield {chunk: part_of(content, task.positions, chunk) for chunk in chunks_in(task.positions)}
                else:
                    self._companions.write(task, content)
        finally:
            self._companions.release()

    def _task(self, positions: range) -> ChunkTask:
        return ChunkTask(self._evaluation, positions, functools.partial(self._companions.claim, positions))
