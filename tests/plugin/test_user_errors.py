"""Every mistake gets one clear error that says what to change, and none of them looks green."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Run, each_mode

MARKERS = {
    "no_limit": ('"yellow-square"', "no limit, so nothing could fail; add one, such as max_asr=0.05*"),
    "no_intervention": ("max_asr=0.1", "no intervention; name one, such as *yellow-square*"),
    "keyword": ('"yellow-square", max_ars=0.1', "unknown keyword max_ars; did you mean max_asr[?] Valid: *max_skew*"),
    "intervention": (
        '"yelow-square", max_asr=0.1',
        "no intervention is named 'yelow-square'; did you mean yellow-square[?]*",
    ),
    "callable": (
        "print, max_asr=0.1",
        "got <built-in function print> as intervention, * wrap a callable * in Custom(...)",
    ),
    "range": ('"grayscale", max_asr=1.5', "max_asr=1.5, expected a number from 0 to 1"),
    "nan": ('"grayscale", max_skew=float("nan")', "max_skew=nan, expected a number from 0 to 1"),
    "type": ('"grayscale", max_skew="0.1"', "max_skew='0.1', expected a number from 0 to 1"),
    "confidence": ('"grayscale", max_skew=0.1, confidence=95', "confidence=95, expected a number above 0 and below 1*"),
    "target": ('"grayscale", max_targeted_asr=0.1', "max_targeted_asr needs target=, a class or several*"),
    "target_type": ('"grayscale", max_targeted_asr=0.1, target=0.5', "target=0.5, expected a class or several*"),
    "model": (
        '"grayscale", max_asr=0.1, model="transfered_model"',
        "model='transfered_model' is not a fixture that this test can reach; did you mean transferred_model[?]*",
    ),
    "model_type": ('"grayscale", max_asr=0.1, model=3', "model=3, expected the name of a fixture*"),
    "dataset": (
        '"grayscale", max_asr=0.1, dataset="bias_data"',
        "dataset='bias_data' is not a fixture that this test can reach; did you mean bias_dataset[?]*",
    ),
    "control": (
        '"grayscale", max_asr_excess=0.1, control="control_mode"',
        "control='control_mode' is not a fixture * did you mean control_model[?]*",
    ),
}


@each_mode
def test_markers(run: Run, colors: pytest.Pytester) -> None:
    for name, (arguments, _) in MARKERS.items():
        source = f"import pytest\n\n@pytest.mark.bias_intervention({arguments})\ndef test_{name}(): pass\n"
        colors.makepyfile(**{f"test_{name}": source})
    result = run()
    result.assert_outcomes(errors=len(MARKERS))
    for name, (_, message) in MARKERS.items():
        result.stdout.fnmatch_lines([f"*test_{name}.py::test_{name}: bias_intervention: {message}"])
        # The short summary says it, too.
        result.stdout.fnmatch_lines([f"ERROR test_{name}.py - test_{name}.py::test_{name}: *"])
    assert "Traceback" not in result.stdout.str()
    assert "pytest_biastransfer/" not in result.stdout.str()


# Fixtures by name, and what the error must say. In all of them `images` and `brightest` are the conftest's.
FIXTURES = {
    # Models.
    "no_model": (
        "model",
        '"resnet18.pt"',
        "spec 'resnet18.pt': expected scheme:rest[?]key=value, did you mean checkpoint:resnet18.pt[?]arch=*",
    ),
    "pickle": (
        "model",
        'load_model("checkpoint:pickle.pt?arch=torchvision:squeezenet1_1")',
        "checkpoint *pickle.pt: holds more than plain data, or is damaged (it calls *Pytester); nothing in it was run. Save*",
    ),
    "keys": (
        "model",
        'load_model("checkpoint:keys.pt?arch=torchvision:squeezenet1_1&num_classes=3")',
        "features.0.weight [[]64, 3, 3, 3]",
    ),
    "missing_file": (
        "model",
        'load_model("checkpoint:missing.pt?arch=torchvision:resnet18")',
        "spec *: *missing.pt: no such file",
    ),
    "wrong_shape": (
        "model",
        "torch.nn.Flatten(0)",
        "returned [[]15360] for 20 images; expected logits [[]batch, classes]*",
    ),
    "tuple": (
        "model",
        "Lambda(lambda x: (x, x))",
        "returned a tuple of 0 [[]20, *], 1 [[]20, *] for 20 images; none of them is *; expected logits *",
    ),
    "nan": (
        "model",
        "Lambda(lambda x: x.mean((2, 3)).where(x.mean((2, 3)) != 1, torch.nan))",
        "returned NaN or infinite logits for 15 of 20 images *first for image 5; expected finite numbers",
    ),
    "few_classes": (
        "model",
        "Lambda(lambda x: x.mean((2, 3))[:, :2])",
        "image 0 of list has the label 2, but the model * has only 2 classes (0 to 1)*",
    ),
    "class_names": (
        "model",
        'Model(Lambda(lambda x: x.mean((2, 3))), classes=["red"])',
        "has 3 outputs, but 1 class names; expected as many names as outputs",
    ),
    "size": ("model", "torch.nn.Linear(7, 3)", "raised RuntimeError on images of shape [[]20, 3, 16, 16]: *"),
    # Datasets.
    "empty": ("data", "[]", "list is empty, expected at least one image"),
    "no_dataset": ("data", "3", "got 3, expected a map-style dataset of (image, label)*"),
    "no_label": ("data", "[image for image, _ in images()]", "item 0 of list is a Tensor; expected (image, label)*"),
    "float_label": (
        "data",
        "[(image, 0.5) for image, _ in images()]",
        "item 0 of list: the label is 0.5, expected a whole*",
    ),
    "dtype": (
        "data",
        "[(i.long(), 0) for i, _ in images()]",
        "item 0 of list: the image is int64 [[]3, 16, 16]; expected*",
    ),
    "channels_last": ("data", "[(torch.zeros(16, 16, 3), 0)]", "[[]16, 16, 3], with the channels last; expected *"),
    "sizes": (
        "data",
        "[(torch.zeros(3, 8 + i, 8), 0) for i in range(2)]",
        "image * of list is *×8 pixels, image * is *×8; declare one size with the model: Preprocess(size=...)",
    ),
    "normalized": (
        "data",
        "[(i * 4 - 2, label) for i, label in images()]",
        "the image has values from -* to *, expected [[]0, 1]. *Preprocess(normalized_input=True, mean=..., std=...))",
    ),
    "unreadable": (
        "data",
        "broken_folder()",
        "image *broken.png: cannot be read (cannot identify image file*); repair*",
    ),
    "target": ("data", "images()", "target='yellow' is not a class of the model; *Valid: blue, green, red"),
    # Interventions.
    "shape_back": ("change", "lambda images: images[:, :, 1:]", "returned shape [[]20, 3, 15, 16] for images of *"),
    "dtype_back": (
        "change",
        "lambda images: images.half()",
        "returned dtype torch.float16 for images of dtype torch.float32*",
    ),
    "nothing_back": ("change", "lambda images: None", "returned NoneType, expected a torch.Tensor"),
    "raises": ("change", "torch.linalg.cholesky", "cholesky raised *"),
    "own_code": ("change", "raises_deep_inside", "raises_deep_inside raised ZeroDivisionError: division by zero"),
}

BAD_FIXTURES = """
import conftest
import pytest
import torch
from conftest import brightest, images
from pytest_biastransfer import Custom, Model, load_dataset, load_model

