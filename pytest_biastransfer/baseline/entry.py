"""One accepted measurement: its figures, what it rests on, and which images made them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pytest_biastransfer.baseline.component_encoding import decode_components
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.baseline.encoding import (
    decode_classes,
    decode_groups,
    decode_images,
    decode_numbers,
    encode_classes,
    encode_images,
)
from pytest_biastransfer.baseline.history import nights_of
from pytest_biastransfer.fingerprints.source_code import versions
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.class_metrics import ACCURACY

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.metrics.statistics.components import Components
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

_LIBRARIES: Final = ("pytest-biastransfer", "torch", "torchvision")
_CLOPPER_PEARSON: Final = "clopper-pearson"
# What the file has of a further seed; the rest it has in common with the first one.
_OF_A_SEED: Final = ("model", "figures", "evidence", "versions", "computation")


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
        ``won``, and those that are ``misclassified`` without the intervention or ``unlabelled``. Only what the
        limited metrics and the accuracy need, and what flipped. Of a gap: a hash of its ``groups``, the ``hits`` of
        each or the ``components`` of their figures, what ``chance`` does to the gap, and the standard errors of the
        excess, ``excess_error``, of the ratio and of the worst group; whether the ``worst`` group is the highest or the
        lowest one; and the groups a signed gap is ``between``.
    versions
        Of the libraries.
    computation
        What computed the predictions; None if that is not known.
    image_keys
        A short key of each image of the dataset, as text; empty if they are not known. The baseline file has them
        once for each dataset, and other files do not have them.
    history
        The runs on other images that were compared with it, one line each; see `baseline.history`.
    seeds
        The same measurement of further accepted models of the same training; see `pytest_biastransfer.baseline.seeds`.
    """

    model: Mapping[str, str | None]
    dataset: Mapping[str, str]
    images: int
    intervention: str
    figures: Mapping[str, Figure]
    evidence: Mapping[str, str]
    versions: Mapping[str, str | None]
    computation: Computation | None = None
    image_keys: str = ""
    history: Sequence[str] = ()
    seeds: tuple[Entry, ...] = ()

    def value(self, metric: str) -> float:
        """Return the value of a metric; it must be defined."""
        value = self.figures[metric].value
        assert value is not None
        return value

    def share(self, metric: str) -> tuple[int, int]:
        """Return how many images count for a metric that is a share, and among how many."""
        figure = self.figures[metric]
        return figure.count or 0, figure.images

    def image_set(self, name: str) -> list[int]:
        """Return a set of images as ascending indices in the dataset; raises ValueError if it cannot be decoded."""
        return decode_images(self.evidence[name])

    def transitions(self, prefix: str) -> Transitions:
        """Return the flipped images with their classes; raises ValueError if they cannot be decoded."""
        import numpy as np

        from pytest_biastransfer.metrics.statistics.transitions import Transitions

        images = self.image_set(f"{prefix}flipped")
        classes = [decode_classes(self.evidence[f"{prefix}{name}"], len(images)) for name in ("from", "to")]
        return Transitions(*(np.array(numbers, dtype=np.int64) for numbers in (images, *classes)))

    def group_hits(self) -> Sequence[tuple[int, Sequence[int]]]:
        """Return each group's size and the images that count; raises ValueError if they cannot be decoded."""
        return decode_groups(self.evidence["hits"])

    def components(self) -> Components:
        """Return what each image adds to the figures of groups; raises ValueError if it cannot be decoded."""
        return decode_components(self.evidence["components"])

    @property
    def has_group_hits(self) -> bool:
        """Whether ``hits`` are those of the groups of a gap, and not of a target."""
        return {"hits", "groups"} <= self.evidence.keys()

    def numbers(self, name: str, count: int) -> list[float]:
        """Return so many numbers; raises ValueError if they cannot be decoded."""
        return decode_numbers(self.evidence[name], count)

    def joined(self, other: Entry) -> Entry:
        """Return this entry with what it lacks of another one, if that is of the same measurement."""
        if self._measured != other._measured:
            return self
        figures, evidence = {**other.figures, **self.figures}, {**other.evidence, **self.evidence}
        image_keys = self.image_keys or other.image_keys
        return dataclasses.replace(self, figures=figures, evidence=evidence, image_keys=image_keys)

    @property
    def _measured(self) -> tuple[object, ...]:
        return self.model["fingerprint"], self.dataset["fingerprint"], self.images, self.intervention

    def to_json(self) -> dict[str, Any]:
        """Return the entry as what JSON can hold, without the keys of the images, and without an empty history."""
        figures = {name: _plain(figure) for name, figure in self.figures.items()}
        content = dataclasses.asdict(self) | {"figures": figures}
        del content["image_keys"], content["seeds"]
        if not self.history:
            del content["history"]
        if self.seeds:
            plain = [seed.to_json() for seed in self.seeds]
            content["seeds"] = [{name: seed[name] for name in _OF_A_SEED} for seed in plain]
        return content

    @classmethod
    def from_json(cls, content: Any) -> Entry:
        """Return the entry that `to_json` gave; raises ValueError for anything else, naming the part."""
        parts = _typed(content, dict, "the entry")
        parts = {"history": [], **parts}
        missing = {field.name for field in dataclasses.fields(cls)} - {"image_keys", "seeds"} ^ parts.keys() - {"seeds"}
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))}: missing, or not known")
        figures = {name: _figure(name, figure) for name, figure in _typed(parts["figures"], dict, "figures").items()}
        for name in ("model", "dataset", "evidence", "versions"):
            for key, value in _typed(parts[name], dict, name).items():
                if not (isinstance(value, str) or (value is None and name in ("model", "versions"))):
                    raise ValueError(f"{name}.{key}: expected a text, found {value!r:.60}")
        _typed(parts["images"], int, "images")
        _typed(parts["intervention"], str, "intervention")
        for line in _typed(parts["history"], list, "history"):
            _typed(line, str, "history")
        nights_of(parts["history"])
        computation = None if parts["computation"] is None else Computation.from_json(parts["computation"])
        read = {"figures": figures, "computation": computation, "history": tuple(parts["history"])}
        return cls(**(parts | read | {"seeds": cls._seeds(parts)}))

    @classmethod
    def _seeds(cls, parts: Mapping[str, Any]) -> tuple[Entry, ...]:
        """Return the further seeds of an entry as JSON has it."""
        shared = {name: part for name, part in parts.items() if name not in (*_OF_A_SEED, "seeds", "history")}
        seeds, models = [], {parts["model"].get("fingerprint")}
        for number, content in enumerate(_typed(parts.get("seeds", []), list, "seeds"), start=1):
            try:
                unknown = set(_OF_A_SEED) ^ _typed(content, dict, "the seed").keys()
                if unknown:
                    raise ValueError(f"{', '.join(sorted(unknown))}: missing, or not known")
                seed = cls.from_json(content | shared)
                if seed.model.get("fingerprint") in models:
                    raise ValueError(f"the model {seed.model.get('fingerprint')} is there twice")
            except ValueError as error:
                raise ValueError(f"seeds, number {number}: {error}") from error
            seeds.append(seed)
            models.add(seed.model.get("fingerprint"))
        return tuple(seeds)


