"""``init``: what pytest has to know before the first bias test, in its ini file, and a conftest to go on from."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.names import CONTROL_FIXTURE, DATASET_FIXTURE, FIRST_TESTS, MODEL_FIXTURE, SOURCE_FIXTURE
from pytest_biastransfer.plain_text import shown

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
# So many are tried, at random: enough to see whether a model tells its classes apart.
_CHECKED_IMAGES: Final = 256
_CONFTEST: Final = '''\
"""What the bias tests in this directory have in common. Their models and images are named in pytest's ini file."""

# What takes more than a line there is made by a fixture, in place of the line:
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

# Interventions of your own get names here, for markers and for biastransfer scan:
#
# from pytest_biastransfer import Square
#
#
# def pytest_bias_interventions():
#     return {"red-square": Square(size=0.1, color="red", anchor="bottom-right")}
'''


def add_command(commands: Any) -> None:
    """Declare the command."""
    init = commands.add_parser(
        "init",
        help="tell pytest which model and images to test, in its ini file, and write a conftest",
        description="Write pytest.ini and conftest.py, or print the lines for an ini file that is there already. "
        "Nothing that is there is changed, but for a pyproject.toml without a word on pytest, which gets a table at "
        "its end. Relative paths in the specs start at the ini file.",
    )
    init.add_argument("--model", metavar="SPEC", required=True, help="the model under test")
    init.add_argument("--data", metavar="SPEC", required=True, help="the images to test it on")
    init.add_argument("--control", metavar="SPEC", help="a model of the same task without the suspected source")
    init.add_argument("--source", metavar="SPEC", help="the pre-trained model, for tests that finetune it")
    init.add_argument("--check", action="store_true", help="load all of them first, and try the models on some images")
    init.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the specs, and write or print what pytest has to know."""
    from pytest_biastransfer.cli.ini_file import require_one_line
    from pytest_biastransfer.cli.preprocessing import completed
    from pytest_biastransfer.cli.pytest_session import session_here
    from pytest_biastransfer.plugin.settings import ini_of
    from pytest_biastransfer.specs.spec import Spec

    given = {name: getattr(options, name) for name in _FIXTURES if getattr(options, name) is not None}
    for name, spec in given.items():
        require_one_line(spec, f"--{name}")
    session = session_here()
    for name, spec in given.items():
        _require_scheme(name, Spec.parse(spec), session)
    specs = {name: completed(ini_of(_FIXTURES[name]), Spec.parse(given[name])) for name in given if name != "data"}
    given |= {name: one.spec for name, one in specs.items()}
    if options.check:
        _write_lines(_checked(session, given))
    values = {ini_of(_FIXTURES[name]): spec for name, spec in given.items()}
    comments = {ini_of(_FIXTURES[name]): one.question for name, one in specs.items() if one.question}
    _write_lines(one.note for one in specs.values() if one.note)
    _write_lines([*_into_ini(session, values, comments), _write_conftest(), *_next(session)])
    return 0


def _require_scheme(name: str, spec: Spec, session: SessionHere) -> None:
    """Raise `SpecError` for a scheme that nobody knows; of models, a plugin or a conftest may know more."""
    from pytest_biastransfer.data.loading import SCHEMES as DATA_SCHEMES
    from pytest_biastransfer.models.loading import SCHEMES as MODEL_SCHEMES

    if name == "data":
        spec.choose_scheme(DATA_SCHEMES)
    elif not session.loads_with_plugins:
        spec.choose_scheme(MODEL_SCHEMES)


def _checked(session: SessionHere, given: Mapping[str, str]) -> list[str]:
    """Load what the specs name, and have the models of the task predict some images; return what was seen."""
    from pytest_biastransfer.cli.preprocessing import preprocessing_lines
    from pytest_biastransfer.data.label_mapping import model_labels
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.measurement.clean_measurement import clean_measurement
    from pytest_biastransfer.models.deferred import model_of_spec
    from pytest_biastransfer.reporting.performance import performance_of
    from pytest_biastransfer.reporting.summary_table import performance_rows
    from pytest_biastransfer.search.scan import ScanSpecs, load_subject
    from pytest_biastransfer.store import Store

    facts, directory = Store(session.store, session.secret).facts, session.settings.directory
    specs = ScanSpecs(given["model"], given["data"], given.get("control"), directory)
    subject = load_subject(specs, facts, session.load_with_plugins)
    evaluator, lines = Evaluator("cpu", Store(session.store), max_images=_CHECKED_IMAGES), []
    performances = []
    for fixture, model in zip((MODEL_FIXTURE, CONTROL_FIXTURE), subject.models, strict=False):
        predictions = evaluator.predictions(model, subject.images)
        performances.append(performance_of(clean_measurement(model, subject.images, predictions)))
        unknown = model_labels(subject.images, model.classes, predictions.outputs, model.class_order).reason
        lines.append(
            f"{model.name}: {predictions.outputs} classes{f'; no accuracy is told: {unknown}' if unknown else ''}"
        )
        picture = (session.store or Path.cwd()) / f"check-{fixture}.png"
        lines += preprocessing_lines(model, subject.images, picture)
    if "source" in given:
        lines.append(f"{model_of_spec(given['source'], directory, facts, session.load_with_plugins).name}: the source")
    rows = performance_rows(performances, shutil.get_terminal_size().columns)
    stated = [f"{row.text}{row.verdict}" for row in rows]
    return [*lines, f"{subject.images.name}: {len(subject.images):,} images", *stated]


def _into_ini(session: SessionHere, values: Mapping[str, str], comments: Mapping[str, str]) -> Iterable[str]:
    """Write the values where nothing can be damaged, and yield what was done, or what is left to do by hand."""
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
    """Yield the lines that a user has to write into an ini file."""
    from pytest_biastransfer.cli.ini_file import PROTECTION, lines_of, section_of
    from pytest_biastransfer.plugin.settings import ini_of

    place = Path(os.path.relpath(ini))
    known = {ini_of(fixture): spec for fixture, spec in session.settings.specs.items()}
    missing = {name: spec for name, spec in values.items() if name not in known}
    others = {name: spec for name, spec in values.items() if known.get(name, spec) != spec}
    unprotected = _unprotected(session)
    missing |= {name: PROTECTION[name] for name, words in unprotected.items() if not words}
    longer = [name for name, words in unprotected.items() if words]
    if not missing and not others and not longer:
        yield f"{place}: says all of it already"
    if missing:
        yield f"{place}: is left as it is; add to its section {section_of(ini)}"
        yield from (f"  {line}" for line in lines_of(missing, ini, comments))
    for name in longer:
        yield f"{place}: has {name} already; add to its value, so that no bias test passes without the plugin"
        yield f"  {PROTECTION[name]}"
    if others:
        yield f"{place}: names something else there; change to"
        yield from (f"  {line}" for line in lines_of(others, ini, comments))
    if ini.parent != Path.cwd() and (missing or others):
        yield f"  relative paths in these lines start at {ini.parent}"


def _unprotected(session: SessionHere) -> dict[str, list[str]]:
    """Return the words of those ini values that do not keep a bias test from passing without the plugin."""
    from pytest_biastransfer.cli.ini_file import PROTECTION, lacking_protection

    present = {name: session.words_of(name) for name in PROTECTION}
    lacking = {name: words for name, words in present.items() if lacking_protection(name, words)}
    if session.has_strict_markers:
        lacking.pop("addopts", None)
    return lacking


def _write_conftest() -> str:
    path = Path("conftest.py")
    if path.exists():
        return f"{path}: is there already, and left as it is"
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(_CONFTEST)
    return f"{path}: written, with examples to go on from"


def _next(session: SessionHere) -> list[str]:
    if session.settings.transfer:
        return ["the ini file has bias_transfer too, which makes the model under test: remove one of them"]
    in_ci = [
        "once bias-baseline.json is written and committed, let CI insist on it:",
        "  pytest --bias-update=new",
        "  pytest --bias-compare=require",
    ]
    if Path(FIRST_TESTS).exists():
        return [*in_ci, f"the tests in {FIRST_TESTS} find them now:", "  pytest"]
    return [*in_ci, "a first file of tests comes from", "  biastransfer scan"]


def _write_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
