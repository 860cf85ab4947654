"""Fingerprints in other processes: they follow the files of the code, and nothing else."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_biastransfer.fingerprints import fingerprint
from tests.support.source_files import write_files

PROJECT = {
    "project/__init__.py": "",
    "project/model.py": """
import os

import project.deep
from project import maths
from project.base import Base
from project.blocks import scaled
from project.constants import FACTOR
from project.decorators import doubled
from project.tables import WEIGHTS

class Net(Base):
    def __call__(self, value):
        from project.local import shifted

        return shifted(scaled(value)) * FACTOR * WEIGHTS[0] + project.deep.inner.offset(value)

    @doubled
    def other(self, value):
        return maths.triple(value)
""",
    "project/base.py": "class Base:\n    def start(self):\n        return 1\n",
    "project/blocks.py": "from project.maths import double\n\ndef scaled(value):\n    return double(value)\n",
    "project/maths.py": "def double(value):\n    return 2 * value\n\ndef triple(value):\n    return 3 * value\n",
    "project/constants.py": "FACTOR = 2\n",
    "project/tables.py": "WEIGHTS = [1.0, 2.0]\n",
    "project/decorators.py": "def doubled(function):\n    return lambda *args: 2 * function(*args)\n",
    "project/local.py": "def shifted(value):\n    return value + 1\n",
    "project/deep/__init__.py": "from . import inner\n",
    "project/deep/inner.py": "def offset(value):\n    return 0 * value\n",
    "project/unrelated.py": "def unrelated():\n    return 1\n",
}
OF_NET = "import project.model; print(fingerprint(project.model.Net()))"


def run(directory: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # No bytecode: a file that is changed twice in a second would look unchanged to Python.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    code = f"from pytest_biastransfer.fingerprints import fingerprint\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def printed(directory: Path, code: str, **environment: str) -> str:
    done = run(directory, code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def print_of_net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return printed(write_files(tmp_path_factory.mktemp("original"), PROJECT), OF_NET)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("project/model.py", "scaled(value)", "scaled(-value)"),
        ("project/base.py", "return 1", "return 2"),
        ("project/blocks.py", "double(value)", "-double(value)"),
        ("project/maths.py", "2 * value", "3 * value"),
        ("project/maths.py", "3 * value", "4 * value"),
        ("project/decorators.py", "2 *", "3 *"),
        ("project/deep/inner.py", "0 *", "1 *"),
        ("project/constants.py", "2", "3"),
        ("project/tables.py", "1.0", "1.5"),
    ],
)
def test_a_change_in_any_file_of_the_users_that_decides_changes_the_fingerprint(
    file: str, old: str, new: str, tmp_path: Path, print_of_net: str
) -> None:
    assert old in PROJECT[file]
    write_files(tmp_path, PROJECT | {file: PROJECT[file].replace(old, new)})
    assert printed(tmp_path, OF_NET) != print_of_net


FLAT = {
    "net.py": "import sizes\nfrom tables import WEIGHTS\n\ndef net(value):\n    return WEIGHTS[0] * sizes.SIZE\n",
    "tables.py": "WEIGHTS = [1.0, 2.0]\n",
    "sizes.py": "SIZE = 3\n",
}


@pytest.mark.parametrize(("file", "old", "new"), [("tables.py", "1.0", "1.5"), ("sizes.py", "3", "4")])
def test_a_change_in_a_module_without_code_of_its_own_changes_the_fingerprint(
    file: str, old: str, new: str, tmp_path: Path
) -> None:
    code = "from net import net; print(fingerprint(net))"
    before = printed(write_files(tmp_path / "before", FLAT), code)
    after = write_files(tmp_path / "after", FLAT | {file: FLAT[file].replace(old, new)})
    assert printed(after, code) != before


def test_a_change_in_a_file_that_is_not_used_changes_nothing(tmp_path: Path, print_of_net: str) -> None:
    write_files(tmp_path, PROJECT | {"project/unrelated.py": "", "project/more.py": "X = 1\n", "readme.md": "x"})
    assert printed(tmp_path, OF_NET) == print_of_net


def test_another_place_another_time_and_compiled_files_change_nothing(tmp_path: Path, print_of_net: str) -> None:
    write_files(tmp_path, PROJECT)
    for path in tmp_path.rglob("*.py"):
        os.utime(path, (1, 1))
    compiled = {"PYTHONDONTWRITEBYTECODE": ""}
    assert [printed(tmp_path, OF_NET, **compiled) for _ in range(2)] == [print_of_net] * 2
    shutil.move(tmp_path / "project", tmp_path / "elsewhere" / "deeper" / "project")
    assert printed(tmp_path / "elsewhere" / "deeper", OF_NET) == print_of_net


FROM_THE_ENVIRONMENT = {
    "direct.py": """
import os
SCALE = float(os.environ["SCALE"])
def function(value):
    return value * SCALE
""",
    "inside.py": """
import os
SCALE = float(os.environ["SCALE"])
def function(value):
    return [SCALE * one for one in [value]]
