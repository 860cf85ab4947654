"""Bias tests as they were declared: what is measured, what is expected of it, and the fixtures that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_biastransfer.names import GAP_MARKER, INTERVENTION_MARKER, SEARCH_MARKER

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Intervention, Ladder
    from pytest_biastransfer.judgement.expectation import Expectation
    from pytest_biastransfer.judgement.gap import Gap


@dataclass(frozen=True)
class Case:
    """One bias test.

    Attributes
    ----------
    name
        Of what is measured: all of it, for the baseline's keys.
    expectation
        What is expected of it.
    model, dataset, control
        Names of fixtures.
    id
        The part of the test's id that the marker makes; see `plugin.collection.test_ids`. Unlike the name it may change
        without a change of what is measured.
    """

    marker: ClassVar[str]
    # Names the module of `plugin.kinds` that measures it.
    kind: ClassVar[str]
    # Whether the baseline keeps measurements of the kind.
    has_baseline: ClassVar[bool] = True

    name: str
    expectation: Expectation
    model: str
    dataset: str
    control: str | None
    id: str

    @property
    def fixtures(self) -> tuple[str, ...]:
        """The fixtures whose values are measured."""
        return tuple(self.fixtures_by_keyword.values())

    @property
    def fixtures_by_keyword(self) -> Mapping[str, str]:
        """The same by the keywords of the marker that name them."""
        control = {} if self.control is None else {"control": self.control}
        return {"model": self.model, "dataset": self.dataset, **control, **self.further_fixtures}

    @property
    def further_fixtures(self) -> Mapping[str, str]:
        """Those that only this kind of test has."""
        return {}

    @property
    def verifiable(self) -> tuple[Intervention, str] | None:
        """The declared intervention and its description, whose stored predictions a canary can verify, if any."""
        return None


@dataclass(frozen=True)
class InterventionCase(Case):
    """One intervention, which `words` describe."""

    marker: ClassVar[str] = INTERVENTION_MARKER
    kind: ClassVar[str] = "intervention"

    intervention: Intervention
    words: str

    @property
    def verifiable(self) -> tuple[Intervention, str]:
        """The intervention and its description."""
        return self.intervention, self.words


@dataclass(frozen=True)
class LadderCase(Case):
    """One intervention at several strengths, each of which `words` describe."""

    marker: ClassVar[str] = INTERVENTION_MARKER
    kind: ClassVar[str] = "ladder"

    ladder: Ladder
    words: tuple[str, ...]

    @property
    def verifiable(self) -> tuple[Intervention, str]:
        """The strongest intervention and its description."""
        return self.ladder.steps[-1], self.words[-1]


@dataclass(frozen=True)
class GapCase(Case):
    """A gap between groups; `calibration` names the fixture whose images its threshold is found on."""

    marker: ClassVar[str] = GAP_MARKER
    kind: ClassVar[str] = "gap"

    gap: Gap
    calibration: str | None = None

    @property
    def further_fixtures(self) -> Mapping[str, str]:
        """The calibration dataset."""
        return {} if self.calibration is None else {"calibration_dataset": self.calibration}


@dataclass(frozen=True)
class SearchCase(Case):
    """The worst intervention in a space.

    Attributes
    ----------
    space
        A strategy of Hypothesis for interventions.
    budget
        How many of them may be evaluated to find one that breaks the limit.
    images
        On how many images.
    seed
        Draws others.
    """

    marker: ClassVar[str] = SEARCH_MARKER
    kind: ClassVar[str] = "search"
    has_baseline: ClassVar[bool] = False

    space: Any
    budget: int
    images: int
    seed: int

    @property
    def metric(self) -> str:
        """The one limited metric."""
        return self.expectation.limits[0][0]

    @property
    def limit(self) -> float:
        """Its limit."""
        return self.expectation.limits[0][1]
