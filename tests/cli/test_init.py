"""``biastransfer init``: pytest reads what it writes, and existing files do not change."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_biastransfer import Model
from pytest_biastransfer.cli.ini_file import lines_of, new_file, with_table
from pytest_biastransfer.cli.preprocessing import completed
from pytest_biastransfer.models.spec_options import with_declared
from pytest_biastransfer.specs.spec import Spec

pytestmark = pytest.mark.usefixtures("warm_executable")

MODEL = (
    "checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=37&size=224&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
)
DATA = "imagefolder:data/val"
ASK = (
    "import json; from pytest_biastransfer.cli.pytest_session import session_here; "
    "print(json.dumps(dict(session_here().settings.specs)))"
)
NATIVE = pytest.mark.skipif(int(pytest.__version__.partition(".")[0]) < 9, reason="TOML with types came with pytest 9")


def init(place: pytest.Pytester, *more: str, model: str = MODEL, data: str = DATA) -> pytest.RunResult:
    return place.run(sys.executable, "-m", "pytest_biastransfer", "init", "--model", model, "--data", data, *more)


def files(place: Path) -> list[str]:
    """Return what is there, without what pytester notes of a run."""
    return sorted(path.name for path in place.iterdir() if path.name not in ("stdout", "stderr"))


def known(place: pytest.Pytester) -> dict[str, str]:
    """Return the specs by fixture, as a session of pytest's would have them."""
    found: dict[str, str] = json.loads(place.run(sys.executable, "-c", ASK).outlines[-1])
    return found


def test_in_an_empty_directory_it_writes_an_ini_file_and_a_conftest(pytester: pytest.Pytester) -> None:
    result = init(
        pytester, "--control", "python:nets:scratch", "--source", "torchvision:resnet18?weights=IMAGENET1K_V1"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["pytest.ini: written", "conftest.py: written*", "*biastransfer scan"])
    assert files(pytester.path) == ["conftest.py", "pytest.ini"]
    assert known(pytester) == {
        "transferred_model": MODEL,
        "bias_dataset": DATA,
        "control_model": "python:nets:scratch",
        "source_model": "torchvision:resnet18?weights=IMAGENET1K_V1",
    }
    pytester.makepyfile("def test_it(): pass")
    pytester.run(sys.executable, "-m", "pytest", "--strict-config", "-W", "error").assert_outcomes(passed=1)
    # Once more, it changes nothing and says that nothing is to be done.
    before = {path.name: path.read_bytes() for path in pytester.path.glob("*.*") if path.is_file()}
    again = init(pytester)
    again.stdout.fnmatch_lines(["pytest.ini: has all of these lines already", "conftest.py: exists already*"])
    assert {name: (pytester.path / name).read_bytes() for name in before} == before


