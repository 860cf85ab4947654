"""The canary in a session: which stored predictions it verifies beside the running test."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.evaluation.canary import Canary
from pytest_biastransfer.evaluation.verification import Verification
from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.state import CANARY, SETTINGS, STALE

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.cases import Case
    from pytest_biastransfer.plugin.settings import Settings


def session_canary(config: pytest.Config) -> Canary | None:
    """Return what verifies stored predictions in this session; None where that is off."""
    if CANARY not in config.stash:
        # The seed is the same in all workers, and differs from session to session.
        workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        seed = str(workerinput.get("testrunuid", ""))[:8]
        config.stash[CANARY] = canary_of(config.stash[SETTINGS], seed)
    return config.stash[CANARY]


def canary_of(settings: Settings, seed: str = "") -> Canary | None:
    """Return what verifies stored predictions as the settings say; None where that is off.

    The settings' seed goes before `seed`; without both, each canary draws its own.
    """
    if settings.verify is None:
        return None
    seed = settings.verify.seed or seed
    return Canary(Verification(settings.verify.images, seed) if seed else Verification(settings.verify.images))


def begin_verification(item: pytest.Item, case: Case) -> None:
    """Tell the canary which intervention to verify beside the clean images of the test that runs now."""
    canary = session_canary(item.config)
    if canary is not None:
        seed = canary.verification.seed
        canary.in_turn = lambda: _drawn_intervention(item.session, case, seed)


def note_stale(item: pytest.Item) -> None:
    """Note which stored predictions were dropped while a test was measured."""
    canary = session_canary(item.config)
    if canary is not None:
        item.stash.setdefault(STALE, []).extend(canary.take_findings())


def _drawn_intervention(session: pytest.Session, case: Case, seed: str) -> tuple[Intervention, str] | None:
    """Draw the intervention of one of the session's tests of the same model and dataset, with its description."""
    cases = [other for other in map(case_of, session.items) if other is not None and other.verifiable is not None]
    same_inputs = [other for other in cases if other.fixtures[:2] == case.fixtures[:2]]
    if not same_inputs:
        return None
    return random.Random(f"{seed}|{'|'.join(case.fixtures[:2])}").choice(same_inputs).verifiable
