"""One accepted measurement: its figures, what it rests on, and which images made them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pytest_biastransfer.baseline.encoding import encode_classes, encode_images
from pytest_biastransfer.fingerprints.source_code import versions

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

# The accuracy without an intervention, which is compared whatever a marker limits.
ACCURACY: Final = "accuracy"
# What a change of a metric is judged by, as names of `evidence`.
EVIDENCE: Final[Mapping[str, tuple[str, ...]]] = {
    "asr": ("flipped",),
    "conditional_asr": (),
    "targeted_asr": ("hits",),
    "skew": ("flipped", "from", "to"),
    "accuracy_drop": ("lost", "won"),
    "asr_excess": ("flipped", "control_flipped"),
    "skew_excess": ("flipped", "from", "to", "control_flipped", "control_from", "control_to"),
    "gap": ("groups", "chance"),
    "gap_excess": ("groups", "excess_error"),
    ACCURACY: ("misclassified",),
}
_LIBRARIES: Final = ("pytest-biastransfer", "torch", "torchvision")
_CLOPPER_PEARSON: Final = "clopper-pearson"


class EntryKey(NamedTuple):
    """Where an entry is: the test without its parameters' machine-made names, and which of its cases."""

    test: str
    case: str


@dataclass(frozen=True)
class Figure:
    """A metric's value, None if it is undefined; the images it is of, and for a share how many of them count."""

    value: float | None
    images: int
    count: int | None


@dataclass(frozen=True)
class Entry:
    """An accepted measurement, as plain data.

    Attributes
    ----------
    model, dataset
        ``name`` and ``fingerprint``.
    images
        How many images of the dataset were measured.
    intervention
        What was measured, in words: the intervention, or the gap.
    figures
        The metrics.
    evidence
        Encoded sets of images and their classes: ``flipped`` from the classes ``from`` to the classes ``to``,
        the same of the control model, ``hits`` of the target, images whose right classification was ``lost`` or
        ``won``, and those that are ``misclassified`` without the intervention. Only what the limited metrics and the
        accuracy need, and what flipped. Of a gap: a hash of its ``groups``, the ``hits`` of each, what ``chance`` does
        to the gap, and the standard ``excess_error`` of the excess.
    versions
        Of the libraries.
    """

    model: Mapping[str, str | None]
    dataset: Mapping[str, str]
    images: int
    intervention: str
    figures: Mapping[str, Figure]
    evidence: Mapping[str, str]
    versions: Mapping[str, str | None]

    def joined(self, other: Entry) -> Entry:
        """Return this entry with what it lacks of another one, if that is of the same measurement."""
        if self._measured != other._measured:
            return self
        figures, evidence = {**other.figures, **self.figures}, {**other.evidence, **self.evidence}
        return dataclasses.replace(self, figures=figures, evidence=evidence)

    @property
    def _measured(self) -> tuple[object, ...]:
        return self.model["fingerprint"], self.dataset["fingerprint"], self.images, self.intervention

    def to_json(self) -> dict[str, Any]:
        """Return the entry as what JSON can hold."""
        return dataclasses.asdict(self) | {"figures": {name: _plain(one) for name, one in self.figures.items()}}

    @classmethod
    def from_json(cls, found: Any) -> Entry:
        """Return the entry that `to_json` gave; raises ValueError for anything else, naming the part."""
        parts = _typed(found, dict, "the entry")
        missing = {field.name for field in dataclasses.fields(cls)} ^ parts.keys()
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))}: missing, or not known")
        figures = {name: _figure(name, figure) for name, figure in _typed(parts["figures"], dict, "figures").items()}
        for name in ("model", "dataset", "evidence", "versions"):
            for key, value in _typed(parts[name], dict, name).items():
                if not (isinstance(value, str) or (value is None and name in ("model", "versions"))):
                    raise ValueError(f"{name}.{key}: expected a text, found {value!r:.60}")
        _typed(parts["images"], int, "images")
        _typed(parts["intervention"], str, "intervention")
        return cls(**(parts | {"figures": figures}))


def evidence_for(metrics: Collection[str]) -> tuple[str, ...]:
    """Return the names of all evidence that metrics and the accuracy need, and of the flipped images, for people."""
    return tuple(dict.fromkeys(["flipped", *(name for metric in (*metrics, ACCURACY) for name in EVIDENCE[metric])]))


def encoded_evidence(found: Measurement, names: Collection[str]) -> dict[str, str]:
    """Return those parts of the evidence that a measurement has."""
    outcomes = found.outcomes
    parts = _encoded_moves(outcomes.flips, "")
    if outcomes.control_flips is not None:
        parts |= _encoded_moves(outcomes.control_flips, "control_")
    sets = {
        "hits": outcomes.hits,
        "lost": outcomes.lost,
        "won": outcomes.won,
        "misclassified": outcomes.misclassified,
    }
    parts |= {name: encode_images(images.tolist()) for name, images in sets.items() if images is not None}
    return {name: parts[name] for name in names if name in parts}


# The form of evidence as plain data: see `encode_images` and `encode_classes`.
EncodedEvidence: Final = dict[
    str, Annotated[str, lambda text: bool(re.fullmatch(r"([0-9]{1,9}\.){1,2}[0-9A-Za-z+/]*={0,2}", text))]
]


def entry_of(found: Measurement | GapMeasurement, evidence: Mapping[str, str]) -> Entry:
    """Return a measurement as an entry."""
    accuracy = {} if found.clean.accuracy is None else {ACCURACY: found.clean.accuracy}
    estimates = {**found.estimates, **accuracy}
    return Entry(
        model={"name": found.model, "fingerprint": found.provenance.model},
        dataset={"name": found.dataset, "fingerprint": found.provenance.dataset},
        images=found.n,
        # Without the addresses that some objects describe themselves with.
        intervention=re.sub(r" at 0x[0-9a-fA-F]+", "", found.declaration),
        figures={metric: _figure_of(estimate) for metric, estimate in estimates.items()},
        evidence=evidence,
        # Without the kind of build, which differs between machines that compute the same.
        versions={name: version and version.partition("+")[0] for name, version in versions(_LIBRARIES).items()},
    )


def _encoded_moves(moves: Transitions, prefix: str) -> dict[str, str]:
    return {
        f"{prefix}flipped": encode_images(moves.images.tolist()),
        f"{prefix}from": encode_classes(moves.before.tolist()),
        f"{prefix}to": encode_classes(moves.after.tolist()),
    }


def _figure_of(estimate: Estimate) -> Figure:
    value = None if math.isnan(estimate) else float(estimate)
    is_share = estimate.method == _CLOPPER_PEARSON
    return Figure(value, estimate.n, round((value or 0.0) * estimate.n) if is_share else None)


def _plain(figure: Figure) -> dict[str, float | None]:
    return {name: value for name, value in dataclasses.asdict(figure).items() if name != "count" or value is not None}


def _figure(name: str, found: Any) -> Figure:
    parts = _typed(found, dict, name)
    value, images, count = parts.get("value"), parts.get("images"), parts.get("count")
    numbers = (value is None or type(value) in (int, float)) and type(images) is int
    if not numbers or type(count) not in (int, type(None)) or parts.keys() - {"value", "images", "count"}:
        raise ValueError(f"{name}: expected a value, images and perhaps a count, found {found!r:.60}")
    return Figure(value, images, count)


def _typed(found: Any, kind: type, name: str) -> Any:
    if type(found) is not kind:
        raise ValueError(f"{name}: expected {kind.__name__}, found {type(found).__name__}")
    return found
