"""The help of the command: commands in groups, examples that the parsers accept, completion of shells."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_biastransfer.__main__ import _COMMANDS, main
from pytest_biastransfer.cli.command_help import Commands

NAMES = ("init", "scan", "list", "show", "report", "compare", "power")


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_commands_are_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_of(capsys)
    titles = [line for line in text.splitlines() if re.fullmatch(r"[a-z ]+:", line)]
    assert titles == ["options:", "begin:", "look at interventions:", "read reports:", "plan:", "examples:"]
    assert [line.split()[0] for line in text.splitlines() if re.match(r"  [a-z]+  +\w", line)] == list(NAMES)
    examples = text.partition("examples:")[2]
    assert max(map(len, text.removesuffix(examples).splitlines())) <= columns


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_command_can_be_typed(capsys: pytest.CaptureFixture[str], name: str) -> None:
    examples = re.findall(r"^  biastransfer (.+)$", help_of(capsys, name), re.MULTILINE)
    assert examples
    commands = Commands("biastransfer", "")
    for command in _COMMANDS:
        command.add_command(commands)
    for example in examples:
        assert commands.finished().parse_args(shlex.split(example)).command == name


def test_a_command_of_no_group_is_shown() -> None:
    commands = Commands("biastransfer", "")
    commands.add_parser("list", help="list them")
    commands.add_parser("new", help="do something new")
    assert (
        "look at interventions:\n  list  list them\n\nmore:\n  new   do something new"
        in commands.finished().format_help()
    )


@pytest.mark.skipif(importlib.util.find_spec("argcomplete") is None, reason="argcomplete is not installed")
def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    for line, expected in (("biastransfer sc", {"scan"}), ("biastransfer scan --max", {"--max-images"})):
        environment = os.environ | {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answers),
            "_ARGCOMPLETE_IFS": "\n",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "9",
        }
        subprocess.run([sys.executable, "-m", "pytest_biastransfer"], env=environment, check=True)
        assert {answer.strip() for answer in answers.read_text().splitlines()} == expected


def test_without_argcomplete_a_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert main(["list"]) == 0
    assert "yellow-square" in capsys.readouterr().out