""",
    "helper.py": "import direct\ndef function(value):\n    return direct.function(value)\n",
    "method.py": """
import os
SCALE = float(os.environ["SCALE"])
class Function:
    def __call__(self, value):
        return value * SCALE
function = Function()
""",
    "table.py": """
import json, os
TABLE = json.loads(os.environ["SCALE"])
SCALES = {"one": [TABLE]}
def function(value):
    return value * SCALES["one"][0]
""",
    "elsewhere.py": "from direct import SCALE\ndef function(value):\n    return value * SCALE\n",
    "qualified.py": "import direct\ndef function(value):\n    return value * direct.SCALE\n",
}


@pytest.mark.parametrize("module", sorted(name.removesuffix(".py") for name in FROM_THE_ENVIRONMENT))
def test_a_constant_from_the_environment_is_part_of_what_uses_it(module: str, tmp_path: Path) -> None:
    write_files(tmp_path, FROM_THE_ENVIRONMENT)
    code = f"from {module} import function; print(function(1.0), fingerprint(function))"
    (one, first), (two, second) = (printed(tmp_path, code, SCALE=scale).split() for scale in ("1", "2"))
    assert one != two
    assert first != second


@pytest.mark.parametrize("known_by", ["__version__", "metadata"])
def test_another_version_of_a_library_changes_what_comes_from_it(known_by: str, tmp_path: Path) -> None:
    found = []
    for version in ("1.0", "2.0"):
        base = tmp_path / version
        place = printed(tmp_path, "import site; print(site.getusersitepackages())", PYTHONUSERBASE=str(base))
        text = f"__version__ = {version!r}\n" if known_by == "__version__" else ""
        metadata = f"Metadata-Version: 2.1\nName: somelibrary\nVersion: {version}\n"
        write_files(
            Path(place),
            {
                "somelibrary/__init__.py": text + "from somelibrary.layers import act\n",
                "somelibrary/layers.py": "from somelibrary import maths\n\ndef act(value):\n"
                "    return maths.times(value)\n",
                "somelibrary/maths.py": f"def times(value):\n    return {version} * value\n",
                f"somelibrary-{version}.dist-info/METADATA": metadata,
                f"somelibrary-{version}.dist-info/top_level.txt": "somelibrary\n",
                f"somelibrary-{version}.dist-info/RECORD": "somelibrary/__init__.py,,\n",
            },
        )
        code = "import somelibrary; print(fingerprint(somelibrary.act))"
        found.append(printed(tmp_path, code, PYTHONUSERBASE=str(base), PYTHONPATH=place))
    assert found[0] != found[1]


def test_code_typed_into_a_session_is_told_by_what_it_does(tmp_path: Path) -> None:
    typed = "class Typed:\n    def own(self): return {}\nprint(fingerprint(Typed()))"
    found = [printed(tmp_path, typed.format(result)) for result in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_code_of_a_script_is_its_file(tmp_path: Path) -> None:
    script = (
        "from pytest_biastransfer.fingerprints import fingerprint\n"
        "def own(value):\n    return {}\n"
        "print(fingerprint(own))\n"
    )
    found = []
    for name, result in (("one.py", 1), ("two.py", 1), ("three.py", 2)):
        path = write_files(tmp_path, {name: script.format(result)}) / name
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1] != found[2]


ZOO = {
    "zoo.py": """
import enum, functools, pathlib
import numpy as np
import torch
from torch import nn

class Kind(enum.Enum):
    FIRST = "first"

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.names = {"dog", "cat", "bird"}

    def forward(self, images):
        return self.layers(images) if "dog" in {"dog", "cat", "bird"} else images

def closure(words):
    return lambda word: word in words and word in {"a", "b", "c"}

def make():
    torch.manual_seed(0)
    return {
        "texts": {"a", "b", "c", "é"},
        "frozen": frozenset({("a", 1), ("b", 2), None}),
        "mapping": {"a": [1.0, True], 2: {"x", "y"}},
        "closure": closure({"one", "two", "three"}),
        "method": Net().forward.__func__,
        "enum": Kind.FIRST,
        "path": pathlib.PurePosixPath("a/b"),
        "array": np.arange(6).reshape(2, 3),
        "tensor": torch.rand(3),
        "module": Net(),
        "partial": functools.partial(nn.functional.gelu, approximate="tanh"),
        "class": Net,
    }
"""
}


def test_equal_content_has_the_same_fingerprint_in_another_process_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write_files(tmp_path / "here", ZOO))
    zoo = importlib.import_module("zoo")
    here = {name: fingerprint(one) for name, one in zoo.make().items()}
    del sys.modules["zoo"]
    code = "import json, zoo; print(json.dumps({name: fingerprint(one) for name, one in zoo.make().items()}))"
    # Another seed of the hashes orders sets in another way.
    there = json.loads(printed(write_files(tmp_path / "there" / "deeper", ZOO), code, PYTHONHASHSEED="1"))
    assert here == there
    assert len(set(here.values())) == len(here)
