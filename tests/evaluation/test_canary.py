"""Kept predictions that are not the model's any more: found by making some of them again, dropped and measured anew."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_biastransfer import Model, Square, load_dataset, measure
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.canary import Canary
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.verification import Verification
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.interventions import Grayscale, Intervention
from pytest_biastransfer.judgement.gap import Gap
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded
from pytest_biastransfer.store import Store, StoreDirectory
from tests.conftest import Log, Run

YELLOW = Square(size=0.5)


class Outside:
    """What decides about a model and is no part of what it is known by."""

    def __init__(self) -> None:
        self.change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda images, logits: logits

    def __reduce__(self) -> tuple[type[Outside], tuple[()]]:
        return Outside, ()


class Brightest(torch.nn.Module):
    """Answers with the brightest channel, unless something outside has it otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))
        self.outside = Outside()
        self.seen = Log()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        return self.outside.change(images, images.mean(dim=(2, 3)) @ self.weight)


def dataset(count: int = 300, attribute: bool = False) -> Any:
    pixels = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = [(image, place % 3, {"half": "ab"[place % 2]}) for place, image in enumerate(pixels)]
    return as_images(rows if attribute else [row[:2] for row in rows], "dataset")


def rolled(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return logits.roll(1, dims=1)


def rolled_where_yellow(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    yellow = (images[:, :2, 0, 0] == 1).all(dim=1) & (images[:, 2, 0, 0] == 0)
    return torch.where(yellow[:, None], logits.roll(1, dims=1), logits)


def rounded(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return what another machine might: of two classes that are tied, the other one."""
    return logits * (1 + 1e-6 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(len(images))))


def session(
    store: Path, images: int | None = 16, seed: str = "1", turn: Intervention | None = None, **arguments: Any
) -> tuple[Evaluator, Canary]:
    canary = Canary(Verification(images, seed))
    canary.in_turn = lambda: None if turn is None else (turn, "in turn")
    return Evaluator("cpu", Store(store), canary=canary, **arguments), canary


@pytest.fixture
def net() -> Brightest:
    return Brightest()


def test_a_model_that_is_what_it_was_costs_32_images(net: Brightest, tmp_path: Path) -> None:
    model, images = Model(net), dataset()
    measure_loaded(session(tmp_path)[0], model, images, YELLOW)
    net.seen.clear()
    evaluator, canary = session(tmp_path, turn=YELLOW)
    for intervention in (YELLOW, YELLOW):
        assert measure_loaded(evaluator, model, images, intervention).computed == 0
    assert sum(net.seen) == 32
    assert canary.take_findings() == []


@pytest.mark.parametrize(("change", "clean"), [(rolled, True), (rolled_where_yellow, False)])
def test_a_model_that_changed_unseen_is_measured_again(
    net: Brightest, tmp_path: Path, change: Callable[..., Any], clean: bool
) -> None:
    model, images = Model(net), dataset()
    before = measure_loaded(session(tmp_path)[0], model, images, YELLOW)
    net.outside.change = change
    truth = measure(net, [(images.image(place), place % 3) for place in range(300)], YELLOW)
    # Nobody looks.
    assert measure_loaded(Evaluator("cpu", Store(tmp_path)), model, images, YELLOW).estimates == before.estimates
    evaluator, canary = session(tmp_path, turn=YELLOW)
    after = measure_loaded(evaluator, model, images, YELLOW)
    assert after.computed == 600
    assert after.estimates == truth.estimates != before.estimates
    (stale,) = canary.take_findings()
    assert (stale.model, stale.dataset, stale.verified) == ("Brightest", "list", 16)
    assert (stale.intervention, stale.differing) == (None if clean else "in turn", 16)
    of_what = "without an intervention" if clean else "under in turn"
    assert f"Brightest on list {of_what} has another class now for 16 of 16 images" in str(stale)
    assert "--bias-verify=16@1 chose these images" in str(stale)
    # What replaced it is believed.
    again, canary = session(tmp_path, turn=YELLOW, seed="2")
    assert measure_loaded(again, model, images, YELLOW).estimates == truth.estimates
    assert measure_loaded(again, model, images, YELLOW).computed == 0
    assert canary.take_findings() == []


def test_after_one_was_stale_each_intervention_is_verified(net: Brightest, tmp_path: Path) -> None:
    model, images, other = Model(net), dataset(), dataset(200)
    for some in (images, other):
        measure_loaded(session(tmp_path)[0], model, some, YELLOW)
    net.outside.change = rolled_where_yellow
    evaluator, canary = session(tmp_path, turn=Grayscale())
    measure_loaded(evaluator, model, images, YELLOW)
    assert canary.take_findings() == [], "grayscale was in its turn, and nothing of it was kept"
    evaluator, canary = session(tmp_path, turn=YELLOW)
    measure_loaded(evaluator, model, images, YELLOW)
    canary.in_turn = lambda: None
    assert measure_loaded(evaluator, model, other, YELLOW, description="measured").computed == 400
    assert [stale.intervention for stale in canary.take_findings()] == ["in turn", "measured"]


def test_classes_that_are_tied_may_change_places(net: Brightest, tmp_path: Path) -> None:
    gray = [(torch.full((3, 8, 8), 0.2 + 0.002 * place), 0) for place in range(300)]
    model, images = Model(net), as_images(gray, "gray")
    net.outside.change = rounded
    before = Evaluator("cpu", Store(tmp_path)).predictions(model, images)
    net.outside.change = lambda images, logits: rounded(images, logits.flip(1)).flip(1)
    now = Evaluator("cpu").predictions(model, images)
    assert np.count_nonzero(before.classes != now.classes) > 100
    evaluator, canary = session(tmp_path, None)
    assert evaluator.predictions(model, images).computed == 0
    assert canary.take_findings() == []


def test_other_images_are_looked_at_in_each_session_and_the_same_with_the_same_seed(
    net: Brightest, tmp_path: Path
) -> None:
    looked_at: list[list[float]] = []

    def noted(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        looked_at.append(sorted(images[:, 0, 0, 0].tolist()))
        return logits

    model, images = Model(net), dataset()
    Evaluator("cpu", Store(tmp_path)).predictions(model, images)
    net.outside.change = noted
    for seed in ("1", "2", "1"):
        session(tmp_path, seed=seed)[0].predictions(model, images)
    first, second, again = looked_at
    assert first == again != second


def rewritten(path: Path, store: Path, change: Callable[[Any, memoryview], tuple[Any, list[Any]]]) -> None:
    """Write something else into a file of the store, as whoever keeps it would have."""
    kind, *parts = path.relative_to(store).parts
    directory = StoreDirectory(store).inside(kind, fast=kind == "pixels")
    found = directory.read("/".join(parts), lambda description, size: True)
    assert found is not None
    directory.write("/".join(parts), *change(*found))


def tamper(store: Path, places: list[int] | None = None) -> None:
    """Write other classes into kept predictions: of the images at these places of the order, or of all."""

    def other_classes(start: int, description: Any, body: memoryview) -> tuple[Any, list[Any]]:
        (count,) = description["classes"][1]
        classes = np.frombuffer(body, np.int32, count).copy()
        inside = [place - start for place in (range(start + count) if places is None else places)]
        inside = [place for place in inside if 0 <= place < count]
        classes[inside] = (classes[inside] + 1) % 3
        return description, [classes.data, body[4 * count :]]

    for path in store.glob("predictions/*/*.chunk"):
        rewritten(path, store, functools.partial(other_classes, int(path.name.partition("-")[0])))


def test_one_image_of_300_is_found_where_all_are_verified(net: Brightest, tmp_path: Path) -> None:
    model, images = Model(net), dataset()
    truth = measure_loaded(session(tmp_path)[0], model, images, YELLOW)
    tamper(tmp_path, [270])
    evaluator, canary = session(tmp_path, None)
    found = measure_loaded(evaluator, model, images, YELLOW)
    assert found.estimates == truth.estimates
    (stale,) = canary.take_findings()
    assert (stale.differing, stale.verified) == (1, 300)


def test_what_was_estimated_is_not_believed_where_all_is_verified(net: Brightest, tmp_path: Path) -> None:
    model, images = Model(net), dataset()
    truth = measure_loaded(session(tmp_path)[0], model, images, YELLOW)

    def other_estimates(fact: Any, _: memoryview) -> tuple[Any, list[Any]]:
        estimates = {metric: [0.5, *parts[1:]] for metric, parts in fact.get("estimates", {}).items()}
        return fact | ({"estimates": estimates} if estimates else {}), []

    for path in tmp_path.glob("facts/*/*.fact"):
        rewritten(path, tmp_path, other_estimates)
    assert float(measure_loaded(session(tmp_path)[0], model, images, YELLOW).asr) == 0.5
    assert measure_loaded(session(tmp_path, None)[0], model, images, YELLOW).asr == truth.asr


def test_a_control_and_gaps_are_verified_too(net: Brightest, tmp_path: Path) -> None:
    control, images = Brightest(), dataset(attribute=True)
    control.weight.data[0, 0] = 2
    measure_loaded(session(tmp_path)[0], Model(net), images, YELLOW, control=Model(control, name="other"))
    control.outside.change = rolled
    evaluator, canary = session(tmp_path)
    measure_loaded(evaluator, Model(net), images, YELLOW, control=Model(control, name="other"))
    assert [stale.model for stale in canary.take_findings()] == ["other"]
    for gap in (Gap("half", "accuracy"), Gap("half", "auc", positive=0)):
        store = tmp_path / gap.metric
        net.outside.change = Outside().change
        measure_gaps_loaded(session(store)[0], Model(net), images, gap)
        net.outside.change = rolled
        evaluator, canary = session(store)
        found = measure_gaps_loaded(evaluator, Model(net), images, gap)
        assert len(canary.take_findings()) == 1
        assert found.computed > 0
        truth = measure_gaps_loaded(Evaluator("cpu"), Model(net), images, gap)
        assert found.estimates == truth.estimates


def test_pixels_that_are_stale_are_decoded_again(net: Brightest, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    for place, pixels in enumerate(noise):
        path = tmp_path / "photos" / str(place % 3) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    model, store = Model(net), tmp_path / "store"
    images = load_dataset(f"imagefolder:{tmp_path / 'photos'}")
    truth = Evaluator("cpu", Store(store)).predictions(model, images).classes
    # As if they had been decoded by something else, and all predictions were those of what it had decoded.
    paths = list(store.glob("pixels/*/*.chunk"))
    assert len(paths) == len(chunks(60))

    def other_channels(description: Any, body: memoryview) -> tuple[Any, list[Any]]:
        pixels = np.frombuffer(body, np.uint8).reshape(description["pixels"][1])
        return description, [pixels[:, [2, 0, 1]].copy().data]

    for path in paths:
        rewritten(path, store, other_channels)
    shutil.rmtree(store / "predictions")
    assert (Evaluator("cpu", Store(store)).predictions(model, images).classes != truth).any()
    evaluator, canary = session(store)
    assert (evaluator.predictions(model, images).classes == truth).all()
    assert len(canary.take_findings()) == 1
    assert (Evaluator("cpu", Store(store)).predictions(model, images, Grayscale()).computed) == 60
    evaluator, canary = session(store)
    assert (evaluator.predictions(model, images).classes == truth).all()
    assert canary.take_findings() == []


def test_few_images_and_parts_of_them_are_verified(net: Brightest, tmp_path: Path) -> None:
    model = Model(net)
    for count in (1, 3):
        images = dataset(count)
        measure_loaded(session(tmp_path)[0], model, images, YELLOW)
        net.outside.change = rolled
        evaluator, canary = session(tmp_path)
        measure_loaded(evaluator, model, images, YELLOW)
        assert [stale.verified for stale in canary.take_findings()] == [count]
        net.outside.change = Outside().change
    images = dataset(600)
    measure_loaded(session(tmp_path, max_images=256)[0], model, images, YELLOW)
    net.outside.change = rolled
    evaluator, canary = session(tmp_path, max_images=None)
    assert measure_loaded(evaluator, model, images, YELLOW).computed == 1200
    assert [stale.verified for stale in canary.take_findings()] == [16]


def test_two_processes_that_find_the_same_drop_it_once(net: Brightest, tmp_path: Path) -> None:
    model, images = Model(net), dataset()
    measure_loaded(session(tmp_path)[0], model, images, YELLOW)
    net.outside.change = rolled
    (one, first), (two, second) = session(tmp_path), session(tmp_path)
    for evaluator in (one, two):
        evaluator.keys(model, images, [None])
    assert measure_loaded(one, model, images, YELLOW).computed == 600
    assert measure_loaded(two, model, images, YELLOW).computed == 0
    assert len(first.take_findings()) == len(second.take_findings()) == 1
    assert len(list(tmp_path.glob("predictions/*"))) == 4


# ------------------------------------------------------------------------------------------ sessions

CONFTEST = """
import os
import pytest
import torch
from pathlib import Path
from pytest_biastransfer import Model


class Switched(torch.nn.Module):
    # A file decides, which is read when images come.
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))
        self.file = str(Path(__file__).with_name("switch"))

    def forward(self, images):
        logits = images.mean(dim=(2, 3)) @ self.weight
        return logits.roll(1, dims=1) if os.path.exists(self.file) else logits


@pytest.fixture(scope="session")
def transferred_model():
    return Model(Switched(), classes=["red", "green", "blue"], name="switched")


@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(0.30, 0.29, 0.31) if i < 5 else (0.0, 0.0, 1.0) for i in range(20)]
    return [(torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors]
"""
TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
def test_it(bias):
    print(bias.clean_shares)
"""


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_session_says_what_was_stale_and_is_right(run: Run, colors: pytest.Pytester) -> None:
    colors.makeconftest(CONFTEST)
    colors.makepyfile(test_it=TESTS)
    run("--bias-store=store").stdout.fnmatch_lines(["2 bias tests: 2 passed; 60 images evaluated, *"])
    (colors.path / "switch").touch()
    arguments = ["--bias-verify=10@seed", "--bias-report=r.md", "--bias-report=r.json", "--bias-report=r.html"]
    result = run("--bias-store=store", *arguments, "--junitxml=r.xml")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["2 bias tests: 2 passed; 60 images evaluated, *"])
    said = "stale predictions: switched on list without an intervention has another class now for 10 of 10"
    result.stdout.fnmatch_lines([f"*{said}*--bias-verify=10@seed*"])
    for report in ("r.md", "r.json", "r.html", "r.xml"):
        assert said in (colors.path / report).read_text(), report
    again = run("--bias-store=store")
    again.stdout.fnmatch_lines(["2 bias tests: 2 passed; 0 images evaluated, *"])
    again.stdout.no_fnmatch_line("*stale predictions*")


