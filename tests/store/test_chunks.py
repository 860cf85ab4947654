"""The store of chunks, shared by processes that may die, on disks that may fail; and the order of visiting."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import stats
from torchvision.transforms import v2

from pytest_biastransfer import Custom, measure
from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.evaluation.visiting_order import (
    CHUNK_IMAGES,
    chunks,
    chunks_in,
    dataset_seed,
    joined,
    visiting_order,
)
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content
from tests.support.systems import posix

CHUNKS = [range(0, 4), range(4, 8), range(8, 10)]


def squares(chunk: range) -> Content:
    return {"squares": np.array(chunk, dtype=np.int64) ** 2, "count": np.array([len(chunk)], dtype=np.int32)}


def no_computation(chunk: range) -> Content:
    raise AssertionError(f"{chunk} is computed again")


def assert_right(collected: Sequence[tuple[range, Content]], expected: Sequence[range] = CHUNKS) -> None:
    assert sorted((chunk for chunk, _ in collected), key=lambda chunk: chunk.start) == list(expected)
    for chunk, content in collected:
        assert content.keys() == {"squares", "count"}
        assert content["squares"].tolist() == [number**2 for number in chunk]
        assert content["squares"].dtype == np.int64
        assert content["count"].tolist() == [len(chunk)]


class Counted:
    """Computes squares and remembers what it was asked for."""

    def __init__(self) -> None:
        self.chunks: list[range] = []

    def __call__(self, chunk: range) -> Content:
        self.chunks.append(chunk)
        return squares(chunk)


# ------------------------------------------------------------------------------------------ one process


@pytest.mark.parametrize("kept", [True, False])
def test_each_chunk_is_yielded_once_with_what_was_computed(tmp_path: Path, kept: bool) -> None:
    compute = Counted()
    collected = list(ChunkStore(StoreDirectory(tmp_path if kept else None)).collect("key", CHUNKS, compute))
    assert_right(collected)
    assert compute.chunks == CHUNKS


def test_chunks_are_computed_only_as_they_are_asked_for(tmp_path: Path) -> None:
    compute = Counted()
    collected = ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, compute)
    assert compute.chunks == []
    next(collected)
    assert compute.chunks == CHUNKS[:1]


def test_nothing_is_computed_a_second_time(tmp_path: Path) -> None:
    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, squares))
    assert_right(list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, no_computation)))


def test_a_collection_that_was_cut_short_is_continued(tmp_path: Path) -> None:
    cut_short = ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, squares)
    next(cut_short)
    del cut_short
    compute = Counted()
    assert_right(list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, compute)))
    assert compute.chunks == CHUNKS[1:]


def test_more_chunks_of_the_same_key_are_added(tmp_path: Path) -> None:
    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS[:1], squares))
    compute = Counted()
    assert_right(list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS, compute)))
    assert compute.chunks == CHUNKS[1:]


def test_keys_and_chunks_of_other_lengths_are_kept_apart(tmp_path: Path) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("key", CHUNKS, squares))
    for key, wanted in (("other", CHUNKS), ("key", [range(0, 5)]), ("key", [range(1, 4)])):
        compute = Counted()
        assert_right(list(store.collect(key, wanted, compute)), wanted)
        assert compute.chunks == wanted


def test_without_a_directory_nothing_is_kept() -> None:
    store, compute = ChunkStore(StoreDirectory(None)), Counted()
    for _ in range(2):
        assert_right(list(store.collect("key", CHUNKS, compute)))
    assert compute.chunks == CHUNKS * 2


def test_an_error_in_the_computation_leaves_the_chunk_to_the_next_who_asks(tmp_path: Path) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))

    def fails(chunk: range) -> Content:
        raise ZeroDivisionError(f"in {chunk}")

    with pytest.raises(ZeroDivisionError, match="in range"):
        list(store.collect("key", CHUNKS, fails))
    compute = Counted()
    assert_right(list(store.collect("key", CHUNKS, compute)))
    assert compute.chunks == CHUNKS


def test_what_a_reader_does_with_the_arrays_does_not_reach_the_store(tmp_path: Path) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("key", CHUNKS, squares))
    for _, content in store.collect("key", CHUNKS, no_computation):
        content["squares"][:] = -1
    assert_right(list(store.collect("key", CHUNKS, no_computation)))


def test_stored_arrays_become_tensors_without_a_copy_or_a_warning(tmp_path: Path) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("key", CHUNKS, squares))
    for chunk, content in store.collect("key", CHUNKS, no_computation):
        tensor = torch.from_numpy(content["squares"])
        assert tensor.data_ptr() == content["squares"].ctypes.data
        assert tensor.tolist() == [number**2 for number in chunk]


contents = st.dictionaries(
    st.text(max_size=5),
    hnp.arrays(
        dtype=st.sampled_from(["u1", "i4", "i8", "f2", "f4", "f8", "?", ">i4"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    min_size=1,
    max_size=3,
)


def assert_same(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert actual.tobytes() == expected.tobytes()


@settings(max_examples=100, deadline=None)
@given(contents)
def test_any_arrays_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, npt.NDArray[Any]]
) -> None:
    store = ChunkStore(StoreDirectory(tmp_path_factory.mktemp("store")))
    list(store.collect("key", CHUNKS[:1], lambda _: content))
    ((_, stored),) = store.collect("key", CHUNKS[:1], no_computation)
    assert stored.keys() == content.keys()
    for name, array in content.items():
        assert_same(stored[name], array)


@pytest.mark.parametrize("layout", ["transposed", "every second", "backwards", "read-only", "Fortran"])
def test_arrays_of_any_layout_come_back_as_they_were(tmp_path: Path, layout: str) -> None:
    plain = np.arange(24, dtype=np.int16).reshape(4, 6)
    arrays = {
        "transposed": plain.T,
        "every second": plain[:, ::2],
        "backwards": plain[::-1],
        "read-only": np.broadcast_to(plain[0], (3, 6)),
        "Fortran": np.asfortranarray(plain),
    }
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("key", CHUNKS[:1], lambda _: {"array": arrays[layout]}))
    ((_, stored),) = store.collect("key", CHUNKS[:1], no_computation)
    assert_same(stored["array"], arrays[layout])


# --------------------------------------------------------------------------------------------- damage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of one small stored chunk."""
    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS[:1], squares))
    (path,) = tmp_path.rglob("*.chunk")
    return path


