"""A file is whole or not there, also where readers keep it open."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_biastransfer.store import atomic_files
from pytest_biastransfer.store.atomic_files import atomic_write, replace_file


class Open(type(Path())):  # type: ignore[misc]
    """A file that cannot be renamed while the target is open, as on Windows."""

    closed = threading.Event()

    def replace(self, target: Path) -> Path:
        if not self.closed.is_set():
            raise PermissionError(13, "The process cannot access the file")
        return Path(self).rename(target)


@pytest.fixture
def new(tmp_path: Path) -> Open:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    Open.closed.clear()
    return Open(tmp_path / "new")


def test_on_windows_a_reader_is_waited_for(new: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_files, "_ATTEMPTS", 200)
    reader = threading.Timer(0.12, Open.closed.set)
    reader.start()
    replace_file(new, tmp_path / "old")
    reader.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old": "new"}


def test_a_file_that_stays_open_is_an_error(new: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_files, "_ATTEMPTS", 2)
    with pytest.raises(PermissionError, match="cannot access"):
        replace_file(new, tmp_path / "old")
    assert (tmp_path / "old").read_text() == "old"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "directory" / "content").mkdir(parents=True)
    with pytest.raises(OSError), atomic_write(tmp_path / "directory") as file:  # noqa: PT011 - it differs by system
        file.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
