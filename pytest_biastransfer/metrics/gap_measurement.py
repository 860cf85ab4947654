"""All figures of one model on the groups of one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict

from pytest_biastransfer.display.content import Bar, Bars, Content
from pytest_biastransfer.display.displayed import Displayed, Row, interval_columns
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics.clean_performance import CleanDescription, CleanPerformance
from pytest_biastransfer.metrics.statistics.estimate import Estimate, Parts

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.measurement import Provenance


@dataclass(frozen=True)
class GroupFigure:
    """A metric of one group.

    Attributes
    ----------
    group
        Its name.
    estimate
        The metric; NaN with the interval [0, 1] where the group has no images to measure it on.
    size
        How many images it rests on; of an area under the ROC curve, the smaller one of positives and negatives.
    judged
        Whether that is enough.
    """

    group: str
    estimate: Estimate
    size: int
    judged: bool

    @property
    def text(self) -> str:
        """The group with its figure."""
        return f"{self.group} {self.estimate:.3f} (n = {self.size:,})"


class _Description(TypedDict):
    metric: str
    calibration_images: Annotated[int, lambda n: n >= 0]
    missing: Annotated[int, lambda n: n >= 0]
    n: Annotated[int, lambda n: n >= 0]
    total: int
    clean: CleanDescription
    groups: list[tuple[str, Parts, Annotated[int, lambda size: size >= 0], bool]]
    ends: tuple[str, str]
    estimates: Annotated[dict[str, Parts], lambda estimates: "gap" in estimates]
    evidence: dict[str, str]


class _WithoutControl(_Description):
    control: None


class _WithControl(_Description):
    estimates: Annotated[dict[str, Parts], lambda estimates: {"gap", "gap_excess"} <= estimates.keys()]
    control: _WithoutControl


def description_form(with_control: bool) -> Any:
    """Return the form of what `GapMeasurement.description` gives, with a control model or without one."""
    return _WithControl if with_control else _WithoutControl


@dataclass(frozen=True)
class GapMeasurement(Displayed):
    """All figures for one (model, dataset, gap).

    Attributes
    ----------
    model, dataset, declaration
        What was measured, in words.
    metric
        Of which the groups' figures are.
    between
        The two groups whose signed difference the gap is; None for the largest difference.
    n, total
        The number of images that were looked at, and of all.
    clean
        How well the model does on all of them.
    groups
        The figure of each group, in the order of the names.
    worst, best
        The compared groups at both ends.
    estimates
        ``gap``, the largest difference between two judged groups, or that of the first of two named groups minus the
        second; with a control model ``gap_excess``; ``worst``, the figure of the worst compared group; and of rates
        ``ratio``, the lowest one divided by the highest one.
    control
        The measurement of the control model, if there is one.
    computed
        How many forward passes of images it took; the others came from the store.
    provenance
        What it rests on.
    evidence
        What a later measurement is compared with; see `Entry.evidence`.
    calibration_images
        The number of other images that the threshold was found on.
    missing
        The number of images that are in no group, because they have no value of an attribute.
    """

    model: str
    dataset: str
    declaration: str
    metric: str
    between: tuple[str, str] | None
    n: int
    total: int
    clean: CleanPerformance
    groups: Sequence[GroupFigure]
    worst: str
    best: str
    estimates: Mapping[str, Estimate]
    control: GapMeasurement | None
    computed: int
    provenance: Provenance
    evidence: Mapping[str, str]
    calibration_images: int = 0
    missing: int = 0

    # All groups are measured whole: small ones would be left over.
    early: ClassVar[None] = None

    def __repr__(self) -> str:
        groups = ", ".join(figure.text for figure in self.groups)
        return (
            f"<{self.declaration} of {self.model}, {self.n} images of {self.dataset}: gap={self.gap!r}; {groups}; "
            f"{self.clean}>"
        )

    @property
    def gap(self) -> Estimate:
        """The largest difference between two judged groups, in [0, 1]; between two named ones signed, in [-1, 1]."""
        return self.estimates["gap"]

    @property
    def gap_excess(self) -> Estimate:
        """`gap` minus the control model's, in [-1, 1]."""
        return self.estimate("gap_excess")

    @property
    def by_group(self) -> dict[str, Estimate]:
        """The metric of each group."""
        return {figure.group: figure.estimate for figure in self.groups}

    @property
    def unjudged(self) -> list[str]:
        """The groups that have too few images."""
        return [figure.group for figure in self.groups if not figure.judged]

    @property
    def ends(self) -> str:
        """The groups that make the gap, in words."""
        return f"worst {self.worst}" if self.between is None else " minus ".join(self.between)

    @property
    def predictions(self) -> int:
        """The number of predictions that it rests on."""
        return (self.n + self.calibration_images) * (1 if self.control is None else 2)

    def estimate(self, metric: str) -> Estimate:
        """Return the estimate of that name; raises `BiasTransferError` telling what it needs."""
        if metric in self.estimates:
            return self.estimates[metric]
        if metric != "gap_excess":
            raise BiasTransferError(f"{metric} is not defined for {self.declaration}")
        raise BiasTransferError(f"{metric} of {self.model} is not available: it needs a control model (control=...)")

    def highlights(self) -> str:
        """Return in words what stands out."""
        few = f"; too few images to judge: {', '.join(self.unjudged)}" if self.unjudged else ""
        missing = f"; without a value: {self.missing:,}" if self.missing else ""
        judged = ", ".join(figure.text for figure in self.groups if figure.judged)
        return f"{self.metric} by group: {judged}{few}{missing}"

    def description(self) -> dict[str, Any]:
        """Return what need not be found out again, as plain data."""
        return {
            "metric": self.metric,
            "calibration_images": self.calibration_images,
            "missing": self.missing,
            "n": self.n,
            "total": self.total,
            "clean": self.clean.description(),
            "groups": [[figure.group, figure.estimate.to_list(), figure.size, figure.judged] for figure in self.groups],
            "ends": [self.worst, self.best],
            "estimates": {metric: estimate.to_list() for metric, estimate in self.estimates.items()},
            "evidence": dict(self.evidence),
            "control": None if self.control is None else self.control.description(),
        }

    def _facts(self) -> Row:
        return {"dataset": self.dataset, "gap": self.declaration, "images": self.n}

    def _rows(self) -> list[Row]:
        groups = [
            {
                "model": self.model,
                "metric": self.metric,
                "group": figure.group,
                **interval_columns(figure.estimate),
                "n": figure.size,
                "judged": figure.judged,
            }
            for figure in self.groups
        ]
        whole = [
            {
                "model": self.model,
                "metric": metric,
                "group": None,
                **interval_columns(estimate),
                "n": estimate.n,
                "judged": True,
            }
            for metric, estimate in self.estimates.items()
        ]
        return [*groups, *whole, *([] if self.control is None else self.control._rows())]

    def _content(self) -> Content:
        groups = [
            Bar.of(figure.group, figure.estimate, f"n = {figure.size:,}{'' if figure.judged else ', not judged'}")
            for figure in self.groups
        ]
        control = [] if self.control is None else [Bar.of("gap of control", self.control.gap)]
        whole = [*(Bar.of(metric, estimate) for metric, estimate in self.estimates.items()), *control]
        return Content(
            title=self.declaration,
            subtitle=f"{self.model} on {self.n:,} images of {self.dataset}",
            sentences=[f"Gap {self.gap.text()}, {self.ends}.", f"All images: {self.clean}."],
            charts={
                "groups": Bars(f"{self.metric} by group", groups),
                "gaps": Bars("the groups compared", whole),
            },
        )

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], models: Sequence[str], provenances: Sequence[Provenance], **names: Any
    ) -> GapMeasurement:
        """Return what `description` described, of the first model, and of the second one as its control."""
        control = description["control"]
        worst, best = description["ends"]
        return cls(
            model=models[0],
            metric=description["metric"],
            calibration_images=description["calibration_images"],
            missing=description["missing"],
            n=description["n"],
            total=description["total"],
            clean=CleanPerformance.from_description(description["clean"]),
            groups=tuple(
                GroupFigure(group, Estimate.from_list(parts), size, judged)
                for group, parts, size, judged in description["groups"]
            ),
            worst=worst,
            best=best,
            estimates={metric: Estimate.from_list(parts) for metric, parts in description["estimates"].items()},
            control=None if control is None else cls.from_description(control, models[1:], provenances[1:], **names),
            computed=0,
            provenance=provenances[0],
            evidence=description["evidence"],
            **names,
        )
