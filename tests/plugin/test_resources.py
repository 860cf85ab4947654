"""Models and datasets that a session is given: from specs, wherever they stand, each loaded once, when it is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run, each_mode

# A conftest whose models are counted: each loading writes a line with the process that did it.
ZOO = """
import os
import pathlib

import pytest
import torch

PLACE = pathlib.Path(__file__).parent


class Brightest(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))


def pytest_bias_load_model(spec):
    if spec.scheme != "zoo":
        return None
    with (PLACE / "loaded.txt").open("a") as log:
        log.write(f"{spec.rest} {os.getpid()}\\n")
    return Brightest()


def pictures():
    colors = [(0.30, 0.29, 0.31) if place < 5 else (0.0, 0.0, 1.0) for place in range(20)]
    return [(torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors]


@pytest.fixture(scope="session")
def bias_dataset():
    return "python:conftest:pictures"
"""


def loaded(pytester: pytest.Pytester) -> list[list[str]]:
    log = pytester.path / "loaded.txt"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


@each_mode
def test_a_plugin_may_add_a_scheme_and_each_model_is_loaded_once_a_worker(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makeconftest(ZOO)
    pytester.makeini(
        "[pytest]\nbias_transferred_model = zoo:net?size=16&name=blue\nbias_source_model = zoo:net?size=16&name=blue\n"
    )
    pytester.makepyfile(
        test_zoo="""
        import pytest

        @pytest.fixture(scope="session")
        def other():
            return "zoo:other?classes=names.txt"

        @pytest.mark.bias_intervention("yellow-square", "grayscale", "tennis-ball", max_asr=1)
        @pytest.mark.bias_intervention("yellow-square", model="source_model", max_asr=0.5)
        @pytest.mark.bias_intervention("yellow-square", model="other", control="transferred_model", max_asr=0.5)
        def test_it(bias):
            assert bias.model in ("blue", "Brightest")
            assert bias.most_gained.name.isdecimal() == (bias.model == "blue")
        """
    )
    Path("names.txt").write_text("red\ngreen\nblue\n")
    result = run("-v")
    result.assert_outcomes(passed=5)
    lines = loaded(pytester)
    assert {name for name, _ in lines} == {"net", "other"}
    # As many as workers needed it, never twice in a process.
    assert len(lines) == len({tuple(line) for line in lines})


def test_an_architecture_may_be_of_another_scheme(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        ZOO.replace("return Brightest()", "return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))")
    )
    pytester.makepyfile(
        """
        import pytest
        import torch

        @pytest.fixture(scope="session")
        def transferred_model(tmp_path_factory):
            module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
            torch.nn.init.zeros_(module[1].weight)
            place = tmp_path_factory.mktemp("weights") / "flat.pt"
            torch.save(module.state_dict(), place)
            return f"checkpoint:{place}?arch=zoo:flat"

        @pytest.mark.bias_intervention("yellow-square", max_asr=0)
        def test_it(bias):
            assert bias.model == "flat"
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(passed=1)


def test_mistakes_in_specs_are_named_with_their_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(ZOO)
    pytester.makeini("[pytest]\nbias_transferred_model = zo:net\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def misspelt():
            return "checkpoints:net.pt?arch=torchvision:resnet18"

        @pytest.fixture(scope="session")
        def pinned():
            return f"zoo:net?sha256={'0' * 64}"

        @pytest.fixture(scope="session")
        def folder():
            return "imagefolders:data/val"

        @pytest.fixture(scope="session")
        def own():
            return "zoo:net"

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.5)
        def test_ini(): ...

        @pytest.mark.bias_intervention("yellow-square", model="misspelt", max_asr=0.5)
        def test_misspelt(): ...

        @pytest.mark.bias_intervention("yellow-square", model="pinned", max_asr=0.5)
        def test_pinned(): ...

        @pytest.mark.bias_intervention("yellow-square", model="own", dataset="folder", max_asr=0.5)
        def test_folder(): ...
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "*spec 'zo:net': unknown scheme 'zo'; *Valid: checkpoint, export, hf, onnx, probe, python, *",
            "*in fixture transferred_model",
            "*spec 'checkpoints:*': unknown scheme 'checkpoints'; did you mean checkpoint[?]*",
            "*in fixture misspelt",
            "*sha256= is checked by this package's own schemes, zoo: is another's*",
            "*in fixture pinned",
            "*spec 'imagefolders:data/val': unknown scheme 'imagefolders'; did you mean imagefolder[?]*",
            "*in fixture folder",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_collecting_opens_nothing(pytester: pytest.Pytester) -> None:
    schemes = ["torchvision:resnet18", "checkpoint:a.pt?arch=zoo:a", "timm:resnet18", "hf:someone/net", "onnx:a.onnx"]
    specs = [f"{spec}{'&' if '?' in spec else '?'}name=n{count}" for spec in schemes for count in range(4)]
    pytester.makeconftest(ZOO)
    fixtures = "\n".join(
        f'@pytest.fixture(scope="session")\ndef model_{number}():\n    return {spec!r}\n'
        for number, spec in enumerate(specs)
    )
    marks = "\n".join(
        f'@pytest.mark.bias_intervention("yellow-square", model="model_{number}", max_asr=0.5)'
        for number in range(len(specs))
    )
    functions = "\n".join(f"{marks}\ndef test_{number}(): ...\n" for number in range(50))
    pytester.makepyfile(f"import json, sys, pytest\n{fixtures}\n{functions}")
    pytester.makepyfile(
        conftest=ZOO.replace("import torch\n", "").replace("class Brightest(torch.nn.Module)", "class Brightest")
        + "\nimport json, sys\ndef pytest_collection_finish(session):\n"
        "    heavy = ['torch', 'numpy', 'timm', 'transformers', 'onnxruntime', 'PIL']\n"
        "    found = [name for name in heavy if name in sys.modules]\n"
        "    (PLACE / 'heavy.json').write_text(json.dumps([len(session.items), found]))\n"
    )
    result = pytester.runpytest_subprocess("--collect-only", "-q")
    assert result.ret == 0
    assert json.loads((pytester.path / "heavy.json").read_text()) == [1000, []]
    assert loaded(pytester) == []


# A conftest with a scheme of datasets: a number of blue pictures, or what else a fixture may return.
ARCHIVE = (
    ZOO.partition("def pictures()")[0]
    + """
def pytest_bias_load_dataset(spec):
    if spec.scheme != "archive":
        return None
    with (PLACE / "opened.txt").open("a") as log:
        log.write(f"{os.getpid()}\\n")
    blue = torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1, 1).expand(3, 16, 16)
    kinds = {"blue": [(blue, 2)] * int(spec.query.get("count", 1)), "spec": "python:conftest:RED", "number": 7}
    return {**kinds, "loop": spec.text, "missing": "imagefolder:nowhere"}[spec.rest]


RED = [(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1).expand(3, 16, 16), 0)] * 3
"""
)


@each_mode
def test_a_plugin_may_add_a_scheme_of_datasets(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makeconftest(ARCHIVE)
    pytester.makeini(
        "[pytest]\nbias_transferred_model = zoo:net?size=16\n"
        "bias_dataset = archive:blue?count=9&limit=4&name=blues&classes=names.txt\n"
    )
    Path("names.txt").write_text("red\ngreen\nblue\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def red():
            return "archive:spec?name=reds"

        @pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
        def test_blue(bias):
            assert (bias.dataset, bias.n, bias.most_gained.name in ("red", "green", "blue")) == ("blues", 4, True)

        @pytest.mark.bias_intervention("yellow-square", dataset="red", max_asr=1)
        def test_red(bias):
            assert (bias.dataset, bias.n) == ("reds", 3)
        """
    )
    run("-v").assert_outcomes(passed=3)
    processes = (pytester.path / "opened.txt").read_text().splitlines()
    # Each process opens at most two specs, each of them once.
    assert max(map(processes.count, processes)) <= 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("archives:val", "*spec 'archives:val': unknown scheme 'archives'; *Valid: csv, hf, imagefolder, npz, *"),
        ("imagefolders:val", "*unknown scheme 'imagefolders'; did you mean imagefolder[?] Valid: csv, hf, *"),
        ("archive:number", "*spec 'archive:number': hook pytest_bias_load_dataset: got 7, expected a map-style *"),
        ("archive:loop", "*spec 'archive:loop': hook pytest_bias_load_dataset: returned a spec that cannot be loaded: "
         "spec 'archive:loop': unknown scheme 'archive'; *"),
        ("archive:missing", "*spec 'archive:missing': hook *: imagefolder *nowhere: no such directory"),
    ],
)  # fmt: skip
def test_a_hook_that_returns_no_dataset_is_named_with_its_spec(
    pytester: pytest.Pytester, spec: str, message: str
) -> None:
    pytester.makeconftest(ARCHIVE)
    pytester.makeini(f"[pytest]\nbias_transferred_model = zoo:net?size=16\nbias_dataset = {spec}\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it(bias): ...
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    assert "Traceback" not in result.stdout.str()
