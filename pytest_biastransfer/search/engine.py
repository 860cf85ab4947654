"""The search engine: Hypothesis draws interventions, climbs to higher values, and shrinks those above the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, Phase, Verbosity, assume, given, settings, target
from hypothesis import seed as seeded
from hypothesis.errors import Flaky, Unsatisfiable

from pytest_biastransfer.errors import InterventionError, TooSmallError
from pytest_biastransfer.interventions import Intervention
from pytest_biastransfer.search.example_database import SearchDatabase
from pytest_biastransfer.search.trials import BudgetSpent, Trial, Trials

if TYPE_CHECKING:
    from hypothesis.database import ExampleDatabase
    from hypothesis.strategies import SearchStrategy

# Hypothesis climbs after half of the examples of a run, so short runs climb early and often. Every second run starts
# from the examples of earlier runs, the others from new draws. In experiments, longer runs needed more evaluations, and
# so did runs that always or never start from earlier examples.
_EXAMPLES_A_RUN: Final = 20
# After so many runs in a row without a new intervention, the space counts as exhausted.
_MOST_IDLE_RUNS: Final = 3
# After a success, the search continues for interventions that change at most this share of its pixels.
_SMALLER_AREA: Final = 0.5


@dataclass(frozen=True)
class SearchOutcome:
    """The best trials of a search. A trial breaks the limit if the lower end of its interval is above the limit.

    Attributes
    ----------
    first
        The first trial that breaks the limit; None if none does.
    simplest
        The smallest and simplest trial that breaks the limit.
    worst
        The trial with the highest value.
    searching, shrinking
        The numbers of evaluations of the search and of shrinking.
    """

    first: Trial | None
    simplest: Trial | None
    worst: Trial
    searching: int
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
) -> SearchOutcome:
    """Search for an intervention that breaks a limit, and for the smallest and simplest one.

    Parameters
    ----------
    space
        The strategy that draws interventions.
    trials
        Evaluates interventions; must be new.
    limit
        The limit that the lower end of a value's interval has to exceed.
    budget
        The largest number of evaluations to find an intervention, and again to shrink it.
    seed
        Seed of the draws.
    database, key
        A database for the results, which the next search tries first, and their key in it.

    Raises
    ------
    BiasTransferError
        If the space draws something else than interventions, or only some that change no pixel, or if one cannot be
        evaluated.
    """
    runs = _Search(space, trials, limit, budget, seed)
    examples = SearchDatabase(database, key)
    simplest = runs.run(examples, max_area=1.0)
    failing = examples.failing()
    # Hypothesis shrinks step by step and may stop at a local minimum. So search again among smaller areas, as long as
    # that succeeds. An intervention that changes no pixel of these images has nothing smaller.
    while simplest is not None and trials.left and trials.area(simplest.intervention) > 0:
        smaller_examples = SearchDatabase(None, key)
        smaller = runs.run(smaller_examples, max_area=_SMALLER_AREA * trials.area(simplest.intervention))
        if smaller is None:
            break
        simplest, failing = smaller, smaller_examples.failing()
    worst = trials.worst
    if worst is None:
        reason = f"changes a pixel ({runs.invisible})" if runs.invisible else "exists"
        raise InterventionError(f"nothing in the space of the search {reason}; declare another space")
    if simplest is not None:
        examples.replace(failing)
    shrinking = budget - runs.shrinks_left
    return SearchOutcome(runs.first, simplest, worst, len(trials.made) - shrinking, shrinking)


class _AboveLimit(Exception):
    """A trial breaks the limit: the failure that Hypothesis looks for and shrinks."""


class _Aborted(BaseException):
    """Carries an error or a time limit through Hypothesis, which would shrink any `Exception`."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(reason)
        self.reason = reason


class _Search:
    """The runs of Hypothesis in one space."""

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

    def run(self, examples: SearchDatabase, max_area: float) -> Trial | None:
        """Return the simplest trial that breaks the limit and changes at most a share of the pixels, or None."""
        number = idle = 0
        while self._trials.left and idle < _MOST_IDLE_RUNS:
            before = len(self._trials.made)
            # The first run starts from the results of earlier searches, if there are any.
            trial = self._episode(examples, max_area, reuses=number == 0 or number % 2 == 1)
            if trial is not None:
                return trial
            idle = 0 if len(self._trials.made) > before else idle + 1
            number += 1
        return None

    def _episode(self, examples: SearchDatabase, max_area: float, reuses: bool) -> Trial | None:
        """Draw and climb with a few examples; shrink a success within the budget of shrinking."""
        search_budget: int | None = None
        simplest: Trial | None = None

        def evaluate(intervention: Intervention) -> None:
            nonlocal search_budget, simplest
            trial = self._trial(intervention, max_area)
            if trial is None:
                return
            if not trial.lower > self._limit:
                target(trial.value)
                return
            # From the first success on, Hypothesis shrinks: set the search's budget aside until it is done.
            if search_budget is None:
                search_budget, self._trials.left = self._trials.left, self.shrinks_left
                self.first = self.first or trial
            simplest = trial
            raise _AboveLimit

        self._episodes += 1
        rules = settings(
            max_examples=_EXAMPLES_A_RUN,
            phases=(*[Phase.reuse] * reuses, Phase.generate, Phase.target, Phase.shrink),
            database=examples,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )
        try:
            # `settings` outermost: `seed` removes the database from settings that are inside it.
            rules(seeded(f"{self._seed}/{self._episodes}")(given(self._space)(evaluate)))()
        except (_AboveLimit, Flaky, Unsatisfiable):
            # Hypothesis replays the smallest failure last, so `simplest` is the last trial that broke the limit.
            # Flaky: equal draws have different fingerprints, so that a replay may be out of budget. Unsatisfiable: no
            # intervention is small enough, or all are too small.
            pass
        except _Aborted as aborted:
            raise aborted.reason from None
        if search_budget is not None:
            self.shrinks_left, self._trials.left = self._trials.left, search_budget
        return simplest

    def _trial(self, intervention: Intervention, max_area: float) -> Trial | None:
        """Return the trial of an intervention, or None if the budget is spent; skip the example if it is too large."""
        try:
            if not isinstance(intervention, Intervention):
                raise InterventionError(f"the space drew {intervention!r:.100}, expected interventions")
            if max_area >= 1 or self._trials.area(intervention) <= max_area:
                return self._trials.of(intervention)
        except BudgetSpent:
            return None
        except TooSmallError as error:
            self.invisible = error
        except BaseException as error:
            # Also KeyboardInterrupt and timeouts: none of them is a failure to shrink.
            raise _Aborted(error) from error
        assume(False)
        return None
