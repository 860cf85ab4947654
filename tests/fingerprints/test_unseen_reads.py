"""Code that may open files below Python counts where a class can reach it; where that cannot be told, it always does."""

from __future__ import annotations

import ctypes
import importlib.machinery
import random
import sys
from pathlib import Path

import pytest

from pytest_biastransfer.fingerprints.imports import Module
from pytest_biastransfer.fingerprints.unseen_reads import UnseenRead, unseen_read

HEAD = """
import ctypes
import torch

class Plain:
    pass

def read(path):
    return ctypes.CDLL(path)  # here

"""


def search(tmp_path: Path, *start: str, **texts: str) -> UnseenRead | None:
    """Return what `net:Net`, or another start, reaches in modules."""
    code = {}
    for module, text in texts.items():
        name = module.replace("__", ".")
        file = tmp_path / f"{module}.py"
        file.write_text(text)
        code[name] = Module(name, str(file), None)
    return unseen_read(code, start or ["net:Net"])


def line_of(text: str, marker: str = "# here") -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if marker in line)


REACHED = {
    "called by a method": "class Net:\n    def forward(self):\n        return read('weights')\n",
    "called by a helper": "def helper():\n    return read('w')\nclass Net:\n    def forward(self):\n        helper()\n",
    "alias": "other = read\nclass Net:\n    def forward(self):\n        other('w')\n",
    "alias in a function": "class Net:\n    def forward(self):\n        other = read\n        other('w')\n",
    "base class": "class Base:\n    def forward(self):\n        read('w')\nclass Net(Base):\n    pass\n",
    "base of a base": "class A:\n    x = lambda self: read('w')\nclass B(A):\n    pass\nclass Net(B):\n    pass\n",
    "closure": "def outer():\n    def inner():\n        return read('w')\n    return inner\nclass Net:\n    act = outer()\n",
    "factory's closure": "def Net():\n    def inner():\n        return read('w')\n    return inner\n",
    "dictionary": "ACTS = {'read': read}\nclass Net:\n    def forward(self, name):\n        ACTS[name]('w')\n",
    "filled dictionary": "ACTS = {}\nACTS['read'] = read\nclass Net:\n    def forward(self, name):\n        ACTS[name]('w')\n",
    "decorator": "def reading(cls):\n    read('w')\n    return cls\n@reading\nclass Net:\n    pass\n",
    "decorator with arguments": "def d(f):\n    return lambda c: c\n@d(read)\nclass Net:\n    pass\n",
    "decorator of a method": "def d(f):\n    return read\nclass Net:\n    @d\n    def forward(self):\n        pass\n",
    "registering decorator": "ALL = []\ndef add(f):\n    ALL.append(f)\n@add\ndef hidden():\n    read('w')\nclass Net:\n    def forward(self):\n        ALL[0]()\n",
    "default argument": "class Net:\n    def forward(self, reader=read):\n        reader('w')\n",
    "default of another function": "def other(reader=read('w')):\n    pass\nclass Net:\n    pass\n",
    "keyword default": "class Net:\n    def forward(self, *, reader=read):\n        reader('w')\n",
    "comprehension": "class Net:\n    def forward(self):\n        return [read(path) for path in 'ab']\n",
    "lambda": "class Net:\n    reader = lambda self: read('w')\n",
    "partial": "import functools\nclass Net:\n    reader = functools.partial(read, 'w')\n",
    "partial as a factory": "import functools\nclass Other:\n    def __init__(self):\n        read('w')\nNet = functools.partial(Other)\n",
    "nested function": "class Net:\n    def forward(self):\n        def inner():\n            def innermost():\n                return read('w')\n        inner()\n",
    "monkeypatching": "class Net:\n    pass\nNet.forward = read\n",
    "setattr": "class Net:\n    pass\nsetattr(Net, 'forward', read)\n",
    "instance": "class Reader:\n    def __call__(self):\n        read('w')\nREADER = Reader()\nclass Net:\n    def forward(self):\n        READER()\n",
    "class that a text names": "class Reader:\n    def go(self):\n        read('w')\nclass Net:\n    reader: 'Reader'\n",
    "subclass hook": "class Base:\n    kinds = []\n    def __init_subclass__(cls):\n        Base.kinds.append(cls)\nclass Reader(Base):\n    def go(self):\n        read('w')\nclass Net(Base):\n    def forward(self):\n        Base.kinds[0]().go()\n",
    "metaclass": "class Meta(type):\n    def __new__(meta, *rest):\n        return super().__new__(meta, *rest)\n    def __init__(cls, *rest):\n        Meta.all = cls\nclass Base(metaclass=Meta):\n    pass\nclass Reader(Base):\n    def go(self):\n        read('w')\nclass Net:\n    def forward(self):\n        Meta.all().go()\n",
    "branch": "try:\n    helper = None\nexcept ImportError:\n    pass\nelse:\n    def helper():\n        return read('w')\nclass Net:\n    def forward(self):\n        helper()\n",
    "loop at import": "for one in [read]:\n    pass\nclass Net:\n    pass\n",
    "else of the main guard": "if __name__ == '__main__':\n    pass\nelse:\n    read('w')\nclass Net:\n    pass\n",
    "global of a function": "def setup():\n    global reader\n    from ctypes import CDLL as reader\nclass Net:\n    def __init__(self):\n        setup()\n        reader('w')  # here\n",
    "string for getattr": "class Net:\n    def forward(self):\n        return getattr(ctypes, 'CDLL')\n",
    "import in a method": "class Net:\n    def forward(self):\n        from ctypes import CDLL as c\n        return c('w')  # here\n",
    "match": "def Net(kind):\n    match kind:\n        case {'a': 1}:\n            return read('w')\n",
    "property": "class Net:\n    @property\n    def weights(self):\n        return read('w')\n",
    "conditional expression": "def Net(kind):\n    return (read if kind else None)('w')\n",
    "cached function": "import functools\n@functools.cache\ndef cached():\n    return read('w')\nclass Net:\n    def forward(self):\n        cached()\n",
    "brackets of a class": "class Base:\n    def __class_getitem__(cls, item):\n        cls.go = read\ndef other(x: Base['a']) -> None:\n    pass\nclass Net(Base):\n    pass\n",
    "call in an annotation": "def kind():\n    read('w')\ndef other(x: kind()):\n    pass\nclass Net:\n    pass\n",
    "layer that torch calls": "class Layer(torch.nn.Module):\n    def forward(self, x):\n        return read(x)\nclass Net(torch.nn.Module):\n    def __init__(self):\n        self.layer = Layer()\n",
}  # fmt: skip

