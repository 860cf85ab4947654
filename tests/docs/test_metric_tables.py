"""The documents name exactly the metrics of the catalogue."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS

ROOT: Final = Path(__file__).parents[2]
# The recipes invent metrics.
PAGES: Final = (
    "README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "extending.md"),
)


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("metric_tables", ROOT / "docs/metric_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["docs/metrics.md", "docs/statistics.md", "docs/finetuning.md"])
def test_the_tables_are_those_of_the_catalogue(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert tables().page(page, text) == text, "the catalogue changed: run python docs/metric_tables.py"


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"metrics.md: expected one table limits, found 0"):
        tables().page("docs/metrics.md", "no table")


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_limit_that_no_marker_has(page: str) -> None:
    options = {"max_regression", "max_accuracy_regression", "max_size", "max_images"}
    keywords = set(re.findall(r"\bmax_[a-z_]+", (ROOT / page).read_text(encoding="utf-8")))
    limited = [metric for metric in METRICS.values() if metric.limits is not None]
    means = {metric.mean_keyword for metric in limited if metric.has_mean}
    assert keywords - options - means <= {metric.keyword for metric in limited}


def test_every_metric_is_in_a_table() -> None:
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in tables().TABLES)
    documented = "".join(re.findall(r"<!-- table .*?<!-- end of table -->", text, re.DOTALL))
    missing = [name for name in [*METRICS, *GROUP_METRICS] if not re.search(rf'[`"]{name}[`"]', documented)]
    assert not missing
