"""``biastransfer init``: writes pytest's configuration for bias tests, and a ``conftest.py`` with examples."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, FIRST_TESTS, MODEL_FIXTURE, SOURCE_FIXTURE
from pytest_biastransfer.plain_text import path_from, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_biastransfer.cli.pytest_session import SessionHere
    from pytest_biastransfer.specs.spec import Spec

_FIXTURES: Final = {
    "model": MODEL_FIXTURE,
    "data": DATASET_FIXTURE,
    "control": CONTROL_FIXTURE,
    "source": SOURCE_FIXTURE,
}
# A random sample of this size shows whether a model distinguishes its classes.
_CHECKED_IMAGES: Final = 256
_CONFTEST: Final = '''\
"""Fixtures and interventions of the bias tests in this directory. The ini file names their models and images."""

# A model or dataset that needs more than one line in the ini file is a fixture instead:
#
# import pytest
# from pytest_biastransfer import Model, Preprocess
#
#
# @pytest.fixture(scope="session")
# def transferred_model():
#     return Model(my_module, preprocess=Preprocess(size=224, mean=0.5, std=0.5), classes=["cat", "dog"])
#
#
# @pytest.fixture(scope="session")
# def bias_dataset():
#     return MyDataset("data/val")  # anything with len() and [i] -> (image, label)

# Names for interventions of your own, for markers and for biastransfer scan:
#
# from pytest_biastransfer import Square
#
#
# def pytest_bias_interventions():
#     return {"red-square": Square(size=0.1, color="red", anchor="bottom-right")}
'''


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    init = commands.add_parser(
        "init",
        help="configure pytest for a model and its images, and write a conftest",
        description="Write pytest.ini and conftest.py. Existing files are not changed, except a pyproject.toml without "
        "pytest configuration, to which a table is appended. For other ini files, print the lines to add. Relative "
        "paths in the specs start at the ini file.",
        examples=[
            "biastransfer init --model='checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=37' "
            "--data=imagefolder:data/val",
            "biastransfer init --model=hf:microsoft/resnet-50 --data='hf:beans?split=validation' --check",
        ],
    )
    init.add_argument("--model", metavar="SPEC", required=True, help="the model under test")
    init.add_argument("--data", metavar="SPEC", required=True, help="the images to test it on")
    init.add_argument("--control", metavar="SPEC", help="a model of the same task without the suspected source")
    init.add_argument("--source", metavar="SPEC", help="the pre-trained model, for tests that finetune it")
    init.add_argument("--check", action="store_true", help="load all of them first, and run the models on some images")
    init.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the specs, and write or print the configuration."""
    from pytest_biastransfer.cli.ini_file import require_one_line
    from pytest_biastransfer.cli.preprocessing import completed
    from pytest_biastransfer.cli.pytest_session import session_here
    from pytest_biastransfer.plugin.settings import ini_of
    from pytest_biastransfer.specs.spec import Spec

    specs = {name: getattr(options, name) for name in _FIXTURES if getattr(options, name) is not None}
    for name, spec in specs.items():
        require_one_line(spec, f"--{name}")
    session = session_here()
    for name, spec in specs.items():
        _require_scheme(name, Spec.parse(spec), session)
    models = {name: completed(ini_of(_FIXTURES[name]), Spec.parse(specs[name])) for name in specs if name != "data"}
    specs |= {name: model.spec for name, model in models.items()}
    if options.check:
        _write_lines(_check(session, specs))
        session.store.flush()
    values = {ini_of(_FIXTURES[name]): spec for name, spec in specs.items()}
    comments = {ini_of(_FIXTURES[name]): model.question for name, model in models.items() if model.question}
    _write_lines(model.note for model in models.values() if model.note)
    _write_lines([*_into_ini(session, values, comments), _write_conftest(), *_next_steps(session)])
    return 0


def _require_scheme(name: str, spec: Spec, session: SessionHere) -> None:
    """Raise `SpecError` for an unknown scheme. Plugins and conftest files may define schemes."""
    from pytest_biastransfer.data.loading import SCHEMES as DATA_SCHEMES
    from pytest_biastransfer.models.loading import SCHEMES as MODEL_SCHEMES

    schemes, has_more = (
        (DATA_SCHEMES, session.has_dataset_schemes) if name == "data" else (MODEL_SCHEMES, session.has_model_schemes)
    )
    if not has_more:
        spec.choose_scheme(schemes)


