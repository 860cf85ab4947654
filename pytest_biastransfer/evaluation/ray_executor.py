"""An executor for Ray clusters: chunks are computed by actors, one for each GPU or CPU of the cluster."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer._version import __version__
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.ray_cluster import cluster_address, connected, require_alive
from pytest_biastransfer.evaluation.ray_pickles import by_value, pickle_for_ray
from pytest_biastransfer.evaluation.remote_results import RemoteResults
from pytest_biastransfer.store import Facts, StoreDirectory

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation
    from pytest_biastransfer.store.chunks import Content

# Chunks in a call, and calls of an actor at a time. A GPU computes several chunks while the answer to a call travels.
_CALLS: Final[Mapping[str, tuple[int, int]]] = {"cpu": (1, 1), "cuda": (4, 2)}
_MOST_THREADS: Final = 8
# Evaluations that stay in the cluster's memory: those that a test compares, of a model and its control.
_MOST_PICKLED: Final = 4
# A chunk whose process dies more often than this is what kills it.
_MOST_LOSSES: Final = 3
_LOOK_SECONDS: Final = 5.0
# A cluster may have to start a machine first.
_PATIENCE_SECONDS: Final = 1800.0


@dataclass
class _Call:
    """A call that an actor has not answered: it computes a batch of chunks, or prepares for them if there are none."""

    actor: Any
    batch: Sequence[ChunkTask] = ()
    starts: bool = False


class RayExecutor:
    """Computes chunks in the actors of a Ray cluster.

    It connects when the first chunk is missing, or earlier if the cluster decides about the device.

    Parameters
    ----------
    address
        Of the cluster, such as ``"ray://host:10001"``; default: that in the environment variable ``RAY_ADDRESS``.
        Without one, a cluster of this machine is started, and ended by `close`.
    device
        ``"auto"`` (default) for the GPUs of the cluster if it has any, else its CPUs; ``"cpu"`` or ``"cuda"``.
    actors
        How many; default: one for each GPU, or each CPU, divided by `drivers`.
    drivers
        How many processes use the cluster for the same tests.
    directory
        Shared by those processes, which then share the cluster that one of them starts.
    root
        Modules in files below this directory travel with their code, so that nodes need not have them.
    picture_formats
        Those that the actors open besides the usual ones; see `allow_picture_formats`.
    facts
        Caches which device this machine has.

    Raises
    ------
    BiasTransferError
        If Ray is not installed, the device is not one of a cluster, or the cluster cannot be reached.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        device: str = "auto",
        actors: int | None = None,
        drivers: int = 1,
        directory: Path | None = None,
        root: Path | None = None,
        picture_formats: Sequence[str] = (),
        facts: Facts | None = None,
    ) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise BiasTransferError(
                f"device {device!r}: Ray decides which GPU an actor gets; expected auto, cpu or cuda"
            )
        self._open = contextlib.ExitStack()
        self._connection = connected(address, directory)
        self._ray: Any = None
        self._actors: list[Any] = []
        self._count, self._drivers, self._root = actors, drivers, root
        self._picture_formats = tuple(picture_formats)
        self._free: list[Any] = []
        self._calls: dict[Any, _Call] = {}
        self._pickled: dict[Evaluation, tuple[str, Any]] = {}
        self._remote_results = RemoteResults()
        self.device = device if device != "auto" else self._best_device(address, facts)

    def _best_device(self, address: str | None, facts: Facts | None) -> str:
        if cluster_address(address) is not None:
            return "cuda" if self._connect().cluster_resources().get("GPU") else "cpu"
        return "cuda" if resolve_device("auto", facts or Facts(StoreDirectory(None))) == "cuda" else "cpu"

    def _connect(self) -> Any:
        if self._ray is None:
            self._ray = self._open.enter_context(self._connection)
        return self._ray

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        """Yield each task with its result, in the order in which they are computed; see `Executor.run`."""
        if not self._actors:
            self._start_actors()
        together, _ = _CALLS[self.device]
        batches = _batches(tasks, together)
        lost: deque[Sequence[ChunkTask]] = deque()
        losses: Counter[tuple[Evaluation, range]] = Counter()
        more = True
        try:
            while True:
                # A batch is taken when an actor is free for it: what is taken is claimed, and wasted by an early stop.
                while self._free and more:
                    batch = lost.popleft() if lost else next(batches, None)
                    more = batch is not None
                    if batch is not None:
                        self._submit(batch)
                if not more and not any(call.batch for call in self._calls.values()):
                    return
                call, computed = self._next_answer()
                if computed is not None:
                    yield from self._remote_results.contents(call.batch, computed)
                elif call.batch:
                    self._count_loss(losses, call.batch)
                    lost.append(call.batch)
                    more = True
        except self._ray.exceptions.RayError as error:
            raise BiasTransferError(_cluster_failed(error)) from error
        finally:
            self._abandon()

    def _start_actors(self) -> None:
        ray = self._connect()
        from pytest_biastransfer.evaluation import ray_actor

        count, resources = _shares(ray.nodes(), self.device, self._drivers)
        threads = max(1, int(resources["num_cpus"]))
        session = f"biastransfer-ray-{uuid.uuid4().hex}"
        # Restarted without limit; each call is repeated by `run`, elsewhere and not without limit. Ray would wait for
        # the lost node, and would let a model that kills its process do so for ever.
        actor_class = ray.remote(ray_actor.ChunkActor).options(**resources, max_restarts=-1)
        with by_value([ray_actor]):
            self._actors = [
                actor_class.remote(self.device, threads, __version__, self._picture_formats, session)
                for _ in range(self._count or count)
            ]
        for actor in self._actors * _CALLS[self.device][1]:
            self._start(actor)

    def _start(self, actor: Any) -> None:
        """Have an actor say when it is ready for a call: it may still wait for a machine, or be restarted."""
        self._calls[actor.start.options(max_task_retries=-1).remote()] = _Call(actor, starts=True)

    def _submit(self, batch: Sequence[ChunkTask]) -> None:
        name, pickled = self._sent(batch[0].evaluation)
        actor = self._free.pop()
        self._calls[actor.compute.remote(name, pickled, [task.positions for task in batch])] = _Call(actor, batch)

    def _sent(self, evaluation: Evaluation) -> tuple[str, Any]:
        """Return the name of an evaluation, and its pickle, of which each node gets one copy."""
        if evaluation not in self._pickled:
            import numpy as np

            if len(self._pickled) == _MOST_PICKLED:
                self._pickled.clear()
            content = np.frombuffer(pickle_for_ray(evaluation, self._root), dtype=np.uint8)
            self._pickled[evaluation] = uuid.uuid4().hex, self._ray.put(content)
        return self._pickled[evaluation]

    def _next_answer(self) -> tuple[_Call, Any]:
        """Return the next call that is answered and the result of its batch; None if it has none."""
        ray, start = self._ray, time.monotonic()
        while not (answered := ray.wait(list(self._calls), timeout=_LOOK_SECONDS)[0]):
            require_alive(ray)
            if all(call.starts for call in self._calls.values()) and time.monotonic() - start > _PATIENCE_SECONDS:
                raise BiasTransferError(
                    f"no actor has started in the Ray cluster for {_PATIENCE_SECONDS / 60:.0f} minutes: other jobs "
                    f"use it, or it has no machine that is large enough; look at it with: ray status"
                )
        call = self._calls.pop(answered[0])
        try:
            answer = ray.get(answered[0])
        except ray.exceptions.RayActorError as error:
            if call.starts:
                raise BiasTransferError(f"an actor of the Ray cluster cannot start: {error}") from error
            self._start(call.actor)
            return call, None
        except (ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError) as error:
            self._free.append(call.actor)
            if not call.batch and not call.starts:
                return call, None
            # As the model's code has raised it in its process, if that can be sent.
            raise getattr(error, "cause", None) or error from error
        if call.starts and answer:
            raise BiasTransferError(answer)
        self._free.append(call.actor)
        return call, answer if call.batch else None

    def _count_loss(self, losses: Counter[tuple[Evaluation, range]], batch: Sequence[ChunkTask]) -> None:
        task = batch[0]
        losses[task.evaluation, task.positions] += 1
        if losses[task.evaluation, task.positions] > _MOST_LOSSES:
            raise BiasTransferError(
                f"the process that computed chunk {task.positions} of {task.evaluation.images.name} with model "
                f"{task.evaluation.model.name} has died {_MOST_LOSSES + 1} times in the Ray cluster: the model kills "
                f"it, or it has too little memory; what was finished is in the store"
            )

    def _abandon(self) -> None:
        """Cancel what is ahead; the actors are free when they have answered."""
        for reference, call in self._calls.items():
            if call.batch:
                call.batch = ()
                self._ray.cancel(reference)

    def release(self) -> None:
        """Do nothing: the actors have models of their own."""

    def close(self) -> None:
        """End the actors and the connection, and the cluster if it was started here."""
        if self._actors:
            closing = [actor.close.options(max_task_retries=-1).remote() for actor in self._actors]
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.wait(closing, num_returns=len(closing), timeout=_LOOK_SECONDS)
                for actor in self._actors:
                    self._ray.kill(actor)
        self._actors.clear()
        self._free.clear()
        self._calls.clear()
        self._pickled.clear()
        self._open.close()


