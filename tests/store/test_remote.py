"""Remote stores: what is read from and written to them, and sessions whose remote store is slow, full of junk or gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import fsspec
import numpy as np
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pytest_biastransfer.errors import BiasTransferError, SpecError, StoreWarning
from pytest_biastransfer.fingerprints.observation import observing
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.store import Store
from pytest_biastransfer.store.chunks import Content
from pytest_biastransfer.store.remote import RemoteStore
from pytest_biastransfer.store.remote_location import require_usable, without_credentials
from tests.conftest import Run, each_mode
from tests.support.systems import posix

CHUNKS = [range(0, 4), range(4, 8), range(8, 10)]
URL = "faulty://bucket/store"
KEY = "a" * 64
OPENED: list[RemoteStore] = []


class Faulty(MemoryFileSystem):  # type: ignore[misc]
    """An object store in memory that notes what it is asked, and fails as told."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls: ClassVar[list[str]] = []
    # By operation: called with its name before it is done.
    faults: ClassVar[dict[str, Callable[[str], object]]] = {}
    cut: ClassVar[int | None] = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("faulty://"))
        return stripped

    @classmethod
    def _note(cls, operation: str, path: str) -> None:
        cls.calls.append(f"{operation} {path}")
        cls.faults.get(operation, str)(path)

    def find(self, path: str, **options: Any) -> Any:
        self._note("find", path)
        return super().find(path, **options)

    def cat_file(self, path: str, **options: Any) -> bytes:
        self._note("read", path)
        content: bytes = super().cat_file(path, **options)
        return content[: self.cut]

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self._note("write", path)
        super().pipe_file(path, value, **options)


@pytest.fixture(autouse=True)
def remote() -> Iterator[type[Faulty]]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    Faulty.store, Faulty.pseudo_dirs, Faulty.calls, Faulty.faults, Faulty.cut = {}, [""], [], {}, None
    yield Faulty
    # What was stuck must not write into the next test's store.
    while OPENED:
        OPENED.pop()._uploads.stop()
    for thread in threading.enumerate():
        if thread.name == "biastransfer-remote":
            thread.join(5)


def squares(chunk: range) -> Content:
    return {"squares": np.array(chunk, dtype=np.int64) ** 2}


def no_computation(chunk: range) -> NoReturn:
    raise AssertionError(f"{chunk} is computed again")


class Machine:
    """A machine with a local store of its own; each session of it opens the remote store anew."""

    def __init__(self, directory: Path, secret: bytes | None = None) -> None:
        self.directory = directory
        self._secret = secret

    def session(self, url: str = URL) -> Store:
        OPENED.append(RemoteStore(url))
        return Store(self.directory, self._secret, OPENED[-1])


def collected(store: Store, compute: Callable[[range], Content] = squares, key: str = KEY) -> list[int]:
    """Return which chunks are computed; the content of all is right."""
    computed = []

    def noted(chunk: range) -> Content:
        computed.append(chunk.start)
        return compute(chunk)

    for chunk, content in store.predictions.collect(key, CHUNKS, noted):
        assert content["squares"].tolist() == [number**2 for number in chunk]
    return sorted(computed)


