"""Compiled models give the predictions of the modules themselves, and what cannot be compiled is said once."""

from __future__ import annotations

import gc
import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_biastransfer import Model, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import CompilationWarning, ModelError, StoreWarning
from pytest_biastransfer.evaluation.compiled_models import CompiledModels
from pytest_biastransfer.evaluation.device_memory import DeviceMemory
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.store import Store
from tests.conftest import Run


class Net(nn.Module):
    """A small network, whose forward may begin with something else."""

    def __init__(self, before: Callable[[torch.Tensor], torch.Tensor] = torch.relu, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.before = before
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(self.before(images)).flatten(1))
        return logits


class Graphs:
    """A compiler that leaves graphs as they are, and records the shapes of their images."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.shapes += [tuple(tensor.shape) for tensor in inputs if tensor.ndim == 4 and tensor.shape[2] == SIDE]
        return graph.forward


SIDE = 16


def images(count: int = 300) -> Any:
    generator = torch.Generator().manual_seed(1)
    return as_images([(torch.rand(3, SIDE, SIDE, generator=generator), 0) for _ in range(count)], "noise")


def evaluator(compiler: Any, **options: Any) -> Evaluator:
    return Evaluator("cpu", compiled=True, device_memory=DeviceMemory(compiled=CompiledModels(compiler)), **options)


def model(module: nn.Module) -> Model:
    return Model(module, preprocess=Preprocess(mean=0.5, std=0.5))


def classes(one: Evaluator, of: Model, change: Square | None = None, count: int = 300) -> list[int]:
    predicted: list[int] = one.predictions(of, images(count), change).classes.tolist()
    return predicted


def test_predictions_and_content_are_those_without_compilation() -> None:
    module = Net().train()
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for change in (None, Square(size=0.5)):
        assert classes(evaluator("aot_eager"), model(module), change) == classes(
            Evaluator("cpu"), model(module), change
        )
    assert type(module) is Net
    assert module.training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())


def test_a_model_has_one_graph_for_all_evaluations() -> None:
    compiler = Graphs()
    one, subject = evaluator(compiler), model(Net())
    # The last batch, the datasets and the interventions differ; the reproducibility check predicts small batches.
    for change, count in [(None, 300), (Square(size=0.5), 300), (None, 20)]:
        classes(one, subject, change, count)
    assert compiler.shapes == [(64, 3, SIDE, SIDE)]


def test_so_many_models_of_one_class_are_compiled_as_there_are() -> None:
    compiler = Graphs()
    one = evaluator(compiler, batch_size=8)
    limit = torch._dynamo.config.recompile_limit
    for seed in range(limit + 2):
        classes(one, model(Net(seed=seed)), count=8)
    assert len(compiler.shapes) == limit + 2
    assert torch._dynamo.config.recompile_limit == limit


def test_a_compiled_model_does_not_keep_its_module_alive() -> None:
    one, module = evaluator("eager"), Net()
    assert one.device_memory.compiled.of(model(module), "float32").is_usable
    alive = weakref.ref(module)
    classes(one, model(module), count=20)
    assert one.device_memory.compiled.of(model(module), "float32").is_verified
    del module
    gc.collect()
    assert alive() is None


def test_weights_may_change_between_evaluations() -> None:
    one, module = evaluator("aot_eager"), Net()
    before = classes(one, model(module))
    with torch.no_grad():
        module.head.bias[3] += 100
    after = classes(one, model(module))
    assert after == [3] * 300 != before


def breaking(images: torch.Tensor) -> torch.Tensor:
    torch._dynamo.graph_break()
    return images


def reading(images: torch.Tensor) -> torch.Tensor:
    return images * float(Path(__file__).read_text() != "")


def branching(images: torch.Tensor) -> torch.Tensor:
    return images * 2 if images.sum() > -1e9 else -images


def failing(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    raise FileNotFoundError("no C++ compiler")


def miscompiling(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    return lambda *inputs: [output + 1 for output in graph.forward(*inputs)]


@pytest.mark.parametrize(
    ("before", "compiler", "cause"),
    [
        (breaking, "eager", "graph_break"),
        (reading, "eager", "Unsupported"),
        (branching, "eager", "Unsupported|UserError"),
        (torch.relu, "no-such-compiler", "no-such-compiler"),
        (torch.relu, failing, "FileNotFoundError: no C.. compiler"),
        (torch.relu, miscompiling, "logits differ .* by more than rounding"),
    ],
)
def test_what_cannot_be_compiled_is_evaluated_without_it_and_said_once(before: Any, compiler: Any, cause: str) -> None:
    one = evaluator(compiler)

    def predicted(used: Evaluator) -> list[list[int]]:
        # A fixture of function scope makes the model anew.
        subjects = [Model(Net(before), preprocess=Preprocess(mean=0.5, std=0.5), name="pets") for _ in range(2)]
        changes = (None, Square(size=0.5))
        return [classes(used, subject, change) for subject, change in zip(subjects, changes, strict=True)]

    with pytest.warns(CompilationWarning, match=cause) as record:
        found = predicted(one)
    assert found == predicted(Evaluator("cpu"))
    assert len(record) == 1
    assert str(record[0].message).startswith("model pets is evaluated without compilation (bias_compile): ")
    assert len(str(record[0].message)) < 300


def test_a_script_is_evaluated_as_it_is() -> None:
    with warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(Net().eval(), torch.rand(2, 3, SIDE, SIDE))  # type: ignore[no-untyped-call]
    compiled = CompiledModels("eager")
    with pytest.warns(CompilationWarning, match="compiled already"):
        assert not compiled.of(model(traced), "float32").is_usable
    memory = DeviceMemory(compiled=compiled)
    # The content of a script in memory has no hash.
    with pytest.warns(StoreWarning):
        found = classes(Evaluator("cpu", compiled=True, device_memory=memory), model(traced))
    with pytest.warns(StoreWarning):
        assert found == classes(Evaluator("cpu"), model(traced))


def test_errors_are_those_of_the_model() -> None:
    with pytest.raises(ModelError, match="raised RuntimeError on images of shape"):
        classes(evaluator("eager"), model(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten())))
    with pytest.raises(ModelError, match="is not deterministic"):
        classes(evaluator("eager"), model(Net(lambda images: nn.functional.dropout(images, 0.9))))


def test_a_model_that_refuses_a_layout_is_compiled_in_the_other_one() -> None:
    compiler = Graphs()
    viewing = model(nn.Sequential(nn.Module(), nn.Linear(3 * SIDE * SIDE, 4)))
    viewing.module.forward = lambda images: viewing.module[1](images.view(len(images), -1))  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(set(classes(evaluator(compiler), viewing))) > 1
    assert compiler.shapes == [(64, 3, SIDE, SIDE)]


class Narrow(Net):
    """Runs out of memory above some number of images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 20:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(images)


