"""The trials of a search: each intervention is evaluated once, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.fingerprints import ExaminedCode, NotFingerprintableError

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Intervention


@dataclass(frozen=True)
class Trial:
    """The evaluation of one intervention.

    Attributes
    ----------
    intervention
        The intervention.
    value
        The limited metric on the images of the search.
    lower
        The lower end of its interval.
    number
        The number of the evaluation in the search, from 1.
    """

    intervention: Intervention
    value: float
    lower: float
    number: int


class BudgetSpent(Exception):
    """No evaluation is left for a new intervention."""


class Trials:
    """Evaluates interventions, each once.

    Parameters
    ----------
    evaluate
        Returns the metric and the lower end of its interval.
    area
        Returns the share of the pixels that an intervention changes.
    on_trial
        Called after each trial with the number of those that were made.

    Attributes
    ----------
    left
        The number of evaluations that are left.
    """

    def __init__(
        self,
        evaluate: Callable[[Intervention], tuple[float, float]],
        area: Callable[[Intervention], float],
        on_trial: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._on_trial = on_trial
        self._evaluate = evaluate
        self._area = area
        self._trials: dict[str, Trial] = {}
        self._areas: dict[str, float] = {}
        self._keys: dict[int, tuple[Intervention, str]] = {}
        # A search draws thousands of interventions of few classes.
        self._code = ExaminedCode()
        self.left = 0

    @property
    def made(self) -> Collection[Trial]:
        """All trials in the order of their evaluation."""
        return self._trials.values()

    @property
    def worst(self) -> Trial | None:
        """The first trial with the highest value; None before the first trial."""
        return max(self.made, key=lambda trial: trial.value, default=None)

    def area(self, intervention: Intervention) -> float:
        """Return the share of the pixels that an intervention changes."""
        key = self._key(intervention)
        if key not in self._areas:
            self._areas[key] = self._area(intervention)
        return self._areas[key]

    def of(self, intervention: Intervention) -> Trial:
        """Return the trial of an intervention; evaluate it if it is new.

        Raises `BudgetSpent` if it is new and no evaluation is left.
        """
        key = self._key(intervention)
        if key not in self._trials:
            if self.left == 0:
                raise BudgetSpent
            value, lower = self._evaluate(intervention)
            self.left -= 1
            self._trials[key] = Trial(intervention, value, lower, len(self._trials) + 1)
            self._on_trial(len(self._trials))
        return self._trials[key]

    def _key(self, intervention: Intervention) -> str:
        """Return the fingerprint of an intervention or, if its content cannot be described, its identity."""
        if id(intervention) not in self._keys:
            try:
                with self._code.shared():
                    key = intervention.fingerprint
            except NotFingerprintableError:
                key = f"object {id(intervention)}"
            # The intervention is kept alive, so that no other object gets its identity.
            self._keys[id(intervention)] = intervention, key
        return self._keys[id(intervention)][1]
