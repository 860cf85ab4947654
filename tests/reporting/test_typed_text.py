"""What is printed to be typed: commands and paths that mean the same to the shells of each system."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_biastransfer.plain_text import command_line, path_from

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@given(st.lists(st.text(CHARACTERS | st.sampled_from("""\\'"$`! []""")), min_size=1))
@example(["C:\\data\\"])
@example(["\\\\server\\data", ""])
def test_a_shell_of_posix_reads_the_words(words: list[str]) -> None:
    assert shlex.split(command_line(words)) == words


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("tests/test_pets.py::test_bias", "tests/test_pets.py::test_bias"),
        ("test_pets.py::test_bias[a b]", '"test_pets.py::test_bias[a b]"'),
        (
            "--model=checkpoint:C:\\pets.pt?arch=a&num_classes=2",
            '"--model=checkpoint:C:\\pets.pt?arch=a&num_classes=2"',
        ),
        # Between double quotes, shells would replace it.
        ("test_it[$HOME]", "'test_it[$HOME]'"),
    ],
)
def test_quotes_are_those_that_windows_knows_too(word: str, typed: str) -> None:
    assert command_line([word]) == typed


def test_a_path_has_slashes_and_leads_to_no_other_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_from(tmp_path / "a" / "b", tmp_path / "c") == "../a/b"

    def of_windows(path: str, start: str) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(os.path, "relpath", of_windows)
    assert path_from(tmp_path / "a", tmp_path / "c") == (tmp_path / "a").as_posix()
