"""The figures: which measured quantities they compare, and what they must reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal


@dataclass(frozen=True)
class Figure:
    """A quantity, or a ratio of two that were measured in the same round.

    Attributes
    ----------
    name
        For ``--only``.
    title
        In words, the two quantities divided by `` / ``.
    numerator, denominator
        ``measurement.quantity``.
    must, aim
        What is to be reached, and what more is hoped for.
    sense
        How the figure compares with what it must reach.
    unit
        Of the quantities: ``"s"``, ``"ms"``, ``"bytes"`` or none.
    """

    name: str
    title: str
    numerator: str
    denominator: str | None = None
    must: float | None = None
    aim: float | None = None
    sense: Literal["<=", ">=", "="] = "<="
    unit: str = "s"

    @property
    def measurements(self) -> set[str]:
        """The names of the measurements that the figure needs."""
        return {quantity.partition(".")[0] for quantity in (self.numerator, self.denominator) if quantity}

    def reaches(self, value: float, target: float) -> bool:
        """Whether a value is as good as a target."""
        return {"<=": value <= target, ">=": value >= target, "=": value == target}[self.sense]


@dataclass(frozen=True)
class Result:
    """A figure's medians, and its value in each of the rounds."""

    figure: Figure
    numerator: float
    denominator: float | None
    values: Sequence[float]

    @property
    def value(self) -> float:
        """The median over the rounds."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """What is reached of what was to be."""
        must, aim = self.figure.must, self.figure.aim
        if must is None:
            return ""
        if not self.figure.reaches(self.value, must):
            return "MISSED"
        return "aim reached" if aim is not None and self.figure.reaches(self.value, aim) else "reached"


# The formats of models in files, as `projects/loading.py` has them.
FORMATS: Final[Mapping[str, str]] = {
    name: f"peak memory of loading {what} / its file"
    for name, what in (
        ("pt", "a `.pt`"),
        ("safetensors", "a `.safetensors`"),
        ("torchscript", "TorchScript"),
        ("export", "a `.pt2`"),
        ("onnx", "ONNX"),
        ("timm", "timm's checkpoint"),
        ("hf", "Hugging Face's directory"),
        ("half", "a `.pt` of half precision"),
    )
}

# Adapters of PEFT, beside their base.
ADAPTERS: Final[Mapping[str, str]] = {
    "adapter": "peak memory of loading an adapter / its base",
    "unmerged": "the same with `merge=0`",
}

CPU_FIGURES: Final = (
    Figure("floor", "floor's whole process / floor", "floor.process", "floor.passes"),
    Figure("cold", "cold run, one process / floor", "cold.seconds", "floor.passes", 1.10, 1.0),
    Figure("cold-n2", "cold run, `-n 2` / floor", "cold-n2.seconds", "floor.passes", 1.15, 1.0),
    Figure("passes", "forward passes of a clean image, 4 tests, `-n 2`", "counting.clean", must=1, sense="=", unit=""),
    Figure("warm", "second run, one process / trivial session", "warm.seconds", "trivial.seconds", 1.5, 1.2),
    Figure("warm-n2", "second run, `-n 2` / trivial session", "warm-n2.seconds", "trivial-n2.seconds", 1.5, 1.2),
    Figure("warm-torch", "second run, one process: imports of torch", "warm.torch", must=0, sense="=", unit=""),
    Figure("warm-torch-n2", "second run, `-n 2`: imports of torch", "warm-n2.torch", must=0, sense="=", unit=""),
    Figure(
        "ray",
        "five passes after start-up: two actors of Ray / two processes",
        "ray.seconds",
        "two-processes.seconds",
        1.15,
    ),
    Figure("many", "200 tests, all in the store / trivial session", "many.seconds", "trivial.seconds", 3, 2),
    Figure("canary", "second run, a fixture's model / without its canary", "canary.auto", "canary.off", 1.05),
    Figure(
        "memory", "peak memory / with a tenth of the images", "memory.bytes", "memory-tenth.bytes", 1.10, unit="bytes"
    ),
    Figure("import", "import of the plugin, no bias tests", "import.milliseconds", must=15, unit="ms"),
    Figure("heavy", "imports of torch and numpy, no bias tests", "plain.heavy", must=0, sense="=", unit=""),
    Figure("early-images", "early stop: images / all images", "early-stop.images", "all-images.images", 0.1, unit=""),
    Figure("early-time", "early stop: time / of all images", "early-stop.seconds", "all-images.seconds", 0.2),
    Figure("statistics", "statistics, 50,000 images, 1,000 classes", "statistics.milliseconds", must=50, unit="ms"),
    Figure("statistics-control", "the same beside a control", "statistics.with_control", must=50, unit="ms"),
    Figure("correction", "correction of the comparisons of 1,000 tests", "statistics.correction", must=200, unit="ms"),
    *(
        Figure(f"gaps-{name}", f"{title}, a million predictions, 10 groups", f"gaps.{name}", must=200, unit="ms")
        for name, title in (
            ("rate", "gap of false-positive rates"),
            ("prevalence", "the same at prevalence"),
            ("auc", "gap of AUC"),
            ("auc_shared", "the same against all negatives"),
        )
    ),
    Figure("transfer-second", "fixed-feature transfer, a second recipe", "transferring.second", must=5),
    Figure("transfer-again", "the same transfer in another process, weights loaded", "transferring.again", must=2),
    Figure(
        "transfer-session", "a session with it, nothing changed / trivial", "transferring.session", "trivial.seconds"
    ),
    Figure("transfer-torch", "its imports of torch", "transferring.torch", must=0, sense="=", unit=""),
    Figure("fingerprint", "fingerprint of the images' files, first time", "fingerprint.cold", must=1000, unit="ms"),
    Figure("fingerprint-known", "fingerprint of the images' files, unchanged", "fingerprint.warm", must=50, unit="ms"),
    Figure("collect", "collecting 1,000 tests over 20 specs", "collecting.seconds", must=2),
    Figure("collect-torch", "collecting them: imports of torch", "collecting.torch", must=0, sense="=", unit=""),
    *(
        Figure(f"loading-{name}", title, f"loading-{name}.bytes", f"loading-{name}.file", 2.2, unit="bytes")
        for name, title in FORMATS.items()
    ),
    *(
        Figure(f"loading-{name}", title, f"loading-{name}.bytes", "loading-hf.bytes", 1.1, unit="bytes")
        for name, title in ADAPTERS.items()
    ),
    Figure("apply", "applying the dearest intervention / MobileNetV2", "applying.others", "applying.forward", 0.05),
    *(
        Figure(
            f"apply-{name.lower()}",
            f"applying `{name}` / MobileNetV2",
            f"applying.{name.lower()}",
            "applying.forward",
            0.2,
        )
        for name in ("JPEG", "Blur", "Text")
    ),
    Figure("search", "search: seeds of 10 that find it in 200", "searching.found", must=9, sense=">=", unit=""),
    Figure("search-area", "search: area found / planted, 9 of 10 seeds", "searching.area", must=2, unit=""),
    Figure(
        "search-chance",
        "search: evaluations by chance / guided",
        "searching.by_chance",
        "searching.evaluations",
        1,
        sense=">=",
        unit="",
    ),
    Figure(
        "search-strong",
        "the same for an asr above 0.8",
        "searching.strong_by_chance",
        "searching.strong",
        1,
        sense=">=",
        unit="",
    ),
    Figure("hand", "hand-written suite, one process / cold run", "hand.seconds", "cold.seconds", 2.5, 4, ">="),
    Figure(
        "hand-n2", "hand-written suite, `-n 2` / cold run, `-n 2`", "hand-n2.seconds", "cold-n2.seconds", 5, None, ">="
    ),
)

# Measurements that take long, or that come out the same each time, are taken less often.
MOST_ROUNDS: Final[Mapping[str, int]] = {
    "hand": 3,
    "hand-n2": 3,
    "memory": 3,
    "memory-tenth": 3,
    "plain": 1,
    "searching": 1,
    "counting": 1,
    **{f"loading-{name}": 1 for name in (*FORMATS, *ADAPTERS)},
}


def results(figures: Iterable[Figure], samples: Mapping[str, Sequence[float]]) -> list[Result]:
    """Return the figures of what was measured: of each quantity one sample a round, from the first round on."""
    return [_result(figure, samples) for figure in figures]


def _result(figure: Figure, samples: Mapping[str, Sequence[float]]) -> Result:
    above = samples[figure.numerator]
    if figure.denominator is None:
        return Result(figure, median(above), None, above)
    # Of the rounds that have both.
    pairs = list(zip(above, samples[figure.denominator], strict=False))
    above, below = zip(*pairs, strict=True)
    return Result(figure, median(above), median(below), [one / other for one, other in pairs])
