"""What a marker demands of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from pytest_biastransfer.errors import BiasTransferError, nearest, percent_hint
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.names import Bound, Rule

# The probability that an early verdict is another one than that on all images.
EARLY_STOP_ALPHA: Final = 0.01


def require_confidence(value: object) -> float:
    """Return a confidence level if it is one."""
    return _between_0_and_1(value, "confidence", "0.95")


def require_rule(value: object) -> Rule:
    """Return the rule that limits are judged by, if it is one."""
    for rule in get_args(Rule):
        if value == rule:
            return rule  # type: ignore[no-any-return]
    raise BiasTransferError(f"rule={value!r}; {nearest(str(value), get_args(Rule))}")


def require_early_stop(value: object) -> float | bool | None:
    """Return an early verdict's probability of error, whether to stop early, or None to leave it to the option."""
    if value is None or isinstance(value, bool):
        return value
    return _between_0_and_1(value, "early_stop", "True or 0.01")


def require_max_regression(value: object, keyword: str = "max_regression") -> float:
    """Return by how much a metric may become worse, if it is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BiasTransferError(
            f"{keyword}={value!r}, expected a number from 0 to 1, such as 0.01{percent_hint(value)}"
        )
    return float(value)


def require_allow_degenerate(value: object) -> bool:
    """Return whether limits may hold for a model that does not tell its classes apart."""
    if not isinstance(value, bool):
        raise BiasTransferError(f"allow_degenerate={value!r}, expected True or False")
    return value


def _between_0_and_1(value: object, name: str, example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise BiasTransferError(
            f"{name}={value!r}, expected a number above 0 and below 1, such as {example}{percent_hint(value)}"
        )
    return float(value)


class Each(tuple[int | str, ...]):
    """Decisions that are judged one by one; see `each`."""

    __slots__ = ()


def each(*positives: int | str) -> Each:
    """Return a value of ``positive=`` that makes a test of each decision.

    Parameters
    ----------
    positives
        Classes, or outputs of a model with ``outputs="sigmoid"``, by name or number; at least one.

    Raises
    ------
    BiasTransferError
        If they are no classes.

    Examples
    --------
    >>> each("Smiling", "Young")
    ('Smiling', 'Young')
    """
    return Each(require_classes("positive", positives))


def require_target(target: object) -> tuple[int | str, ...]:
    """Return the target classes, none for None, if they are names or numbers of classes."""
    return require_classes("target", target)


def require_classes(keyword: str, value: object) -> tuple[int | str, ...]:
    """Return classes, none for None, if what a keyword was given are names or numbers of classes."""
    if value is None:
        return ()
    parts = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    classes = tuple(part for part in parts if isinstance(part, int | str) and not isinstance(part, bool))
    if not parts or len(classes) != len(parts):
        raise BiasTransferError(f"{keyword}={value!r}, expected a class or several, by name or number")
    return classes


@dataclass(frozen=True)
class Expectation:
    """Limits on metrics.

    Attributes
    ----------
    limits
        Metric and highest value, in the order of the catalogue.
    minimums
        Metric and lowest value, likewise; with `limits` at least one.
    sizes
        The signed metrics of which `limits` has the highest absolute value.
    means
        Metric and highest mean over the strengths of a ladder; with the others at least one.
    min_strength
        Of a ladder, the weakest strength at which a limit may be broken; None if none may break it.
    positive
        The decision that is judged, by names or numbers of classes or outputs; none for the predicted class.
    target
        The target classes of ``targeted_asr``, by name or number.
    confidence
        Coverage of the intervals, in (0, 1).
    rule
        What must be at most the limit: ``"point"`` the observed value, ``"certain"`` the whole interval,
        ``"significant"`` at least the lower end of the interval.
    max_regression
        By how much each limited metric may be worse than in the baseline; a regression is significantly more.
    early_stop
        The probability of an early verdict's error, whether to stop early, or None to leave that to the option.
    max_accuracy_regression
        By how much the accuracy without an intervention may be below its baseline, in the same way.
    allow_degenerate
        Whether limits may hold for a model that does not tell its classes apart.
    """

    limits: tuple[tuple[str, float], ...]
    minimums: tuple[tuple[str, float], ...] = field(default=(), kw_only=True)
    sizes: tuple[str, ...] = field(default=(), kw_only=True)
    means: tuple[tuple[str, float], ...] = field(default=(), kw_only=True)
    min_strength: float | None = field(default=None, kw_only=True)
    positive: tuple[int | str, ...] = ()
    target: tuple[int | str, ...] = ()
    confidence: float = 0.95
    rule: Rule = "point"
    max_regression: float = 0.0
    early_stop: float | bool | None = None
    max_accuracy_regression: float = 0.0
    allow_degenerate: bool = False

    @property
    def metrics(self) -> list[str]:
        """The limited metrics."""
        return list(dict.fromkeys(metric for metric, _ in (*self.limits, *self.minimums, *self.means)))

    @property
    def bounds(self) -> list[tuple[str, float, Bound]]:
        """Metric, limit, and what is limited, of all limits."""
        highest: list[tuple[str, float, Bound]] = [
            (metric, limit, "size at most" if metric in self.sizes else "at most") for metric, limit in self.limits
        ]
        return [*highest, *((metric, limit, "at least") for metric, limit in self.minimums)]

    @property
    def limits_text(self) -> str:
        """The limits as the marker has them."""
        limits = [
            f"{'min' if bound == 'at least' else 'max'}_{metric}={limit:g}" for metric, limit, bound in self.bounds
        ]
        limits += [f"{metric_named(metric).mean_keyword}={limit:g}" for metric, limit in self.means]
        return ", ".join([*limits, *([] if self.min_strength is None else [f"min_strength={self.min_strength:g}"])])

    @property
    def needs_control(self) -> bool:
        """Whether a limit compares with a control model."""
        return any("control" in metric_named(metric).needs for metric in self.metrics)