def test_an_intervention_that_cannot_be_measured_is_left_to_its_own_test(colors: pytest.Pytester) -> None:
    colors.makeconftest(CONFTEST)
    colors.makepyfile(
        """
        import pytest
        from pytest_biastransfer import Occlude

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_fine(): pass

        @pytest.mark.bias_intervention(Occlude("object", fill="black"), max_asr=1)
        def test_without_masks(): pass
        """
    )
    for seed in ("1", "2", "3", "4"):
        result = colors.runpytest_inprocess("-p", "no:xdist", "--bias-store=store", f"--bias-verify=auto@{seed}")
        result.assert_outcomes(passed=1, errors=1)


def test_it_can_be_off(colors: pytest.Pytester) -> None:
    colors.makeconftest(CONFTEST)
    colors.makepyfile(test_it=TESTS)
    colors.makeini("[pytest]\nbias_verify = off\n")
    colors.runpytest_inprocess("-p", "no:xdist", "--bias-store=store")
    (colors.path / "switch").touch()
    result = colors.runpytest_inprocess("-p", "no:xdist", "--bias-store=store")
    result.stdout.fnmatch_lines(["2 bias tests: 2 passed; 0 images evaluated, *"])
    result.stdout.no_fnmatch_line("*stale predictions*")
    result = colors.runpytest_inprocess("-p", "no:xdist", "--bias-store=store", "--bias-verify=auto")
    result.stdout.fnmatch_lines(["*stale predictions: switched on *16 of 16*"])