def collected_with_warnings(file: Path) -> tuple[list[range], list[str]]:
    """Collect the chunk of a file; return what was computed, and the store's warnings; check the content."""
    compute = Counted()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_right(list(ChunkStore(StoreDirectory(file.parents[1])).collect("key", CHUNKS[:1], compute)), CHUNKS[:1])
    assert {warning.category for warning in caught} <= {StoreWarning}
    return compute.chunks, [str(warning.message) for warning in caught]


def foreign_headers(body: bytes) -> Iterator[bytes]:
    import hashlib

    digest = hashlib.sha256(body).hexdigest()
    wrong: list[object] = [
        [],
        {"squares": 5},
        {"squares": ["O", [4]]},
        {"squares": ["<i8", [400]]},
        {"squares": ["x", []]},
    ]
    for arrays in wrong:
        yield json.dumps({"sha256": digest, "arrays": arrays}).encode() + b"\n" + body
    yield json.dumps({"sha256": digest}).encode() + b"\n" + body


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"hello\n",
    "number": lambda content: b"5\n",
    "list": lambda content: b"[]\n",
    "no fields": lambda content: b"{}\n",
    "pickle": lambda content: b"\x80\x04\x95" + content,
    "picture": lambda content: b"\x89PNG\r\n\x1a\n" + content,
    "Latin-1": lambda content: b'"\xe9"\n',
    "no line end": lambda content: content.replace(b"\n", b" "),
    **{
        f"header {number}": lambda content, number=number: list(foreign_headers(content.partition(b"\n")[2]))[number]  # type: ignore[misc]
        for number in range(6)
    },
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_or_foreign_file_is_computed_again_with_a_warning_and_replaced(
    file: Path, damage: Callable[[bytes], bytes]
) -> None:
    undamaged = file.read_bytes()
    file.write_bytes(damage(undamaged))
    computed, warned = collected_with_warnings(file)
    assert computed == CHUNKS[:1]
    assert warned
    assert all(str(file) in message for message in warned)
    assert all("computed again" in message for message in warned)
    assert file.read_bytes() == undamaged
    assert collected_with_warnings(file) == ([], [])


def test_a_file_cut_anywhere_is_computed_again(file: Path) -> None:
    undamaged = file.read_bytes()
    for length in range(len(undamaged)):
        file.write_bytes(undamaged[:length])
        computed, warned = collected_with_warnings(file)
        assert computed == CHUNKS[:1], length
        assert warned, length