def test_the_examples_in_the_conftest_are_python_that_pytest_takes(pytester: pytest.Pytester) -> None:
    init(pytester)
    path = pytester.path / "conftest.py"
    comments = re.findall(r"^# ?(.*)$", path.read_text(), re.MULTILINE)
    code = "\n".join(line for line in comments if not re.fullmatch(r"[A-Z].*[:,]", line))
    assert [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)] == [
        "transferred_model",
        "bias_dataset",
        "pytest_bias_interventions",
    ]
    path.write_text(code)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("red-square", max_asr=0.5)
        def test_it(): pass
        """
    )
    pytester.run(sys.executable, "-m", "pytest", "--collect-only").assert_outcomes()
    pytester.run(sys.executable, "-m", "pytest", "--collect-only", "-q").stdout.fnmatch_lines(["*test_it?red-square?"])


@pytest.mark.parametrize("text", ["", '[project]\nname = "pets"', '[project]\r\nname = "pets"\r\n\r\n[tool.ruff]\r\n'])
def test_a_pyproject_without_a_word_on_pytest_gets_a_table_at_its_end(pytester: pytest.Pytester, text: str) -> None:
    path = pytester.path / "pyproject.toml"
    path.write_bytes(text.encode())
    init(pytester).stdout.fnmatch_lines(["pyproject.toml: pytest's table is added at its end"])
    assert path.read_bytes().startswith(text.encode())
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n") or "\r" not in text
    assert known(pytester) == {"transferred_model": MODEL, "bias_dataset": DATA}
    assert not (pytester.path / "pytest.ini").exists()


@pytest.mark.parametrize(
    ("name", "text", "section"),
    [
        ("pytest.ini", "[pytest]\naddopts = -ra\n", "[pytest]"),
        ("tox.ini", "[tox]\nenv_list = py\n\n[pytest]\naddopts = -ra\n", "[pytest]"),
        ("setup.cfg", "[metadata]\nname = pets\n\n[tool:pytest]\naddopts = -ra\n", "[tool:pytest]"),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-ra"\n', "[tool.pytest.ini_options]"),
        pytest.param("pyproject.toml", '[tool.pytest]\naddopts = ["-ra"]\n', "[tool.pytest]", marks=NATIVE),
        pytest.param("pytest.toml", '[pytest]\naddopts = ["-ra"]\n', "[pytest]", marks=NATIVE),
    ],
)
def test_an_ini_file_stays_and_the_printed_lines_work_in_it(
    pytester: pytest.Pytester, name: str, text: str, section: str
) -> None:
    path = pytester.path / name
    path.write_text(text)
    result = init(pytester)
    assert result.ret == 0
    assert path.read_text() == text
    result.stdout.fnmatch_lines([f"{name}: is not changed; add to its section {section.replace('[', '[[]', 1)}"])
    lines = [line for line in result.outlines if line.startswith(("  bias_", "  required_plugins"))]
    assert len(lines) == 3
    # A second addopts would be an error, or hide the first one.
    result.stdout.fnmatch_lines([f"{name}: has addopts already; add to its value, *", "  --strict-markers"])
    longer = '"-ra", "--strict-markers"' if '["-ra"]' in text else "-ra --strict-markers"
    path.write_text(text.replace('"-ra"' if '["-ra"]' in text else "-ra", longer))
    with path.open("a") as file:
        file.write("".join(f"{line.strip()}\n" for line in lines))
    pytester.makepyfile("def test_it(): pass")
    pytester.run(sys.executable, "-m", "pytest", "--strict-config", "-W", "error").assert_outcomes(passed=1)
    assert known(pytester) == {"transferred_model": MODEL, "bias_dataset": DATA}
    init(pytester).stdout.fnmatch_lines([f"{name}: has all of these lines already"])
    other = init(pytester, data="imagefolder:data/test")
    other.stdout.fnmatch_lines([f"{name}: has other values; change to", "  bias_dataset = *data/test*"])
    assert not any("bias_transferred_model" in line for line in other.outlines)


BIAS_TEST = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
def test_it(): pass
"""


@pytest.mark.parametrize("text", [None, '[project]\nname = "pets"\n'])
@pytest.mark.parametrize("without", ["", "required_plugins", "addopts"])
def test_without_the_plugin_no_bias_test_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, text: str | None, without: str
) -> None:
    if text is not None:
        (pytester.path / "pyproject.toml").write_text(text)
    init(pytester)
    ini = pytester.path / ("pytest.ini" if text is None else "pyproject.toml")
    assert {"required_plugins", "addopts"} <= {line.partition(" ")[0] for line in ini.read_text().splitlines()}
    # Either of the two lines is enough.
    lines = [line for line in ini.read_text().splitlines() if not without or not line.startswith(without)]
    ini.write_text("\n".join(lines))
    pytester.makepyfile(BIAS_TEST)
    for option in ([], ["-p", "no:biastransfer"]):
        if not option:
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = pytester.run(sys.executable, "-m", "pytest", "-W", "ignore", *option)
        monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
        is_late = without == "required_plugins"
        assert result.ret == (pytest.ExitCode.INTERRUPTED if is_late else pytest.ExitCode.USAGE_ERROR)
        assert " passed" not in result.stdout.str()


def test_where_nothing_is_loaded_by_itself_the_plugin_is_loaded_by_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(pytester)
    pytester.makepyfile("def test_it(): pass")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.run(sys.executable, "-m", "pytest", "-p", "biastransfer").assert_outcomes(passed=1)


@pytest.mark.parametrize("line", ["required_plugins = pytest_BiasTransfer>=0.1", "required_plugins = pytest-xdist"])
def test_plugins_that_are_required_already_stay(pytester: pytest.Pytester, line: str) -> None:
    pytester.makeini(f"[pytest]\naddopts = --strict-markers\n{line}\n")
    result = init(pytester)
    added = "*has required_plugins already; add to its value, *"
    if "xdist" in line:
        result.stdout.fnmatch_lines([added, "  pytest-biastransfer"])
    else:
        result.stdout.no_fnmatch_line(added)
    result.stdout.no_fnmatch_line("*--strict-markers")


IMAGENET = "mean=0.485,0.456,0.406&std=0.229,0.224,0.225"


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("checkpoint:a.pt?arch=torchvision:resnet18&num_classes=37", f"&size=224&crop_pct=0.875&{IMAGENET}"),
        ("checkpoint:a.pt?arch=torchvision:resnet50&size=128", f"&{IMAGENET}"),
        ("torchvision:vgg11", f"?size=224&crop_pct=0.875&{IMAGENET}"),
        # Said already, or by the model itself.
        (f"checkpoint:a.pt?arch=torchvision:resnet18&{IMAGENET}", ""),
        ("checkpoint:a.pt?arch=torchvision:resnet18&mean=0&std=1", ""),
        ("torchvision:resnet18?weights=DEFAULT", ""),
        ("checkpoint:a.pt?arch=timm:vit_base_patch16_224", ""),
        ("hf:tuned", ""),
    ],
)
def test_preprocessing_that_is_known_is_written_and_said(model: str, written: str) -> None:
    found = completed("bias_transferred_model", Spec.parse(model))
    assert found.spec == model + written
    assert found.question == ""
    assert (f"{written[1:]} is added, the preprocessing of torchvision's weights of" in found.note) == bool(written)


