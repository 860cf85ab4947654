"""A store on a network drive: locks that everybody gets, files that vanish or are seen late, directories that move."""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.store import Generations, Store, StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content
from pytest_biastransfer.transfer.checkpoints import Checkpoint
from tests.conftest import INNER_CONFTEST, Run
from tests.support.systems import posix

fcntl = pytest.importorskip("fcntl", reason="Windows has other locks")

CHUNKS = [range(0, 4), range(4, 8), range(8, 10)]
KEYS = ["a" * 64, "b" * 64]


def squares(chunk: range) -> Content:
    return {"squares": np.array(chunk, dtype=np.int64) ** 2}


def no_computation(chunk: range) -> NoReturn:
    raise AssertionError(f"{chunk} is computed again")


def granted(*_: object) -> None:
    """Grant a lock, whoever holds it."""


def unsupported(number: int) -> Callable[..., NoReturn]:
    def flock(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture
def everybody_gets_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", granted)


@pytest.fixture(autouse=True)
def _no_file_is_left_half_written(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.part"))


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run functions in threads at the same time; return their results, or raise what one of them raises."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result() for future in [threads.submit(work) for work in works]]


# ------------------------------------------------------------------------- locks that everybody gets


@pytest.mark.usefixtures("everybody_gets_locks")
def test_two_that_compute_the_same_chunks_get_the_same_and_one_file_stays(tmp_path: Path) -> None:
    both, computed = threading.Barrier(2, timeout=30), []

    def compute(chunk: range) -> Content:
        computed.append(chunk.start)
        # Neither writes the chunk before the other one computes it, too.
        both.wait()
        return squares(chunk)

    def collect() -> dict[int, list[int]]:
        store = ChunkStore(StoreDirectory(tmp_path))
        collected: dict[int, list[int]] = {}
        for chunk, content in store.collect("key", CHUNKS, compute):
            collected[chunk.start] = content["squares"].tolist()
        return collected

    expected = {chunk.start: [number**2 for number in chunk] for chunk in CHUNKS}
    assert at_once(collect, collect) == [expected, expected]
    assert sorted(computed) == [0, 0, 4, 4, 8, 8]
    again = ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, no_computation)
    assert {chunk.start: content["squares"].tolist() for chunk, content in again} == expected


def test_a_chunk_that_is_there_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", granted)
    file = tmp_path / "key" / "0-4.chunk"
    inodes = []

    def compute(chunk: range) -> Content:
        # Another client of the drive finishes the chunk meanwhile, and maps it into memory.
        list(ChunkStore(StoreDirectory(tmp_path)).collect("key", [chunk], squares))
        inodes.append(file.stat().st_ino)
        return squares(chunk)

    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS[:1], compute))
    assert [file.stat().st_ino] == inodes


def test_drops_at_the_same_time_are_all_kept_without_a_lock(tmp_path: Path) -> None:
    sessions = [Generations(StoreDirectory(tmp_path)) for _ in range(4)]
    # All have read what was dropped so far, which is nothing.
    assert [session.current(key) for session in sessions for key in KEYS] == KEYS * 4
    for session, key in zip(sessions, [*KEYS, *KEYS], strict=True):
        session.drop(key, key)
    after = [session.current(key) for session in [Generations(StoreDirectory(tmp_path)), *sessions[2:]] for key in KEYS]
    # Each was dropped once: two sessions that find the same do not begin two generations.
    assert len(set(after)) == 2
    assert not set(after) & set(KEYS)
    next_session = Generations(StoreDirectory(tmp_path))
    next_session.drop(KEYS[0], next_session.current(KEYS[0]))
    assert Generations(StoreDirectory(tmp_path)).current(KEYS[0]) not in {*after, *KEYS}
    assert Generations(StoreDirectory(tmp_path)).current(KEYS[1]) in after


def test_a_damaged_drop_counts_as_none(tmp_path: Path) -> None:
    Generations(StoreDirectory(tmp_path)).drop(KEYS[0], KEYS[0])
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"damaged")
    (tmp_path / "something else").touch()
    with pytest.warns(StoreWarning, match="it is computed again"):
        assert Generations(StoreDirectory(tmp_path)).current(KEYS[0]) == KEYS[0]


@pytest.mark.usefixtures("everybody_gets_locks")
def test_room_is_made_and_facts_are_written_by_several_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(20):
        list(store.pixels.collect(f"old-{number}", CHUNKS[:1], squares))
        os.utime(tmp_path / "pixels" / f"old-{number}", (0, 0))

    def session(name: str) -> bool:
        own = Store(tmp_path)
        is_room = own.pixels.make_room(name, 100, limit=1000)
        list(own.pixels.collect(name, CHUNKS, squares))
        for number in range(20):
            assert own.facts.get_or_compute(f"{number:064}", functools.partial(int, str(number)), int) == number
        return is_room

    assert at_once(*(functools.partial(session, name) for name in ("new", "new", "other"))) == [True] * 3
    left = {path.name for path in (tmp_path / "pixels").iterdir()}
    assert {"new", "other"} <= left
    assert len(left) < 22
    list(Store(tmp_path).pixels.collect("new", CHUNKS, no_computation))


