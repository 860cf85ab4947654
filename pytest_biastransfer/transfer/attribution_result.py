"""The attribution of a bias: figures of models from a source, from a control source and from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_biastransfer.display.content import Bar, Bars, Content
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.seed_intervals import difference_over_seeds
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer.result_charts import axis_name, figure_rows
from pytest_biastransfer.transfer.seed_repeats import Repeated, estimate_to_json, worse_by

# Where the models come from.
SOURCE: Final = "source"
CONTROL: Final = "control source"
SCRATCH: Final = "scratch"


@dataclass(frozen=True, repr=False)
class Attribution(Displayed):
    """Figures of models from the source, from a control source and from scratch.

    Attributes
    ----------
    question
        The name of the figure.
    sources
        The figures of the models from each ``"source"`` and from each ``"control source"``, in their order.
    arms
        The figures of the models from the ``"source"``, from the ``"control source"`` and from ``"scratch"``. Of
        several sources, there is one figure for each: its mean over the seeds.
    differences
        The figure from the source minus those from the other two, with their intervals. With several sources, or
        several control sources, they are about other sources, and otherwise about other seeds of the finetuning.
    bound
        What a limit of the figure is: of the value, or of the size of a signed gap.
    """

    question: str
    sources: Mapping[str, Sequence[Repeated]]
    arms: Mapping[str, Repeated]
    differences: Mapping[str, Estimate]
    bound: Bound = "at most"

    @classmethod
    def of(
        cls,
        question: str,
        sources: Mapping[str, Sequence[Repeated]],
        scratch: Repeated,
        *,
        bound: Bound = "at most",
        confidence: float = 0.95,
        least: float = 0.0,
    ) -> Attribution:
        """Return the attribution of what was measured; `least` is the lowest value of the figure."""
        arms = {
            name: repeats[0] if len(repeats) == 1 else Repeated.over_sources(repeats, confidence, least)
            for name, repeats in sources.items()
        }
        # Welch's interval: the arms are independent, and their variances need not be the same.
        differences = {
            CONTROL: difference_over_seeds(*_compared(sources), confidence),
            SCRATCH: difference_over_seeds(arms[SOURCE].values, scratch.values, confidence),
        }
        return cls(question, sources, {**arms, SCRATCH: scratch}, differences, bound)

    @property
    def from_source(self) -> Estimate:
        """The figure from the source minus that from the control source."""
        return self.differences[CONTROL]

    @property
    def is_one_of_each(self) -> bool:
        """Whether there is one source and one control source, which says nothing about others of their kind."""
        return _is_one_of_each(self.sources)

    @property
    def sentence(self) -> str:
        """The conclusion as a sentence.

        One source and one control source may differ by what chance did in their own training. So it is said only of
        several that the source passes it on.
        """
        difference = self.from_source
        interval = f"{difference.confidence * 100:g} % interval {difference.low:+.3f} to {difference.high:+.3f}"
        figures = f"({difference:+.3f}, {interval}, over {self._repeats})"
        if not self.is_one_of_each:
            return f"{self._conclusion} {figures}."
        if difference.low <= 0 <= difference.high:
            return f"It is not clear that these two sources differ {figures}."
        return f"These two sources differ{self._two_compared} {figures}. Two sources of one kind may differ as much."

    @property
    def _seeds(self) -> int:
        """The number of seeds of each source."""
        return len(self.sources[SOURCE][0].values)

    @property
    def _repeats(self) -> str:
        seeds = self._seeds
        if self.is_one_of_each:
            return f"{seeds} seeds each"
        counts = (f"{len(repeats)} {name}{'s' if len(repeats) > 1 else ''}" for name, repeats in self.sources.items())
        return f"{' and '.join(counts)}, {seeds} seeds each"

    @property
    def _worse(self) -> Estimate:
        """By how much the source is worse than the control source."""
        return worse_by(*_compared(self.sources), self.bound, self.from_source.confidence)

    @property
    def _two_compared(self) -> str:
        if self._worse.low > 0:
            return ": the bias is larger from this one"
        if self._worse.high < 0:
            return ": the bias is smaller from this one"
        return ", but it is not clear which of the two is farther from 0"

    @property
    def _conclusion(self) -> str:
        is_one = len(self.sources[SOURCE]) == 1
        if self.from_source.low <= 0 <= self.from_source.high:
            return f"It is not clear that it comes from the source{'' if is_one else 's'}"
        if self._worse.low > 0:
            return "The source passes it on" if is_one else "The sources pass it on"
        if self._worse.high < 0:
            control = CONTROL if len(self.sources[CONTROL]) == 1 else f"{CONTROL}s"
            return f"The bias is less than from the {control}"
        # Signed gaps may differ without one being larger.
        shift = "The source shifts it" if is_one else "The sources shift it"
        return f"{shift}, but it is not clear which of the two is farther from 0"

    def __str__(self) -> str:
        rows = self._named_figures
        width, sign = max(len(name) for name, _ in rows), "+" if self.bound == "size at most" else ""
        lines = [f"{self.question}, by where the model comes from"]
        for name, arm in rows:
            performances = "  ".join(f"{measure} {own.mean.text()}" for measure, own in arm.performances.items())
            lines.append(f"  {name:{width}}  {arm.figure.text(sign)}  {performances}")
        for name, difference in self.differences.items():
            lines.append(f"  source - {name}: {difference.text('+')}")
        return "\n".join([*lines, f"  {self.sentence}"])

    @property
    def _named_figures(self) -> Sequence[tuple[str, Repeated]]:
        """The figures of each arm, and below it those of each of several sources."""
        figures: list[tuple[str, Repeated]] = []
        for name, arm in self.arms.items():
            repeats = self.sources.get(name, ())
            figures.append((name, arm))
            figures += [(f"  {number}", own) for number, own in enumerate(repeats, 1)] if len(repeats) > 1 else []
        return figures

    def to_dict(self) -> dict[str, Any]:
        """Return the attribution as plain data for JSON."""
        return {
            "question": self.question,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "sources": {name: [own.to_json() for own in repeats] for name, repeats in self.sources.items()},
            "differences": {name: estimate_to_json(difference) for name, difference in self.differences.items()},
            "sentence": self.sentence,
        }

    @property
    def cases(self) -> Mapping[str, Estimate]:
        """The figure of the models from each source, and the differences, by their names."""
        arms = {name: arm.figure for name, arm in self.arms.items()}
        return {**arms, **{f"source - {name}": difference for name, difference in self.differences.items()}}

    def _facts(self) -> Row:
        return {"question": self.question}

    def _rows(self) -> list[Row]:
        arms = [row for name, arm in self.arms.items() for row in figure_rows({"start": name}, arm)]
        differences = [
            {"start": f"source - {name}", "measure": "difference", **interval_columns(difference), "seeds": self._seeds}
            for name, difference in self.differences.items()
        ]
        return [*arms, *differences]

    def _content(self) -> Content:
        is_signed = self.bound == "size at most"
        arms = self._named_figures
        measures = list(self.arms[SCRATCH].performances)
        return Content(
            title=self.question,
            subtitle="by where the model comes from",
            sentences=[self.sentence],
            charts={
                "figure": Bars(axis_name(self.question), [Bar.of(name, arm.figure) for name, arm in arms], is_signed),
                "differences": Bars(
                    f"difference of {axis_name(self.question)}",
                    [Bar.of(f"source - {name}", difference) for name, difference in self.differences.items()],
                    signed=True,
                ),
                **{
                    measure: Bars(measure, [Bar.of(name, arm.performances[measure].mean) for name, arm in arms])
                    for measure in measures
                },
            },
        )


def _is_one_of_each(sources: Mapping[str, Sequence[Repeated]]) -> bool:
    return all(len(repeats) == 1 for repeats in sources.values())


def _compared(sources: Mapping[str, Sequence[Repeated]]) -> tuple[Sequence[Estimate], Sequence[Estimate]]:
    """Return the figures whose means are compared: of each seed of two sources, otherwise one of each source."""
    if _is_one_of_each(sources):
        return sources[SOURCE][0].values, sources[CONTROL][0].values
    source, control = ([own.bias.on_images for own in sources[name]] for name in (SOURCE, CONTROL))
    return source, control