def ended(store: Store, seconds: float | None = None) -> list[str]:
    """Flush the store, and return its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.flush(seconds)
    return [str(warning.message) for warning in caught]


def objects() -> list[str]:
    return sorted(path.removeprefix("/bucket/store/") for path in Faulty.store)


@pytest.fixture
def full(tmp_path: Path) -> Machine:
    """A machine that has computed everything, and written it to the remote store."""
    machine = Machine(tmp_path / "full")
    session = machine.session()
    assert collected(session) == [0, 4, 8]
    assert ended(session) == []
    Faulty.calls.clear()
    return machine


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "other")


# ---------------------------------------------------------------------------------- reading and writing


@pytest.mark.usefixtures("full")
def test_another_machine_computes_nothing_again(other: Machine) -> None:
    assert collected(other.session(), no_computation) == []
    # One look at the key, whatever the number of chunks.
    assert [call for call in Faulty.calls if call.startswith("find")] == [f"find /bucket/store/predictions/{KEY}"]


def test_a_warm_session_makes_no_connection(full: Machine) -> None:
    # Only the first session asks which predictions were dropped elsewhere.
    assert full.session().generations.current(KEY) == KEY
    assert Faulty.calls == ["find /bucket/store/generations"]
    Faulty.calls.clear()
    session = full.session()
    assert session.generations.current(KEY) == KEY
    assert collected(session, no_computation) == []
    assert ended(session) == []
    assert Faulty.calls == []


def test_what_another_machine_has_is_not_claimed(full: Machine, other: Machine) -> None:
    store = other.session().predictions
    assert store.claim(KEY, CHUNKS[0], lambda *_: True) is None
    claim = store.claim("b" * 64, CHUNKS[0], lambda *_: True)
    assert claim is not None
    claim.release()


def test_what_is_missing_everywhere_costs_one_look_for_each_key(other: Machine) -> None:
    session = other.session()
    assert collected(session) == [0, 4, 8]
    assert collected(session, key="b" * 64) == [0, 4, 8]
    assert ended(session) == []
    assert [call.partition(" ")[0] for call in Faulty.calls].count("find") == 2
    assert not [call for call in Faulty.calls if call.startswith("read")]
    assert len(objects()) == 6


def test_only_what_others_can_use_is_written(tmp_path: Path) -> None:
    session = Machine(tmp_path).session()
    for chunks in (session.predictions, session.rows, session.trained, session.pixels, session.checks):
        list(chunks.collect(KEY, CHUNKS[:1], squares))
    session.facts.put(KEY, 5)
    session.generations.drop(KEY, KEY)
    assert ended(session) == []
    assert {name.partition("/")[0] for name in objects()} == {"predictions", "rows", "trained", "generations"}


def test_dropped_predictions_are_dropped_on_other_machines(full: Machine, other: Machine, tmp_path: Path) -> None:
    session = full.session()
    session.generations.drop(KEY, session.generations.current(KEY))
    assert ended(session) == []
    fresh = other.session()
    current = fresh.generations.current(KEY)
    assert current == session.generations.current(KEY) != KEY
    # It keeps that, without another look.
    Faulty.calls.clear()
    assert other.session().generations.current(KEY) == current
    assert Faulty.calls == []
    fresh.generations.drop(KEY, current)
    assert ended(fresh) == []
    third = Machine(tmp_path / "third").session()
    assert third.generations.current(KEY) == fresh.generations.current(KEY) != current


def test_files_with_a_seal_are_read_only_with_the_secret(tmp_path: Path) -> None:
    sealed = Machine(tmp_path / "sealed", b"secret").session()
    assert collected(sealed) == [0, 4, 8]
    ended(sealed)
    assert collected(Machine(tmp_path / "same", b"secret").session(), no_computation) == []
    assert collected(Machine(tmp_path / "another", b"another").session()) == [0, 4, 8]
    assert collected(Machine(tmp_path / "none").session()) == [0, 4, 8]


def test_forged_content_is_not_taken_where_there_is_a_secret(tmp_path: Path, full: Machine) -> None:
    """Whoever can write the bucket can make checksums without a secret, but none with it."""
    sealed = Machine(tmp_path / "sealed", b"secret").session()
    assert collected(sealed) == [0, 4, 8]
    ended(sealed)
    forged = {name: f"/bucket/store/{name}" for name in objects() if name.startswith("sealed-")}
    for name, path in forged.items():
        content = Faulty.store[f"/bucket/store/{name.partition('/')[2]}"].getvalue()
        Faulty(skip_instance_cache=True).pipe_file(path, content)
    with pytest.warns(StoreWarning, match="does not match its checksum"):
        assert collected(Machine(tmp_path / "victim", b"secret").session()) == [0, 4, 8]


# ------------------------------------------------------------------------------------------- bad luck


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_truncated_object_is_computed_again_and_replaced(other: Machine, cut: int, tmp_path: Path) -> None:
    Faulty.cut = cut
    session = other.session()
    with pytest.warns(StoreWarning, match="it is computed again"):
        assert collected(session) == [0, 4, 8]
    assert ended(session) == []
    Faulty.cut = None
    assert collected(Machine(tmp_path / "third").session(), no_computation) == []


@pytest.mark.parametrize("content", [b"", b"another format\n\0\0", b'{"version": 7}\n'])
def test_objects_of_another_release_are_replaced(full: Machine, other: Machine, tmp_path: Path, content: bytes) -> None:
    for name in objects():
        Faulty(skip_instance_cache=True).pipe_file(f"/bucket/store/{name}", content)
    session = other.session()
    with pytest.warns(StoreWarning, match="it is computed again"):
        assert collected(session) == [0, 4, 8]
    assert ended(session) == []
    assert collected(Machine(tmp_path / "third").session(), no_computation) == []


def test_an_object_that_is_too_large_is_not_read(
    full: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_biastransfer.store.chunks._MOST_REMOTE_BYTES", 0)
    monkeypatch.setattr("pytest_biastransfer.store.chunks._HEADER_BYTES", 100)
    assert collected(other.session()) == [0, 4, 8]
    assert not [call for call in Faulty.calls if call.startswith("read")]


@pytest.mark.usefixtures("full")
def test_where_nothing_can_be_written_it_is_read(other: Machine) -> None:
    def refuse(path: str) -> NoReturn:
        raise PermissionError(f"403 Forbidden: {path}")

    Faulty.faults["write"] = refuse
    session = other.session()
    assert collected(session, no_computation) == []
    for number in range(3):
        assert collected(session, key=f"{number}") == [0, 4, 8]
    (message,) = ended(session)
    assert message.startswith("faulty://bucket/store: cannot be written (PermissionError: 403 Forbidden")
    assert ended(session) == []
    # Nothing is lost.
    assert collected(other.session(), no_computation, key="0") == []


def test_a_bucket_that_is_missing_is_named_once(other: Machine) -> None:
    def missing(path: str) -> NoReturn:
        raise FileNotFoundError(f"The specified bucket does not exist: {path}")

    Faulty.faults["find"] = Faulty.faults["write"] = missing
    session = other.session()
    assert collected(session) == [0, 4, 8]
    (message,) = ended(session)
    assert message.startswith(
        "faulty://bucket/store: cannot be written (FileNotFoundError: The specified bucket does not"
    )
    assert message.endswith("; what was computed is in the local store")


class ServiceError(Exception):
    """An error of a library."""


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("operation", ["find", "read"])
def test_after_a_failure_nothing_more_is_read(other: Machine, operation: str) -> None:
    def fail(path: str) -> NoReturn:
        raise ServiceError("500 Internal Server Error\nRequest ID: 7")

    Faulty.faults[operation] = fail
    session = other.session()
    for key in (KEY, "b" * 64):
        assert collected(session, key=key) == [0, 4, 8]
    assert session.generations.current(KEY) == KEY
    calls = list(Faulty.calls)
    assert [call for call in calls if call.startswith("find")] == [f"find /bucket/store/predictions/{KEY}"]
    (message,) = ended(session)
    assert "cannot be read (ServiceError: 500 Internal Server Error Request ID: 7)" in message


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("operation", ["find", "read"])
def test_a_store_that_does_not_reply_is_given_up(
    other: Machine, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr("pytest_biastransfer.store.remote._REPLY_SECONDS", 0.2)
    never = threading.Event()
    Faulty.faults[operation] = lambda _: never.wait(30)
    session, start = other.session(), time.monotonic()
    for key in (KEY, "b" * 64, "c" * 64):
        assert collected(session, key=key) == [0, 4, 8]
    (message,) = ended(session)
    assert time.monotonic() - start < 10
    never.set()
    assert message.startswith("faulty://bucket/store: cannot be read (TimeoutError: no reply within 0 seconds)")


def test_the_session_waits_for_uploads_only_so_long(other: Machine) -> None:
    never = threading.Event()
    Faulty.faults["write"] = lambda _: never.wait(30)
    session, start = other.session(), time.monotonic()
    assert collected(session) == [0, 4, 8]
    (message,) = ended(session, 0.2)
    assert time.monotonic() - start < 10
    never.set()
    assert "3 files were not written within 0.2 seconds" in message


HUNG = """
import signal, sys, time
# A shell lets its jobs in the background ignore Ctrl+C, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
import fsspec, numpy
from fsspec.implementations.memory import MemoryFileSystem
from pytest_biastransfer.store import Store
from pytest_biastransfer.store.remote import RemoteStore