@pytest.mark.usefixtures("everybody_gets_locks")
def test_two_trainings_share_a_checkpoint(tmp_path: Path) -> None:
    def training() -> None:
        checkpoint = Checkpoint(StoreDirectory(tmp_path), "key")
        for epoch in range(40):
            state = checkpoint.read()
            assert state is None or torch.equal(state["weights"], torch.full((8,), float(state["epoch"])))
            checkpoint.write({"epoch": epoch, "weights": torch.full((8,), float(epoch))})
            if epoch % 10 == 9:
                checkpoint.remove()

    at_once(training, training)


# Not in the session without workers, which runs in this process.
GRANTED = """
import fcntl

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        fcntl.flock = lambda *_: None
"""
TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_skew=1, max_asr=1)
@pytest.mark.parametrize("number", range(2))
def test_it(number): pass
"""


@pytest.mark.parametrize("mode", ["n2"])
def test_workers_that_get_all_locks_have_the_figures_of_one_process(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(GRANTED + INNER_CONFTEST)
    pytester.makepyfile(test_bias=TESTS)
    options = ("-v", "--bias-store=store", "-W", "error")
    together, again = run(*options), run(*options)
    shutil.rmtree("store")
    alone = run(*options, "-n0")

    def figures(result: pytest.RunResult) -> list[str]:
        result.assert_outcomes(passed=4)
        return sorted(line for line in result.outlines if re.match(r"  \S+ +asr +\d", line))

    assert sum("0.250" in line for line in figures(alone)) == 2
    assert figures(together) == figures(again) == figures(alone)


# ---------------------------------------------------------------------------------- no locks at all


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_where_locks_are_not_supported_one_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", unsupported(number))
    store = Store(tmp_path)
    with pytest.warns(StoreWarning, match="files cannot be locked there") as caught:
        list(store.predictions.collect("key", CHUNKS, squares))
    assert len(caught) == 1
    # It has said so once: another warning is an error here.
    assert len(list(store.pixels.collect("key", CHUNKS, squares))) == 3
    for chunks in (Store(tmp_path).predictions, Store(tmp_path).pixels):
        list(chunks.collect("key", CHUNKS, no_computation))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("use SoftFileLock instead")]
)
def test_locks_that_stop_working_do_not_end_the_caching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("key", CHUNKS[:1], squares))

    def fails(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", fails)
    with pytest.warns(StoreWarning, match="files cannot be locked there") as caught:
        assert len(list(store.collect("key", CHUNKS, squares))) == 3
    assert len(caught) == 1
    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, no_computation))


def test_a_lock_that_the_server_has_forgotten_is_released_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: object, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        assert len(list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, squares))) == 3


# -------------------------------------------------------------------- files and directories that vanish


def written(directory: Path) -> StoreDirectory:
    store = StoreDirectory(directory)
    store.write("file", "description", [b"content"])
    return store


def read(store: StoreDirectory) -> bytes | None:
    entry = store.read("file", lambda *_: True)
    return None if entry is None else bytes(entry[1])


@pytest.mark.parametrize(("failures", "expected"), [(1, b"content"), (2, None)])
def test_a_stale_file_is_opened_again_and_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, expected: bytes | None
) -> None:
    store, left = written(tmp_path), [None] * failures
    fstat = os.fstat

    def stale(descriptor: int) -> os.stat_result:
        if left:
            left.pop()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", stale)
        assert read(store) == expected
    assert not left
    assert read(store) == b"content"


@posix
def test_a_good_file_stays_if_the_process_has_too_many_open(tmp_path: Path) -> None:
    import resource

    store, (soft, hard) = written(tmp_path), resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryFile() as next_file:
        lowest = next_file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert read(store) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(store) == b"content"


def test_a_directory_that_vanishes_while_a_file_is_written_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, make_temporary = StoreDirectory(tmp_path), tempfile.mkstemp

    def vanishing(*arguments: Any, **options: Any) -> tuple[int, str]:
        descriptor, name = make_temporary(*arguments, **options)
        monkeypatch.undo()
        # As another process that makes room does.
        shutil.rmtree(tmp_path / "key")
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", vanishing)
    assert len(list(ChunkStore(store).collect("key", CHUNKS, squares))) == 3
    assert store.can_be_written
    list(ChunkStore(store).collect("key", CHUNKS, no_computation))


def test_what_others_finish_is_seen_late_and_computed_twice_at_worst(tmp_path: Path) -> None:
    """A name that this client has looked up in vain stays unknown to it for a while, as caches of NFS have it."""
    late, computed = ChunkStore(StoreDirectory(tmp_path)), []

    def compute(chunk: range) -> Content:
        computed.append(chunk.start)
        return squares(chunk)

    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, squares))
    hidden = tmp_path / "hidden"
    (tmp_path / "key").rename(hidden)
    collected = late.collect("key", CHUNKS, compute)
    next(collected)
    for file in hidden.glob("*.chunk"):
        file.rename(tmp_path / "key" / file.name)
    assert len(list(collected)) == 2
    assert computed == [0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, no_computation))
