"""Reports to draw pages of: one that has everything, one of hostile names, and one as large as they come."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw

from pytest_biastransfer.metrics.clean_performance import ClassShare
from pytest_biastransfer.reporting.curves import Curve, Curves
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.performance import Performance
from pytest_biastransfer.reporting.report import (
    Details,
    Group,
    Move,
    Picture,
    Report,
    ReportedChange,
    Result,
    Role,
    Saliency,
    Session,
    Shares,
    Shown,
)

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# So many different series of images has a large report: compressing them takes longer than all else.
SERIES: Final = 15
ENVIRONMENT: Final = {
    "pytest-biastransfer": "0.8.0",
    "pytest": "9.2.0",
    "torch": "2.13.0",
    "Python": "3.12.4",
    "system": "Linux x86_64",
    "device": "cpu, 2 threads",
    "command": "pytest -n 2 --bias-report=bias.html",
}
ENVIRONMENT_OF_GPU: Final = {**ENVIRONMENT, "device": "cuda:0, NVIDIA L4"}
COMMIT: Final = "9a15309c0c8f1e4a1d6d5a3c8d7b6f5e4d3c2b1a"

MESSAGE: Final = """\
bias: asr above 0.05

  test          test_objects.py::test_nothing_inherited[yellow-square]
  intervention  Square(size=0.25, anchor='top-left', color=(255, 255, 0))
  model         MobileNetV2, fixed-feature
  dataset       cifar10/test, 5,000 images
  control       ResNet20 from scratch

  FAILED  asr  0.381  (95 % interval 0.367 to 0.395, n = 5,000)  limit 0.05
          asr 0.381 [0.367, 0.395], control 0.144 [0.134, 0.154]
