"""Programs of strangers are computed in a process that cannot change anything; the figures are those of this process."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_biastransfer import load_model
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.file_program import IsolatedFile
from pytest_biastransfer.models.safe_loading import isolated_program, sandbox, script_archive
from pytest_biastransfer.models.safe_loading.channel import Channel, ChannelError, decode_tensor, encode_tensor
from pytest_biastransfer.store import Store
from tests.support.systems import KILL
from tests.support.warm_python import WarmPython

pytestmark = pytest.mark.skipif(sandbox.unsupported() is not None, reason="this system has no sandbox")


class Net(torch.nn.Module):
    """With dropout and BatchNorm, which show the mode that it computes in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2)
        )
        self.head = torch.nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.layers(images).flatten(1))
        return result


class Scripted(torch.nn.Module):
    """Does what the mean of an image says, so that one program serves all tests."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        what = int(images.mean().round().item())
        if what == 1:
            torch.save(images, "executed")
        if what == 2:
            print("::error::from the program")  # noqa: T201 - what it does is tested.
        if what == 3:
            while bool(images.mean() > 0):
                images = images + 1
        return images.mean((2, 3))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("originals")
    torch.manual_seed(3)
    net = Net().train()
    net(torch.randn(8, 3, 16, 16))
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net.train()).save(str(directory / "training.pt"))  # type: ignore[no-untyped-call]
        torch.jit.script(net.eval()).save(str(directory / "net.pt"))  # type: ignore[no-untyped-call]
        sizes = {"images": {0: torch.export.Dim("batch")}}
        torch.export.save(
            torch.export.export(net, (torch.rand(2, 3, 16, 16),), dynamic_shapes=sizes), directory / "net.pt2"
        )
        torch.jit.script(Scripted()).save(str(directory / "hostile.pt"))  # type: ignore[no-untyped-call]
    return directory


@pytest.fixture
def unsearched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs pass that name functions on files, as one that nobody has thought of would."""
    monkeypatch.setattr(script_archive, "_REACHES_FILES", re.compile(rb"(?!)"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module_of(spec: str) -> Any:
    return load_model(spec).module


def process_of(module: Any) -> int:
    process = module._program._process._popen.pid
    assert isinstance(process, int)
    return process


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_within(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_there(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_there(process)


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


# -------------------------------------------------------------------------------------------------- equal figures


@pytest.mark.usefixtures("warm_executable")
@pytest.mark.parametrize("spec", ["torchscript:net.pt", "export:net.pt2"])
def test_the_figures_are_those_of_this_process(spec: str, originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(originals)
    isolated, trusted = module_of(spec).eval(), module_of(f"{spec}?trust=1").eval()
    assert isinstance(isolated, IsolatedFile)
    process = process_of(isolated)
    for batch in (
        images(),
        images(1),
        images(7).contiguous(memory_format=torch.channels_last),
        images(3)[:, :, :, :16],
    ):
        with torch.inference_mode():
            assert torch.equal(isolated(batch), trusted(batch))
            with torch.autocast("cpu", torch.bfloat16):
                reduced = isolated(batch)
                assert torch.equal(reduced, trusted(batch))
                assert reduced.dtype == torch.bfloat16
    assert process_of(isolated) == process
    del isolated
    assert gone_within(process, 10)


@pytest.mark.usefixtures("warm_executable")
def test_a_copy_has_a_process_of_its_own(originals: Path) -> None:
    module = module_of(f"torchscript:{originals / 'net.pt'}")
    copied = copy.deepcopy(module)
    other = pickle.loads(pickle.dumps(module))
    assert other._program._process is None
    assert other.__fingerprint__() == module.__fingerprint__()
    assert torch.equal(copied(images()), module(images()))
    assert process_of(copied) != process_of(module)


@pytest.mark.usefixtures("warm_executable")
def test_a_program_that_was_saved_in_training_mode_is_evaluated_where_it_is_told_so(
    originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(originals)
    module, trusted = module_of("torchscript:training.pt"), module_of("torchscript:training.pt?trust=1")
    trained = module(images())
    assert torch.equal(trained, trusted(images()))
    evaluated = module.eval()(images())
    assert torch.equal(evaluated, trusted.eval()(images()))
    assert not torch.equal(evaluated, trained)


# ---------------------------------------------------------------------------------------- what it cannot do


@pytest.mark.usefixtures("unsearched", "warm_executable")
def test_a_program_writes_nothing_and_says_nothing(
    originals: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = f"torchscript:{originals / 'hostile.pt'}"
    module, trusted = module_of(spec), module_of(f"{spec}?trust=1")
    # torch does not say that it could not write.
    assert torch.equal(module(torch.full((1, 3, 2, 2), 1.0)), torch.ones(1, 3))
    assert not Path("executed").exists()
    assert torch.equal(module(torch.full((2, 3, 2, 2), 2.0)), torch.full((2, 3), 2.0))
    assert "from the program" not in "".join(capfd.readouterr())
    trusted(torch.full((1, 3, 2, 2), 1.0))
    assert Path("executed").exists(), "in this process it may"
    assert Path("executed").parent.samefile(here)


ATTEMPTS = """
import os, socket, subprocess, sys
from pytest_biastransfer.models.safe_loading import sandbox

exec(sys.argv[1])
sandbox.enter()
here = os.open(".", os.O_RDONLY)
attempts = {
    "write": lambda: open("file", "w"),
    "append": lambda: open("file", "a"),
    "change": lambda: os.open("file", os.O_RDWR),
    "truncate on opening": lambda: os.open("file", os.O_RDONLY | os.O_TRUNC),
    "create on opening": lambda: os.open("new", os.O_RDONLY | os.O_CREAT),
    "file without a name": lambda: os.open(".", os.O_RDWR | os.O_TMPFILE),
    "truncate": lambda: os.truncate("file", 0),
    "mkdir": lambda: os.mkdir("new"),
    "mkdir in a directory": lambda: os.mkdir("new", dir_fd=here),
    "rmdir": lambda: os.rmdir("empty"),
    "unlink": lambda: os.unlink("file"),
    "rename": lambda: os.rename("file", "new"),
    "link": lambda: os.link("file", "new"),
    "symlink": lambda: os.symlink("file", "new"),
    "mkfifo": lambda: os.mkfifo("new"),
    "chmod": lambda: os.chmod("file", 0o777),
    "chown": lambda: os.chown("file", os.getuid(), os.getgid()),
    "utime": lambda: os.utime("file", (1, 1)),
    "xattr": lambda: os.setxattr("file", "user.x", b"1"),
    "internet": lambda: socket.socket().connect(("127.0.0.1", 9)),
    "datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "local socket": lambda: socket.socket(socket.AF_UNIX).connect("socket"),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "child": lambda: subprocess.run(["/bin/true"], check=True),
    "signal": lambda: os.kill(os.getppid(), 0),
}
done = []
for name, attempt in attempts.items():
    try:
        attempt()
        done.append(name)
    except PermissionError:
        pass
import ctypes
assert open("file").read() == "content"
os.kill(os.getpid(), 0)
print(",".join(done))
"""
# What Landlock alone leaves to the filter of calls.
LEFT_BY_LANDLOCK = {"chmod", "chown", "utime", "xattr", "signal"}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("", set()),
        ("sandbox._restrict_files = lambda libc: None", set()),
        ("sandbox._filter_calls = lambda libc: None", LEFT_BY_LANDLOCK),
    ],
    ids=["both", "seccomp", "landlock"],
)
def test_what_a_sandbox_refuses(change: str, left: set[str], here: Path) -> None:
    Path("file").write_text("content")
    Path("empty").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        server.listen()
        completed = subprocess.run(
            [sys.executable, "-c", ATTEMPTS, change], capture_output=True, text=True, check=False, timeout=120
        )
    assert completed.returncode == 0, completed.stderr
    done = set(filter(None, completed.stdout.strip().split(",")))
    if left:
        if "write" in done:
            pytest.skip("this kernel has no Landlock")
        # What it refuses depends on the kernel's version, but files it always keeps.
        assert not done & {
            "write",
            "append",
            "change",
            "create on opening",
            "mkdir",
            "unlink",
            "rename",
            "symlink",
            "program",
        }
    else:
        assert done == set()
    assert sorted(path.name for path in here.iterdir()) == ["empty", "file", "socket"]


@pytest.mark.usefixtures("warm_executable")
def test_where_there_is_no_sandbox_trust_is_asked_for(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(originals)
    expected = r"net\.pt: its program was not run, .*: {}\. If you trust whoever made the file, add trust=1 to its spec"
    with monkeypatch.context() as patched:
        patched.setattr("sys.platform", "darwin")
        patched.setattr("platform.system", lambda: "Darwin")
        with pytest.raises(ModelError, match=expected.format("Darwin has no sandbox that this package knows")):
            load_model("torchscript:net.pt")
    with monkeypatch.context() as patched:
        patched.setattr("platform.machine", lambda: "riscv64")
        with pytest.raises(ModelError, match=expected.format("its filter is not known for riscv64 machines")):
            load_model("torchscript:net.pt")
    # Where the kernel, or a container, refuses it.
    refusing = isolated_program._START.replace(
        "from ",
        "import pytest_biastransfer.models.safe_loading.sandbox as s; s._system_call = lambda *call: -1; from ",
        1,
    )
    with monkeypatch.context() as patched:
        patched.setattr(isolated_program, "_START", refusing)
        with pytest.raises(ModelError, match=expected.format("seccomp: .*")):
            load_model("torchscript:net.pt")
    assert torch.isfinite(module_of("torchscript:net.pt?trust=1")(images())).all()
    for value in ("2", "yes"):
        with pytest.raises(SpecError, match=rf"trust='{value}', expected 1 or 0"):
            load_model(f"torchscript:net.pt?trust={value}")


@pytest.mark.usefixtures("warm_executable")
def test_a_known_program_starts_no_process(originals: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("net.pt")
    file.write_bytes((originals / "net.pt").read_bytes())
    os.utime(file, (time.time() - 1000, time.time() - 1000))
    facts = Store(here / "store").facts
    loaded = model_of_spec("torchscript:net.pt", here, facts)
    started: list[object] = []
    monkeypatch.setattr(isolated_program, "_Process", started.append)
    deferred = model_of_spec("torchscript:net.pt", here, facts)
    assert isinstance(deferred, DeferredModel)
    assert deferred.fingerprint == loaded.fingerprint
    assert not started


# ------------------------------------------------------------------------------------- how it can end


def ended_by(number: signal.Signals, module: Any, how: str) -> None:
    """Send the signal to the module's process, and assert that the module says so and that the process is gone."""
    process = process_of(module)
    os.kill(process, number)
    if number == KILL:
        # On a busy machine it may still answer a call. It stays a child that can be waited for.
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ModelError, match=rf"net\.pt: the process that computes its program {how}"):
        module(images())
    assert gone_within(process, 10)


@pytest.mark.usefixtures("warm_executable")
def test_a_process_that_is_killed_is_an_error_and_started_again(originals: Path) -> None:
    module = module_of(f"torchscript:{originals / 'net.pt'}")
    logits = module(images())
    ended_by(KILL, module, "was ended by the signal SIGKILL")
    assert torch.equal(module(images()), logits)


def test_a_process_that_is_stopped_is_an_error(originals: Path) -> None:
    ended_by(signal.SIGSTOP, module_of(f"torchscript:{originals / 'net.pt'}"), "was stopped by a signal")


@pytest.mark.usefixtures("unsearched", "warm_executable")
def test_a_program_that_never_ends_is_an_error(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(f"torchscript:{originals / 'hostile.pt'}")
    process = process_of(module)
    monkeypatch.setattr(isolated_program, "_LONGEST_S", 1.0)
    with pytest.raises(
        ModelError, match=r"hostile\.pt: the process that computes its program has not answered for 1 sec"
    ):
        module(torch.full((1, 3, 2, 2), 3.0))
    assert gone_within(process, 10)


@pytest.mark.usefixtures("warm_executable")
def test_what_a_program_raises_is_one_line(originals: Path) -> None:
    module = module_of(f"torchscript:{originals / 'net.pt'}")
    process = process_of(module)
    with pytest.raises(ModelError, match=r"net\.pt: RuntimeError: .*to have 3 channels, but got 4 channels") as raised:
        module(torch.rand(1, 4, 16, 16))
    assert isinstance(raised.value, RuntimeError)
    assert "\n" not in str(raised.value)
    assert module(images()).shape == (5, 5)
    assert process_of(module) == process


PARENT = """
import re, sys, torch
from pytest_biastransfer import load_model
from pytest_biastransfer.models.safe_loading import script_archive
sys.executable = sys.argv[2]
script_archive._REACHES_FILES = re.compile(rb"(?!)")
module = load_model("torchscript:" + sys.argv[1]).module
print(module._program._process._popen.pid, flush=True)
module(torch.full((1, 3, 2, 2), 3.0))
"""


@pytest.mark.parametrize("number", [KILL, signal.SIGINT])
def test_no_process_outlives_the_session(number: signal.Signals, originals: Path, warm: WarmPython) -> None:
    # The session is a fork that ends with the process that gets the signal. Its program has a Python of its own.
    command = warm.command("-c", PARENT, str(originals / "hostile.pt"), sys.executable)
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert is_there(process)
        time.sleep(0.5)
        parent.send_signal(number)
        parent.wait(timeout=60)
        assert gone_within(process, 30)
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()


# ------------------------------------------------------------------------------------------------- messages


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(5)
        yield Channel(here), there


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3), torch.zeros(0, 4), torch.tensor(3), torch.rand(2, 3, 4, 5).to(torch.bfloat16),
        torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), torch.rand(4, 6)[:, ::2], torch.tensor([True, False]),
    ],
)  # fmt: skip
def test_a_tensor_is_the_same_at_the_other_end(tensor: torch.Tensor, pair: tuple[Channel, socket.socket]) -> None:
    description, body = encode_tensor(tensor)
    pair[0].send(description, body)
    header, content = Channel(pair[1]).receive()
    received = decode_tensor(header, content)
    assert received.dtype == tensor.dtype
    assert torch.equal(received, tensor)
    assert received.is_contiguous(memory_format=torch.contiguous_format) == tensor.contiguous().is_contiguous() or (
        received.stride() == tensor.stride()
    )


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ((2**40).to_bytes(8, "little") + bytes(8), "a message of 1099511627776 and 0 bytes"),
        ((2).to_bytes(8, "little") + (2**40).to_bytes(8, "little"), "a message of 2 and 1099511627776 bytes"),
        ((3).to_bytes(8, "little") + bytes(8) + b"abc", "no JSON"),
        ((2).to_bytes(8, "little") + bytes(8) + b"[]", "no JSON object"),
        ((2**17).to_bytes(8, "little") + bytes(8) + b"[" * 2**17, "no JSON"),
    ],
)
def test_what_is_no_message(sent: bytes, problem: str, pair: tuple[Channel, socket.socket]) -> None:
    pair[1].sendall(sent)
    with pytest.raises(ChannelError, match=problem):
        pair[0].receive(longest=2**30)


def test_a_message_that_stops_in_the_middle(pair: tuple[Channel, socket.socket]) -> None:
    pair[1].sendall((9).to_bytes(8, "little") + bytes(8) + b"{")
    pair[1].close()
    with pytest.raises(EOFError):
        pair[0].receive()


@pytest.mark.parametrize(
    "description",
    [
        None, [], {}, {"type": "float32"}, {"type": "object", "shape": [1]}, {"type": "float32", "shape": [2]},
        {"type": "float32", "shape": [-1]}, {"type": "float32", "shape": [1.0]}, {"type": "float32", "shape": [True]},
        {"type": "float32", "shape": [1] * 9}, {"type": "float32", "shape": [1], "last": True},
        {"type": "float32", "shape": [2**39, 2**39]}, {"type": ["float32"], "shape": [1]},
    ],
)  # fmt: skip
def test_what_is_no_tensor(description: Any) -> None:
    with pytest.raises(ChannelError):
        decode_tensor(json.loads(json.dumps(description)), bytearray(4))


def test_what_an_answer_says_is_shown_on_one_line() -> None:
    shown: Callable[[str], str] = isolated_program._printable
    assert shown("a\n::error::b\x1b[31m\u202e") == "a ::error::b [31m"
    assert len(shown("word " * 10_000)) < 1100
