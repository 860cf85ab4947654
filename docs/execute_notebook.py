"""Runs docs/notebook.ipynb, and writes its outputs into it: ``python -m docs.execute_notebook``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")


def executed(path: Path) -> Any:
    """Return a notebook with its outputs, run in a new kernel of this Python and in an empty directory.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises an error.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": directory}},
        )
        client.execute()
    # The versions of this Python would differ in each run.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> int:
    """Run the notebook and write it."""
    nbformat.write(executed(NOTEBOOK), NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
