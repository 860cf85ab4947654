"""The pipeline that keeps a device busy, with a device that only takes time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.evaluation.pipeline import Depth, Pipeline

DEPTH = Depth(loaders=2, loaded=4, computed=4)


class Device:
    """Computes in a thread of its own, one task after another; each takes some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._queue: queue.SimpleQueue[tuple[int, Future[int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (given := self._queue.get()) is not None:
            number, result = given
            time.sleep(self._seconds)
            result.set_result(number * number)

    def start(self, number: int) -> Future[int]:
        result: Future[int] = Future()
        self._queue.put((number, result))
        return result

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(0.01)
    yield device
    device.stop()


def slowly(number: int) -> int:
    time.sleep(0.01)
    return number


@pytest.mark.parametrize("tasks", [1, 60])
def test_loading_computing_and_reading_overlap(device: Device, tasks: int) -> None:
    pipeline = Pipeline(slowly, lambda _, number: device.start(number), lambda _, result: result.result(), DEPTH)
    begun = time.perf_counter()
    results = list(pipeline.run(range(tasks)))
    seconds = time.perf_counter() - begun
    assert results == [(number, number * number) for number in range(tasks)]
    # The longer of the two stages, and the first task alone in the other one.
    assert seconds <= 1.15 * 0.01 * tasks + 0.02


def test_what_no_thread_may_load_is_loaded_while_the_device_computes(device: Device) -> None:
    threads = set()

    def load(number: int) -> int:
        threads.add(threading.current_thread())
        return slowly(number)

    pipeline = Pipeline(
        load,
        lambda _, number: device.start(number),
        lambda _, result: result.result(),
        DEPTH,
        in_threads=lambda _: False,
    )
    begun = time.perf_counter()
    assert [result for _, result in pipeline.run(range(60))] == [number * number for number in range(60)]
    assert time.perf_counter() - begun <= 1.15 * 0.01 * 60 + 0.02
    assert threads == {threading.main_thread()}


depths = st.builds(Depth, loaders=st.integers(1, 4), loaded=st.integers(0, 5), computed=st.integers(1, 5))


@given(depth=depths, tasks=st.integers(0, 12), broken=st.none() | st.integers(0, 11), stage=st.sampled_from("lcr"))
def test_an_error_costs_no_earlier_result(depth: Depth, tasks: int, broken: int | None, stage: str) -> None:
    def step(name: str, number: int) -> int:
        if (name, number) == (stage, broken):
            raise LookupError(number)
        return number

    pipeline: Pipeline[int, int, int, int] = Pipeline(
        lambda number: step("l", number),
        lambda _, number: step("c", number),
        lambda _, number: step("r", number),
        depth,
        in_threads=lambda number: number % 3 > 0,
    )
    results: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(tasks):
            # So far ahead of the results, and no further.
            assert number <= len(results) + depth.loaded + depth.computed
            yield number

    fails = broken is not None and broken < tasks
    raises = pytest.raises(LookupError, match=str(broken)) if fails else contextlib.nullcontext()
    with raises:
        for number, result in pipeline.run(counted()):
            assert number == result
            results.append(result)
    assert results == list(range(broken if fails and broken is not None else tasks))


def test_who_stops_early_waits_for_no_more_than_what_has_begun() -> None:
    begun = []

    def load(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        return number

    pipeline = Pipeline(load, lambda _, number: number, lambda _, number: number, Depth(1, 8, 1))
    running = pipeline.run(range(100))
    assert next(running) == (0, 0)
    running.close()  # type: ignore[attr-defined]
    assert len(begun) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("biastransfer-loader")]
