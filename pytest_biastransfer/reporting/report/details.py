"""What a report says of a measurement besides its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.reporting.figures import Interval
from pytest_biastransfer.reporting.report.images import Shown

Kind = Literal["intervention", "ladder", "search", "gap"]
# `model` is a model under test that comes from a fixture of the user's.
Role = Literal["source", "transferred", "control", "model"]


@dataclass(frozen=True)
class Shares:
    """The distribution of one model's predicted classes, without and with the intervention.

    Attributes
    ----------
    role, model
        The role of the model in the test, and its name.
    classes
        The names of the classes with the largest shares, before or after, at most 20, in the model's order.
    before, after
        Their shares of the predictions, in [0, 1].
    others
        The shares of all other classes together, before and after; None if there are no others.
    """

    role: Role
    model: str
    classes: Sequence[str]
    before: Sequence[float]
    after: Sequence[float]
    others: Sequence[float] | None


@dataclass(frozen=True)
class Move:
    """How many predictions moved from one class to another."""

    before: str
    after: str
    images: int


@dataclass(frozen=True)
class Group:
    """The metric of one group.

    Attributes
    ----------
    group
        Its name.
    observed, control
        The metric of the model under test, and of the control model.
    size
        The number of images that the metric is computed from.
    judged
        Whether there are enough images for the group to count in the gap.
    """

    group: str
    observed: Interval
    control: Interval | None
    size: int
    judged: bool


@dataclass(frozen=True)
class Details:
    """The measurement of a test, besides its verdict.

    Attributes
    ----------
    kind, declaration
        The kind of test, and the intervention or gap as it is written in Python.
    model, dataset, control
        Their names; the control's is empty if there is none.
    fixtures
        The names of the fixtures that these come from, in that order.
    device
        The device that computed the predictions.
    metrics, control_metrics
        All metrics, by name.
    shares
        The distributions of the predicted classes: of the source model if its measurement is there, of the model under
        test, and of the control model.
    moves, flips
        The most frequent moves of the transferred model's predictions, most frequent first; and the number of flips.
    example
        An image under the intervention, if the session draws pictures.
    counted, counted_flips
        Which flipped images are shown: the name of a set of images, such as ``"hits"`` for those that hit the target;
        and how many there are.
    shown
        Flipped images of that set, those that were not in it when the baseline was accepted first; of a gap, images
        that the model is wrong on, in its worst group.
    rare_moves
        The number of moves that are not in `moves` because a single image makes each of them.
    groups, missing
        The groups of a gap, and the number of images that are in none because they have no value.
    errors_of
        The group of a gap that `shown` has errors of; empty if it has none.
    """

    kind: Kind
    declaration: str
    model: str
    dataset: str
    control: str
    fixtures: Sequence[str]
    device: str
    metrics: Mapping[str, Interval]
    control_metrics: Mapping[str, Interval]
    shares: Sequence[Shares] = ()
    moves: Sequence[Move] = ()
    rare_moves: int = 0
    flips: int = 0
    example: Shown | None = None
    shown: Sequence[Shown] = ()
    groups: Sequence[Group] = ()
    missing: int = 0
    counted: str = "flipped"
    counted_flips: int = 0
    errors_of: str = ""