@pytest.mark.parametrize("value", ["0", "some", "-3", "16.5", ""])
def test_what_verify_takes(colors: pytest.Pytester, value: str) -> None:
    colors.makepyfile(test_it=TESTS)
    result = colors.runpytest_inprocess("-p", "no:xdist", f"--bias-verify={value}")
    if value:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--bias-verify*: got '{value}', expected auto, off, all or *"])
    else:
        assert result.ret == 0


def test_models_of_specs_are_verified_where_they_are_loaded(pytester: pytest.Pytester, run_elsewhere: Run) -> None:
    from tests.models.test_deferred import Project, age
    from tests.plugin.test_sessions import make_folder

    project = Project(pytester.path, "canary_net")
    make_folder(pytester.path / "photos", images=20)
    for path in pytester.path.rglob("*"):
        age(path)
    pytester.makeini(
        "[pytest]\nbias_dataset = imagefolder:photos\n"
        f"bias_transferred_model = checkpoint:weights.safetensors?arch=python:{project.module}:Net&size=16\n"
    )
    pytester.makepyfile(
        test_it=TESTS.replace("max_asr=1", "max_asr=1, allow_degenerate=True")
        + "\n\n@pytest.mark.bias_intervention('blur', max_asr=1, allow_degenerate=True)\ndef test_more(): pass\n"
    )

    def run(*arguments: str) -> pytest.RunResult:
        return run_elsewhere("--bias-store=store", "-p", "no:randomly", *arguments)

    assert run("-k", "not more").ret == 0
    tamper(pytester.path / "store")
    # Nothing is loaded, so nothing is looked at.
    result = run("-k", "not more")
    result.stdout.fnmatch_lines(["2 bias tests: 2 passed; 0 images evaluated, *"])
    # Another intervention needs the model: what came before was of another one.
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*stale predictions: *16 of 16*", "*2 tests had passed with them: test_it.py::test_it*Run again*"]
    )
    assert run().ret == 0
    tamper(pytester.path / "store")
    result = run("--bias-verify=all")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*stale predictions: *20 of 20*"])
