"""Chunk tasks: what they compute in this and other processes, and what executors may do with them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_biastransfer import Custom, Model, Preprocess, Sometimes, Square
from pytest_biastransfer.data import LabelledImages, as_images, load_dataset
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation, OutputReader
from pytest_biastransfer.evaluation.environment import Environment
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.local_executor import LocalExecutor
from pytest_biastransfer.interventions import Intervention
from pytest_biastransfer.measurement.positive_scores import LogOddsAndClass
from pytest_biastransfer.models import as_model
from pytest_biastransfer.store import Store
from pytest_biastransfer.store.chunks import Content
from pytest_biastransfer.transfer import plant

IMAGES = 300
CHUNKS = [range(256), range(256, IMAGES)]

# Computes tasks of standard input in a process that shares nothing with this one.
OTHER_PROCESS = """
import pickle, sys, warnings
warnings.simplefilter("error")
from pytest_biastransfer.evaluation.environment import Environment
from pytest_biastransfer.evaluation.local_executor import LocalExecutor
executor = LocalExecutor(Environment("cpu"))
tasks = pickle.load(sys.stdin.buffer)
pickle.dump([dict(content) for _, content in executor.run(map(pickle.loads, tasks))], sys.stdout.buffer)
"""


class Net(torch.nn.Module):
    """A small network with random weights, at the top of a module, where pickle can name it."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 3),
                torch.nn.ReLU(),
                torch.nn.AdaptiveAvgPool2d(2),
                torch.nn.Flatten(),
                torch.nn.Linear(32, 5),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits


class Noise(torch.utils.data.Dataset[Any]):
    """Images of a random colour with noise, each from its own seed."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        colour, noise = torch.rand(3, 1, 1, generator=generator), torch.rand(3, 12, 12, generator=generator)
        return (3 * colour + noise) / 4, index % 5


@pytest.fixture
def model() -> Model:
    return Model(Net(), preprocess=Preprocess(mean=0.4, std=0.3))


@pytest.fixture
def images() -> LabelledImages:
    return as_images(Noise(), "noise")


SCORES = OutputReader("scores", LogOddsAndClass((1, 3)))


def tasks_of(
    model: Model, images: LabelledImages, intervention: Intervention | None = None, reader: OutputReader | None = None
) -> list[ChunkTask]:
    evaluator = Evaluator("cpu", batch_size=50)
    (key,) = evaluator.keys(model, images, [intervention])
    evaluation = evaluator.evaluation(model, images, intervention, key, None, reader)
    return [ChunkTask(evaluation, chunk) for chunk in CHUNKS]


def computed_here(tasks: Iterable[ChunkTask]) -> list[Content]:
    executor = LocalExecutor(Environment("cpu"))
    try:
        return [content for _, content in executor.run(tasks)]
    finally:
        executor.close()


def computed_elsewhere(tasks: Iterable[ChunkTask], directory: Path | None = None) -> list[Content]:
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        input=pickle.dumps([task.to_bytes() for task in tasks]),
        capture_output=True,
        check=False,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr.decode()
    contents: list[Content] = pickle.loads(done.stdout)
    return contents


def assert_same(first: Iterable[Content], second: Iterable[Content]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert one[name].tobytes() == other[name].tobytes()


CASES = [
    (None, None),
    (Square(size=0.2, color="red"), None),
    (Sometimes(Square(size=0.2, color="red"), seed=7), None),
    (Square(size=0.2, stage="source"), SCORES),
    (None, SCORES),
]


def test_another_process_computes_the_same_bit_by_bit(model: Model, images: LabelledImages) -> None:
    tasks = [task for intervention, reader in CASES for task in tasks_of(model, images, intervention, reader)]
    here = computed_here(tasks)
    assert all(len(np.unique(content["rows" if "rows" in content else "classes"])) > 1 for content in here)
    assert_same(here, computed_here(tasks))
    # One process computes all of them, since it takes long to start.
    assert_same(here, computed_elsewhere(tasks))


def test_tasks_in_another_order_have_the_same_results(model: Model, images: LabelledImages) -> None:
    tasks = tasks_of(model, images, Sometimes(Square(size=0.2, color="red"), seed=7), SCORES)
    assert_same(computed_here(tasks)[::-1], computed_here(tasks[::-1]))


def test_a_task_cannot_be_changed(model: Model, images: LabelledImages) -> None:
    (task, _) = tasks_of(model, images)
    for owner, name in [(task, "chunk"), (task.evaluation, "precision"), (task.evaluation.key, "text")]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(owner, name, None)


def test_a_task_travels_without_what_follows_from_it(model: Model, images: LabelledImages) -> None:
    (task, _) = tasks_of(model, images)
    before = len(task.to_bytes())
    assert len(task.indices) == 256
    assert len(task.to_bytes()) == before
    assert pickle.loads(task.to_bytes()) == task


# --------------------------------------------------------------------------------------- specs


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    shapes = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(Net().eval(), (torch.rand(2, 3, 10, 10),), dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def specs(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, warm_executable: None) -> Path:
    """A directory with the files of a model's and a dataset's spec."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 10, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(IMAGES) % 4)
    shutil.copy(exported, tmp_path / "net.pt2")
    return tmp_path


