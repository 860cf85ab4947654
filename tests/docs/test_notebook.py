"""docs/notebook.ipynb runs, and is stored with its outputs; the examples of docs/notebook.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from docs.execute_notebook import executed

DOCS: Final = Path(__file__).parents[2] / "docs"
NOTEBOOK: Final = DOCS / "notebook.ipynb"
PAGE: Final = NOTEBOOK.with_suffix(".md")
# Cards with pictures are large, and everybody who clones the repository loads them.
LARGEST_FILE: Final = 500_000


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cards(notebook: Any) -> list[str]:
    """Return the titles of the cards of a notebook."""
    html = [output.data.get("text/html", "") for cell in notebook.cells for output in outputs(cell) if "data" in output]
    return [title for text in html for title in re.findall(r'<div class="bt-title">(.*?)</div>', text)]


def outputs(cell: Any) -> list[Any]:
    found: list[Any] = cell.get("outputs", [])
    return found


@pytest.fixture
def stored() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.timeout(540)
def test_the_notebook_runs_and_shows_the_same_cards(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel is another process, which imports the package that is tested.
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]), prepend=":")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    again = executed(NOTEBOOK)
    assert cards(again) == cards(stored)
    assert [cell.execution_count for cell in code_cells(again)] == list(range(1, len(code_cells(again)) + 1))
    assert [cell.source for cell in again.cells] == [cell.source for cell in stored.cells]


def test_the_notebook_is_stored_with_its_outputs(stored: Any) -> None:
    assert NOTEBOOK.stat().st_size < LARGEST_FILE
    assert len(cards(stored)) == 5
    assert [cell.execution_count for cell in code_cells(stored)] == list(range(1, len(code_cells(stored)) + 1))
    assert all(output.output_type != "error" for cell in stored.cells for output in outputs(cell))
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert not [output for cell in stored.cells for output in outputs(cell) if output.get("name") == "stderr"]


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert float(names["measurement"].asr) > 0
    assert len(names["frame"]) == 2 * len(names["measurement"].to_frame())
    assert (tmp_path / "measurement.json").is_file()


def test_the_page_names_all_functions_and_results() -> None:
    import pytest_biastransfer
    from pytest_biastransfer import transfer

    text = PAGE.read_text(encoding="utf-8")
    for name in ("Measurement", "LadderMeasurement", "GapMeasurement", "Ranking", "SearchResult"):
        assert f"`{name}`" in text
        assert name in pytest_biastransfer.__all__
    for name in ("Attribution", "DoseResponse", "Sweep"):
        assert f"`{name}`" in text
        assert name in transfer.__all__
