"""The HTML report of 200 tests with 16 images each, clean and intervened: how long it takes, and how large it is.

``python -m benchmarks.pages`` measures in this process and prints one line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run

TESTS, IMAGES = 200, 16

PAGE_FIGURES: Final = (
    Figure("page-seconds", "HTML report, 200 tests of 16 images", "page.seconds", must=8),
    Figure("page-bytes", "its size", "page.bytes", must=8e6, unit="bytes"),
    Figure("page-text", "of that, without the images", "page.text", unit="bytes"),
)


def page_measurements(environment: Mapping[str, str]) -> dict[str, Measurement]:
    """Return the measurement by name."""
    return {"page": partial(_page, environment)}


def _page(environment: Mapping[str, str]) -> Quantities:
    """Render the page in a process of its own, which imports and compiles the templates first."""
    return run([sys.executable, "-m", "benchmarks.pages"], Path(__file__).parents[1], environment).printed


def main() -> None:
    """Print the seconds and the bytes."""
    from tests.support.sample_reports import large_report

    report = large_report(TESTS, IMAGES)
    start = time.perf_counter()
    from pytest_biastransfer.reporting.html import render_html

    page = render_html(report).encode()
    seconds = time.perf_counter() - start
    images = sum(map(len, re.findall(rb'href="data:image/[^"]*"', page)))
    sys.stdout.write(json.dumps({"seconds": seconds, "bytes": len(page), "text": len(page) - images}) + "\n")


if __name__ == "__main__":
    main()
