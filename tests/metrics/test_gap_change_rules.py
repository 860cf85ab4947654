"""Which test a change of a gap is given, by what two measurements have as evidence."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pytest_biastransfer.baseline.component_encoding import decode_components, encode_components
from pytest_biastransfer.baseline.encoding import encode_numbers
from pytest_biastransfer.baseline.entry import Entry, Figure
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.baseline.regression import changes
from pytest_biastransfer.metrics.statistics.components import Components
from pytest_biastransfer.metrics.statistics.gap_change_test import SizedGap, unpaired_gap_change
from pytest_biastransfer.metrics.statistics.paired_figures_test import paired_figures_change
from tests.support.areas import two_areas

CHANCE = [0.01, 0.04, 0.02]


def entry(components: Components | str | None, gap: float, dataset: str = "d", **evidence: str) -> Entry:
    text = components if isinstance(components, str) else components and encode_components(components)
    return Entry(
        model={"name": "m", "fingerprint": "m"},
        dataset={"name": "d", "fingerprint": dataset},
        images=800,
        intervention="auc of dog by light",
        figures={"gap": Figure(gap, 800, None)},
        evidence={
            "groups": "g",
            "chance": encode_numbers(CHANCE),
            **({} if text is None else {"components": text}),
            **evidence,
        },
        versions={},
    )


def gap_of(components: Components, *, is_signed: bool = False) -> float:
    return float(components.figures[0] - components.figures[1]) if is_signed else float(np.ptp(components.figures))


def change_between(before: Entry, now: Entry, tolerance: float = 0.0) -> MetricChange:
    return changes(before, now, ["gap"], tolerance)[0]


@pytest.fixture
def times() -> list[Components]:
    return two_areas(np.random.default_rng(3), [2.0, 1.2], [2.0, 0.8], 200, 0.9)


@pytest.mark.parametrize("is_signed", [True, False])
def test_areas_on_the_same_images_are_compared_by_image(times: list[Components], is_signed: bool) -> None:
    evidence = {"between": "a minus b"} if is_signed else {}
    before, now = (entry(one, gap_of(one, is_signed=is_signed), **evidence) for one in times)
    decoded = [decode_components(encode_components(one)) for one in times]
    expected = paired_figures_change(*decoded, is_signed=is_signed)
    assert change_between(before, now).p == expected < 1e-4
    # From .12 to .21.
    tolerated = change_between(before, now, 0.05)
    assert tolerated.p == paired_figures_change(*decoded, is_signed=is_signed, margin=0.05)
    assert (tolerated.p_of_change, tolerated.tested_tolerance) == (expected, 0.05)
    assert expected < tolerated.p < 1
    assert change_between(before, now, 0.2).p == 1.0


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {"name": "d", "fingerprint": "other"}},
        {"images": 801},
        {"evidence": {"groups": "other"}},
        {"evidence": {"components": None}},
    ],
)
def test_other_images_or_groups_and_areas_without_images_are_compared_by_standard_errors(
    times: list[Components], other: dict[str, Any]
) -> None:
    before, now = (entry(one, gap_of(one)) for one in times)
    evidence = {**now.evidence, **other.get("evidence", {})}
    changed = {**other, "evidence": {name: text for name, text in evidence.items() if text is not None}}
    gaps = [SizedGap(gap_of(one), *CHANCE) for one in times]
    assert change_between(before, dataclasses.replace(now, **changed)).p == unpaired_gap_change(gaps[0], gaps[1])


def test_the_same_evidence_is_not_even_decoded() -> None:
    change = change_between(entry("damaged", 0.1), entry("damaged", 0.1))
    assert (change.p, change.least_p) == (1.0, 1.0)
    with pytest.raises(ValueError, match="expected 'own' or 'shared'"):
        change_between(entry("damaged", 0.1), entry("otherwise", 0.1))


def test_components_of_as_many_images_are_required(times: list[Components]) -> None:
    smaller = two_areas(np.random.default_rng(3), [1.2, 1.2], [1.2, 1.2], 199, 0.9)[0]
    shared = times[0]._replace(is_shared=True)
    for one in (smaller, shared):
        with pytest.raises(ValueError, match="its groups have other sizes than their hash says"):
            change_between(entry(one, 0.1), entry(times[1], 0.2))