class Hung(MemoryFileSystem):
    protocol = "hung"
    def pipe_file(self, *arguments, **options):
        print("writes", flush=True)
        time.sleep(600)

fsspec.register_implementation("hung", Hung)
store = Store(Path(sys.argv[1]), None, RemoteStore("hung://bucket"))
list(store.predictions.collect("key", [range(4)], lambda chunk: {"a": numpy.zeros(4)}))
store.flush(float(sys.argv[2]))
print("ends", flush=True)
"""


@posix
@pytest.mark.parametrize(("seconds", "code"), [("0.1", 0), ("600", -signal.SIGINT)])
def test_a_process_ends_and_ctrl_c_works_while_a_connection_hangs(tmp_path: Path, seconds: str, code: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", HUNG, str(tmp_path), seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writes\n"
        if code:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == code
        assert process.stdout.read() == ("" if code else "ends\n")
    # What was computed is there.
    assert list((tmp_path / "predictions" / "key").glob("*.chunk"))


def test_computing_does_not_wait_for_uploads(other: Machine) -> None:
    ready = threading.Event()
    Faulty.faults["write"] = lambda _: ready.wait(30)
    session = other.session()
    assert collected(session) == [0, 4, 8]
    assert objects() == []
    ready.set()
    assert ended(session) == []
    assert len(objects()) == 3


def test_two_sessions_that_write_at_once(tmp_path: Path) -> None:
    sessions = [Machine(tmp_path / name).session() for name in "ab"]
    threads = [threading.Thread(target=collected, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ended(session) for session in sessions] == [[], []]
    assert len(objects()) == 3
    assert collected(Machine(tmp_path / "c").session(), no_computation) == []


def test_a_session_that_is_killed_while_it_writes_leaves_no_part(tmp_path: Path, other: Machine) -> None:
    """A directory as a remote store is the worst: what is written is visible before it is complete."""
    url = f"file://{tmp_path / 'remote'}"
    session = Machine(tmp_path / "first").session(url)
    assert collected(session) == [0, 4, 8]
    assert ended(session) == []
    files = sorted((tmp_path / "remote").rglob("*.chunk"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-5])
    with pytest.warns(StoreWarning, match="it is computed again"):
        assert collected(other.session(url)) == [0]


def test_with_a_full_disk_nothing_is_read_into_it(full: Machine, tmp_path: Path) -> None:
    (tmp_path / "no directory").touch()
    with pytest.warns(StoreWarning, match="cannot be written"):
        assert collected(Machine(tmp_path / "no directory").session()) == [0, 4, 8]


class Service(AsyncFileSystem):  # type: ignore[misc]
    """A file system with an event loop that reads what libraries of services read."""

    protocol = "service"

    async def _find(self, path: str, **options: Any) -> dict[str, Any]:
        read_inputs()
        await asyncio.get_running_loop().run_in_executor(None, read_inputs)
        return {}

    async def _pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        read_inputs()


def read_inputs() -> None:
    _ = os.environ.get("SERVICE_CREDENTIALS")
    with Path(__file__).open():
        pass
    with contextlib.suppress(OSError), socket.socket() as connection:
        connection.connect(("127.0.0.1", 9))


@pytest.mark.parametrize("url", [URL, "service://bucket/store"])
def test_what_a_remote_store_reads_is_not_what_a_model_reads(other: Machine, url: str) -> None:
    fsspec.register_implementation("service", Service, clobber=True)
    Faulty.faults["find"] = Faulty.faults["write"] = lambda _: read_inputs()
    with observing() as reads:
        session = other.session(url)
        assert collected(session) == [0, 4, 8]
        assert ended(session) == []
    assert (reads.files, reads.directories, reads.variables, reads.elsewhere) == ({}, set(), {}, set())
    with observing() as reads:
        read_inputs()
    assert reads.files
    assert reads.variables
    assert reads.elsewhere


# ------------------------------------------------------------------------------------------- locations


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s4://bucket/store", r"--bias-store: s4://bucket/store: unknown protocol 's4'; did you mean .*Valid: "),
        ("S 3://bucket", "unknown protocol 'S 3'; "),
        (
            "sftp://me:hunter2@host/store",
            r"^--bias-store: sftp://host/store: has a password in the URL; fsspec takes it",
        ),
        ("absent://bucket", r"needs absent_library, which is not installed; type: pip install absent_library"),
    ],
)
def test_locations_that_cannot_be_used(url: str, message: str) -> None:
    fsspec.register_implementation("absent", "absent_library.Files", clobber=True)
    with pytest.raises(SpecError, match=message):
        require_usable(url, "--bias-store")


def test_without_fsspec_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(
        SpecError, match=r"needs fsspec, which is not installed; type: pip install 'pytest-biastr.*\[remote"
    ):
        require_usable(URL, "--bias-store")


@pytest.mark.parametrize("url", [URL, "memory://store", "file:///store"])
def test_locations_that_can_be_used(url: str) -> None:
    require_usable(url, "--bias-store")


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    url = "faulty://me:hunter2@bucket/store"

    def fail(path: str) -> NoReturn:
        raise ServiceError(f"cannot connect to {url}")

    Faulty.faults["find"] = fail
    session = Machine(tmp_path).session(url)
    collected(session)
    (message,) = ended(session)
    assert "hunter2" not in f"{message} {session._root._root!r}"
    assert message.startswith("faulty://bucket/store: ")
    with pytest.raises(SpecError) as caught:
        require_usable("s4://me:hunter2@bucket/store?token=hunter2", "--bias-store")
    assert "hunter2" not in str(caught.value)
    assert without_credentials("s3://bucket/a@b/c") == "s3://bucket/a@b/c"


def test_measure_takes_directories_only() -> None:
    with pytest.raises(BiasTransferError, match=r"store='s3://bucket': expected a directory; URLs are for pytest's"):
        evaluator_for("cpu", "s3://bucket")


# ---------------------------------------------------------------------------------------- whole sessions

TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.3)
def test_it(): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_bias=TESTS)
    return pytester


def test_a_session_on_a_new_machine_evaluates_nothing(run: Run, project: pytest.Pytester) -> None:
    options = ("--bias-store=faulty://bucket/store", "-W", "error", "-v")
    first = run(*options)
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*; 40 images evaluated*"])
    assert sorted(path.name for path in project.path.iterdir() if path.name.startswith(("faulty", "store"))) == []
    (cache,) = (project.path / ".pytest_cache/d/biastransfer/remote").iterdir()
    assert (cache / "pixels").is_dir()
    shutil.rmtree(project.path / ".pytest_cache")
    second = run(*options)
    second.stdout.fnmatch_lines(["*; 0 images evaluated, 40 predictions reused*"])
    Faulty.calls.clear()
    third = run(*options)
    third.stdout.fnmatch_lines(["*; 0 images evaluated, 40 predictions reused*"])
    assert Faulty.calls == []
    assert [line for line in third.outlines if "0.250" in line] == [line for line in first.outlines if "0.250" in line]


def test_a_session_passes_without_its_remote_store_and_says_so_once(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_biastransfer.store.remote._REPLY_SECONDS", 0.2)
    never = threading.Event()
    Faulty.faults["find"] = lambda _: never.wait(30)
    result = run(f"--bias-store={URL}")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*StoreWarning: faulty://bucket/store: cannot be read (TimeoutError: no reply*"])
    # Where warnings are errors, there is no test left that it could fail.
    shutil.rmtree(project.path / ".pytest_cache")
    strict = run(f"--bias-store={URL}", "-W", "error")
    never.set()
    strict.assert_outcomes(passed=1, warnings=1)
    assert strict.ret == 0


@each_mode
def test_a_directory_as_a_remote_store_works_in_each_mode(run: Run, project: pytest.Pytester, mode: str) -> None:
    url = f"file://{project.path}/remote"
    run(f"--bias-store={url}").assert_outcomes(passed=1)
    assert list((project.path / "remote" / "predictions").rglob("*.chunk"))
    shutil.rmtree(project.path / ".pytest_cache")
    run(f"--bias-store={url}").stdout.fnmatch_lines(["*; 0 images evaluated, 40 predictions reused*"])


def test_without_a_cache_directory_the_local_copy_is_temporary(
    run: Run, project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    run(f"--bias-store={URL}", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert sorted(tmp_path.iterdir()) == before
    run(f"--bias-store={URL}", "-p", "no:cacheprovider").stdout.fnmatch_lines(["*; 0 images evaluated*"])


@pytest.mark.parametrize("option", ["--bias-store={}", "-obias_store={}"])
def test_a_location_that_cannot_be_used_is_an_error_at_the_start(
    run: Run, project: pytest.Pytester, option: str
) -> None:
    result = run(option.format("s4://bucket/store"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if "ERROR" in line]
    assert "--bias-store (or bias_store in the ini file): s4://bucket/store: unknown protocol 's4'" in line


def test_a_local_store_imports_nothing_of_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import pytest_biastransfer.plugin.session_store\n"
        "from pytest_biastransfer.store import Store; store = Store(Path(sys.argv[1]))\n"
        "store.facts.put('ab', 1); store.generations.current('ab'); store.flush()\n"
        "print([name for name in sys.modules if name.startswith('fsspec') or 'store.remote' in name])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "[]\n"
