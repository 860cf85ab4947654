"""Keeps a device busy: the host loads the tasks that come next, and reads results later, while the device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Task = TypeVar("Task")
Loaded = TypeVar("Loaded")
Computed = TypeVar("Computed")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Depth:
    """How far a pipeline works ahead; each task in it takes memory of the host and of the device.

    Attributes
    ----------
    loaders
        Threads that load.
    loaded
        Tasks that are loaded, or being loaded, ahead of the one that is computed; 0 to load each when it is computed.
    computed
        Tasks that were given to the device, and whose results were not read. The oldest half of them are read at once:
        meanwhile the device has the other half to do.
    """

    loaders: int
    loaded: int
    computed: int


@dataclass(frozen=True)
class _Loading(Generic[Task, Loaded]):
    """A task whose inputs are loaded, or being loaded."""

    task: Task
    inputs: Future[Loaded]
    in_thread: bool


class Pipeline(Generic[Task, Loaded, Computed, Result]):
    """Three stages: load in threads, compute on a device that works on its own, and read results in bulk.

    Parameters
    ----------
    load
        Brings the inputs of a task to the device.
    compute
        Gives the device its work, and returns at once; called in the order of the tasks.
    read
        Waits for the device, and returns a result.
    depth
        How far it works ahead.
    in_threads
        Whether a task may be loaded in a thread of its own, while others are loaded. All else happens in the thread
        that iterates over the results.
    """

    def __init__(
        self,
        load: Callable[[Task], Loaded],
        compute: Callable[[Task, Loaded], Computed],
        read: Callable[[Task, Computed], Result],
        depth: Depth,
        in_threads: Callable[[Task], bool] = lambda _: True,
    ) -> None:
        self._load = load
        self._compute = compute
        self._read = read
        self._depth = depth
        self._in_threads = in_threads

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield each task with its result, in the order of the tasks.

        An error in a task is raised after the results of all earlier tasks were yielded. What was loaded ahead is
        dropped then.
        """
        remaining = iter(tasks)
        loading: deque[_Loading[Task, Loaded]] = deque()
        computed: deque[tuple[Task, Computed]] = deque()
        with ThreadPoolExecutor(self._depth.loaders, "biastransfer-loader") as pool:
            try:
                while loading or self._take(remaining, loading, pool):
                    oldest = loading.popleft()
                    try:
                        computed.append((oldest.task, self._compute(oldest.task, oldest.inputs.result())))
                    except Exception:
                        # What the device has computed is not lost with this task.
                        yield from self._results(computed, len(computed))
                        raise
                    # Only now, while the device computes; one is enough if it is loaded here.
                    while len(loading) < self._depth.loaded and self._take(remaining, loading, pool):
                        if not loading[-1].in_thread:
                            break
                    if len(computed) >= self._depth.computed:
                        yield from self._results(computed, max(1, self._depth.computed // 2))
                yield from self._results(computed, len(computed))
            finally:
                # The pool waits for its threads: what has not begun is not to begin any more.
                for ahead in loading:
                    ahead.inputs.cancel()

    def _take(
        self, remaining: Iterator[Task], loading: deque[_Loading[Task, Loaded]], pool: ThreadPoolExecutor
    ) -> bool:
        """Load the next task, in a thread if that may be; return False if there is none."""
        for task in remaining:
            in_thread = self._depth.loaded > 0 and self._in_threads(task)
            inputs = pool.submit(self._load, task) if in_thread else _loaded_here(self._load, task)
            loading.append(_Loading(task, inputs, in_thread))
            return True
        return False

    def _results(self, computed: deque[tuple[Task, Computed]], count: int) -> Iterator[tuple[Task, Result]]:
        """Read and yield the results of the oldest `count` tasks."""
        for _ in range(count):
            task, work = computed.popleft()
            yield task, self._read(task, work)


def _loaded_here(load: Callable[[Task], Loaded], task: Task) -> Future[Loaded]:
    inputs: Future[Loaded] = Future()
    try:
        inputs.set_result(load(task))
    except Exception as error:  # noqa: BLE001 - the future raises it when it is the task's turn.
        inputs.set_exception(error)
    return inputs
