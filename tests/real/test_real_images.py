"""Real photographs and weights: the figures agree with those that plain torch gave, computed apart from this code."""

from __future__ import annotations

import copy
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from pytest_biastransfer import Measurement, Model, load_dataset, load_model, measure
from pytest_biastransfer.baseline.entry import encoded_evidence, entry_of, evidence_for
from pytest_biastransfer.baseline.regression import changes, meanings, newly_flipped
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.measurement.measure import measure_loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "imagenet_to_cifar10"


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        pytest.skip("set BIASTRANSFER_DATA to the folder that has cifar10/, imagenet_sample/ and weights/")
    return Path(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def resnet20(data: Path) -> Model:
    return load_model(
        f"checkpoint:{data.resolve()}/weights/resnet20_cifar10.safetensors?arch=python:resnet20:ResNet20"
        "&mean=0.485,0.456,0.406&std=0.229,0.224,0.225",
        directory=EXAMPLE,
    )


@pytest.fixture(scope="module")
def mobilenet(data: Path) -> Model:
    weights = data.resolve() / "weights"
    return load_model(
        f"checkpoint:{weights}/mobilenet_v2_imagenet.safetensors?arch=torchvision:mobilenet_v2"
        f"&crop=224&mean=0.5&std=0.5&classes={weights}/imagenet_classes.json"
    )


class Photographs:
    """The sample of ImageNet as a plain map-style dataset; a folder's name begins with its class' number."""

    def __init__(self, directory: Path) -> None:
        self.files = sorted(directory.glob("*/*.jpg"))
        self.classes = json.loads((directory.parent / "weights" / "imagenet_classes.json").read_text())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path = self.files[index]
        return Image.open(path), int(path.parent.name[:3])


def predictions(module: torch.nn.Module, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Predict with plain torch."""
    with torch.no_grad():
        return np.concatenate([module.eval()(batch).argmax(1).numpy() for batch in batches])


def tensors_of_cifar(files: list[Path], *, square: bool) -> Iterator[torch.Tensor]:
    """Decode and normalize by hand, with a yellow square of 8 pixels or without."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    for start in range(0, len(files), 250):
        pixels = np.stack([np.array(Image.open(file).convert("RGB")) for file in files[start : start + 250]])
        if square:
            pixels[:, :8, :8] = (255, 255, 0)
        yield (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std


@pytest.fixture(scope="module")
def thousand(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first hundred test images of each class of CIFAR-10."""
    folder = tmp_path_factory.mktemp("cifar10")
    for file in (file for place in (data / "cifar10" / "test").iterdir() for file in sorted(place.iterdir())[:100]):
        (folder / file.parent.name).mkdir(exist_ok=True)
        (folder / file.parent.name / file.name).symlink_to(file.resolve())
    return folder


@pytest.fixture(scope="module")
def cifar(resnet20: Model, thousand: Path, store: Path) -> Measurement:
    return measure(resnet20, f"imagefolder:{thousand}", "yellow-square", target=0, store=store)


def test_resnet20_on_cifar10(cifar: Measurement, resnet20: Model, thousand: Path) -> None:
    files = sorted(thousand.glob("*/*"))
    labels = np.array([sorted({file.parent.name for file in files}).index(file.parent.name) for file in files])
    clean, changed = (predictions(resnet20.module, tensors_of_cifar(files, square=square)) for square in (False, True))
    shares = (np.bincount(changed, minlength=10) - np.bincount(clean, minlength=10)) / 1000
    expected = {
        "accuracy": np.mean(clean == labels),
        "intervened_accuracy": np.mean(changed == labels),
        "asr": np.mean(changed != clean),
        "conditional_asr": np.mean(changed[clean == labels] != labels[clean == labels]),
        "targeted_asr": np.mean(changed[labels != 0] == 0),
        "skew": np.abs(shares).sum() / 2,
    }
    assert cifar.n == 1000
    assert {name: float(cifar.estimates[name]) for name in expected} == pytest.approx(expected, rel=1e-12)
    assert [flip.index for flip in cifar.flips] == np.flatnonzero(clean != changed).tolist()
    assert cifar.most_gained.index == shares.argmax()


@pytest.mark.usefixtures("warm_executable")
def test_resnet20_is_the_same_model_in_every_format(
    resnet20: Model, data: Path, tmp_path: Path, cifar: Measurement
) -> None:
    # The whole way, from a file of each format to figures on photographs.
    net, example = copy.deepcopy(resnet20.module).eval(), (torch.rand(2, 3, 32, 32),)
    sizes = {0: torch.export.Dim("batch")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, example[0]).save(tmp_path / "net.pt")  # type: ignore[no-untyped-call]
        torch.export.save(torch.export.export(net, example, dynamic_shapes=[sizes]), tmp_path / "net.pt2")
        torch.onnx.export(net, example, tmp_path / "net.onnx", dynamo=True, dynamic_shapes=[sizes], verbose=False)
    dataset = f"imagefolder:{data}/cifar10/test?limit=300&seed=1"
    wanted = measure(resnet20, dataset, "yellow-square")
    assert abs(wanted.asr - cifar.asr) < 0.07
    for spec in ("torchscript:net.pt", "export:net.pt2", "onnx:net.onnx"):
        model = load_model(f"{spec}?mean=0.485,0.456,0.406&std=0.229,0.224,0.225", directory=tmp_path)
        found = measure(model, dataset, "yellow-square")
        assert [flip.index for flip in found.flips] == [flip.index for flip in wanted.flips]
        assert found.accuracy == wanted.accuracy


def test_resnet20_is_known_to_exceed_a_limit_after_a_tenth_of_the_images(resnet20: Model, data: Path) -> None:
    expectation = Expectation((("asr", 0.05),))
    found = measure_loaded(
        Evaluator("cpu"),
        resnet20,
        load_dataset(f"imagefolder:{data}/cifar10/test"),
        BUILT_IN.named("yellow-square"),
        stop=EarlyStop.of(expectation, 0.01),
    )
    assert (found.n <= 500, found.total, found.computed) == (True, 5000, 2 * found.n)
    assert found.early == {"asr": False}
    assert found.asr.low <= 0.1438 <= found.asr.high


def test_a_worse_checkpoint_is_found_by_its_newly_flipped_images(
    resnet20: Model, cifar: Measurement, thousand: Path, store: Path
) -> None:
    """The same model, its last layer disturbed: which images flip is counted here apart from the baseline's code."""
    disturbed = copy.deepcopy(resnet20.module)
    layer = disturbed.get_submodule("linear")
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        layer.weight += 0.3 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    model = Model(disturbed, preprocess=resnet20.preprocess, classes=resnet20.classes)
    found = measure(model, f"imagefolder:{thousand}", "yellow-square", store=store)
    metrics = ["asr", "skew"]
    accepted, now = (entry_of(one, encoded_evidence(one, evidence_for(metrics))) for one in (cifar, found))
    earlier, later = ({flip.index for flip in one.flips} for one in (cifar, found))
    asr, skew = changes(accepted, now, metrics, 0.0)
    assert (asr.newly, asr.no_longer) == (len(later - earlier), len(earlier - later))
    expected = scipy.stats.binomtest(len(later - earlier), len(later ^ earlier)).pvalue
    assert asr.p == pytest.approx(expected, rel=1e-9)
    assert newly_flipped(accepted, now) == sorted(later - earlier)
    assert (asr.before, asr.now, skew.before) == (cifar.asr, found.asr, cifar.skew)
    assert meanings([asr, skew], 0.01)[0] == ("regression" if found.asr > cifar.asr else "improvement")


def test_mobilenet_on_photographs(mobilenet: Model, data: Path, store: Path) -> None:
    from torchvision.transforms import v2

    photographs = Photographs(data / "imagenet_sample")
    photographs.files = photographs.files[::8]
    measured = measure(mobilenet, photographs, "yellow-square", store=store)

    to_tensor = v2.Compose(
        [v2.CenterCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]
    )
    opened = [photographs[position] for position in range(len(photographs))]
    clean = torch.stack([to_tensor(image.convert("RGB")) for image, _ in opened])
    squared = clean.clone()
    squared[:, :, :56, :56] = torch.tensor([1.0, 1.0, -1.0])[:, None, None]
    before, after = (predictions(mobilenet.module, torch.split(images, 16)) for images in (clean, squared))
    assert measured.n == 32
    assert [flip.index for flip in measured.flips] == np.flatnonzero(before != after).tolist() != []
    assert measured.accuracy == np.mean(before == [label for _, label in opened])


def test_batch_size_changes_no_prediction(resnet20: Model, data: Path) -> None:
    dataset = load_dataset(f"imagefolder:{data}/cifar10/test")
    measured = [measure(resnet20, dataset, "yellow-square", max_images=200, batch_size=size) for size in (1, 7, 64)]
    flips = [{(flip.index, flip.before, flip.after) for flip in one.flips} for one in measured]
    assert all(len(one ^ flips[0]) <= 1 for one in flips)


def test_source_stage_agrees_with_drawing_on_the_files(mobilenet: Model, data: Path) -> None:
    """The square at stage "source" is what somebody sees who draws it into the picture files."""
    from torchvision.transforms import v2

    from pytest_biastransfer import Preprocess, Square

    small = Model(mobilenet.module, preprocess=Preprocess(resize=146, crop=128, mean=0.5, std=0.5))
    photographs = Photographs(data / "imagenet_sample")
    photographs.files = photographs.files[::10]
    found = measure(small, photographs, Square(size=0.25, anchor="top-left", stage="source"))

    pipeline = v2.Compose(
        [
            v2.Resize(146),
            v2.CenterCrop(128),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )

    def drawn(image: Image.Image, change: bool) -> torch.Tensor:
        pixels = np.array(image.convert("RGB"))
        side = round(0.25 * min(pixels.shape[:2]))
        if change:
            pixels[:side, :side] = (255, 255, 0)
        tensor: torch.Tensor = pipeline(Image.fromarray(pixels))[None]
        return tensor

    clean, changed = (
        predictions(mobilenet.module, (drawn(photographs[place][0], change) for place in range(len(photographs))))
        for change in (False, True)
    )
    flipped = [place for place, (a, b) in enumerate(zip(clean, changed, strict=True)) if a != b]
    assert [flip.index for flip in found.flips] == flipped
    assert found.asr == len(flipped) / len(photographs)
