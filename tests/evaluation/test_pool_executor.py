"""Chunks computed by the processes of a pool: the same results, also where a process dies or a model is strange."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer import Model, PoolExecutor, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.chunk_worker import ChunkWorker
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.models import as_model
from pytest_biastransfer.store import Store
from tests.conftest import Run
from tests.support.systems import KILL


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(108, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


class ReadsAVariable(Net):
    """Decides by an environment variable, which its key does not have before it has predicted something."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (-1 if os.environ.get("UPSIDE_DOWN") else 1)


class Dies(Net):
    """Takes its process with it."""

    def __init__(self, parent: int) -> None:
        super().__init__()
        self.parent = parent

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.parent:
            os.kill(os.getpid(), KILL)
        return super().forward(images)


@pytest.fixture
def images() -> LabelledImages:
    pixels = torch.rand(1200, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return as_images([(image, position % 5) for position, image in enumerate(pixels)], "images")


class Inline:
    """A pool that calls at once, as pickling would have it; it counts its calls, and those cancelled."""

    def __init__(self) -> None:
        self.calls: list[tuple[Path, list[range]]] = []
        self.cancelled = 0
        self.worker = ChunkWorker("cpu")
        # Whether each call is in a process of its own.
        self.anew = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        evaluation_file, device, chunks = arguments
        assert device == "cpu"
        self.calls.append((evaluation_file, chunks))
        pool = self

        class Future:
            def result(self) -> Any:
                if pool.anew:
                    pool.worker.close()
                    pool.worker = ChunkWorker(device)
                return pickle.loads(
                    pickle.dumps(pool.worker.compute(str(evaluation_file), evaluation_file.read_bytes, chunks))
                )

            def cancel(self) -> None:
                pool.cancelled += 1

        return Future()


@pytest.fixture
def inline() -> Iterator[tuple[Inline, PoolExecutor]]:
    pool = Inline()
    executor = PoolExecutor(pool, ahead=2, together=2)
    yield pool, executor
    pool.worker.close()
    executor.close()


def test_another_process_has_the_order_of_the_evaluation(images: LabelledImages, tmp_path: Path) -> None:
    pool, model = Inline(), Model(Net())
    # Its pixels are stored, by the order too.
    pool.worker = ChunkWorker("cpu", Store(tmp_path))
    executor = PoolExecutor(pool)
    expected = Evaluator("cpu").predictions(model, images).in_order()
    orders = []
    for number in (0, 1, 0):
        found = Evaluator("cpu", executor=executor, order_seed=number).predictions(model, images)
        assert np.array_equal(found.in_order().classes, expected.classes)
        orders.append(found.indices.tolist())
    assert orders[0] == orders[2] != orders[1]
    pool.worker.close()
    executor.close()


def test_several_chunks_travel_together_and_nothing_far_ahead(
    inline: tuple[Inline, PoolExecutor], images: LabelledImages, tmp_path: Path
) -> None:
    pool, executor = inline
    model = Model(Net())
    expected = Evaluator("cpu", batch_size=100).predictions(model, images, Square())
    predictions = Evaluator("cpu", Store(tmp_path), executor=executor, batch_size=100).predictions(
        model, images, Square()
    )
    assert np.array_equal(predictions.classes, expected.classes)
    assert [[chunk.start for chunk in chunks] for _, chunks in pool.calls] == [[0, 256], [512, 768], [1024]]
    # The model was pickled once, and results are in the store.
    assert len({file for file, _ in pool.calls}) == 1
    assert Evaluator("cpu", Store(tmp_path)).predictions(model, images, Square()).computed == 0
    executor.close()
    assert not pool.calls[0][0].parent.exists()


def test_a_process_opens_the_model_of_a_spec_once_for_several_interventions(
    inline: tuple[Inline, PoolExecutor], images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, executor = inline
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_that_count.py").write_text(
        "from pathlib import Path\n\n"
        "from tests.evaluation.test_pool_executor import Net\n\n"
        "def net():\n"
        "    with Path('opened').open('a') as file:\n        file.write('.')\n"
        "    return Net()\n"
    )
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    model = as_model("checkpoint:net.pt?arch=python:nets_that_count:net", "model")
    evaluator = Evaluator("cpu", executor=executor, batch_size=100)
    evaluator.predictions(model, images)
    opened = Path("opened").read_text()
    evaluator.predictions(model, images, Square())
    assert len({file for file, _ in pool.calls}) == 2
    assert Path("opened").read_text() == opened != ""


def test_what_is_ahead_of_an_error_is_cancelled(inline: tuple[Inline, PoolExecutor], images: LabelledImages) -> None:
    pool, executor = inline

    class Wrong(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    globals()["Wrong"] = Wrong
    Wrong.__qualname__ = "Wrong"
    with pytest.raises(BiasTransferError, match=r"model Wrong returned \[\d+, 3, 6, 6\]"):
        Evaluator("cpu", executor=executor).predictions(Model(Wrong()), images)
    assert pool.cancelled == 2


def test_a_model_that_reads_more_is_computed_and_not_stored(
    inline: tuple[Inline, PoolExecutor], images: LabelledImages, tmp_path: Path
) -> None:
    pool, executor = inline
    pool.anew = True
    model = Model(ReadsAVariable())
    expected = Evaluator("cpu").predictions(model, images).classes
    evaluator = Evaluator("cpu", Store(tmp_path), executor=executor)
    assert np.array_equal(evaluator.predictions(model, images).classes, expected)
    assert not list(tmp_path.glob("predictions/*/*.chunk"))


def test_a_process_gives_the_figures_of_this_one_and_its_death_is_an_error(images: LabelledImages) -> None:
    expected = Evaluator("cpu", batch_size=64).predictions(Model(Net()), images, Square()).classes
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        executor = PoolExecutor(pool, ahead=2)
        evaluator = Evaluator("cpu", executor=executor, batch_size=64)
        assert np.array_equal(evaluator.predictions(Model(Net()), images, Square()).classes, expected)
        with pytest.raises(BiasTransferError, match=r"lost a process while chunk range\(0, 256\) of list .* run the s"):
            evaluator.predictions(Model(Dies(os.getpid())), images)
        executor.close()


def test_jobs_of_submitit_give_the_figures_of_this_process(images: LabelledImages, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit", reason="needs the package submitit")
    jobs = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="local")
    jobs.update_parameters(timeout_min=5)
    executor = PoolExecutor(jobs, ahead=1, together=8, directory=tmp_path)
    found = Evaluator("cpu", executor=executor, batch_size=64).predictions(Model(Net()), images, Square()).classes
    executor.close()
    assert np.array_equal(found, Evaluator("cpu", batch_size=64).predictions(Model(Net()), images, Square()).classes)
    # 1,200 images are five chunks: one job.
    assert len(list((tmp_path / "jobs").glob("*_submitted.pkl"))) == 1


SQUARE = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
def test_square(bias):
    pass
"""
CONFTEST = """

import concurrent.futures
from pytest_biastransfer import PoolExecutor

class Threads(PoolExecutor):
    def close(self):
        super().close()
        print("CLOSED")

def pytest_bias_executor(config):
    return Threads(concurrent.futures.ThreadPoolExecutor(1))
"""


def test_a_hook_returns_the_executor_of_a_session(run: Run, colors: pytest.Pytester) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(CONFTEST)
    colors.makepyfile(SQUARE)
    result = run("-s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*FAILED  asr  0.250*", "*40 images evaluated*"])
    assert result.stdout.str().count("CLOSED") == 1


def test_a_hook_that_returns_the_pool_itself_is_told_what_to_type(run: Run, colors: pytest.Pytester) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_bias_executor(config):\n    return 7\n")
    colors.makepyfile(SQUARE)
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*hook pytest_bias_executor: returned int, expected an executor; for a pool, type return PoolExecutor(pool)"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
