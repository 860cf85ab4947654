"""The documents name exactly the metrics of the catalogue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from docs.tables import metrics
from docs.tables.pages import PAGES as GENERATED
from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS

ROOT: Final = Path(__file__).parents[2]
# The recipes invent metrics.
PAGES: Final = (
    "README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "extending.md"),
)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_limit_that_no_marker_has(page: str) -> None:
    options = {"max_regression", "max_accuracy_regression", "max_size", "max_images"}
    keywords = set(re.findall(r"\bmax_[a-z_]+", (ROOT / page).read_text(encoding="utf-8")))
    limited = [metric for metric in METRICS.values() if metric.limits is not None]
    means = {metric.mean_keyword for metric in limited if metric.has_mean}
    assert keywords - options - means <= {metric.keyword for metric in limited}


def test_every_metric_is_in_a_table() -> None:
    parts = [part for parts in GENERATED.values() for part in parts.values() if part.__module__ == metrics.__name__]
    documented = "".join(part() for part in parts)
    missing = [name for name in [*METRICS, *GROUP_METRICS] if not re.search(rf'[`"]{name}[`"]', documented)]
    assert not missing