def test_no_flipped_bit_is_taken_for_content(tmp_path: Path) -> None:
    content = {"x": np.array([1, 2], dtype=np.int32)}
    list(ChunkStore(StoreDirectory(tmp_path)).collect("key", CHUNKS[:1], lambda _: content))
    (file,) = tmp_path.rglob("*.chunk")
    undamaged, wrong = file.read_bytes(), []
    for offset, bit in itertools.product(range(len(undamaged)), range(8)):
        damaged = bytearray(undamaged)
        damaged[offset] ^= 1 << bit
        file.write_bytes(damaged)
        description = read_in_spite_of_damage(tmp_path, content)
        if description != ["x", "int32", [1, 2]]:
            wrong.append((chr(undamaged[offset]), chr(damaged[offset]), description))
    assert wrong == []


def read_in_spite_of_damage(directory: Path, content: Content) -> list[object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ((_, stored),) = ChunkStore(StoreDirectory(directory)).collect("key", CHUNKS[:1], lambda _: content)
        except Exception as error:  # noqa: BLE001 - a reader must not run into anything
            return [repr(error)]
    ((name, array),) = stored.items()
    return [name, str(array.dtype), array.tolist()]


def test_a_directory_in_the_place_of_a_chunk_is_survived(file: Path) -> None:
    file.unlink()
    file.mkdir()
    computed, warned = collected_with_warnings(file)
    assert computed == CHUNKS[:1]
    assert warned


# ------------------------------------------------------------------------------- a limited amount of it


def make_key(store: ChunkStore, directory: Path, key: str, age: float) -> int:
    """Keep a chunk under a key that was last used `age` seconds ago; return its bytes."""
    list(store.collect(key, CHUNKS[:1], squares))
    then = time.time() - age
    os.utime(directory / key, (then, then))
    return sum(file.stat().st_size for file in (directory / key).iterdir())


def test_room_is_made_of_what_was_used_longest_ago(tmp_path: Path) -> None:
    store = ChunkStore(StoreDirectory(tmp_path))
    sizes = [make_key(store, tmp_path, key, age) for key, age in (("old", 9000), ("older", 10000), ("lately", 60))]
    assert store.make_room("new", 100, limit=sum(sizes) + 100)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "older", "lately"}
    assert store.make_room("new", 100, limit=sum(sizes) + 99)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "lately"}
    # What another process may be reading stays, even if there is no room then.
    assert not store.make_room("new", 100, limit=150)
    assert {path.name for path in tmp_path.iterdir()} == {"lately"}
    assert store.make_room("lately", 100, limit=100), "what is there already takes no room beside itself"
    assert not ChunkStore(StoreDirectory(None)).make_room("new", 1, limit=10)


def test_room_is_made_beside_processes_that_write_and_remove(tmp_path: Path) -> None:
    writer = ChunkStore(StoreDirectory(tmp_path))
    stop = threading.Event()

    def write() -> None:
        # The same few files over and over: what is scanned is being replaced all the time.
        for start in itertools.cycle(range(20)):
            if stop.is_set():
                return
            shutil.rmtree(tmp_path / "written", ignore_errors=True)
            list(writer.collect("written", [range(start, start + 1)], squares))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(400):
            make_key(writer, tmp_path, f"old{number % 5}", 10**6)
            assert ChunkStore(StoreDirectory(tmp_path)).make_room("new", 10, limit=10**9)
            ChunkStore(StoreDirectory(tmp_path)).make_room("new", 10, limit=20)
    finally:
        stop.set()
        thread.join()


# ------------------------------------------------------------------------------- disks that do not write


def test_where_nothing_can_be_written_everything_is_computed_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a directory should be")
    store, compute = ChunkStore(StoreDirectory(tmp_path / "store")), Counted()
    directory = re.escape(str(tmp_path / "store"))
    with pytest.warns(StoreWarning, match=f"{directory} cannot be written.*nothing more is cached there") as caught:
        assert_right(list(store.collect("key", CHUNKS, compute)))
    assert len(caught) == 1
    # It has said so once: that it would be said again is an error here.
    assert_right(list(store.collect("other", CHUNKS, compute)))
    assert compute.chunks == CHUNKS * 2


PREAMBLE = """
import os, sys, time, warnings
from pathlib import Path
import numpy as np
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore

directory, log = Path(sys.argv[1]), Path(sys.argv[2])
chunks = [range(start, start + 4) for start in range(0, 48, 4)]

def report(word):
    with (log / f"{os.getpid()}").open("a") as file:
        file.write(f"{word}\\n")

def squares(chunk):
    report(f"computed {chunk.start}")
    return {"squares": np.arange(chunk.start, chunk.stop) ** 2}

def collect():
    for chunk, content in ChunkStore(StoreDirectory(directory)).collect("key", chunks, squares):
        assert content["squares"].tolist() == [place**2 for place in chunk]
        report(f"got {chunk.start}")
"""
STARTS = list(range(0, 48, 4))

