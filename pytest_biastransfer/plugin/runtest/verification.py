"""The canary in a session: what it looks at beside the running test, and which tests ran before it found something."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.evaluation.canary import Canary
from pytest_biastransfer.evaluation.verification import Verification
from pytest_biastransfer.judgement.cases import InterventionCase
from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.state import CANARY, SETTINGS, STALE

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.plugin.results import TestResult
    from pytest_biastransfer.plugin.settings import Settings


def session_canary(config: pytest.Config) -> Canary | None:
    """Return what verifies kept predictions in this session; None where that is off."""
    if CANARY not in config.stash:
        # The same in all workers, and another one in each session.
        workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        seed = str(workerinput.get("testrunuid", ""))[:8]
        config.stash[CANARY] = canary_of(config.stash[SETTINGS], seed)
    return config.stash[CANARY]


def canary_of(settings: Settings, seed: str = "") -> Canary | None:
    """Return what verifies as the settings say, with their seed or this one or another one each time; None if off."""
    if settings.verify is None:
        return None
    seed = settings.verify.seed or seed
    return Canary(Verification(settings.verify.images, seed) if seed else Verification(settings.verify.images))


def begin_verifying(item: pytest.Item, case: Case) -> None:
    """Tell the canary which intervention is in its turn beside the clean images of the test that runs now."""
    canary = session_canary(item.config)
    if canary is not None:
        seed = canary.verification.seed
        canary.in_turn = lambda: _in_turn(item.session, case, seed)


def note_stale(item: pytest.Item) -> None:
    """Note what was dropped while a test was measured."""
    canary = session_canary(item.config)
    if canary is not None:
        item.stash.setdefault(STALE, []).extend(canary.take_findings())


def _in_turn(session: pytest.Session, case: Case, seed: str) -> tuple[Intervention, str] | None:
    """Return the intervention of one of the tests of the same model and dataset, another one in each session."""
    cases = [found for found in map(case_of, session.items) if isinstance(found, InterventionCase)]
    same = [found for found in cases if found.fixtures[:2] == case.fixtures[:2]]
    if not same:
        return None
    chosen = random.Random(f"{seed}|{'|'.join(case.fixtures[:2])}").choice(same)
    return chosen.intervention, chosen.words


def measured_of_stale(results: Iterable[TestResult]) -> list[str]:
    """Return the tests that passed with predictions that were found to be stale later, or in another worker."""
    tests = [(seen.report.nodeid, seen.outcome, seen.record) for seen in results]
    dropped = {basis for _, _, record in tests for basis in record.dropped}
    return [
        nodeid
        for nodeid, outcome, record in tests
        if outcome in ("passed", "xfailed", "xpassed") and not dropped.isdisjoint(record.bases)
    ]
