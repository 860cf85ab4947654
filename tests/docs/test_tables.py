"""The generated parts of the reference are those of the code, and complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

import pytest_biastransfer
from docs.tables.errors import messages, messages_of
from docs.tables.markup import code, replaced
from docs.tables.options import declared
from docs.tables.pages import PAGES, page
from pytest_biastransfer import strategies, transfer
from pytest_biastransfer.__main__ import _COMMANDS, main
from pytest_biastransfer.names import MARKERS

DOCS: Final = Path(__file__).parents[2] / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert page(name, text(name)) == text(name), "the code changed: run python -m docs.tables"


def test_a_page_without_the_place_of_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"options\.md: expected one line <!-- table options"):
        page("options.md", "no table")
    with pytest.raises(ValueError, match=r"x\.md: expected <!-- end of table --> after the table a, found none"):
        replaced("x.md", "<!-- table a: python -m docs.tables -->\n", "a", "content")


def test_pytest_has_exactly_the_options_of_the_table(pytester: pytest.Pytester) -> None:
    documented = {flag for flags, _ in declared().options.values() for flag in re.findall(r"--bias-[a-z-]+", flags)}
    help_text = pytester.runpytest_inprocess("--help", "-p", "no:xdist").stdout.str()
    assert documented == set(re.findall(r"^ +(--bias-[a-z-]+)", help_text, re.MULTILINE))


def test_every_key_of_the_ini_file_is_in_the_table(pytestconfig: pytest.Config) -> None:
    keys = {key for key in pytestconfig._parser._inidict if key.startswith("bias_")}
    assert keys == set(declared().ini)
    assert all(f"`{key}`" in text("options.md") for key in keys)


def test_every_marker_has_its_arguments() -> None:
    for name in MARKERS:
        assert re.search(rf"^{name}\(\n", text("markers.md"), re.MULTILINE)
    assert "max_regression=0" in text("markers.md")


def test_the_command_line_has_the_sections_of_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    sections = re.findall(r"^## (\w+)$", text("cli.md"), re.MULTILINE)
    assert len(sections) == len(_COMMANDS)
    for section in sections:
        with pytest.raises(SystemExit, match="0"):
            main([section, "--help"])
        assert f"biastransfer {section}" in capsys.readouterr().out


def test_every_public_name_is_in_the_page_of_the_api() -> None:
    listed = re.findall(r"^\.\. auto\w+:: (\S+)$", text("api.md"), re.MULTILINE)
    public = [f"{module.__name__}.{name}" for module in (pytest_biastransfer, transfer) for name in module.__all__]
    functions = [f"{strategies.__name__}.{name}" for name in ("anchors", "colors", "interventions", "patches")]
    assert sorted(listed) == sorted([*public, *functions])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise SpecError("no file, expected one")', [("no file, expected one", "SpecError")]),
        ('raise self.error(f"{a}: " + "expected a file" + b)', [("…: expected a file…", "–")]),
        ('return pytest.UsageError(f"{a!r}{b}  needs\\n labels")', [("… needs labels", "UsageError")]),
        ('warnings.warn("the file is old", StoreWarning)', [("the file is old", "–")]),
        ("raise ModelError(message)", []),
        ("raise TypeError(name)", []),
        ('print("this is no error")', []),
    ],
)
def test_what_is_a_message(source: str, found: list[tuple[str, str]]) -> None:
    assert list(messages_of(source)) == found


def test_a_message_that_a_user_gets_is_in_the_index(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.bias_intervention("yellow-square")\ndef test_it(): pass')
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    lines = [line.removeprefix("E").strip() for line in result.outlines if "no limit, so nothing could fail" in line]
    patterns = [re.escape(message.text).replace("…", ".*") for message in messages()]
    assert any(re.fullmatch(pattern, line) for pattern in patterns for line in lines)


def test_troubleshooting_quotes_messages_that_exist() -> None:
    quoted = re.findall(r"^> `(.+)`$", text("troubleshooting.md"), re.MULTILINE)
    known = {message.text for message in messages()}
    assert len(quoted) >= 16
    assert [quote for quote in quoted if quote not in known] == []


def test_a_code_span_holds_whatever_it_quotes() -> None:
    assert code("max_asr") == "`max_asr`"
    assert code("a `b` c") == "``a `b` c``"
    assert code("`b`") == "`` `b` ``"


def test_the_page_of_extras_lists_all_of_them() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"^\| `(\w+)` \|", text("install.md"), re.MULTILINE)
    assert sorted(listed) == sorted(project["optional-dependencies"])