UNRESOLVED = {
    "getattr": "class Net:\n    def forward(self, name):\n        getattr(torch, name)\n",
    "getattr as an object": "import functools\nclass Net:\n    def forward(self, names):\n        functools.reduce(getattr, names, self)\n",
    "globals": "class Net:\n    def forward(self, name):\n        globals()[name]('w')\n",
    "exec": "class Net:\n    def forward(self, code):\n        exec(code)\n",
    "eval": "ACT = eval('re' + 'ad')\nclass Net:\n    pass\n",
    "module by name": "import importlib\nclass Net:\n    def forward(self, name):\n        importlib.import_module(name)\n",
    "sys.modules": "import sys\nclass Net:\n    def forward(self):\n        sys.modules['net']\n",
    "sys of another module": "import os\nclass Net:\n    def forward(self):\n        os.sys.modules['net']\n",
    "module as an object": "import sys as system\nclass Net:\n    def forward(self):\n        use(system)\n",
    "subclasses": "class Net:\n    def forward(self):\n        type(self).__subclasses__()\n",
    "star": "from os.path import *\nclass Net:\n    pass\n",
    "half of pickle": "import _pickle\nclass Net:\n    def forward(self, file):\n        _pickle.Unpickler(file)\n",
    "pickle": "import pickle\nclass Net:\n    def forward(self, file):\n        pickle.load(file)\n",
    "unknown library": "import somelibrary\nclass Net:\n    def forward(self, name):\n        somelibrary.instantiate(name)\n",
    "unknown decorator": "import click\n@click.command()\ndef main():\n    pass\nclass Net:\n    pass\n",
    "a name that is not there": "Other = 1\n",
}  # fmt: skip

