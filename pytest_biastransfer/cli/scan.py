"""``biastransfer scan``: ranks the named interventions by their effect on a model, and generates the first tests."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, FIRST_TESTS, MODEL_FIXTURE
from pytest_biastransfer.plain_text import command_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.cli.pytest_session import SessionHere
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.search.ranking import Ranked
    from pytest_biastransfer.search.scan import ScanResults, ScanSpecs
    from pytest_biastransfer.search.severity_effect import SeverityEffect

# The exit status of a command that Ctrl+C ended, as in a shell.
_INTERRUPTED: Final = 130
# Above which share of flipped images a severity is named.
_SEVERITY_LIMIT: Final = 0.1
# Options that pytest has with the prefix bias-.
_PYTEST_OPTIONS: Final = ("store", "device", "max_images", "batch_size")
# Predictions do not depend on the batch size.
_PREDICTION_OPTIONS: Final = _PYTEST_OPTIONS[:-1]


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    scan = commands.add_parser(
        "scan",
        help="rank the named interventions by their effect on a model, and generate the first tests",
        description="Measure a model under each named intervention, rank the interventions by their effect, and write "
        "a file of tests with limits at today's level. pytest reuses the predictions.",
        examples=[
            "biastransfer scan",
            "biastransfer scan --max-images=1000 --plot=ranking.svg --severities",
            "biastransfer scan --model='checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=37' "
            "--data=imagefolder:data/val --out=tests/test_bias.py",
        ],
    )
    scan.add_argument("--model", metavar="SPEC", help="the model (default: that of the ini file)")
    scan.add_argument("--data", metavar="SPEC", help="the images (default: those of the ini file)")
    scan.add_argument("--control", metavar="SPEC", help="a model of the same task without the suspected source")
    scan.add_argument(
        "--positive",
        type=_name_or_number,
        metavar="NAME",
        help="the class, or the output with a sigmoid, whose decision is judged",
    )
    scan.add_argument(
        "--severities",
        nargs="?",
        type=_share,
        const=_SEVERITY_LIMIT,
        metavar="LIMIT",
        help="measure ImageNet-C's severities of some corruptions too, and name the smallest one whose asr is above "
        f"LIMIT (default: {_SEVERITY_LIMIT})",
    )
    scan.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=Path(FIRST_TESTS),
        help=f"the file of tests to write (default: {FIRST_TESTS})",
    )
    scan.add_argument("--plot", type=Path, metavar="FILE", help="a plot of the ranking: .svg, .png or .pdf")
    scan.add_argument("--store", metavar="DIR|URL", help="the prediction store (default: that of pytest)")
    scan.add_argument("--device", metavar="DEVICE", help="auto (default), cpu, mps, cuda, cuda:1")
    scan.add_argument("--max-images", type=_count, metavar="N", help="measure on a fixed random sample of N images")
    scan.add_argument(
        "--batch-size", type=_count, metavar="N", help="images per forward pass (default: depends on the device)"
    )
    scan.set_defaults(run=run)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number between 0 and 1, such as 0.1")
    return share


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)


def _name_or_number(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdecimal() else text


def run(options: argparse.Namespace) -> int:
    """Measure, print the ranking, plot it, and write the tests."""
    _require_outputs(options)
    from pytest_biastransfer.cli.pytest_session import session_here
    from pytest_biastransfer.cli.scan_output import (
        interrupted_sentence,
        results_lines,
        sentence,
        severity_lines,
        unheld_lines,
    )
    from pytest_biastransfer.plugin.session_store import INTERRUPTED_SECONDS
    from pytest_biastransfer.search.scan import ScanResults
    from pytest_biastransfer.search.severity_effect import SeverityEffect

    session = session_here(_pytest_arguments(options, _PYTEST_OPTIONS))
    specs = _specs(options, session.settings)
    results = ScanResults(len(session.registry.names))
    try:
        info = _scan(session, specs, results, options)
    except KeyboardInterrupt:
        _write_lines([*results_lines(results, _width()), interrupted_sentence(results, session.store.directory)])
        session.store.flush(INTERRUPTED_SECONDS)
        return _INTERRUPTED
    severities = [SeverityEffect.of(name, ladder) for name, ladder in results.ladders.items()]
    table = severity_lines(severities, options.severities or _SEVERITY_LIMIT)
    separator = [""] if table else []
    _write_lines([*results_lines(results, _width()), *separator, *table, *separator, sentence(results, info)])
    ranking = _write_files(options, results, severities, info)
    _write_lines(_next_steps(options, specs, session.settings, unheld_lines(ranking)))
    session.store.flush()
    return 0


def _require_outputs(options: argparse.Namespace) -> None:
    """Raise if the results cannot be written, before anything is measured."""
    from pytest_biastransfer.cli.generated_tests import require_new
    from pytest_biastransfer.reporting.ranking import require_plot

    require_new(options.out)
    if options.plot:
        require_plot(options.plot)


def _pytest_arguments(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    values = {name: getattr(options, name) for name in names}
    return [f"--bias-{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def _specs(options: argparse.Namespace, settings: Settings) -> ScanSpecs:
    """Return the specs of the command line, relative to the current directory, or those of the ini file."""
    from pytest_biastransfer.search.scan import ScanSpecs

    if options.model and options.data:
        return ScanSpecs(options.model, options.data, options.control, Path.cwd())
    if options.model or options.data or options.control:
        missing = " and ".join(f"--{name}" for name in ("model", "data") if not getattr(options, name))
        raise BiasTransferError(
            f"scan: without {missing}; give --model and --data, or neither to scan what is in the ini"
        )
    model, data = settings.specs.get(MODEL_FIXTURE), settings.specs.get(DATASET_FIXTURE)
    if model is None or data is None:
        raise BiasTransferError(
            "scan: which model, and which images? The ini file does not name both; type --model=SPEC --data=SPEC, "
            "such as --model='checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=37' --data=imagefolder:data/val"
        )
    return ScanSpecs(model, data, settings.specs.get(CONTROL_FIXTURE), settings.directory)


def _scan(session: SessionHere, specs: ScanSpecs, results: ScanResults, options: argparse.Namespace) -> ScanInfo:
    """Run the scan, adding to the results. Return the facts for the generated file."""
    import datetime

    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.evaluation.device_memory import lasting_memory
    from pytest_biastransfer.evaluation.devices import resolve_device
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions.severities import CORRUPTIONS, severities
    from pytest_biastransfer.progress.activities import listening
    from pytest_biastransfer.progress.stream_line import StreamLine
    from pytest_biastransfer.search.scan import load_subject, scan_ladders, scan_loaded

    settings, store, progress = session.settings, session.store, StreamLine(sys.stderr)
    registry = session.registry
    device = resolve_device(settings.device, store.facts)
    evaluator = Evaluator(
        device,
        store,
        batch_size=settings.batch_size,
        max_images=settings.max_images,
        order_seed=settings.order_seed,
        precision=settings.precision,
        compiled=settings.compiled,
        pixel_cache=settings.pixel_cache,
        share_across_devices=settings.share_across_devices,
        device_memory=lasting_memory(device, settings.device_cache),
        on_progress=progress.show,
    )
    with progress, listening(progress.show):
        progress.begin("loading")
        positive = () if options.positive is None else (options.positive,)
        subject = load_subject(specs, store.facts, session.plugins, positive)
        for step in scan_loaded(evaluator, subject, {name: registry.named(name) for name in registry.names}, results):
            progress.begin(step)
        ladders = {} if options.severities is None else {name: severities(name) for name in CORRUPTIONS}
        for step in scan_ladders(evaluator, subject, ladders, results):
            progress.begin(step)
    control = None if subject.control is None else subject.control.name
    total = len(subject.images)
    day = datetime.date.today()
    return ScanInfo(subject.model.name, subject.images.name, control, results.n, total, day, subject.positive)


def _write_files(
    options: argparse.Namespace, results: ScanResults, severities: Sequence[SeverityEffect], info: ScanInfo
) -> Sequence[Ranked]:
    """Write the plot and the tests; return the ranking."""
    from pytest_biastransfer.cli.generated_tests import first_tests_text, write_new

    ranking = results.ranking
    if not ranking.entries:
        raise BiasTransferError("none of the interventions could be measured; the reasons are above")
    if any(performance.clean.defect for performance in results.performances):
        raise BiasTransferError(
            "no file of tests is written: limits on a model that does not distinguish its classes, see above, say "
            "nothing about its bias. Check the checkpoint, the preprocessing and the order of the classes"
        )
    if options.plot:
        ranking.save(options.plot)
        _write_lines([f"{options.plot}: the ranking as a plot"])
    write_new(options.out, first_tests_text(ranking.entries, info, severities))
    return ranking.entries


def _next_steps(options: argparse.Namespace, specs: ScanSpecs, settings: Settings, unheld: Sequence[str]) -> list[str]:
    """Return what to type next, so that the tests run on the scanned model and images."""
    lines = [f"{options.out}: tests with limits at today's level, ready to commit", *unheld]
    if not _is_configured(specs, settings):
        named = {"model": specs.model, "data": specs.data, "control": specs.control}
        arguments = command_line(f"--{name}={spec}" for name, spec in named.items() if spec is not None)
        lines += [
            "pytest is not configured for this model and these images. Unless fixtures return them, type",
            f"  biastransfer init {arguments}",
        ]
    command = command_line(["pytest", *_pytest_arguments(options, _PREDICTION_OPTIONS), str(options.out)])
    expected = ", or fail as expected" if unheld else ""
    return [*lines, f"they pass now{expected}, with stored predictions:", f"  {command}"]


def _is_configured(specs: ScanSpecs, settings: Settings) -> bool:
    configured = [settings.specs.get(name) for name in (MODEL_FIXTURE, DATASET_FIXTURE, CONTROL_FIXTURE)]
    needed = [specs.model, specs.data, specs.control or configured[-1]]
    return settings.directory == specs.directory and configured == needed


def _width() -> int:
    return shutil.get_terminal_size().columns


def _write_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
