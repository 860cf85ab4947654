"""Dose responses: a figure at each level of a change of the finetuning data, of one source or of several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_biastransfer.display.content import Content
from pytest_biastransfer.display.displayed import Displayed, Row, plain_number
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.judgement.verdict import holds
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer.result_charts import charts_over, figure_rows
from pytest_biastransfer.transfer.result_table import result_table
from pytest_biastransfer.transfer.seed_repeats import Repeated, worse_by


@dataclass(frozen=True, repr=False)
class DoseResponse(Displayed):
    """A figure, and the performance, at each level of a change of the finetuning data.

    Attributes
    ----------
    question
        The name of the figure.
    levels
        The figures and accuracies by level, ascending.
    limit
        The limit of the figure, if there is one.
    bound
        What it limits: the value from above or from below, or the size of a signed gap.
    """

    question: str
    levels: Mapping[float, Repeated]
    limit: float | None = None
    bound: Bound = "at most"

    @property
    def smallest_level(self) -> float:
        """The smallest level whose mean meets the limit; infinity if none does.

        This is what was seen, and promises nothing: of several levels that are not enough, some mean often meets the
        limit by chance.
        """
        return _smallest_seen(self._figures, self.limit, self.bound)

    @property
    def smallest_certain_level(self) -> float:
        """The smallest level that is certainly enough; infinity if none is.

        From the largest level down, each is enough whose whole interval meets the limit, until one does not. In this
        order no level needs a correction for the others: a level is called enough wrongly no more often than the
        interval of a single one misses the truth on that side (fixed-sequence testing; Maurer, Hothorn and Lehmacher
        1995, "Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses").
        """
        return _smallest_certain(self._figures, self.limit, self.bound)

    @property
    def _figures(self) -> Mapping[float, Estimate]:
        return {level: repeated.figure for level, repeated in self.levels.items()}

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence; empty without a limit."""
        if self.limit is None:
            return ""
        level = self.smallest_certain_level
        if math.isinf(level):
            return f"None of these levels is certainly enough for {self.limit:.3g}."
        sign = "+" if self.bound == "size at most" else ""
        return f"{level:g} is enough for {self.limit:.3g}: {self.levels[level].figure.text(sign)}."

    def __str__(self) -> str:
        rows = [([f"{level:g}"], repeated) for level, repeated in self.levels.items()]
        lines = [f"{self.question}, by level", *_indented(result_table(["level"], rows, self.bound))]
        return "\n".join([*lines, f"  {self.sentence}"] if self.sentence else lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the dose response as plain data for JSON."""
        return {
            "question": self.question,
            "limit": self.limit,
            "smallest_level": plain_number(self.smallest_level),
            "smallest_certain_level": plain_number(self.smallest_certain_level),
            "levels": [{"level": level, **repeated.to_json()} for level, repeated in self.levels.items()],
        }

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure at each level, by the name of the level."""
        return {f"level {level:g}": figure for level, figure in self._figures.items()}

    def _facts(self) -> Row:
        return {"question": self.question}

    def _rows(self) -> list[Row]:
        return [row for level, repeated in self.levels.items() for row in figure_rows({"level": level}, repeated)]

    def _content(self) -> Content:
        return Content(
            title=self.question,
            subtitle="by level",
            sentences=[self.sentence],
            charts=charts_over("level", self.question, {"": self.levels}, bound=self.bound, limit=self.limit),
        )


@dataclass(frozen=True, repr=False)
class DoseResponses(Displayed):
    """The dose responses of several sources: one table, one plot, and from which level on one is no worse than another.

    Attributes
    ----------
    responses
        The dose response of each source, by its name; all have the same question, levels, limit and seeds.
    confidence
        Coverage of the intervals.
    """

    responses: Mapping[str, DoseResponse]
    confidence: float = 0.95

    def __getitem__(self, source: str) -> DoseResponse:
        """Return the dose response of a source; raises `TransferError` for a name that no source has."""
        if source not in self.responses:
            raise TransferError(f"there is no source {source!r:.60}; {nearest(str(source), self.responses)}")
        return self.responses[source]

    def worse_by(self, source: str, than: str, *, at: float | None = None) -> Mapping[float, Estimate]:
        """Return by how much a source's figure is worse than another's, by level, with Welch's intervals.

        Of a signed gap, the sizes are compared. With `at`, each level is compared with the other's figure at this
        level, such as that of a control source whose finetuning data are not changed.
        """
        first, second = self[source], self[than]
        if at is not None and at not in second.levels:
            raise TransferError(f"at={at!r:.60}; the levels are {', '.join(f'{level:g}' for level in second.levels)}")
        return {
            level: worse_by(
                repeated.values, second.levels[level if at is None else at].values, first.bound, self.confidence
            )
            for level, repeated in first.levels.items()
        }

    def smallest_level(self, source: str, than: str, *, at: float | None = None, margin: float = 0.0) -> float:
        """Return the smallest level at which the means of a source are worse than another's by no more than a margin.

        Infinity if there is none. This is what was seen, and promises nothing. `at` is as in `worse_by`.
        """
        return _smallest_seen(self.worse_by(source, than, at=at), margin)

    def smallest_certain_level(self, source: str, than: str, *, at: float | None = None, margin: float = 0.0) -> float:
        """Return the smallest level at which a source is certainly no worse than another by more than a margin.

        From the largest level down, as `DoseResponse.smallest_certain_level`: the whole interval of the difference has
        to be within the margin. So hardly any is found if the margin is 0 and both sources are equally good.
        """
        return _smallest_certain(self.worse_by(source, than, at=at), margin)

    @property
    def sentence(self) -> str:
        """From which level on the first source is certainly no worse than each of the others."""
        first, *others = self.responses
        return " ".join(self._comparison(first, other) for other in others)

    def _comparison(self, source: str, other: str) -> str:
        level = self.smallest_certain_level(source, other)
        if math.isinf(level):
            return f"That {source} is no worse than {other} is certain at none of these levels."
        return f"{source} is no worse than {other} from {level:g} on."

    def __str__(self) -> str:
        first = self._first
        rows = [
            ([source, f"{level:g}"], repeated)
            for source, response in self.responses.items()
            for level, repeated in response.levels.items()
        ]
        lines = [f"{first.question}, by source and level"]
        lines += _indented(result_table(["source", "level"], rows, first.bound))
        if first.limit is not None:
            lines += [f"  {source}: {response.sentence}" for source, response in self.responses.items()]
        return "\n".join([*lines, f"  {self.sentence}"] if self.sentence else lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the dose responses as plain data for JSON."""
        return {"sources": {source: response.to_dict() for source, response in self.responses.items()}}

    @property
    def question(self) -> str:
        """The name of the figure."""
        return self._first.question

    @property
    def limit(self) -> float | None:
        """The limit of the figure, if there is one."""
        return self._first.limit

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure at each level of each source, by the name of both."""
        return {
            f"{source}, {level}": figure
            for source, response in self.responses.items()
            for level, figure in response.cases.items()
        }

    def _facts(self) -> Row:
        return {"question": self._first.question}

    def _rows(self) -> list[Row]:
        return [{"source": source, **row} for source, response in self.responses.items() for row in response._rows()]

    def _content(self) -> Content:
        first = self._first
        curves = {source: response.levels for source, response in self.responses.items()}
        by_source = [f"{source}: {response.sentence}" for source, response in self.responses.items()]
        return Content(
            title=first.question,
            subtitle="by source and level",
            sentences=[*([] if first.limit is None else by_source), self.sentence],
            charts=charts_over("level", self.question, curves, bound=first.bound, limit=first.limit),
        )

    @property
    def _first(self) -> DoseResponse:
        return next(iter(self.responses.values()))


def _smallest_seen(figures: Mapping[float, Estimate], limit: float | None, bound: Bound = "at most") -> float:
    """Return the smallest level whose value meets a limit, if there is one; `figures` ascend by level."""
    met = (level for level, figure in figures.items() if limit is None or holds("point", figure, limit, bound))
    return next(met, math.inf)


def _smallest_certain(figures: Mapping[float, Estimate], limit: float | None, bound: Bound = "at most") -> float:
    """Return the last level from the largest one down until the interval of one does not meet a limit."""

    def is_certain(level: float) -> bool:
        return limit is None or holds("certain", figures[level], limit, bound)

    return min(itertools.takewhile(is_certain, sorted(figures, reverse=True)), default=math.inf)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