BESIDE = {
    "main": "def main():\n    return read('w')\nclass Net(torch.nn.Module):\n    pass\nif __name__ == '__main__':\n    main()\n",
    "another class": "class Photos(torch.utils.data.Dataset):\n    def __getitem__(self, index):\n        return read(index)\nclass Net(torch.nn.Module):\n    def __init__(self):\n        self.layer = torch.nn.Linear(2, 2)\n",
    "comment": "class Net:\n    pass  # not as CDLL\n",
    "docstring": "class Net:\n    'Unlike CDLL.'\n    def forward(self):\n        'Does not read.'\n",
    "list of exports": "__all__ = ['Net', 'read']\nclass Net:\n    pass\n",
    "own attributes": "class Net:\n    def forward(self, number):\n        return getattr(self, f'layer{number}')\n",
    "own decorators": "import functools\n@functools.lru_cache(maxsize=2)\ndef cached():\n    return read('w')\n@torch.no_grad()\ndef evaluate():\n    read('w')\nclass Net:\n    pass\n",
    "subclass of another": "class Base:\n    pass\nclass Reader(Base):\n    def go(self):\n        read('w')\nclass Net(Base):\n    pass\n",
    "annotations": "def show(image: torch.Tensor) -> None:\n    read(image)\nclass Net:\n    width: int = 3\n",
}  # fmt: skip


@pytest.mark.parametrize("case", REACHED)
def test_what_a_class_can_reach_counts(case: str, tmp_path: Path) -> None:
    text = HEAD + REACHED[case]
    mention = search(tmp_path, net=text)
    assert mention is not None
    assert (mention.name, mention.file) == ("CDLL", str(tmp_path / "net.py"))
    line = text.splitlines()[mention.line - 1]
    assert "# here" in line or "CDLL" in line


@pytest.mark.parametrize("case", UNRESOLVED)
def test_where_it_cannot_be_told_everything_counts(case: str, tmp_path: Path) -> None:
    text = HEAD + UNRESOLVED[case]
    assert search(tmp_path, net=text) == UnseenRead("CDLL", str(tmp_path / "net.py"), line_of(text))


@pytest.mark.parametrize("case", BESIDE)
def test_what_it_cannot_reach_does_not_count(case: str, tmp_path: Path) -> None:
    text = HEAD + BESIDE[case]
    assert search(tmp_path, net=text) is None
    assert search(tmp_path, "net", net=text) is not None, "of a whole module everything counts"


def test_what_is_reached_in_other_modules_counts(tmp_path: Path) -> None:
    parts = HEAD + "def other():\n    pass\nclass Base:\n    def forward(self):\n        read('w')\n"
    here = UnseenRead("CDLL", str(tmp_path / "parts.py"), line_of(parts))
    for net in (
        "from parts import read\nclass Net:\n    forward = read\n",
        "from parts import read as other\nclass Net:\n    forward = other\n",
        "from parts import Base\nclass Net(Base):\n    pass\n",
        "import parts\nclass Net(parts.Base):\n    pass\n",
        "import parts as p\nclass Net:\n    def forward(self):\n        p.read('w')\n",
        "from parts import Base as Net\n",
        "import parts\nclass Net:\n    def forward(self):\n        use(parts)\n",
        "from parts import *\nclass Net:\n    pass\n",
        "from parts import missing\nclass Net:\n    forward = missing\n",
        "import parts\nclass Net:\n    def forward(self):\n        parts.other = 1\n        parts.__dict__['read']('w')\n",
        "class Net:\n    pass\n",
    ):
        assert search(tmp_path, net=net, parts=parts) == here, net
    for net in (
        "from parts import other\nclass Net:\n    forward = other\n",
        "import parts\nclass Net:\n    def forward(self):\n        parts.other('w')\n",
        "def main():\n    import parts\nclass Net:\n    pass\n",
    ):
        assert search(tmp_path, net=net, parts=parts) is None, net


def test_names_that_are_passed_on_are_followed(tmp_path: Path) -> None:
    middle = "from ctypes import CDLL as load_it\nfrom parts import read as r\n"
    for name in ("load_it", "r"):
        net = f"from middle import {name}\nclass Net:\n    def forward(self):\n        {name}('w')\n"
        mention = search(tmp_path, net=net, middle=middle, parts=HEAD)
        assert mention is not None
        assert mention.name == "CDLL"
    circle = {"net": "from parts import name\nNet = name\n", "parts": "from net import name\n# CDLL\n"}
    assert search(tmp_path, **circle) is None


def test_a_module_that_makes_its_attributes_is_followed(tmp_path: Path) -> None:
    parts = HEAD + "def __getattr__(name):\n    return read\n"
    assert search(tmp_path, net="import parts\nclass Net:\n    x = parts.anything\n", parts=parts) is not None


def test_submodules_are_followed(tmp_path: Path) -> None:
    texts = {"pkg": "", "pkg__parts": HEAD, "net": "import pkg.parts\nclass Net:\n    forward = pkg.parts.read\n"}
    assert search(tmp_path, **texts) is not None
    assert search(tmp_path, **{**texts, "net": "import pkg.parts\nclass Net:\n    forward = pkg.parts.Plain\n"}) is None


