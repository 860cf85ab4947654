"""Which code is whose, and what identifies it: installed packages by their RECORD, one's own by its files."""

from __future__ import annotations

import base64
import hashlib
import importlib
import py_compile
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_biastransfer.fingerprints import fingerprint
from tests.support.source_files import write_files

NET = "SCALE = {scale}\n\n\nclass Net:\n    def __call__(self, value):\n        return value * {scale}\n"


def install(site: Path, name: str, code: str, **more: str) -> Path:
    """Install a package of one module into a directory as pip does, always with the same version."""
    site.mkdir(parents=True, exist_ok=True)
    files = {f"{name}/__init__.py": code, **more}
    files[f"{name}-1.0.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    write_files(site, files)
    lines = [f"{file},{digest((site / file).read_bytes())},{len(content)}" for file, content in files.items()]
    record = f"{name}-1.0.dist-info/RECORD"
    (site / record).write_text("\n".join([*lines, f"{record},,", f"{name}/__pycache__/__init__.cpython-311.pyc,,\n"]))
    return site


def digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def print_of(*path: Path, code: str = "import petnets; made = petnets.Net()") -> str:
    """Return the fingerprint of what the code makes, as a process with these places on its path would see it."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = map(str, path)
    importlib.invalidate_caches()
    names: dict[str, Any] = {}
    try:
        exec(code, names)
        return fingerprint(names["made"])
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            del sys.modules[name]


def in_site_packages(directory: Path, scale: int) -> Path:
    return install(directory / "lib/python3.11/site-packages", "petnets", NET.format(scale=scale))


def in_a_layer(directory: Path, scale: int) -> Path:
    # As `uv run --with` and the modules of a cluster add them.
    return install(directory / "layer", "petnets", NET.format(scale=scale))


def beside_nothing(directory: Path, scale: int) -> Path:
    return write_files(directory, {"petnets/__init__.py": NET.format(scale=scale)})


def of_a_source_directory(directory: Path, scale: int) -> Path:
    metadata = "Metadata-Version: 2.1\nName: petnets\nVersion: 1.0\n"
    write_files(
        directory, {"src/petnets.egg-info/PKG-INFO": metadata, "src/petnets.egg-info/top_level.txt": "petnets\n"}
    )
    return write_files(directory / "src", {"petnets/__init__.py": NET.format(scale=scale)})


def without_a_record(directory: Path, scale: int) -> Path:
    # As Debian installs.
    site = install(directory / "dist-packages", "petnets", NET.format(scale=scale))
    (site / "petnets-1.0.dist-info/RECORD").unlink()
    return site


def without_hashes(directory: Path, scale: int) -> Path:
    site = install(directory / "site-packages", "petnets", NET.format(scale=scale))
    (site / "petnets-1.0.dist-info/RECORD").write_text("petnets/__init__.py,,\npetnets-1.0.dist-info/METADATA,,\n")
    return site


def as_a_zip(directory: Path, scale: int) -> Path:
    source = beside_nothing(directory / "source", scale)
    return zipped(source, directory / "mods.zip")


def as_a_zipped_wheel(directory: Path, scale: int) -> Path:
    return zipped(install(directory / "source", "petnets", NET.format(scale=scale)), directory / "petnets-1.0.whl")


def zipped(source: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*")):
            file.write(path, path.relative_to(source))
    return archive


def compiled_only(directory: Path, scale: int) -> Path:
    site = install(directory / "site-packages", "petnets", NET.format(scale=scale))
    py_compile.compile(str(site / "petnets/__init__.py"), str(site / "petnets/__init__.pyc"), dfile="petnets")
    (site / "petnets/__init__.py").unlink()
    shutil.rmtree(site / "petnets-1.0.dist-info")
    return site


def as_a_namespace(directory: Path, scale: int) -> Path:
    install(directory / "site", "pets", "", **{"zoo/nets.py": NET.format(scale=scale)})
    return install(directory / "site", "others", "", **{"zoo/more.py": "X = 1\n"})


def from_a_directory(directory: Path, scale: int) -> Path:
    # As `pip install .` notes it.
    site = in_site_packages(directory, scale)
    (site / "petnets-1.0.dist-info/direct_url.json").write_text('{"dir_info": {}, "url": "file:///anywhere"}')
    return site


def by_a_pth_file(directory: Path, scale: int) -> Path:
    install(directory / "overlay", "petnets", NET.format(scale=scale))
    return write_files(directory / "site", {"overlay.pth": f"{directory / 'overlay'}\n"})


@pytest.mark.parametrize(
    "make",
    [
        in_site_packages,
        in_a_layer,
        beside_nothing,
        of_a_source_directory,
        without_a_record,
        without_hashes,
        as_a_zip,
        as_a_zipped_wheel,
        compiled_only,
        from_a_directory,
    ],
)
def test_other_code_of_the_same_version_is_another_model(make: Callable[[Path, int], Path], tmp_path: Path) -> None:
    first, again, other = (make(tmp_path / name, scale) for name, scale in (("a", 1), ("b", 1), ("c", 2)))
    prints = [print_of(path) for path in (first, again, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_package_without_a_file_of_its_own_is_that_of_its_modules(tmp_path: Path) -> None:
    code = "import zoo.nets; made = zoo.nets.Net()"
    directories = [as_a_namespace(tmp_path / str(number), scale) for number, scale in enumerate((1, 1, 2))]
    prints = [print_of(directory, code=code) for directory in directories]
    assert prints[0] == prints[1] != prints[2]


def test_a_directory_that_a_pth_file_adds_counts_as_any_other(tmp_path: Path) -> None:
    code = "import site; site.addsitedir({directory!r}); import petnets; made = petnets.Net()"
    directories = [by_a_pth_file(tmp_path / str(number), scale) for number, scale in enumerate((1, 1, 2))]
    prints = [print_of(code=code.format(directory=str(directory))) for directory in directories]
    assert prints[0] == prints[1] != prints[2]


def test_another_installer_and_compiled_files_change_nothing(tmp_path: Path) -> None:
    first, other = (install(tmp_path / name, "petnets", NET.format(scale=1)) for name in "ab")
    record = other / "petnets-1.0.dist-info/RECORD"
    lines = [line for line in record.read_text().splitlines() if "__pycache__" not in line]
    record.write_text(
        "\n".join(["../../../bin/petnets,sha256=x,9", "petnets-1.0.dist-info/INSTALLER,sha256=y,3", *lines])
    )
    (other / "petnets-1.0.dist-info/INSTALLER").write_text("uv\n")
    assert print_of(first) == print_of(other)


def test_a_file_that_was_edited_where_it_is_installed_is_another_model(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "petnets", NET.format(scale=1))
    before = print_of(site)
    (site / "petnets/__init__.py").touch()
    assert print_of(site) == before
    (site / "petnets/__init__.py").write_text(NET.format(scale=2))
    assert print_of(site) != before


def test_a_file_that_lies_beside_an_installed_package_is_the_users(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "petnets", "from petnets.own import Net\n")
    prints = []
    for scale in (1, 2):
        write_files(site, {"petnets/own.py": NET.format(scale=scale)})
        prints.append(print_of(site))
    assert prints[0] != prints[1]


def test_an_extension_module_counts_by_its_record(tmp_path: Path) -> None:
    prints = []
    for number, content in enumerate(("one", "two")):
        code = NET.format(scale=1)
        site = install(tmp_path / str(number), "petnets", code, **{"petnets/_fast.cpython-311.so": content})
        prints.append(print_of(site))
    assert prints[0] != prints[1]


def test_a_constant_of_an_installed_module_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os\nSCALES = [float(os.environ.get('SCALE', 1))]\n\n\n"
        "class Net:\n    def __call__(self, value):\n        return value * SCALES[0]\n"
    )
    site = install(tmp_path / "site", "petnets", code)
    prints = []
    for scale in ("1", "1", "2"):
        monkeypatch.setenv("SCALE", scale)
        prints.append(print_of(site))
    assert prints[0] == prints[1] != prints[2]


LAZY = {
    "from heads import pool": "heads.py",
    "import heads as other; pool = other.pool": "heads.py",
    "import importlib; pool = importlib.import_module('heads').pool": "heads.py",
    "pool = __import__('heads').pool": "heads.py",
    "from parts.heads import pool": "parts/heads.py",
    "from parts import pool": "parts/__init__.py",
}


@pytest.mark.parametrize("statement", LAZY)
def test_a_module_that_is_imported_inside_a_function_counts(statement: str, tmp_path: Path) -> None:
    net = f"def net(value):\n    {statement}\n    return pool(value)\n"
    prints = []
    for scale in (1, 2):
        files = {
            "nets.py": net,
            "parts/__init__.py": "",
            LAZY[statement]: f"def pool(value):\n    return value * {scale}\n",
        }
        place = write_files(tmp_path / str(scale), files)
        prints.append(print_of(place, code="from nets import net as made"))
        # Whether it was imported already decides nothing.
        assert print_of(place, code="from nets import net as made; assert made(1)") == prints[-1]
    assert prints[0] != prints[1]


def test_a_module_that_was_made_by_code_is_told_by_what_it_does() -> None:
    code = (
        "import sys, types\nmodule = types.ModuleType('of_code'); sys.modules['of_code'] = module\n"
        "exec('SCALE = {}\\ndef net(value): return value * SCALE', vars(module))\nmade = module.net"
    )
    prints = [print_of(code=code.format(scale)) for scale in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]