def test_models_and_datasets_of_specs_travel_as_text(specs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, images = as_model("export:net.pt2", "model"), as_images("npz:images.npz", "dataset")
    tasks = tasks_of(model, images, Square(size=0.4))
    size = len(tasks[0].to_bytes())
    assert size < 4_000, "neither weights nor pixels"
    # The other process has another current directory: relative paths keep their meaning.
    assert_same(computed_here(tasks), computed_elsewhere(tasks, tmp_path_factory.mktemp("elsewhere")))


def test_other_content_under_the_same_spec_is_an_error(specs: Path) -> None:
    model, images = as_model("export:net.pt2", "model"), as_images("npz:images.npz", "dataset")
    sent = tasks_of(model, images)[0].to_bytes()
    pixels = np.zeros((IMAGES, 10, 10, 3), dtype=np.uint8)
    np.savez(specs / "images.npz", images=pixels, labels=np.arange(IMAGES) % 4)
    with pytest.raises(
        BiasTransferError, match=r"npz:images\.npz on .*: has the fingerprint .* put the same files there"
    ):
        computed_here([pickle.loads(sent)])


def test_a_model_that_was_changed_after_loading_is_not_mistaken_for_its_spec(specs: Path) -> None:
    Image.new("RGB", (8, 8)).save(specs / "unused.png")
    torch.save(Net().state_dict(), specs / "net.pt")
    (specs / "nets_of_tasks.py").write_text(
        "from tests.evaluation.test_chunk_tasks import Net\n\ndef net():\n    return Net()\n"
    )
    model = as_model("checkpoint:net.pt?arch=python:nets_of_tasks:net", "model")
    assert model.spec is not None
    with torch.no_grad():
        model.module.layers[-1].bias += 1  # type: ignore[union-attr, index]
    sent = tasks_of(model, as_images("npz:images.npz", "dataset"))[0].to_bytes()
    with pytest.raises(BiasTransferError, match=r"net\.pt.*has the fingerprint .* return the object from a fixture"):
        computed_here([pickle.loads(sent)])


def test_the_secret_of_a_store_stays_here(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(tmp_path / "0.png", tmp_path / "photos" / name / "0.png")
    facts = Store(tmp_path / "store", b"a secret of sixteen bytes").facts
    photos = load_dataset("imagefolder:photos", directory=tmp_path, facts=facts)
    # A view has no spec, so it travels as the object.
    view = plant(photos, Square(), 0.5)
    task = tasks_of(as_model(Net(), "model"), view)[0]
    assert task.evaluation.images.get() is view
    sent = task.to_bytes()
    assert b"a secret of sixteen bytes" not in sent
    assert pickle.loads(sent).evaluation.images.get().fingerprint == view.fingerprint


def test_weights_that_are_drawn_at_random_travel_whole() -> None:
    model = as_model("torchvision:squeezenet1_1?num_classes=3&size=32", "model")
    assert model.spec is None


# --------------------------------------------------------------------------------------- what cannot be pickled


def test_only_sending_fails_for_what_cannot_be_pickled(images: LabelledImages) -> None:
    class Local(Net):
        pass

    tasks = tasks_of(Model(Local()), images)
    assert len(computed_here(tasks)) == 2
    with pytest.raises(
        BiasTransferError, match=r"^model Local: cannot be sent to another process .*top of a module"
    ) as e:
        tasks[0].to_bytes()
    assert "\n" not in str(e.value)


@pytest.mark.filterwarnings("ignore:predictions with")
def test_the_part_that_cannot_be_pickled_is_named(model: Model) -> None:
    halved = Custom(lambda batch: batch / 2, name="halved")
    listed = [(torch.rand(3, 12, 12), 0)] * IMAGES
    with pytest.raises(BiasTransferError, match=r"^intervention .*halved.*: cannot be sent to another process"):
        tasks_of(model, as_images(listed, "images"), halved)[0].to_bytes()

    class LocalImages(Noise):
        pass

    with pytest.raises(BiasTransferError, match=r"^dataset .*: cannot be sent to another process"):
        tasks_of(model, as_images(LocalImages(), "images"))[0].to_bytes()


# --------------------------------------------------------------------------------------- executors


class Ahead:
    """An executor that takes several tasks ahead, computes them in other processes, and returns the last one first."""

    device = "cpu"

    def __init__(self, pool: concurrent.futures.Executor, ahead: int) -> None:
        self._pool = pool
        self._ahead = ahead
        self.taken: list[ChunkTask] = []
        self.calls: list[str] = []

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
        waiting = iter(tasks)
        while batch := list(itertools.islice(waiting, self._ahead)):
            self.taken += batch
            futures = {self._pool.submit(compute_sent, task.to_bytes()): task for task in batch}
            for future in reversed(futures):
                yield futures[future], future.result()

    def release(self) -> None:
        self.calls.append("release")

    def close(self) -> None:
        self.calls.append("close")


def compute_sent(sent: bytes) -> Content:
    (content,) = computed_here([pickle.loads(sent)])
    return dict(content)


@pytest.fixture
def pool() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        yield threads


def many(count: int) -> LabelledImages:
    return as_images(
        [(torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(i)), 0) for i in range(count)], "many"
    )


def test_an_executor_may_take_chunks_ahead_and_return_them_in_any_order(
    model: Model, pool: concurrent.futures.Executor, tmp_path: Path
) -> None:
    images = many(1200)
    expected = Evaluator("cpu", batch_size=100).predictions(model, images, Square())
    executor = Ahead(pool, ahead=3)
    seen: list[Any] = []
    evaluator = Evaluator("cuda", Store(tmp_path), executor=executor, batch_size=100, on_progress=seen.append)
    assert evaluator.predicts_on == "cpu", "the executor's device"
    predictions = evaluator.predictions(model, images, Square())
    assert np.array_equal(predictions.classes, expected.classes)
    assert [task.positions.start for task in executor.taken] == [0, 256, 512, 768, 1024]
    assert executor.calls == ["release"]
    assert (predictions.computed, seen[-1].done) == (1200, 1200)
    # They were stored as by any other executor.
    assert Evaluator("cpu", Store(tmp_path)).predictions(model, images, Square()).computed == 0


def test_nothing_is_ahead_of_what_was_asked_for(model: Model, pool: concurrent.futures.Executor) -> None:
    images = many(1200)
    executor = Ahead(pool, ahead=3)
    evaluator = Evaluator("cpu", executor=executor)
    (key,) = evaluator.keys(model, images, [None])
    with contextlib.ExitStack() as stack:
        collector = evaluator.collector(model, images, None, key, stack)
        collector.collect(collector.looks[0])
        assert [task.positions for task in executor.taken] == [range(32)]
        collector.collect(collector.looks[1])
        assert [task.positions for task in executor.taken] == [range(32), range(32, 64)]
        # What is wanted at once is computed together, and nothing beyond it.
        collector.collect(512)
        assert [task.positions for task in executor.taken[2:]] == [range(64, 256), range(256, 512)]


def test_a_chunk_without_a_result_is_an_error(model: Model, tmp_path: Path) -> None:
    class Forgetful(LocalExecutor):
        def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Content]]:
            return itertools.islice(super().run(list(tasks)), 1)

    evaluator = Evaluator("cpu", Store(tmp_path), executor=Forgetful(Environment("cpu")))
    with pytest.raises(RuntimeError, match=r"no result for the chunks \[range\(256, 512\)"):
        evaluator.predictions(model, many(600))


def test_a_failed_task_leaves_no_lock_and_no_model_in_evaluation_mode(tmp_path: Path, images: LabelledImages) -> None:
    class Fails(Net):
        fails = True

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            if self.fails:
                raise RuntimeError("out of order")
            return super().forward(batch)

    model = Model(Fails())
    evaluator = Evaluator("cpu", Store(tmp_path))
    with pytest.raises(BiasTransferError, match="out of order"):
        evaluator.predictions(model, images)
    assert model.module.training
    vars(model.module)["fails"] = False
    assert Evaluator("cpu", Store(tmp_path)).predictions(model, images).computed == IMAGES


def test_equal_evaluations_share_a_runner(model: Model, images: LabelledImages) -> None:
    evaluations = [pickle.loads(task.to_bytes()).evaluation for task in tasks_of(model, images)]
    first, second = evaluations
    assert first == second
    assert first != dataclasses.replace(second, batch_size=None)
    assert first != dataclasses.replace(second, reader=SCORES)
    assert isinstance(first, Evaluation)