def _batches(tasks: Iterable[ChunkTask], together: int) -> Iterator[Sequence[ChunkTask]]:
    """Yield the tasks in batches of one evaluation each."""
    for _, own in itertools.groupby(tasks, lambda task: task.evaluation):
        while batch := list(itertools.islice(own, together)):
            yield batch


def _shares(nodes: Sequence[Mapping[str, Any]], device: str, drivers: int) -> tuple[int, dict[str, float]]:
    """Return how many actors one of several drivers starts, and the resources of each."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    kind = "GPU" if device == "cuda" else "CPU"
    machines = [resources for resources in alive if resources.get(kind, 0) >= 1]
    units = int(sum(resources[kind] for resources in machines))
    if not units:
        raise BiasTransferError(
            f"device {device!r}: the Ray cluster has no {kind} (it has {len(alive)} machines); expected a cluster with "
            f"{kind}s" + (", or --bias-device=cpu" if kind == "GPU" else "")
        )
    # Ray counts in ten-thousandths.
    share = math.floor(10_000 / math.ceil(drivers / units)) / 10_000
    count = max(1, units // drivers)
    if kind == "CPU":
        return count, {"num_cpus": share, "num_gpus": 0}
    threads = min(resources.get("CPU", 0) // resources["GPU"] for resources in machines)
    # Half of them: an actor would wait for a machine where anything else holds a CPU.
    threads = min(threads, max(1, threads // 2), _MOST_THREADS)
    return count, {"num_cpus": threads * share, "num_gpus": share}


def _cluster_failed(error: Exception) -> str:
    return (
        f"the Ray cluster failed ({type(error).__name__}: {' '.join(str(error).split())}); what was finished is in the "
        f"store, so run the same command again"
    )
