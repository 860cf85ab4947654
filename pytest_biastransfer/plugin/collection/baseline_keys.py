"""The key that the baseline keeps a test's measurement under."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, MODEL_FIXTURE
from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.plugin.pytest_internals import parameter_ids
from pytest_biastransfer.plugin.state import SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.entry import EntryKey
    from pytest_biastransfer.judgement.cases import Case


def key_of(item: Any, case: Case) -> EntryKey:
    """Return the key of a test's entry.

    It is not made of the node id: pytest-xdist appends to that, and it depends on the root directory.
    """
    # Sessions without a bias test do not need it.
    from pytest_biastransfer.baseline.entry import EntryKey

    path = path_from_baseline(item.config, item.path)
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    test = "::".join([path, *classes, item.originalname])
    other_parameters = _other_parameters(parameter_ids(item), case)
    return EntryKey(f"{test}[{other_parameters}]" if other_parameters else test, _case_name(case))


def path_from_baseline(config: pytest.Config, path: Path) -> str:
    """Return a file's path relative to the directory of the baseline, the same on every machine."""
    return path_from(path, config.stash[SETTINGS].baseline.parent)


def _other_parameters(ids: Sequence[str], case: Case) -> str:
    """Return the ids of the parameters that are not the marker's; pytest may have appended a number to the marker's."""
    marker_id = re.compile(rf"{re.escape(case.id)}(_?\d+)?")
    own = next((position for position, parameter in enumerate(ids) if marker_id.fullmatch(parameter)), len(ids))
    return "-".join([*ids[:own], *ids[own + 1 :]])


def _case_name(case: Case) -> str:
    """Return the case's name with the fixtures that are not the default ones, and its target classes."""
    qualifiers = {
        "model": case.model if case.model != MODEL_FIXTURE else "",
        "dataset": case.dataset if case.dataset != DATASET_FIXTURE else "",
        "control": case.control if case.control not in (None, CONTROL_FIXTURE) else "",
        **case.further_fixtures,
        "target": ", ".join(map(str, case.expectation.target)),
    }
    return " ".join([case.name, *(f"{keyword}={value}" for keyword, value in qualifiers.items() if value)])
