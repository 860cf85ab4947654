"""Names of strangers move no cursor, turn no text around, and are no commands to who reads a log."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.errors import DatasetError, StoreWarning
from pytest_biastransfer.plain_text import in_one_line, shown
from pytest_biastransfer.plugin.failures import LimitExceeded
from tests.conftest import MODES, Run

# What terminals obey: colours, the cursor, the title, the clipboard, the clock back, other directions, other lines.
CONTROLS = [
    *("\x1b[31m", "\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;Y2F0\x07", "\r", "\b", "\0", "\x7f", "\x9b31m", "\x85"),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\u2029", "\u200b", "\ufeff", "\U000e0041", "\ud800", "\udc80"),
]
# What CI systems obey at the beginning of a line, after blanks, or anywhere.
COMMANDS = [
    "::error::x",
    "  ::warning file=a::x",
    "::add-mask::e",
    "::stop-commands::t",
    "##[error]x",
    "##vso[task.x]y",
]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_what_is_obeyed_is_escaped(control: str) -> None:
    text = f"cat{control}dog\nsecond line"
    for message in (shown(text), str(DatasetError(text)), str(StoreWarning(text)), str(LimitExceeded(text))):
        assert re.fullmatch(r"cat[ -~]+dog\nsecond line", message), message
        assert eval(f"'''{message}'''") == text
    assert "\n" not in in_one_line(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_a_command(command: str) -> None:
    for text in (command, f"cat\n{command}", f"cat {command[command.index('#') :]}" if "#" in command else command):
        assert not commands_in(shown(text)), shown(text)
    assert in_one_line(f"cat\n{command}").startswith("cat\\n")


def commands_in(text: str) -> list[str]:
    """Return the lines that GitHub, Azure or TeamCity take for commands in a log."""
    commands = []
    for line in re.split(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
        if line.strip().startswith("::") or re.search(r"##(\[|vso\[|teamcity\[)", line):
            commands.append(line)
    return commands


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat",
        "Zürich",
        "кошка",
        "猫",
        "नमस्ते",
        "می‌خواهم",
        "👩‍👧 family",
        "a\nb",
        "x::y",
        "test_a.py::test_b[c]",
        "# a",
        "## b",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


@given(st.text())
def test_whatever_is_shown_can_be_written_and_gives_no_command(text: str) -> None:
    printed = shown(text)
    printed.encode("utf-8")
    assert {unicodedata.category(letter) for letter in printed} - {"Cf"} == {
        unicodedata.category(letter) for letter in printed
    } - {"Cf", "Cc", "Cs", "Zl", "Zp"} | ({"Cc"} if "\n" in printed else set())
    assert not commands_in(printed)
    assert shown(printed) == printed
    assert "\n" not in in_one_line(text)


# --------------------------------------------------------------------------------------- whole sessions

HOSTILE = r"""
import pytest, torch
from conftest import BrightestChannel
from pytest_biastransfer import Model

EVIL = "red\x1b[31m\n::error::owned\u202e\n##[add-mask]e\r::stop-commands::x\udc80\ud83d\u2028::warning::w"

class Images(list):
    classes = [EVIL, "green", "blue"]

@pytest.fixture(scope="session")
def transferred_model():
    return Model(BrightestChannel(), classes=[EVIL, "green", "blue"], name="mo\ndel\x1b[2J\n::error::\udc80")

@pytest.fixture(scope="session")
def bias_dataset():
    import conftest
    groups = ["a\n::error::g\udc80", "b\x1b]0;x\x07"] * 10
    found = Images((image, label, {"group": group}) for (image, label), group in zip(conftest.images(), groups))
    found.name = EVIL
    return found

@pytest.mark.bias_intervention("yellow-square", max_asr=0)
def test_fails(): pass

@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_passes(bias):
    print(bias.most_gained.name, bias)

@pytest.mark.bias_intervention("grayscale", target="purple", max_targeted_asr=0)
def test_cannot_be(): pass

@pytest.mark.bias_intervention("grayscale", target=EVIL, max_targeted_asr=1)
def test_targets(): pass

@pytest.mark.bias_gap("group", metric="accuracy", max_gap=0.01, min_group_size=1)
def test_gap(): pass
"""


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_session_shows_names_and_obeys_none(
    run: Run, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    colors.makepyfile(test_hostile="")
    (colors.path / "test_hostile.py").write_text(HOSTILE)
    summary = colors.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run(
        *("--bias-report=r.html", "--bias-report=r.json", "--bias-report=r.md", "--bias-images=all"),
        *("--junitxml=j.xml", "-v", "-rA", "-p", "no:pytest_github_actions_annotate_failures"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, errors=1, passed=3)
    output = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in output
    assert r"red\x1b[31m\n" in output
    for text in (output, (colors.path / "r.md").read_text(), summary.read_text()):
        assert not commands_in(text)
        assert not [letter for letter in text if unicodedata.category(letter) in ("Cf", "Cs", "Zl", "Zp")]
        assert not [letter for letter in text if unicodedata.category(letter) == "Cc" and letter not in "\n\t"]
    page = (colors.path / "r.html").read_text()
    assert not [letter for letter in page if letter in "\x1b\u202e\u2028\udc80"]
    ElementTree.parse(colors.path / "j.xml")
    assert not [line for line in commands_in((colors.path / "j.xml").read_text()) if "owned" in line]


def test_annotations_are_the_only_commands(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (colors.path / "test_hostile.py").write_text(HOSTILE)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = colors.runpytest_inprocess(*MODES["no:xdist"], "-p", "no:pytest_github_actions_annotate_failures")
    commands = commands_in(result.stdout.str())
    assert commands, "annotations of our own are written"
    assert all(
        re.match(r"::error file=test_hostile\.py,line=\d+,title=test_hostile\.py[^:]*::", line) for line in commands
    )
    assert not [line for line in commands if "\x1b" in line or "\u202e" in line]


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_files_with_hostile_names(colors: pytest.Pytester) -> None:
    for label in ("cat\n::error::x", "dog\x1b[31m"):
        path = colors.path / "val" / label / "1\n::warning::y.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    colors.makepyfile(
        """
        import pytest
        @pytest.mark.bias_intervention("yellow-square", max_asr=0)
        def test_it(): pass
        """
    )
    conftest = Path(colors.path / "conftest.py")
    conftest.write_text(conftest.read_text().partition('@pytest.fixture(scope="session")\ndef bias_dataset')[0])
    result = colors.runpytest_inprocess("-pno:xdist", "-obias_dataset=imagefolder:val")
    assert not commands_in(result.stdout.str())
    assert "\x1b" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*cannot be read*"])
