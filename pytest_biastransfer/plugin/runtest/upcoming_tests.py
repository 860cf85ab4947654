"""What the tests that are still to run need of a model on a dataset, so that it can be computed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.evaluation.environment import Upcoming
from pytest_biastransfer.judgement.cases import Case, GapCase, InterventionCase, LadderCase, SearchCase
from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.kinds.early_stopping import early_stop_of
from pytest_biastransfer.plugin.pytest_internals import has_same_fixture
from pytest_biastransfer.plugin.state import MEASURED, MEASURING, SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.plugin.kinds.protocol import TestInputs
    from pytest_biastransfer.plugin.settings import Settings


def upcoming_measurements(config: pytest.Config, model: Model, images: LabelledImages) -> list[Upcoming]:
    """Return what the tests that are still to run need of a model and a dataset of the running test.

    Only tests that were selected, that no marker skips, and whose fixtures are certain to have the same values.
    """
    inputs = config.stash.get(MEASURING, None)
    if inputs is None or images is not inputs.images:
        return []
    item = inputs.request.node
    case = case_of(item)
    # What a search needs depends on what it finds.
    if case is None or isinstance(case, SearchCase):
        return []
    fixture = _fixture_of(model, inputs, case)
    if fixture is None:
        return []
    settings = config.stash[SETTINGS]
    # What the running test needs besides: it takes all from the same chunk, even if it may stop after it.
    upcoming = [Upcoming(case.intervention)] if isinstance(case, InterventionCase) else []
    if isinstance(case, LadderCase):
        upcoming += _needed(case, settings)
    for other in _still_to_run(item):
        other_case = case_of(other)
        if other_case is not None and _has_same_inputs(item, other, (fixture, case.dataset), other_case):
            upcoming.extend(_needed(other_case, settings))
    return upcoming


def _fixture_of(model: Model, inputs: TestInputs, case: Case) -> str | None:
    """Return the name of the fixture that a model comes from."""
    if model is inputs.model:
        return case.model
    return case.control if model is inputs.control else None


def _still_to_run(item: pytest.Item) -> Iterator[pytest.Item]:
    """Yield the tests of the session that this process has not measured, and no marker skips.

    Workers of pytest-xdist do not know which tests the others will run. What others have computed is stored.
    """
    items = item.session.items
    if not hasattr(item.config, "workerinput"):
        items = items[items.index(item) :]
    for other in items:
        if other is not item and MEASURED not in other.stash and not _may_be_skipped(other):
            yield other


def _may_be_skipped(item: pytest.Item) -> bool:
    return any(
        mark.name in ("skip", "skipif") or (mark.name == "xfail" and not mark.kwargs.get("run", True))
        for mark in item.iter_markers()
    )


def _has_same_inputs(item: pytest.Item, other: pytest.Item, fixtures: tuple[str, str], other_case: Case) -> bool:
    """Whether another test measures the values of the fixtures of a model and a dataset, too."""
    model, dataset = fixtures
    return (
        other_case.dataset == dataset
        and model in (other_case.model, other_case.control)
        and all(has_same_fixture(item, other, name) for name in fixtures)
    )


def _needed(case: Case, settings: Settings) -> Iterator[Upcoming]:
    """Yield what a test needs of each of its models."""
    if isinstance(case, InterventionCase):
        may_stop = early_stop_of(case.expectation, settings) is not None
        yield Upcoming(None, may_stop)
        yield Upcoming(case.intervention, may_stop)
    elif isinstance(case, LadderCase):
        # What a bisection needs depends on what it finds, too.
        if early_stop_of(case.expectation, settings) is None:
            yield from map(Upcoming, (None, *case.ladder.steps))
    elif isinstance(case, GapCase):
        # Besides scores, only the number of classes is needed.
        yield Upcoming(None, may_stop=case.gap.needs_scores)