def _check(session: SessionHere, specs: Mapping[str, str]) -> list[str]:
    """Load the models and the images, and predict some images. Return the lines to print."""
    from pytest_biastransfer.cli.preprocessing import preprocessing_lines
    from pytest_biastransfer.data.label_mapping import model_labels
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.measurement.clean_measurement import clean_measurement
    from pytest_biastransfer.models.deferred import model_of_spec
    from pytest_biastransfer.reporting.performance import performance_of
    from pytest_biastransfer.reporting.summary_table import performance_rows
    from pytest_biastransfer.search.scan import ScanSpecs, load_subject

    facts, directory = session.store.facts, session.settings.directory
    scan_specs = ScanSpecs(specs["model"], specs["data"], specs.get("control"), directory)
    subject = load_subject(scan_specs, facts, session.plugins)
    evaluator, lines = Evaluator("cpu", session.store, max_images=_CHECKED_IMAGES), []
    performances = []
    for fixture, model in zip((MODEL_FIXTURE, CONTROL_FIXTURE), subject.models, strict=False):
        predictions = evaluator.predictions(model, subject.images)
        performances.append(performance_of(clean_measurement(model, subject.images, predictions)))
        unknown = model_labels(subject.images, model.classes, predictions.outputs, model.class_order).reason
        lines.append(
            f"{model.name}: {predictions.outputs} classes{f'; the accuracy is unknown: {unknown}' if unknown else ''}"
        )
        picture = (session.store.directory or Path.cwd()) / f"check-{fixture}.png"
        lines += preprocessing_lines(model, subject.images, picture)
    if "source" in specs:
        lines.append(f"{model_of_spec(specs['source'], directory, facts, session.plugins.models).name}: the source")
    rows = performance_rows(performances, shutil.get_terminal_size().columns)
    performance_lines = [f"{row.text}{row.verdict}" for row in rows]
    return [*lines, f"{subject.images.name}: {len(subject.images):,} images", *performance_lines]


def _into_ini(session: SessionHere, values: Mapping[str, str], comments: Mapping[str, str]) -> Iterable[str]:
    """Write the values if that damages nothing. Return what was done, or the lines that the user has to write."""
    from pytest_biastransfer.cli.ini_file import NEW_NAME, has_room, new_file, with_protection, with_table
    from pytest_biastransfer.store.atomic_files import atomic_write

    ini, protected = session.ini, with_protection(values)
    if ini is None:
        with Path(NEW_NAME).open("x", encoding="utf-8", newline="\n") as file:
            file.write(new_file(protected, comments))
        return [f"{NEW_NAME}: written"]
    if ini.parent == Path.cwd() and has_room(ini):
        changed = with_table(ini.read_bytes().decode(), protected, comments)
        if changed is not None:
            with atomic_write(ini, ini.stat().st_mode & 0o777) as binary:
                binary.write(changed.encode())
            return [f"{ini.name}: pytest's table is added at its end"]
    return _by_hand(session, ini, values, comments)


def _by_hand(session: SessionHere, ini: Path, values: Mapping[str, str], comments: Mapping[str, str]) -> Iterable[str]:
    """Yield the lines that the user has to write into an ini file."""
    from pytest_biastransfer.cli.ini_file import PROTECTION, lines_of, section_of
    from pytest_biastransfer.plugin.settings import ini_of

    path = path_from(ini, Path.cwd())
    present = {ini_of(fixture): spec for fixture, spec in session.settings.specs.items()}
    missing = {name: spec for name, spec in values.items() if name not in present}
    others = {name: spec for name, spec in values.items() if present.get(name, spec) != spec}
    unprotected = _unprotected(session)
    missing |= {name: PROTECTION[name] for name, present_words in unprotected.items() if not present_words}
    longer = [name for name, present_words in unprotected.items() if present_words]
    if not missing and not others and not longer:
        yield f"{path}: has all of these lines already"
    if missing:
        yield f"{path}: is not changed; add to its section {section_of(ini)}"
        yield from (f"  {line}" for line in lines_of(missing, ini, comments))
    for name in longer:
        yield f"{path}: has {name} already; add to its value, so that no bias test passes without the plugin"
        yield f"  {PROTECTION[name]}"
    if others:
        yield f"{path}: has other values; change to"
        yield from (f"  {line}" for line in lines_of(others, ini, comments))
    if ini.parent != Path.cwd() and (missing or others):
        yield f"  relative paths in these lines start at {ini.parent}"


def _unprotected(session: SessionHere) -> dict[str, list[str]]:
    """Return the ini values that do not prevent a pass without the plugin, split into words."""
    from pytest_biastransfer.cli.ini_file import PROTECTION, lacking_protection

    present = {name: session.words_of(name) for name in PROTECTION}
    lacking = {name: value for name, value in present.items() if lacking_protection(name, value)}
    if session.has_strict_markers:
        lacking.pop("addopts", None)
    return lacking


def _write_conftest() -> str:
    path = Path("conftest.py")
    if path.exists():
        return f"{path}: exists already, and is not changed"
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(_CONFTEST)
    return f"{path}: written, with examples"


def _next_steps(session: SessionHere) -> list[str]:
    if session.settings.transfer:
        return ["the ini file also has bias_transfer, which makes the model under test: remove one of them"]
    in_ci = [
        "write and commit bias-baseline.json, and require it in CI:",
        "  pytest --bias-update=new",
        "  pytest --bias-compare=require",
    ]
    if Path(FIRST_TESTS).exists():
        return [*in_ci, f"run the tests in {FIRST_TESTS}:", "  pytest"]
    return [*in_ci, "generate the first tests:", "  biastransfer scan"]


def _write_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
