"""Whatever lies in the store in place of what should be there is dropped with a warning, and nothing waits for it."""

from __future__ import annotations

import faulthandler
import functools
import hashlib
import json
import os
import shutil
import socket
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.store import Facts, Store, StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content
from pytest_biastransfer.store.content_formats import fits
from tests.conftest import INNER_CONFTEST
from tests.support.systems import posix

pytestmark = posix

CHUNK = range(0, 4)


def squares(chunk: range) -> Content:
    return {"squares": np.array(chunk, dtype=np.int64) ** 2}


def are_squares(chunk: range, content: Content) -> bool:
    return content.keys() == {"squares"} and content["squares"].shape == (len(chunk),)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def full_directory(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text("something")


def listening_socket(path: Path) -> None:
    # The paths of sockets are short.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def sparse_file(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"0" * 64 + b' {"squares": ["<i8", [4]]}\n')
        file.truncate(2**41)


def unreadable_file(path: Path) -> None:
    path.write_text("something")
    path.chmod(0)


def file_of_text(path: Path) -> None:
    path.write_text("something")


OBSTACLES = [
    *(pipe, directory, full_directory, listening_socket, endless_device, dangling_link, link_to_itself, sparse_file),
    *(unreadable_file, file_of_text),
]
Obstacle = Callable[[Path], None]


@pytest.fixture(params=OBSTACLES, ids=lambda obstacle: obstacle.__name__)
def obstacle(request: pytest.FixtureRequest) -> Obstacle:
    made: Obstacle = request.param
    return made


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """End the tests where one waits for a pipe: nothing would wake it."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def with_warnings(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = work()
    assert {warning.category for warning in caught} <= {StoreWarning}
    return found, [str(warning.message) for warning in caught]


def collected(place: Path) -> list[int]:
    computed: list[int] = []

    def compute(chunk: range) -> Content:
        computed.append(chunk.start)
        return squares(chunk)

    ((chunk, content),) = ChunkStore(StoreDirectory(place)).collect("key", [CHUNK], compute, are_squares)
    assert (chunk, content["squares"].tolist()) == (CHUNK, [0, 1, 4, 9])
    return computed


# --------------------------------------------------------------------------------- what is in the way


def test_what_is_no_chunk_is_replaced(tmp_path: Path, obstacle: Obstacle) -> None:
    (tmp_path / "key").mkdir()
    obstacle(tmp_path / "key" / "0-4.chunk")
    computed, warned = with_warnings(lambda: collected(tmp_path))
    assert computed == [0]
    assert len(warned) == 1
    assert with_warnings(lambda: collected(tmp_path)) == ([], [])


def test_what_is_no_lock_is_not_waited_for(tmp_path: Path, obstacle: Obstacle) -> None:
    (tmp_path / "key").mkdir()
    obstacle(tmp_path / "key" / "0-4.lock")
    computed, warned = with_warnings(lambda: collected(tmp_path))
    assert computed == [0]
    # Of a lock, only that it is a file counts.
    assert len(warned) == (0 if obstacle in (sparse_file, unreadable_file, file_of_text) else 1)
    assert with_warnings(lambda: collected(tmp_path)) == ([], [])


@pytest.mark.parametrize("name", ["key", "room"])
def test_what_is_no_directory_is_replaced(tmp_path: Path, obstacle: Obstacle, name: str) -> None:
    inside = StoreDirectory(tmp_path).inside("room")
    (tmp_path / "room").mkdir()
    place = tmp_path / "room" / "key" if name == "key" else tmp_path / "room"
    if name == "room":
        place.rmdir()
    obstacle(place)
    store = ChunkStore(inside)
    _, warned = with_warnings(lambda: list(store.collect("key", [CHUNK], squares, are_squares)))
    assert len(warned) == (0 if obstacle in (directory, full_directory) else 1)
    found, warned = with_warnings(lambda: list(store.collect("key", [CHUNK], lambda _: {}, are_squares)))
    assert found[0][1]["squares"].tolist() == [0, 1, 4, 9]
    assert warned == []


def test_what_is_no_fact_is_found_out_again(tmp_path: Path, obstacle: Obstacle) -> None:
    for name in ("ab", "ab/abcd.fact"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        obstacle(path)
        facts = Facts(StoreDirectory(tmp_path))
        found, warned = with_warnings(functools.partial(facts.get_or_compute, "abcd", lambda: {"a": 1}, dict[str, int]))
        assert found == {"a": 1}
        assert len(warned) <= 1
        answer, warned = with_warnings(lambda: Facts(StoreDirectory(tmp_path)).get("abcd", dict[str, int]))
        assert (answer, warned) == ({"a": 1}, [])
        shutil.rmtree(tmp_path / "ab")


def test_what_cannot_be_removed_is_warned_of_once(tmp_path: Path) -> None:
    # A directory that is the working directory of nobody but may not be removed: a mount point, or somebody else's.
    facts = Facts(StoreDirectory(tmp_path))
    facts.put("abcd", 5)
    (path,) = tmp_path.rglob("*.fact")
    path.write_text("something")
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("nothing is forbidden to this user")
        _, warned = with_warnings(lambda: [facts.get("abcd", int) for _ in range(3)])
        assert len(warned) == 1
    finally:
        path.parent.chmod(0o700)


# ---------------------------------------------------------------------------------- other content


@pytest.mark.parametrize(
    ("dtype", "shape", "content"),
    [
        ("O", [1], bytes(8)),
        ("|V8", [1], bytes(8)),
        ("<M8[s]", [1], bytes(8)),
        ("<U2", [1], bytes(8)),
        ("<i8", [-1], bytes(8)),
        ("<i8", [2**62, 2**62, 0], b""),
        ("<i8", [2**40], bytes(8)),
        ("<i8", ["1"], bytes(8)),
        ("<i8", [True], bytes(8)),
        ("<i8", [1.0], bytes(8)),
        ("<i8", 1, bytes(8)),
        ("<i8", [1] * 100, bytes(8)),
        ("i8, i8", [1], bytes(16)),
        (5, [1], bytes(8)),
        (None, [1], bytes(8)),
        ("<i8", [3], bytes(24)),
    ],
)
def test_an_array_of_another_form_is_computed_again(tmp_path: Path, dtype: Any, shape: Any, content: bytes) -> None:
    StoreDirectory(tmp_path).write("key/0-4.chunk", {"squares": [dtype, shape]}, [content])
    computed, warned = with_warnings(lambda: collected(tmp_path))
    assert (computed, len(warned)) == ([0], 1)
    assert with_warnings(lambda: collected(tmp_path)) == ([], [])


@pytest.mark.parametrize("description", [[], "squares", 5, None, {}, {"squares": []}, {"other": ["<i8", [4]]}])
def test_a_description_of_something_else_is_computed_again(tmp_path: Path, description: Any) -> None:
    StoreDirectory(tmp_path).write("key/0-4.chunk", description, [bytes(32)])
    assert with_warnings(lambda: collected(tmp_path))[0] == [0]


def test_what_was_kept_under_another_key_is_not_read(tmp_path: Path) -> None:
    collected(tmp_path)
    list(ChunkStore(StoreDirectory(tmp_path)).collect("other", [CHUNK], lambda chunk: {"squares": np.arange(4)}))
    (tmp_path / "other" / "0-4.chunk").replace(tmp_path / "key" / "0-4.chunk")
    computed, warned = with_warnings(lambda: collected(tmp_path))
    assert (computed, len(warned)) == ([0], 1)


class Found(TypedDict):
    labels: list[int]
    names: list[str] | None


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        (int, 5, [True, 5.0, "5", [5], {}]),
        (float, 5, [True, "5", [5]]),
        (str, "5", [5, ["5"]]),
        (list[int], [5], [5, [5.0], ["5"], {"a": 5}]),
        (dict[str, int], {"a": 5}, [[5], {"a": "5"}]),
        (tuple[int, str], [5, "a"], [[5], ["a", 5], [5, "a", 1], {"a": 5}]),
        (int | str, "a", [5.5, ["a"]]),
        (Literal["a", 1], 1, [True, "b", 1.0, [1]]),
        (Found, {"labels": [0], "names": None, "more": 5}, [{"labels": [0]}, {"labels": ["0"], "names": None}, []]),
        (Annotated[int, lambda number: number > 3], 5, [3, "5"]),
    ],
)
def test_forms(tmp_path: Path, form: Any, right: Any, wrong: list[Any]) -> None:
    assert fits(form, right)
    facts = Facts(StoreDirectory(tmp_path))
    for content in [*wrong, *([] if form == (int | str) else ["another text", {"a": {}}])]:
        if form is str and isinstance(content, str):
            continue
        facts.put("abcd", content)
        found, warned = with_warnings(lambda: facts.get("abcd", form))
        assert (found, len(warned)) == (None, 1), content
        assert with_warnings(lambda: facts.get("abcd", form)) == (None, [])
    facts.put("abcd", right)
    assert facts.get("abcd", form) == right


NESTED = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize("text", [NESTED, "9" * 10_000, '"' + "a" * 2**20 + '"', "[1", '{"a": 1', "\ud800"])
def test_plain_data_that_cannot_be_read_is_found_out_again(tmp_path: Path, text: str) -> None:
    content = text.encode(errors="surrogatepass")
    checksum = hashlib.sha256(b"ab/abcd.fact\n" + content).hexdigest().encode()
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "abcd.fact").write_bytes(checksum + b" " + content + b"\n")
    found, warned = with_warnings(lambda: Facts(StoreDirectory(tmp_path)).get_or_compute("abcd", lambda: 5, int))
    assert (found, len(warned)) == (5, 1)


# ------------------------------------------------------------------------------------------ locks


def test_a_lock_that_nobody_gives_back_is_waited_for_only_so_long(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "key").mkdir()
    chunks = [range(0, 4), range(4, 8)]
    held = FileLock(tmp_path / "key" / "0-4.lock")
    with held:
        store = ChunkStore(StoreDirectory(tmp_path), patience=0.2)
        found = list(store.collect("key", chunks, squares))
    assert [chunk.start for chunk, _ in found] == [4, 0]
    assert with_warnings(lambda: collected(tmp_path)) == ([], [])


def test_where_files_cannot_be_locked_everything_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def unlockable(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", unlockable)
    computed, warned = with_warnings(lambda: collected(tmp_path))
    assert computed == [0]
    assert len(warned) == 1
    assert "files cannot be locked there" in warned[0]
    assert [path.name for path in (tmp_path / "key").iterdir()] == ["0-4.chunk"]


def test_room_is_made_whatever_lies_there(tmp_path: Path, obstacle: Obstacle) -> None:
    obstacle(tmp_path / "thing")
    store = ChunkStore(StoreDirectory(tmp_path))
    list(store.collect("old", [CHUNK], squares))
    for name in ("old", "thing"):
        os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
    assert store.make_room("new", 100, limit=100)
    assert not (tmp_path / "old").exists()


# ------------------------------------------------------------------------------------ whole sessions

TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=1)
@pytest.mark.bias_intervention("grayscale", max_skew=1, max_accuracy_drop=1)
def test_it(): pass

@pytest.mark.bias_gap("group", metric="accuracy", max_gap=1, min_group_size=1)
def test_gap(): pass
"""
DATASET = """
from pathlib import Path
import numpy as np
groups = np.array(["a", "b"] * 10)
pixels = np.stack([np.full((16, 16, 3), (77, 74, 79) if i < 5 else (0, 0, 255), np.uint8) for i in range(20)])
np.savez(path, images=pixels, labels=np.full(20, 2), classes=np.array(["red", "green", "blue"]), group=groups)
"""
ALLOWED = "-Wdefault::pytest_biastransfer.errors.StoreWarning"
OPTIONS = ("-pno:xdist", "--bias-store=store", "-obias_dataset=npz:val.npz", "--bias-report=report.html", "-v")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tests of bias."""
    directory = tmp_path_factory.mktemp("project")
    text, fixture, _ = INNER_CONFTEST.partition('@pytest.fixture(scope="session")\ndef bias_dataset')
    assert fixture
    (directory / "conftest.py").write_text(text)
    (directory / "test_bias.py").write_text(TESTS)
    exec(DATASET, {"path": directory / "val.npz"})
    os.utime(directory / "val.npz", (1e9, 1e9))
    return directory


@pytest.fixture
def done(project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """What runs sessions in a directory in which one has left its store."""
    monkeypatch.chdir(project)
    # Files are known by their paths: the store that the first session left is put back where it was.
    if not Path("first").exists():
        pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=3)
        shutil.move("store", "first")
    shutil.rmtree("store", ignore_errors=True)
    shutil.copytree("first", "store")
    return pytester


def stored(suffix: str) -> list[Path]:
    return sorted(Path("store").rglob(f"*.{suffix}"))


@pytest.mark.parametrize("made", [pipe, full_directory], ids=lambda made: made.__name__)
def test_a_session_survives_whatever_lies_in_its_store(done: pytest.Pytester, made: Obstacle) -> None:
    for path in [*stored("fact"), *stored("chunk"), *stored("lock")]:
        path.unlink()
        made(path)
    done.runpytest_inprocess(*OPTIONS, ALLOWED).assert_outcomes(passed=3)
    done.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=3)


def junk(content: Any) -> list[Any]:
    """Return plain data of other forms than that of some plain data, whole and in its parts."""
    found: list[Any] = [[], {}, "text", -1, 10**30, 0.5, True, [content], {"a": content}]
    if isinstance(content, dict):
        for key, value in content.items():
            found += [{name: part for name, part in content.items() if name != key}]
            found += [{**content, key: part} for part in junk(value)[:9]]
    return [other for other in found if json.dumps(other) != json.dumps(content)]


@pytest.mark.parametrize("number", range(0, 40, 5))
def test_facts_of_other_content_change_nothing(done: pytest.Pytester, number: int) -> None:
    place, changed = StoreDirectory(Path("store")), 0
    for path in stored("fact"):
        fact = json.loads(path.read_bytes().partition(b" ")[2])
        others = junk(fact)
        place.write(path.relative_to("store").as_posix(), others[number % len(others)], ())
        changed += 1
    assert changed >= 4
    result = done.runpytest_inprocess(*OPTIONS, ALLOWED)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_it", "    asr *0.250 *<= 1 *holds*"])
    done.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "content",
    [
        {"classes": np.zeros(20, np.int64), "outputs": np.array([3], np.int32)},
        {"classes": np.full(20, 3, np.int32), "outputs": np.array([3], np.int32)},
        {"classes": np.full(20, -1, np.int32), "outputs": np.array([3], np.int32)},
        {"classes": np.zeros((20, 1), np.int32), "outputs": np.array([3], np.int32)},
        {"classes": np.zeros(19, np.int32), "outputs": np.array([3], np.int32)},
        {"classes": np.zeros(20, np.int32), "outputs": np.zeros(0, np.int32)},
        {"classes": np.zeros(20, np.int32)},
        {"pixels": np.zeros((20, 3, 8, 8), np.uint8), "rows": np.zeros(3)},
        {"pixels": np.full((20, 3, 16, 16), np.nan, np.float32), "rows": np.full((20, 2), np.nan)},
    ],
    ids=range(9),
)
def test_chunks_of_other_content_change_nothing(done: pytest.Pytester, content: Content) -> None:
    for path in stored("fact"):
        path.unlink()
    for path in stored("chunk"):
        forms = {name: [array.dtype.str, list(array.shape)] for name, array in content.items()}
        StoreDirectory(Path("store")).write(
            path.relative_to("store").as_posix(), forms, [array.data for array in content.values()]
        )
    result = done.runpytest_inprocess(*OPTIONS, ALLOWED)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_it", "    asr *0.250 *<= 1 *holds*"])
    done.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=3)


def test_the_store_is_one_directory(tmp_path: Path) -> None:
    assert Store(tmp_path).directory == tmp_path


# ------------------------------------------------------------------------------------ with a secret

SECRET, OTHER = b"a secret of the CI, long enough", b"another secret, as long as that"


@pytest.mark.parametrize("reader", [None, OTHER])
def test_what_has_another_seal_or_none_is_not_read_and_stays(tmp_path: Path, reader: bytes | None) -> None:
    Store(tmp_path, SECRET).facts.put("abcd", 5)
    Store(tmp_path, reader).facts.put("abcd", 6)
    assert Store(tmp_path, SECRET).facts.get("abcd", int) == 5
    assert Store(tmp_path, reader).facts.get("abcd", int) == 6
    # Put where the other one looks, by whoever can write there.
    (kept,) = Store(tmp_path, SECRET).subdirectory("facts").path.rglob("*.fact")  # type: ignore[union-attr]
    (own,) = set(tmp_path.rglob("*.fact")) - {kept}
    shutil.copy(own, kept)
    found, warned = with_warnings(lambda: Store(tmp_path, SECRET).facts.get("abcd", int))
    assert (found, len(warned)) == (None, 1)
    assert not any(SECRET in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_with_a_secret_no_byte_can_be_changed_and_no_checksum_made(tmp_path: Path) -> None:
    store = Store(tmp_path, SECRET)
    list(store.predictions.collect("key", [CHUNK], squares))
    (path,) = tmp_path.rglob("*.chunk")
    whole = path.read_bytes()
    checksum, _, rest = whole.partition(b" ")
    described, _, body = rest.partition(b"\n")
    name = path.relative_to(path.parents[2]).as_posix().encode()
    forged = body[:-8] + bytes(8)
    plain = hashlib.sha256(name + b"\n" + described + forged).hexdigest().encode()
    for content in (checksum + b" " + described + b"\n" + forged, plain + b" " + described + b"\n" + forged):
        path.write_bytes(content)
        again, warned = with_warnings(
            lambda: list(Store(tmp_path, SECRET).predictions.collect("key", [CHUNK], squares))
        )
        assert again[0][1]["squares"].tolist() == [0, 1, 4, 9]
        assert len(warned) == 1
    assert path.read_bytes() == whole
    assert "secret" not in repr(vars(Store(tmp_path, SECRET)))
    # Libraries' own files cannot be sealed.
    assert store.facts.directory("datasets") is None


def test_a_session_seals_what_it_keeps(done: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIAS_STORE_KEY", SECRET.decode())
    options = (*OPTIONS, "-obias_store_key=BIAS_STORE_KEY")
    unsealed = set(Path("store").rglob("*"))
    # What was kept without a seal is not read.
    done.runpytest_inprocess(*options).stdout.fnmatch_lines(["3 bias tests: 3 passed; 60 images evaluated, 40 *"])
    again = done.runpytest_inprocess(*options)
    again.stdout.fnmatch_lines(["3 bias tests: 3 passed; 0 images evaluated, 100 *"])
    assert unsealed <= set(Path("store").rglob("*"))
    assert SECRET.decode() not in again.stdout.str() + Path("report.html").read_text()
    monkeypatch.delenv("BIAS_STORE_KEY")
    without = done.runpytest_inprocess(*options, ALLOWED)
    without.stdout.fnmatch_lines(
        ["*environment variable BIAS_STORE_KEY is not set; the store of this session has no seal*"]
    )
    monkeypatch.setenv("BIAS_STORE_KEY", "short")
    result = done.runpytest_inprocess(*options)
    assert result.ret != 0
    assert "shorter than 16 characters" in result.stdout.str() + result.stderr.str()


def test_the_secret_itself_in_the_ini_file_is_refused_and_not_shown(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-obias_store_key=hunter2hunter2hunter2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: bias_store_key in the ini file: expected the name of an environment variable *"]
    )
    assert "hunter2" not in result.stderr.str()


# ------------------------------------------------------------------------------------ times of files


def test_times_that_tell_nothing_are_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    os.utime(path, (1e9, 1e9))
    real = path.stat()
    year = 10**9

    def asked(state: dict[str, int], *, read_only: bool = False) -> int:
        """Return how often a file of such times is read in three sessions."""
        fields = {name: getattr(real, name) for name in ("st_mode", "st_size", "st_ino", "st_dev")}
        times = {"st_mtime_ns": 1_500_000_000 * year + 5, "st_ctime_ns": 1_600_000_000 * year + 7} | state
        seconds = {name.removesuffix("_ns"): value / year for name, value in times.items() if name.endswith("_ns")}
        found = types.SimpleNamespace(**(fields | times | seconds))
        flags = types.SimpleNamespace(f_flag=os.ST_RDONLY if read_only else 0)
        count: list[int] = []

        def look() -> int:
            count.append(1)
            return len(count)

        with monkeypatch.context() as patched:
            system = types.SimpleNamespace(stat=lambda _: found, statvfs=lambda _: flags, ST_RDONLY=os.ST_RDONLY)
            patched.setattr("pytest_biastransfer.store.facts.os", system)
            for _ in range(3):
                facts = Facts(StoreDirectory(tmp_path / "store"))
                facts.of_files([path], f"{state}{read_only}", look)
        return len(count)

    now = int(time.time() * year)
    assert asked({}) == 1
    assert asked({"st_mtime_ns": 1_600_000_000 * year, "st_ctime_ns": 1_600_000_000 * year}) == 3
    assert asked({"st_mtime_ns": 1_600_000_000 * year + 3, "st_ctime_ns": 1_600_000_000 * year + 3}) == 1
    assert asked({"st_mtime_ns": 1 * year}) == 3
    assert asked({"st_mtime_ns": 315_532_800 * year}) == 3
    assert asked({"st_ctime_ns": 0}) == 3
    assert asked({"st_mtime_ns": now + 60 * year}) == 3
    assert asked({"st_ctime_ns": now + 60 * year}) == 3
    assert asked({"st_ctime_ns": now // year * year}) == 3
    assert asked({}, read_only=True) == 3


def test_a_file_in_the_place_of_another_one_is_read(tmp_path: Path) -> None:
    contents = []
    for content in ("one", "two"):
        path = tmp_path / content
        path.write_text(content)
        os.utime(path, (1e9 + 0.5, 1e9 + 0.5))
    time.sleep(0.1)
    for content in ("one", "two"):
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        os.link(tmp_path / content, link)
        time.sleep(0.05)
        contents.append(Facts(StoreDirectory(tmp_path / "store")).digest(link))
    assert contents[0] != contents[1]
