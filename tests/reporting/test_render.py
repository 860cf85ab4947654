"""The table of report formats: what renders a report, and what refuses a suffix that no format has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_biastransfer.__main__ import main
from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.render import RENDERERS, render, save
from pytest_biastransfer.reporting.report import Report, read_report
from tests.support.sample_reports import sample_report


@pytest.mark.parametrize("name", ["bias.txt", "bias", "bias.HTML", "bias.json.gz", ".json"])
def test_a_suffix_that_no_format_has_is_refused(name: str) -> None:
    with pytest.raises(ReportError, match=rf"^{name}: expected a file that ends in one of \.html, \.json, \.md$"):
        render(Report([]), Path(name))


def test_each_format_renders_the_report_in_its_own_way(tmp_path: Path) -> None:
    starts = {".html": "<!DOCTYPE html>", ".json": "{", ".md": "<!-- pytest-biastransfer -->\n## "}
    assert starts.keys() == RENDERERS.keys()
    for suffix, start in starts.items():
        text = render(sample_report(), Path(f"bias{suffix}"))
        assert text.startswith(start)
        assert "test_nothing_inherited" in text


def test_a_saved_report_is_read_back_and_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bias.json"
    save(render(sample_report(), path), path)
    assert render(read_report(path), path) == render(sample_report(), path)


def test_a_report_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"file/bias\.md cannot be written: "):
        save("text", tmp_path / "file" / "bias.md")


def test_a_registered_format_is_written_by_the_session_and_by_the_command(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One entry in the table is all that a new format registers.
    monkeypatch.setitem(RENDERERS, ".txt", lambda report: f"{len(report.tests)} tests")
    pytester.makepyfile("def test_other(): pass")
    result = pytester.inline_run("-pno:cacheprovider", "--bias-report=bias.txt", "--bias-report=bias.json")
    assert result.ret == pytest.ExitCode.OK
    assert (pytester.path / "bias.txt").read_text() == "0 tests"
    assert main(["report", "bias.json", "--out=merged.txt"]) == 0
    assert (pytester.path / "merged.txt").read_text() == "0 tests"