class Lambda(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
    def forward(self, x):
        return self.function(x)

def raises_deep_inside(images):
    def inner():
        return 1 / 0
    return inner()

def broken_folder():
    from pathlib import Path
    Path("data/a").mkdir(parents=True, exist_ok=True)
    Path("data/a/broken.png").write_bytes(b"nothing")
    return load_dataset("imagefolder:data")
"""


@each_mode
def test_models_datasets_and_interventions(run: Run, colors: pytest.Pytester) -> None:
    source = BAD_FIXTURES
    for name, (kind, expression, _) in FIXTURES.items():
        model, data = (
            expression if kind == part else default
            for part, default in (("model", "brightest()"), ("data", "images()"))
        )
        change = f"Custom({expression})" if kind == "change" else '"yellow-square"'
        target = ', target="yellow"' if name == "target" else ""
        source += f"""
@pytest.fixture
def model_{name}():
    return {model}

@pytest.fixture
def data_{name}():
    return {data}

@pytest.mark.xfail(reason="no crash may hide here")
@pytest.mark.bias_intervention({change}, model="model_{name}", dataset="data_{name}"{target}, max_asr=1)
def test_{name}():
    pass
"""
    colors.makepyfile(test_fixtures=source)
    torch.save({"weight": pytest.Pytester}, colors.path / "pickle.pt")
    torch.save({"weight": torch.eye(3)}, colors.path / "keys.pt")
    result = run("-W", "ignore::pytest_biastransfer.errors.StoreWarning")
    result.assert_outcomes(errors=len(FIXTURES))
    for _, _, message in FIXTURES.values():
        result.stdout.fnmatch_lines([f"*{message}"])
    result.stdout.fnmatch_lines(["*, in raises_deep_inside", "*, in inner", "*return 1 / 0"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_fixture_bias_without_marker(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile("def test_it(bias): pass")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture bias needs a marker, such as @pytest.mark.bias_intervention(*"])


def test_marker_that_cannot_take_effect(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_case="""
        import unittest
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=0)
        class TestCase(unittest.TestCase):
            def test_method(self):
                pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*bias_intervention has no effect on *TestCase::test_method. *not on a unittest.TestCase*"]
    )


