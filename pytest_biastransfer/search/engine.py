"""The search, by Hypothesis: it draws, climbs towards higher values, and shrinks what breaks the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, Phase, Verbosity, assume, given, settings, target
from hypothesis import seed as seeded
from hypothesis.errors import Flaky, Unsatisfiable

from pytest_biastransfer.errors import InterventionError, TooSmallError
from pytest_biastransfer.interventions import Intervention
from pytest_biastransfer.search.example_database import Memory
from pytest_biastransfer.search.trials import BudgetSpent, Trial, Trials

if TYPE_CHECKING:
    from hypothesis.database import ExampleDatabase
    from hypothesis.strategies import SearchStrategy

# Hypothesis climbs after half of the examples of a run. Short runs climb early and often: every second one from what
# is known, the others from what they draw. Longer runs, and only runs of one kind, took more evaluations.
_EPISODE: Final = 20
# So many runs in a row that try nothing new tell that there is nothing else in the space.
_IDLE: Final = 3
# What is looked for after something was found has at most this share of its pixels.
_SMALLER: Final = 0.5


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes
    ----------
    first
        The first trial with the lower end of its interval above the limit; None if there was none.
    plainest
        The smallest and plainest of these.
    worst
        The trial with the highest value.
    tried, shrinking
        How many evaluations were made to find something, and how many to make it smaller and plainer.
    """

    first: Trial | None
    plainest: Trial | None
    worst: Trial
    tried: int
    shrinking: int


def search(
    space: SearchStrategy[Intervention],
    trials: Trials,
    *,
    limit: float,
    budget: int,
    seed: int,
    database: ExampleDatabase | None = None,
    key: bytes = b"",
) -> Found:
    """Look for an intervention whose value is above a limit beyond doubt, and for the smallest and plainest one.

    Parameters
    ----------
    space
        Where to look.
    trials
        Evaluates; nothing may have been tried yet.
    limit
        What the lower end of a value's interval has to be above.
    budget
        At most so many evaluations are made to look, and as many again to shrink what was found.
    seed
        Draws others.
    database, key
        Where what was found is kept, to be tried first the next time, and what it is kept under.

    Raises
    ------
    BiasTransferError
        If what the space draws is no intervention, cannot be evaluated, or cannot be seen.
    """
    look = _Search(space, trials, limit, budget, seed)
    memory = Memory(database, key)
    plainest = look.run(memory, most_area=1.0)
    kept = memory.failing()
    # What changes no pixel of the images that are looked at has nothing smaller.
    while plainest is not None and trials.left and trials.area(plainest.intervention) > 0:
        again = Memory(None, key)
        smaller = look.run(again, most_area=_SMALLER * trials.area(plainest.intervention))
        if smaller is None:
            break
        plainest, kept = smaller, again.failing()
    worst = trials.worst
    if worst is None:
        found = f"can be seen ({look.invisible})" if look.invisible else "exists"
        raise InterventionError(f"nothing in the space that is searched {found}; declare another space")
    if plainest is not None:
        memory.keep(kept)
    shrinking = budget - look.shrinks_left
    return Found(look.first, plainest, worst, len(trials.made) - shrinking, shrinking)


class _Above(Exception):
    """A trial is above the limit: what fails, to Hypothesis."""


class _Ended(BaseException):
    """Something ended the search that is not for Hypothesis to shrink: an error, or a limit of time."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


class _Search:
    """Runs of Hypothesis on one space."""

    def __init__(
        self, space: SearchStrategy[Intervention], trials: Trials, limit: float, budget: int, seed: int
    ) -> None:
        self.first: Trial | None = None
        self.shrinks_left = budget
        self._space = space
        self._trials = trials
        self._limit = limit
        self._seed = seed
        self._episodes = 0
        self.invisible: TooSmallError | None = None
        trials.left = budget

    def run(self, memory: Memory, most_area: float) -> Trial | None:
        """Return the plainest trial above the limit, of those that change no more than a share of the pixels."""
        number = idle = 0
        while self._trials.left and idle < _IDLE:
            before = len(self._trials.made)
            # The first one has nothing to start from but what was found in an earlier search.
            found = self._episode(memory, most_area, remembers=number == 0 or number % 2 == 1)
            if found is not None:
                return found
            idle = 0 if len(self._trials.made) > before else idle + 1
            number += 1
        return None

    def _episode(self, memory: Memory, most_area: float, remembers: bool) -> Trial | None:
        """Draw and climb a little; shrink what is found with evaluations of its own."""
        left_to_look: int | None = None
        plainest: Trial | None = None

        def look(intervention: Intervention) -> None:
            nonlocal left_to_look, plainest
            trial = self._trial(intervention, most_area)
            if trial is None:
                return
            if not trial.surely > self._limit:
                target(trial.value)
                return
            if left_to_look is None:
                left_to_look, self._trials.left = self._trials.left, self.shrinks_left
                self.first = self.first or trial
            plainest = trial
            raise _Above

        self._episodes += 1
        rules = settings(
            max_examples=_EPISODE,
            phases=(*[Phase.reuse] * remembers, Phase.generate, Phase.target, Phase.shrink),
            database=memory,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )
        try:
            # In this order: a seed takes away the database of the rules that it finds.
            rules(seeded(f"{self._seed}/{self._episodes}")(given(self._space)(look)))()
        except (_Above, Flaky, Unsatisfiable):
            # The last one above the limit was the plainest. Flaky is a space whose equal draws cannot be told to be
            # the same, and of one that cannot be satisfied nothing is small enough, or can be seen.
            pass
        except _Ended as ended:
            raise ended.reason from None
        if left_to_look is not None:
            self.shrinks_left, self._trials.left = self._trials.left, left_to_look
        return plainest

    def _trial(self, intervention: Intervention, most_area: float) -> Trial | None:
        """Return the trial of an intervention, or None where there can be none any more."""
        try:
            if not isinstance(intervention, Intervention):
                raise InterventionError(f"the space drew {intervention!r:.100}, expected interventions")
            if most_area >= 1 or self._trials.area(intervention) <= most_area:
                return self._trials.of(intervention)
        except BudgetSpent:
            return None
        except TooSmallError as error:
            self.invisible = error
        except BaseException as error:
            raise _Ended(error) from error
        assume(False)
        return None
