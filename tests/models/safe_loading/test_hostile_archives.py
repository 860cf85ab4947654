"""What torch is given is an archive that was written here: whatever a file holds besides, it is refused or left out."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_biastransfer import load_model
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.archives import open_archive
from pytest_biastransfer.models.safe_loading.export_archive import verified_export
from pytest_biastransfer.models.safe_loading.export_schema import canonical_json
from pytest_biastransfer.models.safe_loading.script_archive import verified_script
from pytest_biastransfer.models.safe_loading.size_expressions import canonical_size
from pytest_biastransfer.models.safe_loading.tree_structures import canonical_structure
from tests.models.safe_loading.test_hostile_programs import PROGRAM

pytestmark = pytest.mark.usefixtures("warm_executable")

PAYLOAD = "__import__('os').mkdir('executed')"


class Net(torch.nn.Module):
    """With sizes that are computed in many ways."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.head = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> Any:
        images = self.norm(images)
        height, width = images.shape[2], images.shape[3]
        smaller = torch.nn.functional.interpolate(images, (height // 2 + 1, max(width, 7)), mode="bilinear")
        padded = torch.nn.functional.pad(smaller, (0, width % 4, 0, (8 - height % 8) % 8))
        return self.head(images[:, :, : height // 2].mean((2, 3))) + padded.mean((1, 2, 3))[:, None]


class Called:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("executed",)


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(Called(), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a program of each kind, as torch writes it."""
    directory = tmp_path_factory.mktemp("originals")
    torch.manual_seed(0)
    net = Net().eval()
    sizes = {"images": {0: torch.export.Dim("batch", max=64), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net, (torch.rand(2, 3, 16, 16),), dynamic_shapes=sizes)
        torch.export.save(program, directory / "net.pt2", extra_files={"note.txt": "hello"})
        plain = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        torch.jit.script(plain).save(str(directory / "net.pt"), _extra_files={"note": "hello"})  # type: ignore[no-untyped-call]
    return directory


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


KINDS = {"export": "net.pt2", "torchscript": "net.pt"}


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def verified(kind: str, path: Path) -> io.BytesIO:
    return verified_export(path) if kind == "export" else verified_script(path)


def refused(kind: str, content: bytes, message: str) -> None:
    """Assert that a file with this content is refused, and that nothing in it was run."""
    path = Path(f"hostile{Path(KINDS[kind]).suffix}")
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{kind} .*{path.name}: {message}"):
        load_model(f"{kind}:{path}")
    assert not Path("executed").exists()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.filename = name
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------ what ordinary models need


def test_what_is_written_computes_the_same(originals: Path) -> None:
    images = torch.rand(3, 3, 20, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(originals / "net.pt2")
        script = torch.jit.load(originals / "net.pt")  # type: ignore[no-untyped-call]
    assert torch.equal(load_model(f"export:{originals / 'net.pt2'}").module(images), program.module()(images))
    assert torch.equal(load_model(f"torchscript:{originals / 'net.pt'}").module(images), script(images))


def test_sizes_are_written_as_they_were(originals: Path) -> None:
    import sympy

    text = next(
        content.decode() for name, content in members_of(originals / "net.pt2").items() if name.endswith(PROGRAM)
    )
    sizes = {json.loads(size) for size in re.findall(r'"expr_str": ("(?:[^"\\]|\\.)*")', text)}
    assert len(sizes) > 8
    for size in sizes:
        assert sympy.sympify(canonical_size(size)) == sympy.sympify(size)


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("s0 + 2*s1 // 3", (5, 7), 9),
        ("-s0**2 + 1", (3, 0), -8),
        ("(s0 - s1) % 4", (13, 3), 2),
        ("Max(Integer(7), Symbol('s0', integer=True), Mul(Integer(2), Symbol('s1', integer=True)))", (5, 4), 8),
        ("Add(Min(Symbol('s0'), Integer(3)), Rational(1, 2)*4)", (9, 0), 5),
        ("s0 - s1 - 1", (9, 3), 5),
        ("s0 / s1 / 2", (12, 3), 2),
        ("2**3", (0, 0), 8),
    ],
)
def test_arithmetic_is_read_as_python_reads_it(text: str, values: tuple[int, int], result: int) -> None:
    import sympy

    expression = sympy.sympify(canonical_size(text))
    named = dict(zip(("s0", "s1"), values, strict=True))
    assert expression.subs({symbol: named[symbol.name] for symbol in expression.free_symbols}) == result


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_user_and_compressed_source_are_no_reason(kind: str, originals: Path) -> None:
    members = members_of(originals / KINDS[kind])
    assert any("note" in name for name in members)
    Path("packed.zip").write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
    names = zipfile.ZipFile(verified(kind, Path("packed.zip"))).namelist()
    assert not any("note" in name or "debug_pkl" in name for name in names)


# ----------------------------------------------------------------------------------------- members of an archive


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["{}/models/other.json", "{}/models/model", "{}/models/model.json.bak", "{}/data/evil.pkl", "{}/x.so",
             "{}/model.json", "{}/attributes.pkl", "{}/data/aotinductor/model/net.so", "{}/constants/evil.pkl"]
)  # fmt: skip
def test_members_that_torch_does_not_write(kind: str, name: str, originals: Path) -> None:
    members = members_of(originals / KINDS[kind])
    hostile = {**members, name.format(next(iter(members)).partition("/")[0]): pickled()}
    refused(kind, zipped(hostile), ".*(is nothing that torch.(export|jit).save writes|is compiled code)")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["{}/../x", "{}/./x", "/{}/x", "{}\\x", "{}//x", "{}/a\nb", "{}/ ", "{}/a'b", "{}/:x"])
def test_names_that_lead_elsewhere(kind: str, name: str, originals: Path) -> None:
    members = members_of(originals / KINDS[kind])
    hostile = {**members, name.format(next(iter(members)).partition("/")[0]): b"x"}
    refused(kind, zipped(hostile), "a member is called .*; nothing in it was run")


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_are_there_twice(kind: str, originals: Path) -> None:
    path = Path("twice.zip")
    for change in (str, str.upper):
        path.write_bytes((originals / KINDS[kind]).read_bytes())
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr(change(archive.namelist()[0]), b"x")
        refused(kind, path.read_bytes(), ".* is there twice; nothing in it was run")


def directory_of(content: bytes) -> int:
    """Return where the directory of an archive begins."""
    (start,) = struct.unpack_from("<L", content, content.rindex(b"PK\x05\x06") + 16)
    return int(start)


def with_field(content: bytes, offset: int, form: str, value: int, local: int | None = None) -> bytes:
    """Return an archive with another value in the directory's entry of its first member, and in its header."""
    changed = bytearray(content)
    struct.pack_into(form, changed, directory_of(content) + offset, value)
    if local is not None:
        struct.pack_into(form, changed, local, value)
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_are_encrypted_compressed_otherwise_or_huge(kind: str, originals: Path) -> None:
    content = zipped(members_of(originals / KINDS[kind]))
    refused(kind, with_field(content, 8, "<H", 0x0001, 6), ".*is encrypted")
    refused(kind, with_field(content, 10, "<H", 12, 8), ".*is compressed as torch never does")
    refused(kind, with_field(content, 24, "<L", 10, 22), ".*it has two sizes")
    members = members_of(originals / KINDS[kind])
    bomb = {**members, "{}/extra/bomb".format(next(iter(members)).partition("/")[0]): bytes(300 * 2**20)}
    packed = zipped(bomb, zipfile.ZIP_DEFLATED)
    assert len(packed) < 2**20
    refused(kind, packed, r"would be 31\d,\d{3},\d{3} bytes when it is unpacked")
    declared = zipped(members, zipfile.ZIP_DEFLATED)
    refused(kind, with_field(declared, 24, "<L", 2**31), r"would be 2,14\d,\d{3},\d{3} bytes when it is unpacked")


# ------------------------------------------------------------------------------------- one file, several archives


def second_directory(original: bytes, hostile: bytes) -> bytes:
    """Return an archive whose comment holds the directory of another archive, which stands before it."""
    end = original.rindex(b"PK\x05\x06")
    comment = hostile[directory_of(hostile) :]
    return original[: end + 20] + struct.pack("<H", len(comment)) + comment


def with_zip64_end(content: bytes, directory: int) -> bytes:
    """Return an archive with a second end in 64 bits, whose directory is elsewhere."""
    end = content.rindex(b"PK\x05\x06")
    count, size = struct.unpack("<HL", content[end + 10 : end + 16])
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return content[:end] + record + locator + content[end:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_which_another_archive_can_be_read(kind: str, originals: Path) -> None:
    original = zipped(members_of(originals / KINDS[kind]))
    hostile = zipped({f"{name}x": b"" for name in members_of(originals / KINDS[kind])})
    start, end = directory_of(original), original.rindex(b"PK\x05\x06")
    two_readings = (
        r"(is not the same archive for all who read it: .*; nothing in it was run|no archive as torch writes it)"
    )
    for content in (
        second_directory(original, hostile),
        hostile + original,
        b"PTMF" + original,
        original + hostile,
        original + b"\0",
        original[:start] + hostile + original[start:],
        with_zip64_end(original, 0),
        with_zip64_end(original[:start] + hostile[:-22] + original[start:], start),
        original[:end] + hostile[directory_of(hostile) :] + original[end:],
        # Where a local header says something else than the directory.
        original[:30] + b"X" + original[31:],
        with_field(original, 8, "<H", 0x0008),
    ):
        refused(kind, content, two_readings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flatbuffer_is_no_program(kind: str, originals: Path) -> None:
    # torch takes a file with these letters at its fifth byte for a program of another form; a zip reader need not.
    original = zipped(members_of(originals / KINDS[kind]))
    refused(kind, original[:4] + b"PTMF" + original[8:], ".*(another member than its directory says|damaged)")
    refused(kind, b"\0\0\0\0PTMF" + original, ".*")
    refused(kind, b"\0\0\0\0PTMF" + bytes(1000), "no archive as torch writes it")


def test_an_archive_has_one_reading_or_none(originals: Path) -> None:
    # Whatever single byte of the headers is changed: what is read is the original, or nothing.
    original = (originals / "net.pt").read_bytes()
    expected = members_of(originals / "net.pt")
    start = directory_of(original)
    path = Path("changed.pt")
    for position in (*range(start, start + 120), *range(len(original) - 22, len(original)), *range(80)):
        changed = bytearray(original)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            with open_archive(path, "changed") as members:
                contents = [members[name] for name in members]
        except ModelError:
            continue
        assert contents == list(expected.values()), position


# ----------------------------------------------------------------------------------- strings within the program


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the strings, numbers and names of a JSON document are, one of each kind of place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:40]):
            yield from leaves(inner, (*path, number))
    else:
        yield path


def kind_of(path: tuple[Any, ...]) -> str:
    return "/".join("#" if isinstance(key, int) else re.sub(r"[\w.]*\d[\w.]*|images", "*", key) for key in path)


def smallest(value: Any) -> Any:
    """Return a document with the same kinds of places, without the entries of lists whose places are all there before."""
    if isinstance(value, dict):
        return {name: smallest(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    entries: list[Any] = []
    kinds: set[str] = set()
    for entry in value:
        own = {kind_of(path) for path in leaves(entry)}
        if not own <= kinds:
            entries.append(smallest(entry))
            kinds |= own
    return entries


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> bytes:
    """Return a document's text with a change in one place; the document stays as it is."""
    if len(path) == 1:
        copied = copy.copy(document)
        change(copied, path[0])
        return json.dumps(copied).encode()
    inner = document
    for key in path[:-2]:
        inner = inner[key]
    before = inner[path[-2]]
    inner[path[-2]] = copy.copy(before)
    change(inner[path[-2]], path[-1])
    text = json.dumps(document).encode()
    inner[path[-2]] = before
    return text


def document_of(path: Path, names: tuple[str, ...]) -> Any:
    found = [content for member, content in members_of(path).items() if member.endswith(names)]
    if not found:
        pytest.skip(f"this torch writes no {names}")
    return json.loads(found[0])


@pytest.mark.parametrize(("name", "kind"), [(PROGRAM, "ExportedProgram"), (("weights_config.json",), "PayloadConfig")])
@pytest.mark.parametrize(
    "payload", [PAYLOAD, "builtins.eval", "os.system", "torch.ops.aten.from_file.default", "s0.__class__"]
)
def test_no_text_reaches_torch_unread(name: tuple[str, ...], kind: str, payload: str, originals: Path) -> None:
    document = document_of(originals / "net.pt2", name)
    kinds = {kind_of(path) for path in leaves(document)}
    document = smallest(document)
    canonical_json(json.dumps(document).encode(), kind)
    places = {kind_of(path): path for path in leaves(document)}
    assert places.keys() == kinds
    assert len(places) > 10

    def replace(inner: Any, part: Any) -> None:
        inner[part] = payload

    def rename(inner: Any, part: Any) -> None:
        inner[payload] = inner.pop(part)

    passed = set()
    for place, path in places.items():
        for change in (replace, rename) if isinstance(path[-1], str) else (replace,):
            try:
                written, _ = canonical_json(changed(document, path, change), kind)
            except ValueError:
                continue
            if payload.encode() in written:
                passed.add(place)
    # Where texts are arguments of operators they are quoted; a dotted name may be that of an attribute.
    arguments = {place for place in passed if place.endswith("as_string")}
    attributes = {place for place in passed if re.search(r"_name$|fqn$|config/|torch_version", place)}
    assert passed - arguments - (attributes if "(" not in payload and "__" not in payload else set()) == set()


@pytest.mark.parametrize(
    "structure",
    [
        [1, {"type": "builtins.tuple", "context": '{"__enum__": true, "fqn": "os:x", "name": "y"}', "children_spec": []}],
        [1, {"type": "builtins.dict", "context": "[\"x': __import__('os').mkdir('executed')\"]", "children_spec": []}],
        [1, {"type": "collections.namedtuple", "context": '"evil.Type"', "children_spec": []}],
        [1, {"type": "collections.deque", "context": "1", "children_spec": []}],
        [1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "os.x", "context": "null", "children_spec": []}]}],
        [2, {"type": None, "context": None, "children_spec": []}],
        [1, {"type": None, "context": None, "children_spec": [], "__enum__": True, "fqn": "os:x"}],
        [1, {"type": None, "context": None, "children_spec": [1]}],
        {"__enum__": True, "fqn": "os:x", "name": "y"},
        [1, {"type": ["builtins.tuple"], "context": "null", "children_spec": []}],
    ],
)  # fmt: skip
def test_structures_that_torch_would_import(structure: Any) -> None:
    with pytest.raises(ValueError, match=r"inputs or outputs are|input or output is"):
        canonical_structure(json.dumps(structure))


def test_names_that_are_there_twice_in_json() -> None:
    # Readers take the first or the last of them.
    with pytest.raises(ValueError, match="a name is there twice"):
        canonical_json(b'{"graph_module": 1, "graph_module": 2}', "ExportedProgram")
    with pytest.raises(ValueError, match="a name is there twice"):
        canonical_structure('[1, {"type": null, "type": "os.x", "context": null, "children_spec": []}]')


@pytest.mark.parametrize(
    "text",
    [
        PAYLOAD, "exec(chr(112))", "s0.__class__", "Symbol('s0').func", "(lambda: s0)()", "s0 if s0 else s0", "[s0]",
        "Symbol('x y')", "Symbol('s0', integer=exec)", "Symbol('s0', name='s1')", "Function('f')(s0)", "S('s0')", "sympify('s0')",
        "Float('x')", "Float('0.5', precision=exec(1))", "s0; s1", "s0\ns1", "s0 = 1", "s0, s1", "(s0,)", "'s0'", '"s0"', "f's0'",
        "1 < s0 < 3", "9**9**9", "9**99999", "(9**60)**60", "Pow(Pow(9, 60), 60)", "LShift(1, 10**9)", "1 << 999999999",
        "1" * 50, "(" * 500 + "1" + ")" * 500, "-" * 500 + "1", "s0 + " * 9000 + "s0", "s٣", "ｅｘｅｃ(1)", "0x41", "1_000", "1.__class__",
        "1if 1 else 2", "Max()", "Max(s0=1)", "Max(*s0)", "@s0", "s0 and s1", "not s0", "u99999999999", "lambda0", "", "  ", "#", "s0#",
    ],
)  # fmt: skip
def test_texts_that_are_no_sizes(text: str) -> None:
    if text == "lambda0":
        assert canonical_size(text) == text
        return
    with pytest.raises(ValueError, match=r"."):
        canonical_size(text)


def test_pickles_are_written_anew(originals: Path) -> None:
    members = members_of(originals / "net.pt2")
    name = next(name for name in members if re.search(r"(sample|example)_inputs.*\.pt", name))
    images = torch.rand(1, 3, 4, 4)
    buffer = io.BytesIO()
    torch.save(((images,), {"note": "x"}), buffer, _use_new_zipfile_serialization=False)
    Path("net.pt2").write_bytes(zipped({**members, name: buffer.getvalue()}))
    written = members_of_buffer(verified_export(Path("net.pt2")))
    content = next(content for member, content in written.items() if re.search(r"_inputs.*\.pt", member))
    assert content.startswith(b"PK")
    assert not buffer.getvalue().startswith(b"PK")
    inputs, options = torch.load(io.BytesIO(content), weights_only=True)
    assert torch.equal(inputs[0], images)
    assert options == {"note": "x"}
    for hostile in (pickled(), pickle.dumps(Called()), pickle.dumps({"a": 1}, protocol=0)[:-1] + b"cos\nmkdir\n."):
        refused("export", zipped({**members, name: hostile}), ".*holds more than tensors, or is damaged")


def members_of_buffer(buffer: io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_objects_with_code_of_their_own_are_refused(originals: Path) -> None:
    members = members_of(originals / "net.pt2")
    name = next(name for name in members if name.endswith(PROGRAM))
    document = json.loads(members[name])
    thing = {"name": "thing", "class_fqn": "__torch__.torch.classes.own.Thing"}
    changes: list[Callable[[Any], object]] = [
        lambda program: program["graph_module"]["graph"]["custom_obj_values"].update(thing=thing),
        lambda program: program["graph_module"]["graph"]["inputs"].append({"as_custom_obj": thing}),
        lambda program: program["graph_module"]["signature"]["input_specs"].append(
            {"custom_obj": {"arg": thing, "custom_obj_name": "thing"}}
        ),
    ]
    for change in changes:
        hostile = copy.deepcopy(document)
        change(hostile)
        refused(
            "export",
            zipped({**members, name: json.dumps(hostile).encode()}),
            ".*(object with code of its own|is not read)",
        )


def test_an_object_of_another_library_in_a_script(originals: Path) -> None:
    members = members_of(originals / "net.pt")
    for name in (name for name in members if name.endswith(("/data.pkl", "/constants.pkl"))):
        hostile = members[name] + b"c__torch__.torch.classes.own.Thing\nThing\n."
        refused(
            "torchscript", zipped({**members, name: hostile}), "it holds an object of __torch__.torch.classes.own.Thing"
        )