@pytest.mark.parametrize(
    ("model", "lacking"),
    [
        ("onnx:a.onnx", "mean, std, size"),
        ("torchscript:a.pt?size=32", "mean, std"),
        ("python:nets:make", "mean, std, size"),
        ("checkpoint:a.pt?arch=python:nets:make", "mean, std, size"),
        ("checkpoint:a.pt?arch=torchvision:resnet18&size=224&mean=0.5", "std"),
        ("zoo:pets", "mean, std, size"),
        ("torchvision:of_tomorrow", "mean, std, size"),
    ],
)
def test_preprocessing_that_is_not_known_is_asked_for(model: str, lacking: str) -> None:
    found = completed("bias_transferred_model", Spec.parse(model))
    assert found.spec == model
    assert found.note.startswith(f"bias_transferred_model: with what {lacking} was this model trained? ")
    assert found.question in found.note.replace(": add for example", ", for example")


@pytest.mark.parametrize("text", [None, '[project]\nname = "pets"\n'])
def test_the_question_is_a_comment_above_the_line(pytester: pytest.Pytester, text: str | None) -> None:
    if text is not None:
        (pytester.path / "pyproject.toml").write_text(text)
    result = init(pytester, model="onnx:a.onnx")
    result.stdout.fnmatch_lines(["bias_transferred_model: with what mean, std, size was this model trained? *"])
    lines = (pytester.path / ("pytest.ini" if text is None else "pyproject.toml")).read_text().splitlines()
    (place,) = [index for index, line in enumerate(lines) if line.startswith("bias_transferred_model")]
    assert lines[place - 1].startswith("# with what mean, std, size was this model trained? ")
    assert known(pytester) == {"transferred_model": "onnx:a.onnx", "bias_dataset": DATA}


def test_what_is_written_is_what_each_of_torchvisions_weights_wants() -> None:
    from torchvision import models

    for name in models.list_models(module=models):
        preset = models.get_model_weights(name).DEFAULT.transforms()
        said = f"mean={','.join(map(str, preset.mean))}&std={','.join(map(str, preset.std))}"
        written = Spec.parse(completed("key", Spec.parse(f"torchvision:{name}")).spec)
        assert written.text.endswith(said)
        preprocess = with_declared(Model(torch.nn.Identity()), written).preprocess
        assert (preprocess.resize, preprocess.crop) == (preset.resize_size[0], preset.crop_size[0]), name


def test_where_a_table_would_change_the_file_its_lines_are_printed(pytester: pytest.Pytester) -> None:
    path = pytester.path / "pyproject.toml"
    text = "tool = {ruff = {line-length = 88}}\n"
    path.write_text(text)
    init(pytester).stdout.fnmatch_lines(["pyproject.toml: is not changed; add to its section [[]tool.pytest.ini_*"])
    assert path.read_text() == text


def test_below_the_ini_file_it_says_where_paths_start(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\n")
    (pytester.path / "models").mkdir()
    command = [sys.executable, "-m", "pytest_biastransfer", "init", "--model", MODEL, "--data", DATA]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pytester.path / "models")
        result = pytester.run(*command)
    place = Path("..", "tox.ini")
    result.stdout.fnmatch_lines(
        [f"{place}: is not changed*", f"*relative paths in these lines start at {pytester.path}"]
    )
    assert files(pytester.path / "models") == ["conftest.py"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "error: spec 'resnet18': expected scheme:rest*"),
        ("checkpoint:pets.pt?arch", "error: spec *'arch' after the question mark*"),
        ("checkpoint:pets.pt\naddopts = --pdb", "error: --model: got *expected one line*"),
        (" checkpoint:pets.pt", "error: --model: got *expected one line*"),
        ("torchvison:resnet18", "error: spec *unknown scheme 'torchvison'; did you mean torchvision?*"),
    ],
)
def test_what_is_no_spec_is_told_and_nothing_is_written(pytester: pytest.Pytester, model: str, message: str) -> None:
    result = init(pytester, model=model)
    assert result.ret == 2
    result.stderr.fnmatch_lines([message])
    assert files(pytester.path) == []