def test_smaller_batches_are_compiled_anew_when_memory_is_short() -> None:
    compiler, narrow = Graphs(), model(Narrow())
    assert classes(evaluator(compiler), narrow) == classes(Evaluator("cpu", batch_size=16), narrow)
    assert compiler.shapes == [(16, 3, SIDE, SIDE)]


def test_memory_that_runs_out_in_the_compiler_is_no_fault_of_the_model() -> None:
    compiler = Graphs()

    def large(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled = compiler(graph, inputs)
        if len(compiler.shapes) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return compiled

    subject = model(Net())
    assert classes(evaluator(large), subject) == classes(Evaluator("cpu"), subject)
    assert compiler.shapes == [(64, 3, SIDE, SIDE), (32, 3, SIDE, SIDE)]


def with_variable(images: torch.Tensor) -> torch.Tensor:
    return images * float(os.environ.get("BRIGHTNESS", "1"))


def test_keys_cover_what_a_compiled_model_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def predicted(brightness: str) -> tuple[int, list[int]]:
        monkeypatch.setenv("BRIGHTNESS", brightness)
        one = Evaluator(
            "cpu", Store(tmp_path), compiled=True, device_memory=DeviceMemory(compiled=CompiledModels("eager"))
        )
        found = one.predictions(model(Net(with_variable)), images(), None)
        return found.computed, found.classes.tolist()

    # The first session finds out what the model reads.
    (_, first), second = predicted("1"), predicted("1")
    assert second == (300, first)
    assert predicted("1") == (0, first)
    assert predicted("-9") != second
    assert predicted("-9")[0] == 0


def test_keys_do_not_depend_on_what_was_compiled_before(pytester: pytest.Pytester) -> None:
    # In a process of its own: torch.compile replaces methods of torch.nn.Module for good.
    script = pytester.makepyfile(
        """
        import torch
        from pytest_biastransfer.fingerprints import fingerprint

        def net():
            torch.manual_seed(0)
            return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())

        before, module = fingerprint(net()), net()
        torch.compile(lambda images: images + 1, backend="eager")(torch.rand(3))
        assert torch.nn.Module.__init__.__qualname__ != "Module.__init__"
        torch.compile(lambda images: module(images), backend="eager")(torch.rand(3, 2))
        print(before == fingerprint(net()) == fingerprint(module))
        """
    )
    assert pytester.runpython(script).outlines == ["True"]


def test_predictions_of_compiled_models_are_others_and_those_without_keep_their_keys() -> None:
    def key(**options: Any) -> str:
        return Evaluator("cpu", **options).keys(model(Net()), images(), [None])[0].text

    assert key() == key(compiled=False) != key(compiled=True)


def test_inductor_computes_the_same_and_its_files_are_not_those_of_the_model(tmp_path: Path) -> None:
    subject = model(Net())
    expected = Evaluator("cpu").predictions(subject, images()).classes
    for computed in (300, 0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = Evaluator("cpu", Store(tmp_path), compiled=True).predictions(subject, images())
        np.testing.assert_array_equal(found.classes, expected)
        assert found.computed == computed


def test_a_session_compiles_and_says_in_its_warnings_what_it_cannot_compile(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        import torch
        from conftest import BrightestChannel, brightest

        class Broken(BrightestChannel):
            def forward(self, images):
                torch._dynamo.graph_break()
                return super().forward(images)

        @pytest.fixture
        def transferred_model():
            model = brightest("broken")
            return type(model)(Broken(), preprocess=model.preprocess, classes=model.classes, name="broken")

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it():
            pass

        @pytest.mark.bias_intervention("grayscale", max_asr=1)
        def test_again():
            pass
        """
    )
    result = run("-obias_compile=on", "-Wdefault")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        ["*CompilationWarning: model broken is evaluated without compilation (bias_compile): *"]
    )
