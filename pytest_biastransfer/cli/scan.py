"""``scan``: which of the named interventions a model minds, and a first file of tests that holds it to that."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, FIRST_TESTS, MODEL_FIXTURE
from pytest_biastransfer.plain_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.cli.pytest_session import SessionHere
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.search.ranking import Ranked
    from pytest_biastransfer.search.scan import ScanResults, ScanSpecs

# What a shell says of a command that Ctrl+C ended.
_INTERRUPTED: Final = 130
# pytest has these options too, with bias- in front.
_OF_PYTEST: Final = ("store", "device", "max_images", "batch_size")
# Predictions do not depend on the last one.
_DECIDING: Final = _OF_PYTEST[:-1]


def add_command(commands: Any) -> None:
    """Declare the command."""
    scan = commands.add_parser(
        "scan",
        help="rank the named interventions by what they do to a model, and write a first file of tests",
        description="Measure a model under each intervention that has a name, rank them, and write a file of tests "
        "with limits at today's level. Predictions are kept where pytest finds them.",
    )
    scan.add_argument("--model", metavar="SPEC", help="the model (default: what pytest's ini file names)")
    scan.add_argument("--data", metavar="SPEC", help="the images (default: what pytest's ini file names)")
    scan.add_argument("--control", metavar="SPEC", help="a model of the same task without the suspected source")
    scan.add_argument(
        "--out", type=Path, metavar="FILE", default=Path(FIRST_TESTS), help=f"the tests (default: {FIRST_TESTS})"
    )
    scan.add_argument("--plot", type=Path, metavar="FILE", help="draw the ranking: .svg, .png or .pdf")
    scan.add_argument("--store", metavar="DIR", help="where predictions are kept (default: where pytest keeps them)")
    scan.add_argument("--device", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1")
    scan.add_argument("--max-images", type=_count, metavar="N", help="measure on a fixed random sample of N images")
    scan.add_argument("--batch-size", type=_count, metavar="N", help="images a forward pass (default: by device)")
    scan.set_defaults(run=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Measure, print the ranking, plot it, and write the tests."""
    _require_places(options)
    from pytest_biastransfer.cli.pytest_session import session_here
    from pytest_biastransfer.cli.scan_output import interrupted_sentence, results_lines, sentence, unheld_lines
    from pytest_biastransfer.search.scan import ScanResults

    session = session_here(_as_of_pytest(options, _OF_PYTEST))
    specs = _specs(options, session.settings)
    results = ScanResults(len(session.registry.names))
    try:
        scanned = _scan(session, specs, results)
    except KeyboardInterrupt:
        _write_lines([*results_lines(results, _width()), interrupted_sentence(results, session.store)])
        return _INTERRUPTED
    _write_lines([*results_lines(results, _width()), sentence(results, scanned)])
    ranking = _write_files(options, results, scanned)
    _write_lines(_next_steps(options, specs, session.settings, unheld_lines(ranking)))
    return 0


def _require_places(options: argparse.Namespace) -> None:
    """Raise before anything is measured if what will be found could not be written."""
    from pytest_biastransfer.cli.generated_tests import require_new
    from pytest_biastransfer.reporting.ranking import require_plot

    require_new(options.out)
    if options.plot:
        require_plot(options.plot)


def _as_of_pytest(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    given = {name: getattr(options, name) for name in names}
    return [f"--bias-{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]


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


def _scan(session: SessionHere, specs: ScanSpecs, results: ScanResults) -> ScanInfo:
    """Add to the results what becomes known; return what it is known of."""
    import datetime

    from pytest_biastransfer.cli.generated_tests import ScanInfo
    from pytest_biastransfer.cli.scan_progress import ScanProgress
    from pytest_biastransfer.evaluation.devices import resolve_device
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.search.scan import load_subject, scan
    from pytest_biastransfer.store import Store

    settings, store, progress = session.settings, Store(session.store, session.secret), ScanProgress(sys.stderr)
    registry = session.registry
    evaluator = Evaluator(
        resolve_device(settings.device, store.facts),
        store,
        batch_size=settings.batch_size,
        max_images=settings.max_images,
        precision=settings.precision,
        pixel_cache=settings.pixel_cache,
        on_progress=progress.show,
    )
    with progress:
        progress.begin("loading")
        subject = load_subject(specs, store.facts, session.load_with_plugins)
        for step in scan(evaluator, subject, {name: registry.named(name) for name in registry.names}, results):
            progress.begin(step)
    control = None if subject.control is None else subject.control.name
    total = len(subject.images)
    return ScanInfo(subject.model.name, subject.images.name, control, results.n, total, datetime.date.today())


def _write_files(options: argparse.Namespace, results: ScanResults, scanned: ScanInfo) -> list[Ranked]:
    """Write the plot and the tests; return the ranking."""
    from pytest_biastransfer.cli.generated_tests import first_tests_text, write_new
    from pytest_biastransfer.reporting.ranking import plot_ranking
    from pytest_biastransfer.search.ranking import worst_first

    ranking: list[Ranked] = worst_first(results.measured)
    if not ranking:
        raise BiasTransferError("none of the interventions could be measured; the reasons are above")
    if any(performance.clean.defect for performance in results.performances):
        raise BiasTransferError(
            "no file of tests is written: limits on a model that does not tell its classes apart, see above, say "
            "nothing of its bias. Check the checkpoint, the preprocessing and the order of the classes"
        )
    if options.plot:
        plot_ranking(ranking, f"{scanned.model} on {scanned.images}", options.plot)
        _write_lines([f"{options.plot}: the ranking as a plot"])
    write_new(options.out, first_tests_text(ranking, scanned))
    return ranking


def _next_steps(options: argparse.Namespace, specs: ScanSpecs, settings: Settings, unheld: Sequence[str]) -> list[str]:
    """Return what to type now, so that the tests run on what was scanned."""
    lines = [f"{options.out}: tests with limits at today's level, to be committed", *unheld]
    if not _is_configured(specs, settings):
        named = {"model": specs.model, "data": specs.data, "control": specs.control}
        given = shlex.join(f"--{name}={spec}" for name, spec in named.items() if spec is not None)
        lines += [
            "pytest does not know this model and these images yet. Unless fixtures of a conftest return them, type",
            f"  biastransfer init {given}",
        ]
    typed = shlex.join(["pytest", *_as_of_pytest(options, _DECIDING), str(options.out)])
    expected = ", or fail as expected" if unheld else ""
    return [*lines, f"they pass now{expected}, from kept predictions:", f"  {typed}"]


def _is_configured(specs: ScanSpecs, settings: Settings) -> bool:
    known = [settings.specs.get(name) for name in (MODEL_FIXTURE, DATASET_FIXTURE, CONTROL_FIXTURE)]
    needed = [specs.model, specs.data, specs.control or known[-1]]
    return settings.directory == specs.directory and known == needed


def _width() -> int:
    return shutil.get_terminal_size().columns


def _write_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