def test_a_plugin_may_know_more_schemes(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_bias_load_model(spec): return None")
    assert init(pytester, model="zoo:pets").ret == 0
    result = init(pytester, data="zoo:val")
    assert result.ret == 2
    result.stderr.fnmatch_lines(["error: spec 'zoo:val': unknown scheme 'zoo'; *"])


def test_a_plugin_may_know_more_schemes_of_datasets(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_bias_load_dataset(spec): return None")
    assert init(pytester, data="archive:val").ret == 0
    result = init(pytester, model="archive:pets")
    assert result.ret == 2
    result.stderr.fnmatch_lines(["error: spec 'archive:pets': unknown scheme 'archive'; *"])


# What stands on a line of its own: nothing invisible, no space at its ends.
SPECS = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.isprintable() and text == text.strip()
)


@given(SPECS, SPECS)
def test_any_spec_comes_back_from_both_kinds_of_file(first: str, second: str) -> None:
    import iniconfig

    values = {"bias_transferred_model": f"python:{first}", "bias_dataset": f"python:{second}"}
    assert dict(iniconfig.IniConfig("pytest.ini", data=new_file(values))["pytest"].items()) == values
    text = with_table('[tool]\nother = "#"\n', values)
    assert text is not None
    assert tomllib.loads(text)["tool"] == {"other": "#", "pytest": {"ini_options": values}}
    assert tomllib.loads("\n".join(lines_of(values, Path("pytest.toml")))) == values


def small_project(place: Path) -> None:
    (place / "nets.py").write_text(
        "import torch\n"
        "def Small(): return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))"
    )
    # Red is a cat, blue a dog.
    torch.save({"2.weight": torch.eye(3)[[0, 2]], "2.bias": torch.zeros(2)}, place / "small.pt")
    for name in ("cat", "dog"):
        (place / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), "red" if name == "cat" else "blue").save(place / "val" / name / "1.png")


def test_check_loads_all_of_it_first(pytester: pytest.Pytester) -> None:
    small_project(pytester.path)
    spec = "checkpoint:small.pt?arch=python:nets:Small"
    result = init(pytester, "--check", "--source", spec, model=spec, data="imagefolder:val")
    assert result.ret == 0
    picture = pytester.path / ".pytest_cache" / "d" / "biastransfer" / "check-transferred_model.png"
    result.stdout.fnmatch_lines(
        [
            "small: 2 classes",
            "small: no preprocessing declared, images are only scaled to [[]0, 1[]]",
            "small: gets values from 0.00 to 1.00 for the first image",
            f"{picture}: the first image as loaded, and as small gets it before normalization",
            "small: the source",
            "val: 2 images",
            "small on val: accuracy 1.000 *, n = 2; 2 of 2 classes predicted,*",
            "*pytest.ini: written",
        ]
    )
    with Image.open(picture) as drawn:
        assert drawn.size == (8 + 8 + 8, 8)
        assert drawn.getpixel((0, 0)) == drawn.getpixel((23, 7)) == (255, 0, 0)
    (pytester.path / "pytest.ini").unlink()
    (pytester.path / "conftest.py").unlink()
    for arguments, message in [
        ({"model": "checkpoint:none.pt?arch=python:nets:Small", "data": "imagefolder:val"}, "error: model: *none.pt*"),
        ({"model": spec, "data": "imagefolder:test"}, "error: data: *no such directory*"),
    ]:
        result = init(pytester, "--check", **arguments)
        assert result.ret == 2
        result.stderr.fnmatch_lines([message])
        assert not (pytester.path / "pytest.ini").exists()
        assert not (pytester.path / "conftest.py").exists()


def test_check_shows_what_preprocessing_makes_of_an_image(pytester: pytest.Pytester) -> None:
    small_project(pytester.path)
    spec = "checkpoint:small.pt?arch=python:nets:Small&resize=8&crop=4&mean=0.5&std=0.25"
    result = init(pytester, "--check", model=spec, data="imagefolder:val")
    result.stdout.fnmatch_lines(
        [
            "small: resize 8 (shortest, bilinear), crop 4, mean 0.5, std 0.25",
            "small: gets values from -2.00 to 2.00 for the first image",
        ]
    )
    with Image.open(pytester.path / ".pytest_cache" / "d" / "biastransfer" / "check-transferred_model.png") as drawn:
        assert drawn.size == (8 + 8 + 8, 8)


def test_check_says_where_labels_are_not_the_models(pytester: pytest.Pytester) -> None:
    small_project(pytester.path)
    (pytester.path / "names.txt").write_text("horse\ndonkey\n")
    spec = "checkpoint:small.pt?arch=python:nets:Small&classes=names.txt"
    result = init(pytester, "--check", model=spec, data="imagefolder:val")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["small: 2 classes; the accuracy is unknown: 2 of the 2 classes of val are not classes of the model: *"]
    )