"""
HOSTILE: Final = (
    "<script>alert(1)</script><img src=https://example.org/x.png onerror=alert(2)>\"' {{ 7*7 }} {% raw %}",
    "👩‍👩‍👧‍👦 emoji 🟨🐕 \u200d\ufe0f",
    "שלום עולם → مرحبا بالعالم \u202e\u2066",
    "n" * 10_000,
    "control\x00\x07\x1b[31mred\x1b[0m \udcff ]]> --> </style></svg>",
)


def share(value: float, n: int = 5000, spread: float = 0.014) -> Interval:
    return Interval(value, max(value - spread, 0.0), min(value + spread, 1.0), 0.95, n)


def sample_report() -> Report:
    """Return a report that has every kind of test and every outcome."""
    return Report(
        sessions=[
            Session("2025-05-04T03:02:01+00:00", 74.2, ENVIRONMENT, COMMIT, "bias", "cpu.json"),
            Session("2025-05-04T03:02:09+00:00", 71.8, ENVIRONMENT_OF_GPU, COMMIT, "bias-gpu", "gpu.json"),
        ],
        tests=[
            _passed("test_objects.py::test_nothing_inherited[grayscale]", 12),
            _failed(),
            _result("test_objects.py::test_nothing_inherited[tennis-ball]", 12, "lost", message="the worker died"),
            dataclasses.replace(_search(), session=1),
            _gap(),
            _result(
                "test_objects.py::test_crops[jpeg]",
                81,
                "error",
                message="DatasetError: data/val/cat/0012.jpg is damaged: it ends after 1,204 bytes. "
                "Replace it, or leave it out",
            ),
            _regression(),
            dataclasses.replace(
                _passed("test_objects.py::test_known[watermark]", 95),
                outcome="xfailed",
                message="reason: known since the last release",
                limits=[Limit("asr", 0.05, "certain", False, "not certain", share(0.043, 900), share(0.02, 900))],
            ),
            _result("test_objects.py::test_on_gpu[vignette]", 99, "skipped", message="no GPU"),
            dataclasses.replace(
                _passed("test_objects.py::test_repaired[chain-link]", 120),
                outcome="xpassed",
                images=768,
                limits=[Limit("asr", 0.2, "point", True, "", share(0.02, 768), None)],
            ),
        ],
        evaluated=42_000,
        reused=13_000,
        performances=[
            _performance("MobileNetV2, fixed-feature", "cifar10/test", 0.661),
            _performance("ResNet20 from scratch", "cifar10/test", 0.81),
        ],
    )


def _performance(model: str, dataset: str, accuracy: float) -> Performance:
    most = ClassShare("airplane", 0.12)
    return Performance(
        model=model,
        dataset=dataset,
        model_fingerprint=model,
        dataset_fingerprint=dataset,
        images=5000,
        total=5000,
        accuracy=share(accuracy),
        classes=10,
        predicted_classes=10,
        most_predicted=most,
        most_labelled=most,
        defect="",
    )


def report_of(*tests: Result) -> Report:
    return Report([Session("2025-05-04T03:02:01+00:00", 1.5, ENVIRONMENT)], tests, 10, 20)


def hostile_report(text: str) -> Report:
    """Return a report all of whose names are a text."""
    test = _failed()
    assert test.details is not None
    shown = [dataclasses.replace(image, label=text, before=text, after=text) for image in test.details.shown]
    groups = [Group(text, share(0.3, 40), share(0.1, 40), 40, judged) for judged in (True, False)]
    all_shares = [
        dataclasses.replace(shares, model=text, classes=[f"{text}{number}" for number in range(len(shares.classes))])
        for shares in test.details.shares
    ]
    details = dataclasses.replace(
        test.details,
        declaration=text,
        model=text,
        dataset=text,
        control=text,
        fixtures=[text],
        device=text,
        metrics={text: share(0.2)},
        control_metrics={text: share(0.1)},
        shares=all_shares,
        moves=[Move(text, text, 3)],
        shown=shown,
        groups=groups,
    )
    limits = [Limit("asr", 0.05, "point", False, text, share(0.381), share(0.144))]
    tests = [
        dataclasses.replace(
            test, name=text, file=text, message=text, limits=limits, standing=standing, notes=[text], details=details
        )
        for standing in ("regression", text)
    ]
    return Report([Session("2025-05-04T03:02:01+00:00", 1.5, {text: text})], tests, 10, 20)


def large_report(tests: int, images: int, side: int = 160) -> Report:
    """Return a report of so many tests with so many flipped images each, with source and control, a tenth failing."""
    results = [_large(number, images, side) for number in range(tests)]
    return Report([Session("2025-05-04T03:02:01+00:00", 741.2, ENVIRONMENT)], results, tests * 5000, tests * 5000)


def ladder_report() -> Report:
    """Return a report of a ladder that breaks its limit, and of a gap with images of the worst group."""
    strengths = (0.02, 0.05, 0.1, 0.2, 0.4)
    values = (0.01, 0.03, 0.09, 0.24, 0.41)
    points = [share(value, 1000, 0.025) for value in values]
    ladder = dataclasses.replace(
        _failed(),
        name="test_objects.py::test_noise[gaussian-noise]",
        limits=[Limit("asr", 0.1, "point", False, "", points[3], None, at="sigma 0.2")],
        changes=[
            ReportedChange("asr", before, now, 0.2, 3, 1, True, "unchanged", at=f"sigma {strength:g}")
            for before, now, strength in zip((0.01, 0.02, 0.07, 0.2, 0.38), values, strengths, strict=True)
        ],
        curves=Curves("sigma", strengths, 0.2, [Curve("asr", 0.1, points, 0.2)], 0.2),
        details=dataclasses.replace(_measured(pictures(4, 20, whole=True), 20), kind="ladder", rare_moves=23),
    )
    gap = _gap()
    assert gap.details is not None
    errors = [
        dataclasses.replace(shown, before="bird", after="", confidence_before=None, confidence_after=None)
        for shown in _shown([(clean, None) for clean, _ in pictures(6, 20)], 20, 0)
    ]
    errors = [dataclasses.replace(error, saliency=None, new=None) for error in errors]
    details = dataclasses.replace(gap.details, shown=errors, errors_of="bird on water")
    return report_of(ladder, dataclasses.replace(gap, outcome="failed", details=details))


def several_runs(runs: int) -> Sequence[Report]:
    """Return the reports of runs in which the tests slowly got worse; a test is missing in the second."""
    reports = []
    for number in range(runs):
        report = sample_report()
        tests = [_drifted(test, 0.5 + number / (2 * runs)) for test in report.tests]
        sessions = [Session(f"2025-05-{number + 1:02}T03:02:01+00:00", 74.2, ENVIRONMENT, f"{number:x}" * 40)]
        reports.append(dataclasses.replace(report, sessions=sessions, tests=tests if number != 1 else tests[:-1]))
    return reports


def _drifted(test: Result, factor: float) -> Result:
    if test.details is None:
        return test
    limits = [dataclasses.replace(limit, observed=_scaled(limit.observed, factor)) for limit in test.limits]
    above = any((limit.observed.value or 0.0) > limit.limit for limit in limits)
    metrics = {name: _scaled(interval, factor) for name, interval in test.details.metrics.items()}
    outcome: Outcome = "failed" if above else "passed"
    details = dataclasses.replace(test.details, metrics=metrics)
    return dataclasses.replace(test, outcome=outcome, limits=limits, details=details)


def _scaled(interval: Interval, factor: float) -> Interval:
    value, low, high = (None if end is None else end * factor for end in (interval.value, interval.low, interval.high))
    return Interval(value, low, high, interval.confidence, interval.n)


@functools.cache
def pictures(images: int, first: int = 0, side: int = 160, *, whole: bool = False) -> Sequence[tuple[Picture, Picture]]:
    """Return clean images, each with what changes of it: a yellow square, or as a whole, to gray.

    They are photographs where there are some, or else smooth noise.
    """
    pairs = []
    for number in range(images):
        clean = _photograph(first + number, side)
        square = Image.new("RGBA", clean.size)
        ImageDraw.Draw(square).rectangle((0, 0, side // 4, side // 4), fill=(255, 255, 0, 255))
        pairs.append((_picture(clean), _picture(clean.convert("L").convert("RGB") if whole else square)))
    return pairs


def _picture(image: Image.Image) -> Picture:
    file = io.BytesIO()
    image.save(file, "WEBP", **({"lossless": True} if image.width < 48 else {"quality": 35}))
    return Picture(base64.b64encode(file.getvalue()).decode(), "image/webp", *image.size)


@functools.cache
def _photograph(number: int, side: int) -> Image.Image:
    files = _files(side)
    if files:
        with Image.open(files[number * 7 % len(files)]) as image:
            least = min(image.size)
            left, top = (image.width - least) // 2, (image.height - least) // 2
            square = image.convert("RGB").crop((left, top, left + least, top + least))
            return square.resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


@functools.cache
def _files(side: int) -> Sequence[Path]:
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        return ()
    # Small pictures of small photographs, large ones of large ones.
    return sorted(Path(folder, "cifar10/test" if side <= 32 else "imagenet_sample").glob("*/*.jpg"))


def _result(name: str, line: int, outcome: Outcome, message: str = "") -> Result:
    return Result(name, name.partition("::")[0], line, outcome, 0.4, message)


def _passed(name: str, line: int) -> Result:
    details = Details(
        kind="intervention",
        declaration="Grayscale()",
        model="MobileNetV2, fixed-feature",
        dataset="cifar10/test",
        control="",
        fixtures=["transferred_model", "bias_dataset"],
        device="cpu",
        metrics={"asr": share(0.031), "skew": share(0.012), "accuracy": share(0.661)},
        control_metrics={},
        shares=[_shares("transferred", 0.3)],
        moves=[Move("cat", "dog", 31), Move("dog", "cat", 12)],
        flips=155,
    )
    limits = [Limit("asr", 0.1, "point", True, "", share(0.031), None)]
    return Result(
        name, "test_objects.py", line, "passed", 1.2, "", 5000, 5000, limits, standing="unchanged", details=details
    )


def _shares(role: Role, strength: float) -> Shares:
    before = np.array([0.101, 0.098, 0.104, 0.092, 0.097, 0.105, 0.110, 0.099, 0.096, 0.098])
    after = before * (1 - strength)
    after[0] += strength * 0.7
    after[8] += strength * 0.3
    model = {
        "source": "MobileNetV2 of ImageNet",
        "transferred": "MobileNetV2, fixed-feature",
        "control": "ResNet20 from scratch",
    }
    classes: Sequence[str] = CLASSES
    others = None
    if role == "source":
        classes = ("tennis ball", "ping-pong ball", "lemon", "banana", "tabby cat", "golden retriever", "airliner")
        before, after = before[:7] / 4, after[:7] / 4
        others = [float(1 - before.sum()), float(1 - after.sum())]
    return Shares(role, model[role], classes, before.round(4).tolist(), after.round(4).tolist(), others)


def _shown(pairs: Sequence[tuple[Picture, Picture | None]], first: int, new: int) -> list[Shown]:
    return [
        Shown(
            index=first + 17 * number,
            label=CLASSES[(first + number) % 10],
            before=CLASSES[(first + number * (1 + number % 3)) % 10],
            after="airplane" if number % 4 else "ship",
            confidence_before=0.52 + (number * 13 % 45) / 100,
            confidence_after=0.41 + (number * 29 % 55) / 100,
            new=number < new,
            file=f"{CLASSES[(first + number) % 10]}/{first + 17 * number:04}.jpg" if number % 2 else "",
            clean=clean,
            changed=changed,
            middle=0.13,
            saliency=_saliency(number) if number < 4 else None,
        )
        for number, (clean, changed) in enumerate(pairs)
    ]


def _saliency(number: int) -> Saliency:
    """Return where a model looks: at what is in the middle, and at the square if there is one."""
    rows, columns = np.mgrid[0:8, 0:8]
    middle = 0.55 * np.exp(-((rows - 4) ** 2 + (columns - 3 - number % 2) ** 2) / 4)
    corner = 0.8 * np.exp(-(rows**2 + columns**2) / 3)
    return Saliency(middle.round(3).tolist(), corner.round(3).tolist(), 100)


def _measured(
    pairs: Sequence[tuple[Picture, Picture | None]],
    first: int,
    kind: Literal["intervention", "search"] = "intervention",
) -> Details:
    tested = ("asr", "conditional_asr", "skew", "accuracy", "intervened_accuracy", "accuracy_drop")
    return Details(
        kind=kind,
        declaration="Square(size=0.25, anchor='top-left', color=(255, 255, 0))",
        model="MobileNetV2, fixed-feature",
        dataset="cifar10/test",
        control="ResNet20 from scratch",
        fixtures=["transferred_model", "bias_dataset", "control_model"],
        device="cpu",
        metrics={
            **{name: share(value) for name, value in zip(tested, (0.381, 0.352, 0.29, 0.661, 0.46, 0.2), strict=True)},
            "asr_excess": Interval(0.237, 0.22, 0.254, 0.95, 5000),
        },
        control_metrics={
            name: share(value) for name, value in zip(tested, (0.144, 0.09, 0.052, 0.81, 0.77, 0.04), strict=True)
        },
        shares=[_shares("source", 0.2), _shares("transferred", 0.3), _shares("control", 0.05)],
        moves=[
            Move(CLASSES[9 - number], "airplane" if number % 3 else "ship", 301 - 31 * number) for number in range(10)
        ],
        flips=1905,
        shown=_shown(pairs, first, new=len(pairs) // 3),
    )


def _failed() -> Result:
    return Result(
        name="test_objects.py::test_nothing_inherited[yellow-square]",
        file="test_objects.py",
        line=12,
        outcome="failed",
        seconds=12.31,
        message=MESSAGE,
        images=5000,
        total=5000,
        limits=[
            Limit("asr", 0.05, "point", False, "", share(0.381), share(0.144)),
            Limit("asr_excess", 0.1, "point", False, "", Interval(0.237, 0.22, 0.254, 0.95, 5000), share(0.144)),
            Limit("skew", 0.3, "point", True, "within noise", share(0.29), share(0.052)),
        ],
        standing="regression",
        changes=[
            ReportedChange("asr", 0.321, 0.381, 3e-12, 446, 146, True, "regression"),
            ReportedChange("skew", 0.288, 0.29, 0.41, None, None, True, "unchanged"),
        ],
        notes=[
            "attribution of asr, 5 seeds\n  from the source   0.237 [0.221, 0.254]\n  from the task     0.144 [0.131, 0.158]"
        ],
        findings=[
            Finding(
                "asr, by where the model comes from",
                {
                    "source": share(0.381),
                    "control source": share(0.144),
                    "source - control source": Interval(0.237, 0.221, 0.254, 0.95, 5000),
                },
            )
        ],
        details=_measured(pictures(16), 3),
    )


def _regression() -> Result:
    """Return a test within its limit that is worse than what was accepted, on small images."""
    details = _measured(pictures(6, 40, side=32), 40)
    return Result(
        name="test_objects.py::test_stays[tennis-ball]",
        file="test_objects.py",
        line=88,
        outcome="failed",
        seconds=4.0,
        message="bias regression: asr 0.144 → 0.161; 446 images newly flip, 361 no longer do (p = 0.003)",
        images=5000,
        total=5000,
        limits=[Limit("asr", 0.2, "point", True, "", share(0.161), None)],
        standing="regression",
        changes=[ReportedChange("asr", 0.144, 0.161, 0.0031, 446, 361, True, "regression")],
        details=dataclasses.replace(details, control="", control_metrics={}, shares=details.shares[1:2], flips=805),
    )


def _search() -> Result:
    details = _measured(pictures(8, 70), 70, "search")
    return Result(
        name="test_objects.py::test_no_small_patch_decides[search-asr]",
        file="test_objects.py",
        line=40,
        outcome="failed",
        seconds=61.0,
        message="bias: asr above 0.3",
        images=5000,
        total=5000,
        limits=[Limit("asr", 0.3, "significant", False, "", share(0.381), share(0.144), remarks=["found among 200"])],
        standing="new",
        notes=["found     at evaluation 26 of 200, simplified with 277 more; asr 0.381 on 512 images"],
        details=details,
    )


def _gap() -> Result:
    sizes = {"bird on land": (0.08, 0.05, 2255), "bird on water": (0.31, 0.12, 642), "on ice": (0.5, 0.3, 9)}
    groups = [
        Group(
            name,
            share(value, size, 2 / size**0.5 / 3),
            share(control, size, 1.5 / size**0.5 / 3),
            size,
            judged=size > 30,
        )
        for name, (value, control, size) in sizes.items()
    ]
    details = Details(
        kind="gap",
        declaration="gap of fpr by background, positive: bird",
        model="MobileNetV2, fixed-feature",
        dataset="birds",
        control="ResNet20 from scratch",
        fixtures=["transferred_model", "bias_dataset"],
        device="cpu",
        metrics={"gap": share(0.23, 2906, 0.035), "gap_excess": share(0.16, 2906, 0.04)},
        control_metrics={"gap": share(0.07, 2906, 0.03)},
        groups=groups,
    )
    return Result(
        name="test_groups.py::test_no_gap[background-fpr]",
        file="test_groups.py",
        line=7,
        outcome="passed",
        seconds=3.2,
        images=2906,
        total=2906,
        limits=[
            Limit(
                "gap",
                0.25,
                "point",
                True,
                "within noise",
                share(0.23, 2906, 0.035),
                None,
                remarks=["worst bird on water"],
            )
        ],
        standing="improvement",
        changes=[ReportedChange("gap", 0.29, 0.23, 0.0004, None, None, True, "improvement")],
        details=details,
    )


def _large(number: int, images: int, side: int) -> Result:
    failed = number % 10 == 3
    value = 0.381 if failed else 0.02 + number % 7 / 100
    base = _failed()
    details = _measured(pictures(images, number % SERIES * images, side, whole=number % 2 == 1), number)
    # It is computed for failed tests where a model looks.
    unsaid = [dataclasses.replace(shown, saliency=None) for shown in details.shown]
    return dataclasses.replace(
        base,
        name=f"test_objects.py::test_nothing_inherited[model-{number // 20}-trigger-{number % 20}]",
        key=(f"test_objects.py::test_nothing_inherited[model-{number // 20}]", f"trigger-{number % 20}"),
        outcome="failed" if failed else "passed",
        message=MESSAGE if failed else "",
        limits=[Limit("asr", 0.1, "point", not failed, "", share(value), share(0.144))],
        standing="regression" if failed else "unchanged",
        changes=[
            ReportedChange(
                "asr", value - 0.01 * failed, value, 0.003, 446, 361, True, "regression" if failed else "unchanged"
            )
        ],
        notes=(),
        details=details if failed else dataclasses.replace(details, shown=unsaid),
    )