# Everything is printed instead of logged, where no file can be written.
REPORTING = """
report = print
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    collect()
for warning in caught:
    print("warned", warning.category.__name__, warning.message)
"""


def assert_goes_on_with_one_warning(lines: list[str]) -> None:
    for word in ("computed", "got"):
        assert [line for line in lines if line.startswith(word)] == [f"{word} {first}" for first in STARTS]
    (warned,) = [line for line in lines if line.startswith("warned")]
    assert warned.startswith("warned StoreWarning")
    assert "cannot be written" in warned


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A directory for what processes report."""
    path = tmp_path / "log"
    path.mkdir()
    return path


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, log: Path) -> Iterator[Start]:
    """Start Python processes that know the store and the log; end those that a failed test leaves."""
    with contextlib.ExitStack() as stack:

        def start_process(code: str, *before: str) -> subprocess.Popen[str]:
            command = [*before, sys.executable, "-c", PREAMBLE + code, str(tmp_path / "store"), str(log)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_process


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def words(log: Path, word: str) -> dict[str, list[int]]:
    """Return the chunks that each process has reported with `word`."""
    return {
        path.name: [int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(word)]
        for path in log.iterdir()
    }


@posix
def test_where_files_cannot_grow_the_results_are_not_lost(tmp_path: Path, start: Start) -> None:
    # A limit of the size of files fails as a full disk does: while the chunk is being written.
    limited = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
    lines = finish(start(limited + REPORTING)).splitlines()
    assert_goes_on_with_one_warning(lines)
    left = {path.suffix for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert left <= {".lock"}


IN_A_NAMESPACE = ("unshare", "--mount", "--map-root-user")


def may_mount() -> bool:
    """Whether a tiny disk can be mounted for one process alone."""
    command = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_mount(), reason="needs a mount namespace")
@pytest.mark.parametrize("disk", ["size=8k", "ro"])
def test_on_a_full_or_read_only_disk_the_results_are_not_lost(disk: str, tmp_path: Path, start: Start) -> None:
    (tmp_path / "store").mkdir()
    mount = f'mount -t tmpfs -o {disk} tmpfs {tmp_path / "store"} && exec "$@"'
    process = start(REPORTING, *IN_A_NAMESPACE, "sh", "-c", mount, "sh")
    assert_goes_on_with_one_warning(finish(process).splitlines())


# -------------------------------------------------------------------------------------- several processes


def test_processes_share_the_work_and_each_gets_everything(tmp_path: Path, log: Path, start: Start) -> None:
    code = """
plain = squares
def squares(chunk):
    time.sleep(0.05)
    return plain(chunk)
report("ready 0")
while not (directory.parent / "go").exists():
    time.sleep(0.005)
collect()
"""
    processes = [start(code) for _ in range(3)]
    wait_until(lambda: len(words(log, "ready")) == 3)
    (tmp_path / "go").touch()
    for process in processes:
        finish(process)
    computed, got = words(log, "computed"), words(log, "got")
    assert sorted(itertools.chain(*computed.values())) == STARTS
    assert [sorted(chunks) for chunks in got.values()] == [STARTS] * 3
    assert sum(1 for chunks in computed.values() if chunks) >= 2
    # What is left are the chunks and their locks, no half-written file.
    assert {path.suffix for path in (tmp_path / "store" / "key").iterdir()} <= {".chunk", ".lock"}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)


HOLDING = """
def squares(chunk):
    report(f"holding {chunk.start}")
    time.sleep(600)
collect()
"""


@posix
def test_the_chunk_of_a_process_that_was_killed_is_computed_by_another(tmp_path: Path, log: Path, start: Start) -> None:
    holder = start(HOLDING)
    wait_until(lambda: any(words(log, "holding").values()))
    compute, waited = Counted(), threading.Event()
    found: list[tuple[range, Content]] = []
    wanted = [range(first, first + 4) for first in STARTS]

    def kill_once_the_others_are_done() -> None:
        try:
            wait_until(lambda: len(found) == len(wanted) - 1)
            time.sleep(0.2)
            waited.set()
        finally:
            os.kill(holder.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_once_the_others_are_done)
    killer.start()
    for chunk, content in ChunkStore(StoreDirectory(tmp_path / "store")).collect("key", wanted, compute):
        found.append((chunk, content))
        # Nobody computes the chunk while its holder lives.
        assert (chunk == wanted[0]) == waited.is_set()
    killer.join()
    holder.communicate()
    assert_right(found, wanted)
    assert compute.chunks == [*wanted[1:], wanted[0]]


def test_a_chunk_that_another_process_is_computing_is_waited_for_and_taken_from_it(
    tmp_path: Path, log: Path, start: Start
) -> None:
    code = """