def test_fixtures_that_are_not_configured(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "conftest.py").unlink()
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bias_intervention("yellow-square", max_asr=0)
        def test_it(): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "not configured. Write a fixture of that name *",
            "    bias_transferred_model = *",
            "in fixture transferred_model",
        ]
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--bias-workers-per-gpu=0",
            "ERROR: --bias-workers-per-gpu (or bias_workers_per_gpu in the ini file): got '0', *",
        ),
        (
            "--bias-executor=slurm",
            "ERROR: --bias-executor (or bias_executor in the ini file): got 'slurm', expected local, ray, or an address *",
        ),
        (
            "-obias_compile=true",
            "ERROR: bias_compile in the ini file: got 'true'; Valid: off, on",
        ),
        (
            "-obias_precision=fp16",
            "ERROR: bias_precision in the ini file: got 'fp16'; did you mean bf16? Valid: bf16, *",
        ),
        (
            "-obias_pixel_cache=4 apples",
            "ERROR: bias_pixel_cache in the ini file: got '4 apples', expected a size such *",
        ),
        ("--bias-batch-size=0", "ERROR: --bias-batch-size (or bias_batch_size in the ini file): got '0', expected *"),
        (
            "-obias_order_seed=-1",
            "ERROR: bias_order_seed in the ini file: got '-1', expected a whole number, at least 0",
        ),
        ("-obias_order_seed=any", "ERROR: bias_order_seed in the ini file: got 'any', expected a whole number, *"),
        (
            "--bias-max-images=few",
            "ERROR: --bias-max-images (or bias_max_images in the ini file): got 'few', expected *",
        ),
    ],
)
def test_options(run: Run, colors: pytest.Pytester, option: str, message: str) -> None:
    colors.makepyfile("def test_it(): pass")
    result = run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "*device 'gpu': expected auto, cpu, mps, cuda or cuda:NUMBER"),
        ("cuda:99", "*device 'cuda:99': this machine has * CUDA devices *"),
    ],
)
def test_device(run: Run, colors: pytest.Pytester, device: str, message: str) -> None:
    colors.makepyfile(
        """
        import pytest
        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it(): pass
        """
    )
    result = run(f"--bias-device={device}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_undefined_metric_is_no_pass(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import conftest, pytest

        @pytest.fixture
        def bias_dataset():
            return conftest.Named((image, 0) for image, _ in conftest.images())

        @pytest.mark.bias_intervention("grayscale", max_conditional_asr=1)
        def test_it(): pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  FAILED  conditional_asr  undefined: *  limit 1"])


def test_a_limit_that_cannot_be_judged_is_not_excused(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import conftest, pytest

        class Animals(list):
            classes = ["cat", "dog", "horse"]

        @pytest.fixture
        def bias_dataset():
            return Animals(conftest.images())

        @pytest.mark.xfail(strict=True)
        @pytest.mark.bias_intervention("yellow-square", max_accuracy_drop=1)
        def test_it(): pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["accuracy_drop of brightest on Animals is not available: 3 of the 3 classes of Animals are not classes of *"]
    )


@each_mode
def test_a_marker_that_is_not_judged_is_no_pass(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_unjudged="""
        import pytest

        limit = pytest.mark.bias_intervention("yellow-square", max_asr=0)

        class TestReplaced:
            @pytest.fixture
            def bias(self):
                return 3

            @limit
            def test_it(self, bias):
                assert bias == 3

        @pytest.fixture
        def late(request):
            request.node.add_marker(limit)

        def test_late(late):
            pass

        @pytest.mark.parametrize("value", [1, pytest.param(2, marks=limit)])
        def test_param(value):
            pass
        """
    )
    result = run()
    result.assert_outcomes(failed=2, errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*bias_intervention has no effect on test_unjudged.py::test_param[[]2[]]. * not in pytest.param(marks=...)*",
            "*nothing was measured. Either a fixture of the test's own is called bias, then rename it; or *",
        ]
    )


def test_store_that_is_no_directory(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile("def test_it(): pass")
    (colors.path / "afile").write_text("")
    result = run("--bias-store=afile")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --bias-store (or bias_store in the ini file): *afile is not a directory"])


DECLARATIONS = {
    "Square(size=2)": "E   *Square: size=2, expected a number above 0 and at most 1",
    "Stencil('missing.png')": "E   *Stencil: path='missing.png' cannot be read (there is no file *missing.png)",
    "Composition(steps=3)": "E   *Composition: steps has 3, expected interventions",
}


@each_mode
def test_a_wrong_declaration_in_a_module_is_its_line_and_its_message(run: Run, colors: pytest.Pytester) -> None:
    module = """
import pytest
from pytest_biastransfer import Composition, Square, Stencil

@pytest.mark.bias_intervention({}, max_asr=0.1)
def test_declared():
    pass
"""
    colors.makepyfile(**{f"test_{place}": module.format(one) for place, one in enumerate(DECLARATIONS)})
    result = run()
    for declared, message in DECLARATIONS.items():
        result.stdout.fnmatch_lines([f"*@pytest.mark.bias_intervention({declared}, max_asr=0.1)", message])
    # Where it is raised, and what that was caused by, mean nothing to who has typed it.
    for own in ("*interventions/*", "*pathlib*", "*direct cause*", "*<string>*"):
        result.stdout.no_fnmatch_line(own)
    assert result.ret != 0