def evidence_for(metrics: Collection[str]) -> tuple[str, ...]:
    """Return the names of all evidence that metrics and the accuracy need, and of the flipped images, for people."""
    needed = [name for metric in (*metrics, ACCURACY) for name in metric_named(metric).change.evidence]
    return tuple(dict.fromkeys(["flipped", *needed]))


def encoded_evidence(measurement: Measurement, names: Collection[str]) -> dict[str, str]:
    """Return those parts of the evidence that a measurement has."""
    outcomes = measurement.outcomes
    evidence = {name: encode_images(images) for name, images in outcomes.image_sets.items()}
    evidence |= _encoded_transitions(outcomes.flips, "")
    if outcomes.control_flips is not None:
        evidence |= _encoded_transitions(outcomes.control_flips, "control_")
    return {name: evidence[name] for name in names if name in evidence}


# The form of evidence as plain data: see `encode_images` and `encode_classes`.
EncodedEvidence: Final = dict[
    str, Annotated[str, lambda text: bool(re.fullmatch(r"([0-9]{1,9}\.){1,2}[0-9A-Za-z+/]*={0,2}", text))]
]


def entry_of(
    measurement: Measurement | GapMeasurement, evidence: Mapping[str, str], computation: Computation | None = None
) -> Entry:
    """Return a measurement as an entry; `computation` is what computed its predictions."""
    accuracy = {} if measurement.clean.accuracy is None else {ACCURACY: measurement.clean.accuracy}
    estimates = {**measurement.estimates, **accuracy}
    return Entry(
        model={"name": measurement.model, "fingerprint": measurement.provenance.model},
        dataset={"name": measurement.dataset, "fingerprint": measurement.provenance.dataset},
        images=measurement.n,
        # Some objects describe themselves with their address in memory, which differs in each process.
        intervention=re.sub(r" at 0x[0-9a-fA-F]+", "", measurement.declaration),
        figures={metric: _figure_of(estimate) for metric, estimate in estimates.items()},
        evidence=evidence,
        # Without the kind of build, which differs between machines that compute the same.
        versions={name: version and version.partition("+")[0] for name, version in versions(_LIBRARIES).items()},
        computation=computation,
    )


def _encoded_transitions(transitions: Transitions, prefix: str) -> dict[str, str]:
    return {
        f"{prefix}flipped": encode_images(transitions.images),
        f"{prefix}from": encode_classes(transitions.before.tolist()),
        f"{prefix}to": encode_classes(transitions.after.tolist()),
    }


def _figure_of(estimate: Estimate) -> Figure:
    value = None if math.isnan(estimate) else float(estimate)
    is_share = estimate.method == _CLOPPER_PEARSON
    return Figure(value, estimate.n, round((value or 0.0) * estimate.n) if is_share else None)


def _plain(figure: Figure) -> dict[str, float | None]:
    return {name: value for name, value in dataclasses.asdict(figure).items() if name != "count" or value is not None}


def _figure(name: str, content: Any) -> Figure:
    parts = _typed(content, dict, name)
    value, images, count = parts.get("value"), parts.get("images"), parts.get("count")
    numbers = (value is None or type(value) in (int, float)) and type(images) is int
    if not numbers or type(count) not in (int, type(None)) or parts.keys() - {"value", "images", "count"}:
        raise ValueError(f"{name}: expected a value, images and perhaps a count, found {content!r:.60}")
    return Figure(value, images, count)


def _typed(content: Any, kind: type, name: str) -> Any:
    if type(content) is not kind:
        raise ValueError(f"{name}: expected {kind.__name__}, found {type(content).__name__}")
    return content