plain = squares
def squares(chunk):
    report(f"holding {chunk.start}")
    while chunk.start == 0 and not (directory.parent / "go").exists():
        time.sleep(0.005)
    return plain(chunk)
collect()
"""
    holder = start(code)
    wait_until(lambda: any(words(log, "holding").values()))
    wanted, compute = [range(0, 4), range(4, 8)], Counted()
    collected = ChunkStore(StoreDirectory(tmp_path / "store")).collect("key", wanted, compute)
    assert next(collected)[0] == wanted[1]
    threading.Timer(0.2, (tmp_path / "go").touch).start()
    chunk, content = next(collected)
    assert chunk == wanted[0]
    assert content["squares"].tolist() == [0, 1, 4, 9]
    assert compute.chunks == [wanted[1]]
    finish(holder)


def test_threads_of_one_process_share_the_work_too(tmp_path: Path) -> None:
    computed: list[int] = []
    wanted = [range(first, first + 4) for first in STARTS]

    def slow(chunk: range) -> Content:
        computed.append(chunk.start)
        time.sleep(0.01)
        return squares(chunk)

    found: list[list[tuple[range, Content]]] = [[], [], []]

    def work(place: int) -> None:
        found[place] = list(ChunkStore(StoreDirectory(tmp_path)).collect("key", wanted, slow))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        assert_right(one, wanted)
    assert sorted(computed) == STARTS


def test_a_file_that_appears_while_it_is_looked_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = StoreDirectory(tmp_path)

    def missing(path: Path) -> NoReturn:
        # Another process writes it between the two.
        directory.write("file", None, [b"content"])
        raise FileNotFoundError

    with monkeypatch.context() as patched:
        patched.setattr("pytest_biastransfer.store.checksummed_files._content", missing)
        assert directory.read("file", lambda *_: True) is None
    entry = directory.read("file", lambda *_: True)
    assert entry is not None
    assert bytes(entry[1]) == b"content"


def test_a_link_to_no_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "nowhere")
    with pytest.warns(StoreWarning, match="it is a link to no file; it is computed again"):
        assert StoreDirectory(tmp_path).read("file", lambda *_: True) is None
    assert not (tmp_path / "file").is_symlink()


def test_a_measurement_is_the_same_without_a_store_with_an_empty_and_with_a_full_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 140, (40, 8, 8, 3), dtype=np.uint8)
    dataset = [(Image.fromarray(one), 0) for one in pixels]
    brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    noise = Custom(torch.nn.Sequential(v2.GaussianNoise(sigma=0.3)), name="noise")
    found = [
        measure(brightest_channel, dataset, noise, device="cpu", store=store) for store in (None, tmp_path, tmp_path)
    ]
    assert [measurement.computed for measurement in found] == [80, 80, 0]
    assert found[0].flips
    assert found[0].flips == found[1].flips == found[2].flips


# ---------------------------------------------------------------------------------------------- order


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 2**64 - 1))
def test_the_visiting_order_is_a_permutation(count: int, seed: int) -> None:
    order = visiting_order(count, seed)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_the_visiting_order_never_changes() -> None:
    # Part of what stored chunks mean: another order needs another format version of the keys.
    assert visiting_order(1000, 0)[:10].tolist() == [410, 821, 366, 503, 254, 566, 986, 203, 543, 930]
    assert visiting_order(5, 0).tolist() == [2, 4, 1, 0, 3]
    digest = hashlib.sha256(b"3f2a 7").hexdigest()
    assert f"{dataset_seed('3f2a', 7):016x}" == digest[:16]


def test_the_order_depends_on_the_dataset_and_on_the_number() -> None:
    seeds = {dataset_seed(f"{dataset:032x}", number) for dataset in range(30) for number in range(30)}
    assert len(seeds) == 900
    orders = np.stack([visiting_order(1000, seed) for seed in sorted(seeds)])
    # As of independent permutations, whether an image is among the first 32 is binomial(900, 0.032).
    first = np.bincount(orders[:, :32].ravel(), minlength=1000)
    assert stats.chisquare(first).pvalue > 1e-3
    # How many two orders have in common of them is hypergeometric.
    common = [len(np.intersect1d(one[:32], other[:32])) for one, other in itertools.pairwise(orders)]
    assert np.mean(common) == pytest.approx(32 * 0.032, abs=4 * np.std(common) / len(common) ** 0.5)


def splitmix64(count: int) -> list[int]:
    """Return the first outputs of the generator of Steele, Lea and Flood 2014 from seed 0, in plain Python."""
    word, state, found = 2**64 - 1, 0, []
    for _ in range(count):
        state = state + 0x9E3779B97F4A7C15 & word
        mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & word
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & word
        found.append(mixed ^ mixed >> 31)
    return found


def test_the_visiting_order_is_that_of_the_outputs_of_splitmix64() -> None:
    outputs = splitmix64(3000)
    # The published first output from seed 0.
    assert outputs[0] == 0xE220A8397B1DCDAF
    assert visiting_order(3000, 0).tolist() == sorted(range(3000), key=outputs.__getitem__)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("count", [1000, 10_000, 50_000])
def test_the_visiting_order_looks_random(count: int, number: int) -> None:
    order = visiting_order(count, dataset_seed("3f2a", number))
    # Neighbours in the dataset do not stay neighbours, and rises and falls are short.
    steps = np.diff(order)
    assert np.count_nonzero(np.abs(steps) == 1) <= 10
    runs = [len(list(group)) for _, group in itertools.groupby((steps > 0).tolist())]
    assert max(runs) <= 9
    # Rises and falls alternate as often as in random permutations: (2n - 1) / 3 runs, variance (16n - 29) / 90.
    assert abs(len(runs) - (2 * count - 1) / 3) < 4 * ((16 * count - 29) / 90) ** 0.5
    # The place in the dataset tells nothing about the place in the order.
    assert stats.spearmanr(np.arange(count), order).pvalue > 1e-3


@pytest.mark.parametrize("parts", [2, 10])
@pytest.mark.parametrize("seen", [256, 1024, 5000])
def test_the_first_images_are_a_random_sample_of_a_sorted_dataset(parts: int, seen: int) -> None:
    count = 10_000
    counts = np.bincount(visiting_order(count, dataset_seed("3f2a", 0))[:seen] * parts // count, minlength=parts)
    # Without replacement the counts vary less than chi-square allows for.
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.chisquare(counts).pvalue < 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5000))
def test_chunks_cover_the_images_exactly_once_in_order(images: int) -> None:
    found = chunks(images)
    assert list(itertools.chain(*found)) == list(range(images))
    ends = [32, 64, 128, *range(CHUNK_IMAGES, images, CHUNK_IMAGES), images]
    assert [chunk.stop for chunk in found] == sorted({end for end in ends if 0 < end <= images})


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2000), st.data())
def test_neighbouring_chunks_are_joined_and_come_apart_again(images: int, data: st.DataObject) -> None:
    every = chunks(images)
    some = [chunk for chunk in every if data.draw(st.booleans())]
    found = list(joined(some))
    assert [chunk for positions in found for chunk in chunks_in(positions)] == some
    # Each is as large as can be: the next one is in another block of 256, or does not follow it.
    for one, other in itertools.pairwise(found):
        assert other.start > one.stop or one.stop % CHUNK_IMAGES == 0
    assert all(positions.start // CHUNK_IMAGES == (positions.stop - 1) // CHUNK_IMAGES for positions in found)


def test_joining_takes_one_chunk_more_than_it_needs_at_most() -> None:
    taken: list[range] = []

    def claimed() -> Iterator[range]:
        for chunk in chunks(1000):
            taken.append(chunk)
            yield chunk

    found = joined(claimed())
    assert next(found) == range(256)
    assert taken[-1].stop == 256
    assert next(found) == range(256, 512)
    assert taken[-1].stop == 512


def test_shuffled_chunks_of_a_dataset_read_every_image_once(tmp_path: Path) -> None:
    order = visiting_order(600, 0)
    wanted = chunks(600)
    random.Random(0).shuffle(wanted)
    seen = [
        order[chunk.start : chunk.stop].tolist()
        for chunk, _ in ChunkStore(StoreDirectory(tmp_path)).collect("key", wanted, squares)
    ]
    assert sorted(itertools.chain(*seen)) == list(range(600))
