"""What was tried: each intervention once, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.fingerprints import NotFingerprintableError

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Intervention


@dataclass(frozen=True)
class Trial:
    """One intervention that was tried.

    Attributes
    ----------
    intervention
        What was tried.
    value
        The limited metric on the images of the search.
    surely
        The lower end of its interval.
    number
        Which of all evaluations it was, from 1.
    """

    intervention: Intervention
    value: float
    surely: float
    number: int


class BudgetSpent(Exception):
    """There is no evaluation left for something new."""


class Trials:
    """Evaluates interventions, each once.

    Parameters
    ----------
    evaluate
        Returns the metric and the lower end of its interval.
    area
        Returns the share of the pixels that an intervention changes.

    Attributes
    ----------
    left
        How many evaluations may still be made.
    """

    def __init__(
        self, evaluate: Callable[[Intervention], tuple[float, float]], area: Callable[[Intervention], float]
    ) -> None:
        self._evaluate = evaluate
        self._area = area
        self._known: dict[str, Trial] = {}
        self._areas: dict[str, float] = {}
        self._told: dict[int, tuple[Intervention, str]] = {}
        self.left = 0

    @property
    def made(self) -> Collection[Trial]:
        """All trials, in the order in which they were made."""
        return self._known.values()

    @property
    def worst(self) -> Trial | None:
        """The first trial with the highest value; None before any was made."""
        return max(self.made, key=lambda trial: trial.value, default=None)

    def area(self, intervention: Intervention) -> float:
        """Return the share of the pixels that an intervention changes."""
        key = self._key(intervention)
        if key not in self._areas:
            self._areas[key] = self._area(intervention)
        return self._areas[key]

    def of(self, intervention: Intervention) -> Trial:
        """Return what is known of an intervention, evaluated now if it is new.

        Raises `BudgetSpent` if it is new and there is no evaluation left.
        """
        key = self._key(intervention)
        if key not in self._known:
            if self.left == 0:
                raise BudgetSpent
            value, surely = self._evaluate(intervention)
            self.left -= 1
            self._known[key] = Trial(intervention, value, surely, len(self._known) + 1)
        return self._known[key]

    def _key(self, intervention: Intervention) -> str:
        """Return what tells an intervention from others: its content or, where that cannot be told, itself."""
        if id(intervention) not in self._told:
            try:
                key = intervention.fingerprint
            except NotFingerprintableError:
                key = f"object {id(intervention)}"
            # Kept alive, so that no other object gets its identity.
            self._told[id(intervention)] = intervention, key
        return self._told[id(intervention)][1]