def test_relative_imports_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("from .parts import read\n")
    (package / "parts.py").write_text(HEAD)

    def reached(net: str) -> bool:
        (package / "net.py").write_text(net)
        code = {"pkg": Module("pkg", str(package / "__init__.py"), None, (str(package),))}
        code |= {f"pkg.{name}": Module(f"pkg.{name}", str(package / f"{name}.py"), None) for name in ("net", "parts")}
        return unseen_read(code, ["pkg.net:Net"]) is not None

    assert reached("from .parts import read\nclass Net:\n    forward = read\n")
    assert reached("from . import parts\nclass Net:\n    forward = parts.read\n")
    assert reached("from . import read\nclass Net:\n    forward = read\n")
    assert reached("import pkg\nclass Net:\n    forward = pkg.read\n")
    assert reached("from .. import parts\nclass Net:\n    forward = parts.read\n"), "it is not there"
    assert not reached("from .parts import Plain\nclass Net(Plain):\n    pass\n")


def test_the_module_that_python_was_started_with_runs_its_main_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEAD + BESIDE["main"]
    assert search(tmp_path, net=text) is None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", importlib.machinery.ModuleSpec("net", None))
    assert search(tmp_path, net=text) is not None


def test_code_without_source_counts_as_a_whole(tmp_path: Path) -> None:
    assert search(tmp_path, net="class Net:\n    pass\n", other="CDLL = = 1") == UnseenRead(
        "CDLL", str(tmp_path / "other.py"), 1
    )


class Calls(Exception):
    """A file was opened."""


def random_module(generator: random.Random) -> str:
    """Return a module in which functions and classes call each other in many ways, and one of them opens a file."""
    names = [f"f{number}" for number in range(generator.randint(3, 8))]
    blocks = ["import ctypes\nimport functools\nTABLE = {}\n"]
    for number, name in enumerate(names):
        earlier = names[:number]
        used = generator.choice(earlier) if earlier else None
        reads = "ctypes.CDLL('file')" if number == 0 else None
        ways = [
            "{used}()",
            "alias = {used}\n    alias()",
            "[{used}() for _ in range(1)]",
            "(lambda: {used}())()",
            "functools.partial({used})()",
            "inner()",
            "TABLE['{used}']()",
            "pass",
        ]
        way = "pass" if generator.random() < 0.3 else generator.choice(ways)
        body = reads or way.format(used=used)
        if body.startswith("inner"):
            body = f"def inner():\n        {used}()\n    {body}"
        default = f"g={used}" if used and generator.random() < 0.2 else ""
        if default and generator.random() < 0.5:
            body = "g()"
        kind = generator.choice(["function", "class", "subclass"]) if number else "function"
        if kind == "function":
            blocks.append(f"def {name}({default}):\n    {body}\n")
        else:
            method = body.replace("\n", "\n    ")
            base = "Base" if kind == "subclass" else "object"
            base_text = (
                f"class Base{number}:\n    def __init__(self):\n        {method}\n" if kind == "subclass" else ""
            )
            own = (
                "pass"
                if kind == "subclass"
                else f"def __init__(self{', ' + default if default else ''}):\n        {method}"
            )
            if default and kind == "subclass":
                base_text = base_text.replace("(self)", f"(self, {default})")
            blocks.append(f"{base_text}class {name}({base}{number if kind == 'subclass' else ''}):\n    {own}\n")
        if generator.random() < 0.4:
            blocks.append(f"TABLE['{name}'] = {name}\n")
        if generator.random() < 0.15 and number > 1:
            blocks.append(f"{name} = {generator.choice(earlier)}\n")
    blocks.append(f"def Net():\n    {generator.choice(names)}()\n")
    return "".join(blocks)


def test_whatever_opens_a_file_when_it_runs_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: str) -> None:
        raise Calls

    monkeypatch.setattr(ctypes, "CDLL", opened)
    outcomes = set()
    for seed in range(400):
        text = random_module(random.Random(seed))
        namespace: dict[str, object] = {"__name__": "net"}
        try:
            exec(text, namespace)
            namespace["Net"]()  # type: ignore[operator]
            opens = False
        except Calls:
            opens = True
        except KeyError:
            # A table without that entry.
            continue
        reached = search(tmp_path, net=text) is not None
        assert reached or not opens, text
        outcomes.add((opens, reached))
    assert {(True, True), (False, False)} <= outcomes, "both occur"
