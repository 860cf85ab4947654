"""Programs in files reach nothing but tensors: what an archive must not hold is refused before anything is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer import load_model
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.export_archive import verified_export

pytestmark = pytest.mark.usefixtures("warm_executable")

# Where the program is in an archive, and where it was before torch 2.9.
PROGRAM = ("models/model.json", "serialized_exported_program.json")


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> Any:
        side = images.shape[2] // 2
        return self.head(images[:, :, :side].mean((2, 3)))


class Called:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported program with sizes that are computed, as its archive writes them."""
    path = tmp_path_factory.mktemp("original") / "net.pt2"
    sizes = {"images": {0: torch.export.Dim("batch", max=64), 2: 2 * torch.export.Dim("half", min=2, max=64)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Net(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=sizes)
        torch.export.save(program, path)
    return path


@pytest.fixture
def archive(original: Path) -> Path:
    """Return a copy of the exported program, in the current directory."""
    return Path(shutil.copy(original, "net.pt2"))


def rewritten(archive: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> str:
    """Return a copy of an archive with changed members, and more of them."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile("hostile.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        top = old.namelist()[0].partition("/")[0]
        for name, content in more.items():
            new.writestr(f"{top}/{name}", content)
    return "hostile.pt2"


def with_json(archive: Path, change: Callable[[dict[str, Any]], object]) -> str:
    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith(PROGRAM):
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return rewritten(archive, changed)


def program_of(archive: Path) -> str:
    with zipfile.ZipFile(archive) as opened:
        return next(opened.read(name).decode() for name in opened.namelist() if name.endswith(PROGRAM))


def refused(path: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"export .*{path}: {message}"):
        load_model(f"export:{path}")
    assert not Path("executed").exists()


def test_a_program_with_computed_sizes_is_not_refused(archive: Path) -> None:
    loaded = load_model(f"export:{archive}")
    assert loaded.module(torch.rand(5, 3, 12, 8)).shape == (5, 2)
    assert "expr_str" in program_of(archive)


def test_operators_that_are_none(archive: Path) -> None:
    for target in (
        "torch.hub.load",
        "torch._utils.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.load_library.x",
        "torch.ops.own.op.default",
        "torch.ops.aten.relu.__class__",
        "_operator.attrgetter",
        "math.__loader__.load_module",
        "os.system",
    ):
        change = lambda program, target=target: program["graph_module"]["graph"]["nodes"][0].update(target=target)  # noqa: E731
        refused(with_json(archive, change), "its program calls .*, which is no operator on tensors; nothing in it was")


def test_names_that_are_code(archive: Path) -> None:
    def in_node(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"] = "x=__import__('os').mkdir('executed')"

    def in_arguments(program: dict[str, Any]) -> None:
        program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = ["x=print()"]

    for change in (in_node, in_arguments):
        refused(with_json(archive, change), "a variable is called .x=")


def test_names_of_attributes_that_are_code(archive: Path) -> None:
    name = 'x"), __import__("os").mkdir("executed"), ("'

    def changed(member: str, content: bytes) -> bytes:
        return content.replace(b'"head.weight"', json.dumps(name).encode())

    refused(rewritten(archive, changed), "(an attribute|a tensor) is called .x")


def test_members_are_found_as_torch_finds_them(archive: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Called(), buffer)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile("hostile.pt2", "w") as new:
        for name in old.namelist():
            hostile = re.search(r"(sample|example)_inputs.*\.pt", name)
            new.writestr(
                name.replace("inputs", "INPUTS").replace(".pt", ".PT") if hostile else name,
                buffer.getvalue() if hostile else old.read(name),
            )
    refused("hostile.pt2", r".*_INPUTS.*\.PT is nothing that torch\.export\.save writes")


def test_models_of_all_kinds_pass() -> None:
    from torchvision import models

    named = torch.nn.Sequential(torch.nn.ModuleDict({"a-b/c": torch.nn.Conv2d(3, 2, 3)})["a-b/c"], torch.nn.Flatten(2))
    # Of the operators of ResNets and vision transformers, not of their size.
    convolutions = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], width_per_group=64)
    tokens = models.VisionTransformer(64, 32, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)
    for number, net in enumerate((convolutions, tokens, named)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(net.eval(), (torch.rand(2, 3, 64, 64),))
            torch.export.save(program, f"net{number}.pt2")
        verified_export(Path(f"net{number}.pt2"))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').mkdir('executed')",
        "exec(chr(112))",
        "s0.__class__",
        "Symbol('s0').func",
        "(lambda: s0)()",
        "s0 if s0 else s0",
        "Symbol('x y')",
        "[s0]",
        "preview(s0)",
    ],
)
def test_sizes_that_are_code(archive: Path, expression: str) -> None:
    program = json.loads(program_of(archive))
    written = program["graph_module"]["graph"]["tensor_values"]["images"]["sizes"][0]["as_expr"]["expr_str"]

    def changed(name: str, content: bytes) -> bytes:
        return content.replace(json.dumps(written).encode(), json.dumps(expression).encode())

    refused(rewritten(archive, changed), "a size is .*, which is no arithmetic")


def test_names_of_sizes_that_are_code(archive: Path) -> None:
    def change(program: dict[str, Any]) -> None:
        program["range_constraints"]["exec(chr(112))"] = {"min_val": 0, "max_val": 3}

    refused(with_json(archive, change), "a size is called 'exec")


def test_pickles_and_compiled_code(archive: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Called(), buffer)

    def inputs(name: str, content: bytes) -> bytes:
        return buffer.getvalue() if re.search(r"(sample|example)_inputs.*\.pt", name) else content

    refused(rewritten(archive, inputs), r".*\.pt holds more than tensors, or is damaged \(it calls posix\.mkdir\)")
    library = {"data/aotinductor/model/net.so": b"\x7fELF"}
    refused(rewritten(archive, lambda _, content: content, **library), r".*net\.so is compiled code")


@pytest.mark.parametrize(("directory", "config"), [("weights", "weights"), ("constants", "constants")])
def test_pickled_weights_and_objects(archive: Path, directory: str, config: str) -> None:
    buffer = io.BytesIO()
    torch.save(Called(), buffer)

    def listing(**values: Any) -> Callable[[str, bytes], bytes]:
        def changed(name: str, content: bytes) -> bytes:
            if not name.endswith(f"model_{config}_config.json"):
                return content
            found = json.loads(content)
            found["config"]["own"] = {"use_pickle": True, "is_param": False, "tensor_meta": None} | values
            return json.dumps(found).encode()

        return changed

    hostile = {
        f"data/{directory}/tensor_77": buffer.getvalue(),
        f"data/{directory}/custom_obj_0": pickle.dumps(Called()),
    }
    if not any(name.endswith("_config.json") for name in zipfile.ZipFile(archive).namelist()):
        pytest.skip("archives had no lists of weights before torch 2.9")
    path = rewritten(archive, listing(path_name="tensor_77"), **hostile)
    refused(path, r".*tensor_77 holds more than tensors, or is damaged \(it calls posix\.mkdir\)")
    for name in ("custom_obj_0", "opaque_obj_0", "../tensor_0"):
        refused(rewritten(archive, listing(path_name=name), **hostile), f"'{name}' is no tensor")


def test_members_that_are_there_twice(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(opened.namelist()[0].upper(), b"{}")
    refused(archive.name, ".* is there twice")


def test_weights_that_look_like_a_pickle_are_weights() -> None:
    class Constant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Parameter(torch.frombuffer(bytearray(b"\x80\x02}q\x00.PK"), dtype=torch.float32))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))[:, :2] + self.shift

    net = Constant().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (torch.rand(2, 3, 8, 8),)), "net.pt2")
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(load_model("export:net.pt2").module(images), net(images))


def test_guards_are_not_run(archive: Path) -> None:
    if "guards_code" not in json.loads(program_of(archive)):
        pytest.skip("programs had no guards before torch 2.9")

    def change(program: dict[str, Any]) -> None:
        program["guards_code"] = ["__import__('os').mkdir('executed')"]

    loaded = load_model(f"export:{with_json(archive, change)}")
    assert loaded.module(torch.rand(1, 3, 8, 8)).shape == (1, 2)
    assert not Path("executed").exists()


def test_an_export_of_a_function_of_two_inputs_is_refused() -> None:
    class Two(torch.nn.Module):
        def forward(self, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return (images * mask).mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Two(), (torch.rand(2, 3, 8, 8), torch.rand(8, 8))), "two.pt2")
    refused("two.pt2", r"its program takes 2 inputs \(\[2, 3, 8, 8\], \[8, 8\]\), expected one: images")


@settings(max_examples=200, deadline=None)
@given(st.text("s0123456789 +-*/()%.,<>='\"_[]{}:abceimoprtxFlMdSy", max_size=30))
def test_what_passes_for_arithmetic_is_arithmetic(text: str) -> None:
    # Whatever passes: no attribute, no call but of sizes' functions, no string, no subscript.
    from pytest_biastransfer.models.safe_loading.size_expressions import canonical_size

    try:
        written = canonical_size(text)
    except ValueError:
        return
    assert not set("'\"[]{}:") & set(written.replace("Symbol('s", ""))
    assert "__" not in written
    assert canonical_size(written).replace("(", "").replace(")", "") == written.replace("(", "").replace(")", "")


def test_scripts_that_reach_files() -> None:
    class Writes(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.save(images, "executed")
            return images.mean((2, 3))

    class Reads(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_file("secret", False, 3)

    for net, call in ((Writes(), "save"), (Reads(), "from_file")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(net).save("net.pt")  # type: ignore[no-untyped-call]
        with pytest.raises(
            ModelError, match=rf"net\.pt: its program has {call}, which may reach files; it was not run"
        ):
            load_model("torchscript:net.pt")
    assert not Path("executed").exists()


def test_a_pickle_is_no_script() -> None:
    torch.save({"weight": Called()}, "net.pt")
    with pytest.raises(ModelError, match=r"torchscript .*net\.pt: not a TorchScript program, or damaged"):
        load_model("torchscript:net.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Called()))
    with pytest.raises(ModelError, match=r"torchscript .*plain\.pt: no archive as torch writes it"):
        load_model("torchscript:plain.pt")
    assert not Path("executed").exists()


def test_an_archive_is_looked_at_whatever_its_members_are_called(archive: Path) -> None:
    program = program_of(archive).replace("torch.ops.aten.mean.dim", "os.system")
    with zipfile.ZipFile("other.pt2", "w") as new:
        new.writestr("serialized_exported_program.json", program)
    with pytest.raises(ModelError, match=r"its program calls 'os\.system'"):
        verified_export(Path("other.pt2"))
    with zipfile.ZipFile("other.pt2", "w") as new:
        new.writestr("serialized_exported_program.json", json.dumps({"nodes": [{"target": "os.system"}]}))
    with pytest.raises(
        ModelError, match=r"its ExportedProgram lacks graph_module, .*, as torch\.export\.save writes it"
    ):
        verified_export(Path("other.pt2"))


# ------------------------------------------------------------------------------- one file, two archives


def built(members: dict[str, bytes]) -> tuple[bytes, bytes, bytes]:
    """Return the members, the central directory and the end record of an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    raw = buffer.getvalue()
    end = raw.rindex(b"PK\5\6")
    size, offset = struct.unpack("<II", raw[end + 12 : end + 20])
    return raw[:offset], raw[offset : offset + size], raw[end:]


def moved(directory: bytes, by: int) -> bytes:
    """Return a central directory whose members are said to begin elsewhere."""
    entries, offset_of_entry = bytearray(directory), 0
    while offset_of_entry < len(entries):
        lengths = struct.unpack("<HHH", entries[offset_of_entry + 28 : offset_of_entry + 34])
        (offset,) = struct.unpack("<I", entries[offset_of_entry + 42 : offset_of_entry + 46])
        entries[offset_of_entry + 42 : offset_of_entry + 46] = struct.pack("<I", offset + by)
        offset_of_entry += 46 + sum(lengths)
    return bytes(entries)


def two_in_one(for_torch: dict[str, bytes], for_python: dict[str, bytes], top: str) -> bytes:
    """Return a file in which torch's reader finds other members than Python's: each has a directory of its own."""
    padding = bytes(sum(len(content) + 200 for content in for_python.values()))
    hidden, directory, end = built(for_torch | {f"{top}/.data/pad": padding})
    shown, other, _ = built(for_python | {f"{top}/.data/pad": b""})
    assert len(directory) == len(other)
    return hidden + directory + shown + moved(other, len(hidden) - len(shown)) + end


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_file_that_is_another_archive_to_torch_is_refused(archive: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Called(), buffer)
    plain = members_of(archive)
    hostile = {
        name: buffer.getvalue() if re.search(r"(sample|example)_inputs.*\.pt", name) else content
        for name, content in plain.items()
    }
    Path("both.pt2").write_bytes(two_in_one(hostile, plain, archive.stem))
    refused("both.pt2", "is not the same archive for all who read it")


def test_a_script_that_is_another_one_to_torch_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(3, 2)).save("plain.pt")  # type: ignore[no-untyped-call]
    plain = members_of(Path("plain.pt"))
    other = {name: content.replace(b"self.bias", b"self.bias ") for name, content in plain.items()}
    Path("both.pt").write_bytes(two_in_one(other, plain, "plain"))
    with pytest.raises(ModelError, match=r"both\.pt: is not the same archive for all who read it"):
        load_model("torchscript:both.pt")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ('torch.save (x, "executed")', "save"),
        ('f = torch.save\n    f(x, "executed")', "save"),
        ('ops.aten.save (x, "executed")', "save"),
        ('y = ops . image . read_file("secret")', "read_file|ops . image"),
        ("y = ops.own.anything(x)", r"ops\.own"),
        ("o = ops\n    y = o.own.anything(x)", "= ops"),
        ("y = ops.\\\n    own.anything(x)", r"ops\. own"),
        ("y = (ops. # of tensors\n    own.anything(x))", r"ops\. own"),
        ("y = __torch__.torch.classes.own.Thing(x)", r"classes\.own"),
    ],
)
def test_a_script_is_searched_however_it_is_written(written: str, found: str) -> None:
    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Plain()).save("plain.pt")  # type: ignore[no-untyped-call]
    with zipfile.ZipFile("hostile.pt", "w") as new:
        for member, content in members_of(Path("plain.pt")).items():
            code = content.replace(b"-> Tensor:\n", f"-> Tensor:\n    {written}\n".encode())
            new.writestr(member, code if member.endswith(".py") else content)
    with pytest.raises(ModelError, match=rf"hostile\.pt: its program has ({found}), which may reach files"):
        load_model("torchscript:hostile.pt")
    with zipfile.ZipFile("hostile.pt") as old, zipfile.ZipFile("other.pt", "w") as new:
        for member in old.namelist():
            new.writestr(member.replace("/code/", "/CODE/"), old.read(member))
    with pytest.raises(ModelError, match=r"other\.pt: 'CODE/__torch__/\S+ is nothing that torch\.jit\.save writes"):
        load_model("torchscript:other.pt")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "structure",
    [
        {"type": "builtins.tuple", "context": '{"__enum__": true, "fqn": "evil:X"}', "children_spec": []},
        {"type": "collections.defaultdict", "context": "{}", "children_spec": []},
        {"type": "evil.Type", "context": "[]", "children_spec": []},
    ],
)
def test_structures_of_inputs_that_would_be_imported(archive: Path, structure: dict[str, Any]) -> None:
    def change(program: dict[str, Any]) -> None:
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, structure])

    refused(with_json(archive, change), "its inputs or outputs are of type")


def test_operators_that_run_what_was_compiled_elsewhere(archive: Path) -> None:
    def change(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.higher_order.aoti_call_delegate"

    refused(with_json(archive, change), "its program calls")


def test_a_deeply_nested_description_is_damaged(archive: Path) -> None:
    def changed(name: str, content: bytes) -> bytes:
        return b"[" * 100_000 if name.endswith(PROGRAM) else content

    refused(rewritten(archive, changed), ".*is damaged")
