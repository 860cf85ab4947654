"""Models of every scheme, from files that the libraries themselves wrote, have the logits of the original module."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from pytest_biastransfer import Model, load_model
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.loading import sources_of
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.specs.spec import Spec

pytestmark = pytest.mark.usefixtures("warm_executable")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Net(torch.nn.Module):
    """With BatchNorm and dropout, which show whether a model is evaluated or trained."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2)
        )
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 5))
        self.outputs = outputs

    def forward(self, images: torch.Tensor) -> Any:
        features = self.layers(images)
        return self.head(features) if self.outputs == 1 else (features, self.head(features))


def images(count: int = 5, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def trained(outputs: int = 1) -> torch.nn.Module:
    torch.manual_seed(7)
    net = Net(outputs).train()
    net(torch.randn(8, 3, 16, 16))
    return net.eval()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def script(net: torch.nn.Module, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(path)  # type: ignore[no-untyped-call]


def traced(net: torch.nn.Module, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, images(2)).save(path)  # type: ignore[no-untyped-call]


def frozen(net: torch.nn.Module, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(net)).save(path)


def exported(net: torch.nn.Module, path: str, count: int = 2, dynamic: bool = True) -> None:
    shapes = {"images": {0: torch.export.Dim("batch")}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (images(count),), dynamic_shapes=shapes), path)


def onnx(net: torch.nn.Module, path: str, dynamic: bool = True, beside: bool = False, **options: Any) -> None:
    shapes = {"images": {0: torch.export.Dim("batch")}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"dynamo": True, "verbose": False, "external_data": beside, "dynamic_shapes": shapes} | options
        torch.onnx.export(net, (images(2),), path, input_names=["images"], **options)


FORMATS: dict[str, Callable[[torch.nn.Module, str], None]] = {
    "torchscript:script.pt": script,
    "torchscript:traced.pt": traced,
    "torchscript:frozen.pt": frozen,
    "export:any_batch.pt2": exported,
    "export:batches_of_two.pt2": lambda net, path: exported(net, path, dynamic=False),
    "export:one_by_one.pt2": lambda net, path: exported(net, path, count=1, dynamic=False),
    "onnx:any_batch.onnx": onnx,
    # As torch's first exporter writes it, which many files are from, and which takes a tenth of the time.
    "onnx:batches_of_two.onnx": lambda net, path: onnx(net, path, dynamic=False, dynamo=False),
    "onnx:weights_beside.onnx": lambda net, path: onnx(net, path, beside=True),
}


# One for each way of reading files: what is asked of files, not of programs, is the same for all that are read so.
READ_DIFFERENTLY = (
    "torchscript:script.pt",
    "export:any_batch.pt2",
    "onnx:any_batch.onnx",
    "onnx:weights_beside.onnx",
)
Write = Callable[..., Path]


def with_other_bias() -> torch.nn.Module:
    net = trained()
    torch.nn.init.zeros_(net.head[2].bias)  # type: ignore[index, union-attr]
    return net


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Return what writes the file of a format; exporting takes a second, so that copies are written."""
    directories: dict[tuple[str, Callable[[], torch.nn.Module]], Path] = {}

    def written(spec: str, network: Callable[[], torch.nn.Module] = trained) -> Path:
        name = spec.partition(":")[2]
        if (spec, network) not in directories:
            directories[spec, network] = tmp_path_factory.mktemp("format")
            FORMATS[spec](network(), str(directories[spec, network] / name))
        for file in directories[spec, network].iterdir():
            shutil.copy(file, file.name)
        return Path(name)

    return written


@pytest.mark.parametrize("spec", list(FORMATS))
def test_a_program_has_the_same_logits(spec: str, write: Write) -> None:
    net, path = trained(), write(spec)
    loaded = load_model(f"{spec}?size=16&mean=0.5&std=0.5")
    with torch.inference_mode():
        for count in (1, 2, 5):
            batch = images(count).contiguous(memory_format=torch.channels_last)
            logits = loaded.module.eval()(batch)
            assert logits.shape == (count, 5)
            assert (logits - net(batch)).abs().max() <= 1e-5
    assert (loaded.name, loaded.preprocess.crop) == (path.stem, 16)


@pytest.mark.parametrize("spec", READ_DIFFERENTLY)
def test_a_program_is_told_by_its_files(spec: str, write: Write, tmp_path: Path) -> None:
    path = write(spec)
    first = load_model(spec)
    (tmp_path / "elsewhere").mkdir()
    for file in (path, f"{path}.data"):
        if Path(file).exists():
            shutil.copy(file, "elsewhere")
    assert load_model(spec, directory=tmp_path / "elsewhere").fingerprint == first.fingerprint
    write(spec, with_other_bias)
    assert load_model(spec).fingerprint != first.fingerprint


@pytest.mark.parametrize("spec", READ_DIFFERENTLY)
def test_sha256_is_checked_before_a_file_is_read(spec: str, write: Write) -> None:
    path = write(spec)
    files = [file for file in (path, Path(f"{path}.data")) if file.exists()]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert isinstance(load_model(f"{spec}?sha256={','.join(digests).upper()}"), Model)
    # What cannot be parsed shows that nothing was parsed.
    path.write_bytes(b"nothing of the kind")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="nothing in it was read") as caught:
        load_model(f"{spec}?sha256={','.join(digests)}")
    assert f"found     sha256={digest}" in str(caught.value)
    assert f"expected  sha256={digests[0]}" in str(caught.value)
    with pytest.raises(SpecError, match="expected 64 hexadecimal digits"):
        load_model(f"{spec}?sha256=abc")


def test_a_file_of_weights_beside_an_onnx_graph_is_checked_too(write: Write) -> None:
    write("onnx:weights_beside.onnx").rename("net.onnx")
    written = Path("weights_beside.onnx.data")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (Path("net.onnx"), written)]
    written.write_bytes(bytes(1000))
    with pytest.raises(ModelError, match=r"weights_beside\.onnx\.data is another file than the spec expects"):
        load_model(f"onnx:net.onnx?sha256={','.join(digests)}")
    with pytest.raises(ModelError, match=r"1 digests for 2 files of weights \(net\.onnx, weights_beside\.onnx\.data\)"):
        load_model(f"onnx:net.onnx?sha256={digests[0]}")
    parts = sources_of(Spec.parse("onnx:net.onnx"))
    assert parts is not None
    assert [file.name for file in parts.files] == ["net.onnx", "weights_beside.onnx.data"]


@pytest.mark.parametrize("spec", [*READ_DIFFERENTLY, "export:batches_of_two.pt2", "onnx:batches_of_two.onnx"])
def test_images_of_another_size_and_damaged_files_are_named(spec: str, write: Write) -> None:
    path = write(spec)
    if not spec.startswith("torchscript"):
        with pytest.raises(ModelError, match=r"takes images \[3, 16, 16\] .*, got \[3, 20, 20\]; add &size=16"):
            load_model(spec).module(images(2, side=20))
    content = path.read_bytes()
    for damaged in (b"", b"nothing of the kind", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=path.name):
            load_model(spec)
    path.unlink()
    with pytest.raises(ModelError, match=rf"{path.name}: no such file"):
        load_model(spec)


def test_of_several_outputs_the_logits_are_taken_or_asked_for() -> None:
    net = trained(outputs=2)
    for names, path in ((["features", "logits"], "named.onnx"), (["a", "b"], "unnamed.onnx")):
        onnx(net, path, dynamo=False, dynamic_shapes=None, dynamic_axes={"images": [0]}, output_names=names)
    wanted = net(images())[1]
    assert (load_model("onnx:named.onnx").module(images()) - wanted).abs().max() <= 1e-5
    for key in ("b", "1"):
        assert (load_model(f"onnx:unnamed.onnx?output={key}").module(images()) - wanted).abs().max() <= 1e-5
    with pytest.raises(ModelError, match=r"returns a \[.*\], b \[.*, 5\]; name the one that is the logits: output=b$"):
        load_model("onnx:unnamed.onnx")
    with pytest.raises(ModelError, match=r"returns a .*, b .*, without an entry 'c'; "):
        load_model("onnx:unnamed.onnx?output=c")


def test_onnx_computes_with_as_many_threads_as_torch(write: Write) -> None:
    module = load_model(f"onnx:{write('onnx:any_batch.onnx')}").module
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        module(images())
        assert module._session.get_session_options().intra_op_num_threads == 1  # type: ignore[operator, union-attr]
    finally:
        torch.set_num_threads(before)


def test_a_graph_that_changes_while_it_is_used_is_noticed(write: Write) -> None:
    module = load_model(f"onnx:{write('onnx:any_batch.onnx')}").module
    write("onnx:any_batch.onnx", with_other_bias)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        with pytest.raises(ModelError, match=r"any_batch\.onnx: has changed since it was loaded"):
            module(images())
    finally:
        torch.set_num_threads(before)


def test_weights_beside_a_graph_are_found_wherever_it_has_them() -> None:
    import onnx as library
    from onnx import helper

    from pytest_biastransfer.models.schemes.onnx_models import _data_files

    def elsewhere(location: str) -> Any:
        tensor = library.TensorProto(name="w", data_type=library.TensorProto.FLOAT, dims=[4])
        tensor.data_location = library.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        return tensor

    sparse = library.SparseTensorProto(values=elsewhere("sparse.bin"), dims=[4])
    inner = helper.make_graph([], "inner", [], [], [elsewhere("inner.bin")])
    nodes = [
        helper.make_node("Constant", [], ["a"], value=elsewhere("constant.bin")),
        helper.make_node("If", ["x"], ["b"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "graph", [], [], [elsewhere("plain.bin")])
    graph.sparse_initializer.append(sparse)
    library.save(helper.make_model(graph), "net.onnx")
    assert [path.name for path in _data_files(Path("net.onnx").absolute())] == [
        "constant.bin", "inner.bin", "plain.bin", "sparse.bin",
    ]  # fmt: skip


def test_what_is_made_of_a_program_is_another_model(write: Write, monkeypatch: Any) -> None:
    for spec in ("torchscript:script.pt", "export:any_batch.pt2", "onnx:any_batch.onnx"):
        write(spec)
        loaded = load_model(spec)
        before = loaded.fingerprint
        handle = loaded.module.register_forward_hook(lambda module, inputs, logits: -logits)
        assert loaded.fingerprint != before
        handle.remove()
        assert loaded.fingerprint == before
        with monkeypatch.context() as patched:
            patched.setattr(
                "pytest_biastransfer.models.file_program.identities", lambda names: dict.fromkeys(names, "9")
            )
            assert loaded.fingerprint != before, "it is computed by another release"


def test_onnx_on_a_device_that_onnxruntime_does_not_have(write: Write) -> None:
    write("onnx:any_batch.onnx").rename("net.onnx")
    with pytest.raises(ModelError, match=r"cannot compute on cuda:0; install onnxruntime-gpu .*--bias-device=cpu"):
        load_model("onnx:net.onnx").module.program_for(torch.device("cuda:0"))  # type: ignore[operator]


def test_weights_of_an_onnx_graph_cannot_be_elsewhere(tmp_path: Path, write: Write) -> None:
    import onnx as library

    write("onnx:weights_beside.onnx").rename("net.onnx")
    data = "weights_beside.onnx.data"
    for location in ("../secret", "/etc/passwd"):
        model = library.load("net.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        library.save(model, "outside.onnx")
        with pytest.raises(ModelError, match=rf"has weights in '{location}', outside of its directory"):
            load_model("onnx:outside.onnx")
    Path("elsewhere").mkdir()
    Path(data).rename(f"elsewhere/{data}")
    Path("inside").mkdir()
    Path("net.onnx").rename("inside/net.onnx")
    Path("inside", data).symlink_to(tmp_path / "elsewhere" / data)
    with pytest.raises(ModelError, match=r"has weights in 'weights_beside\.onnx\.data', outside of its directory"):
        load_model("onnx:inside/net.onnx")


# ------------------------------------------------------------------------------------------- torchvision


def test_every_model_is_built_as_torchvision_builds_it_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_biastransfer.models.schemes.torchvision_models import _built, _described, _weights

    # On no device, so that the largest ones take no memory; torchvision then gets weights of the right shape.
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", lambda *_, **__: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)
    # RegNet's builder computes its widths with tensors.
    widths = models.regnet.BlockParams.from_init_params

    def on_cpu(*arguments: Any, **options: Any) -> Any:
        with torch.device("cpu"):
            return widths(*arguments, **options)

    monkeypatch.setattr(models.regnet.BlockParams, "from_init_params", on_cpu)
    names = models.list_models(module=models)
    assert len(names) > 70
    classifiers = [
        (name, weights)
        for name in names
        for weights in models.get_model_weights(name)
        if weights.meta["categories"] is not None
    ]
    # Members of a family are built by one function of torchvision, which sees no more of weights than what is in this
    # key: the smallest one of each kind is built.
    smallest: dict[tuple[Any, ...], tuple[str, Any]] = {}
    for name, weights in sorted(classifiers, key=lambda classifier: classifier[1].meta["num_params"]):
        family = models.get_model_builder(name).__module__
        smallest.setdefault((family, weights.meta["min_size"], len(weights.meta["categories"])), (name, weights))
    assert {name for name, _ in smallest.values()} > {"googlenet", "inception_v3", "vit_b_16", "regnet_y_400mf"}
    for name, weights in smallest.values():
        with torch.device("meta"):
            theirs = models.get_model(name, weights=weights)
            spec = Spec.parse(f"torchvision:{name}?weights={weights.name}")
            ours = _built(spec, _weights(spec))
        shapes = {key: value.shape for key, value in ours.state_dict().items() if "aux" not in key.lower()}
        assert shapes == {key: v.shape for key, v in theirs.state_dict().items() if "aux" not in key.lower()}
        assert getattr(ours, "transform_input", None) == getattr(theirs, "transform_input", None)
        assert repr(ours.eval()).count("\n") >= repr(theirs.eval()).count("\n")
    for name, weights in classifiers:
        spec = Spec.parse(f"torchvision:{name}?weights={weights.name}")
        assert _weights(spec) == weights
        assert _described(torch.nn.Identity(), weights, spec).classes == tuple(weights.meta["categories"])


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, torch.nn.Module], Path]:
    """Return what puts a model's weights where a download would have put torchvision's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def seed(weights: Any, module: torch.nn.Module) -> Path:
        path = tmp_path / "torch" / "hub" / "checkpoints" / Path(weights.url).name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(module.state_dict(), path)
        return path

    return seed


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("squeezenet1_1", models.SqueezeNet1_1_Weights.IMAGENET1K_V1),
        ("googlenet", models.GoogLeNet_Weights.IMAGENET1K_V1),
        ("mnasnet0_5", models.MNASNet0_5_Weights.IMAGENET1K_V1),
        ("mobilenet_v3_small", models.MobileNet_V3_Small_Weights.IMAGENET1K_V1),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
def test_weights_in_torchs_cache(
    torch_home: Callable[[Any, torch.nn.Module], Path], name: str, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    original = models.get_model(name, init_weights=False) if name == "googlenet" else models.get_model(name)
    path = torch_home(weights, original)
    loaded = load_model(f"torchvision:{name}?weights=IMAGENET1K_V1")
    # torchvision's own way, which unpickles: the file is ours.
    theirs = models.get_model(name, weights=weights).eval()
    batch = images(2, side=96)
    with torch.inference_mode():
        assert torch.equal(loaded.module.eval()(batch), theirs(batch))
    assert loaded.classes is not None
    assert (len(loaded.classes), loaded.classes[0], loaded.preprocess.crop) == (1000, "tench", 224)
    assert load_model(f"torchvision:{name}?weights=DEFAULT&size=64").preprocess.crop == 64
    sources = sources_of(Spec.parse(f"torchvision:{name}?weights=IMAGENET1K_V1"))
    assert sources is not None
    assert sources.files == (path,)


def test_torchvisions_weights_are_not_unpickled(torch_home: Callable[[Any, torch.nn.Module], Path]) -> None:
    class Hostile(torch.nn.Module):
        def state_dict(self, *_: Any, **__: Any) -> Any:
            class Called:
                def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
                    return os.mkdir, ("executed",)

            return {"weight": Called()}

    torch_home(models.SqueezeNet1_1_Weights.IMAGENET1K_V1, Hostile())
    with pytest.raises(ModelError, match=r"squeezenet1_1-\w+\.pth: holds more than plain data"):
        load_model("torchvision:squeezenet1_1?weights=DEFAULT")
    assert not Path("executed").exists()


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setattr(type(weights), "url", property(lambda self: "file:///nowhere/squeezenet-12345678.pth"))
    with pytest.raises(ModelError, match=r"file:///nowhere/.* cannot be downloaded .*put the file at .*checkpoints"):
        load_model("torchvision:squeezenet1_1?weights=IMAGENET1K_V1")


def test_a_download_that_is_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "net.pth")
    digits = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    for name, fits in (("net-00000000.pth", False), (f"net-{digits}.pth", True)):
        (tmp_path / "net.pth").rename(tmp_path / name)
        address = (tmp_path / name).as_uri()

        def url(_: object, address: str = address) -> str:
            return address

        monkeypatch.setattr(type(weights), "url", property(url))
        if fits:
            assert load_model("torchvision:squeezenet1_1?weights=DEFAULT").classes is not None
        else:
            with pytest.raises(ModelError, match=r"cannot be downloaded \(invalid hash value"):
                load_model("torchvision:squeezenet1_1?weights=DEFAULT")
        (tmp_path / name).rename(tmp_path / "net.pth")


def test_an_architecture_gets_the_preprocessing_of_weights_without_loading_them() -> None:
    torch.save(models.squeezenet1_1(num_classes=3).state_dict(), "three.pt")
    arch = "torchvision:squeezenet1_1?weights=IMAGENET1K_V1"
    loaded = load_model(f"checkpoint:three.pt?arch={arch}&num_classes=3")
    assert (loaded.preprocess.resize, loaded.preprocess.crop, loaded.classes) == (256, 224, None)
    with pytest.raises(ModelError, match=r"weights are of 1000 classes, num_classes=3; .*checkpoint:FILE\?arch="):
        load_model(f"{arch}&num_classes=3")
    with pytest.raises(SpecError, match=r"sha256= is of a file of weights, and this spec has none; .*&weights="):
        load_model(f"torchvision:squeezenet1_1?sha256={'0' * 64}")


def test_weights_without_a_classifier() -> None:
    with pytest.raises(ModelError, match="IMAGENET1K_FEATURES are weights of the features alone"):
        load_model("torchvision:vgg16?weights=IMAGENET1K_FEATURES")


# ------------------------------------------------------------------------------------------- timm


def small_timm(classes: int = 7) -> torch.nn.Module:
    torch.manual_seed(0)
    import timm

    module: torch.nn.Module = timm.create_model("resnet10t", num_classes=classes).eval()
    return module


def test_timm_with_a_checkpoint() -> None:
    net = small_timm()
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, "pets.pth.tar")
    loaded = load_model("timm:resnet10t?checkpoint=pets.pth.tar&num_classes=7")
    assert torch.equal(loaded.module.eval()(images(2, 64)), net(images(2, 64)))
    assert loaded.name == "pets.pth"
    with pytest.raises(ModelError, match=r"the head fc has 7 classes in the file and 1000 in the model: type num_clas"):
        load_model("timm:resnet10t?checkpoint=pets.pth.tar")
    with pytest.raises(ModelError, match="has no model 'resnet10'; did you mean resnet10t"):
        load_model("timm:resnet10")
    digest = hashlib.sha256(Path("pets.pth.tar").read_bytes()).hexdigest()
    assert load_model(f"timm:resnet10t?checkpoint=pets.pth.tar&num_classes=7&sha256={digest}").name == "pets.pth"
    with pytest.raises(ModelError, match="nothing in it was read"):
        load_model(f"timm:resnet10t?checkpoint=pets.pth.tar&num_classes=7&sha256={'0' * 64}")
    with pytest.raises(SpecError, match=r"this spec has none; add &checkpoint=FILE"):
        load_model(f"timm:resnet10t?sha256={'0' * 64}")


def test_timm_as_an_architecture() -> None:
    torch.save(small_timm(3).state_dict(), "three.pt")
    loaded = load_model("checkpoint:three.pt?arch=timm:resnet10t?in_chans=3&num_classes=3&size=64")
    assert torch.equal(loaded.module.eval()(images(2, 64)), small_timm(3)(images(2, 64)))


# ------------------------------------------------------------------------------------------- Hugging Face


def small_classifier(classes: int = 3, named: bool = True) -> torch.nn.Module:
    import transformers

    names = dict(enumerate("abcdefg"[:classes])) if named else {}
    labels: dict[str, Any] = (
        {"id2label": names, "label2id": {name: number for number, name in names.items()}} if named else {}
    )
    torch.manual_seed(0)
    config = transformers.ResNetConfig(  # type: ignore[call-arg]
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=classes, **labels
    )
    module: torch.nn.Module = transformers.ResNetForImageClassification(config)
    return module.eval()


def save_classifier(directory: Path | str, **options: Any) -> torch.nn.Module:
    import transformers

    module = small_classifier(**options)
    module.save_pretrained(directory)  # type: ignore[operator]
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(directory)
    return module


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what makes the directory of a repository's commit in a cache of the hub of its own."""
    cache = tmp_path / "hf" / "hub"
    # It is read when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def seed(repo: str) -> Path:
        repository = cache / f"models--{repo.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        snapshot = repository / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        return snapshot

    return seed


def test_a_directory_of_hugging_face(tmp_path: Path) -> None:
    net = save_classifier("pets")
    loaded = load_model("hf:pets")
    assert torch.equal(loaded.module.eval()(images(2, 64)).logits, net(images(2, 64)).logits)
    assert (loaded.classes, loaded.name) == (("a", "b", "c"), "pets")
    assert (loaded.preprocess.resize, loaded.preprocess.crop) == (73, (64, 64))
    shutil.copytree("pets", tmp_path / "other" / "pets")
    assert load_model("hf:pets", directory=tmp_path / "other").fingerprint == loaded.fingerprint
    parts = sources_of(Spec.parse("hf:pets"))
    assert parts is not None
    assert {file.name for file in parts.files} == {"model.safetensors", "config.json", "preprocessor_config.json"}
    with pytest.raises(SpecError, match=r"revision= is for repositories on the hub, and .*pets is a directory"):
        load_model("hf:pets?revision=main")


def test_what_a_spec_declares_replaces_that_part_of_a_processors_preprocessing() -> None:
    save_classifier("pets")
    own, declared = load_model("hf:pets").preprocess, load_model("hf:pets?mean=0.1&interpolation=nearest").preprocess
    assert (declared.resize, declared.crop, declared.std) == (own.resize, own.crop, own.std)
    assert (declared.mean, declared.interpolation) == ((0.1,), "nearest")


def test_a_model_keeps_nothing_of_its_directory() -> None:
    save_classifier("pets")
    loaded = load_model("hf:pets")
    before = loaded.fingerprint
    weights = Path("pets/model.safetensors")
    weights.write_bytes(bytes(weights.stat().st_size))
    assert loaded.fingerprint == before


def test_names_that_are_no_more_than_numbers_are_no_names() -> None:
    save_classifier("pets", named=False)
    assert load_model("hf:pets").classes is None


def test_a_repository_in_the_cache(hub: Callable[[str], Path]) -> None:
    net = save_classifier(hub("someone/pets"))
    for spec in ("hf:someone/pets", "hf:someone/pets?revision=main", f"hf:someone/pets?revision={COMMIT}"):
        loaded = load_model(spec)
        assert torch.equal(loaded.module.eval()(images(2, 64)).logits, net(images(2, 64)).logits)
        # The commit is reported, whatever the spec calls it.
        assert loaded.name == "someone/pets@0123456789"
    # A branch moves, a commit does not.
    with pytest.raises(NotRecognizableError, match=r"its branch on the hub may move; name a commit with &revision=$"):
        sources_of(Spec.parse("hf:someone/pets?revision=main"))
    sources_of(Spec.parse(f"hf:someone/pets?revision={COMMIT}"))


def test_nothing_is_downloaded_unless_the_spec_says_so(hub: Callable[[str], Path], monkeypatch: Any) -> None:
    hub("someone/else")
    requests: list[dict[str, Any]] = []
    real = sys.modules["huggingface_hub"].snapshot_download

    def watched(*arguments: Any, **options: Any) -> Any:
        requests.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr("huggingface_hub.snapshot_download", watched)
    with pytest.raises(SpecError, match=r"someone/pets is not in the hub's cache .*without download=1 and revision="):
        load_model("hf:someone/pets")
    assert requests[-1]["local_files_only"] is True
    with pytest.raises(SpecError, match=r"download=1 needs &revision= with a commit of someone/pets, 40 digits"):
        load_model("hf:someone/pets?download=1")
    with pytest.raises(SpecError, match="a branch moves"):
        load_model("hf:someone/pets?download=1&revision=main")
    assert len(requests) == 1
    with pytest.raises(
        SpecError, match=r"someone/pets at revision ffff\w+ is not in the hub's cache .*cannot be reached"
    ):
        load_model(f"hf:someone/pets?download=1&revision={'f' * 40}")
    assert (requests[-1]["local_files_only"], requests[-1]["revision"]) == (False, "f" * 40)
    with pytest.raises(SpecError, match=r"no directory .*, and 'a/b/c' is not an id of the hub"):
        load_model("hf:a/b/c")


def test_timms_weights_on_the_hub(hub: Callable[[str], Path]) -> None:
    from safetensors.torch import save_file

    net = small_timm(1000)
    save_file(net.state_dict(), hub("timm/resnet10t.c3_in1k") / "model.safetensors")
    loaded = load_model("timm:resnet10t?pretrained=1")
    assert torch.equal(loaded.module.eval()(images(2, 64)), net(images(2, 64)))
    assert loaded.name == "resnet10t@0123456789"
    with pytest.raises(SpecError, match=r"timm/resnet18\.\w+ is not in the hub's cache"):
        load_model("timm:resnet18?pretrained=1")


def test_hugging_faces_models_as_architectures() -> None:
    save_classifier("pets")
    other = small_classifier(classes=5)
    torch.nn.init.ones_(other.classifier[1].bias)  # type: ignore[index, union-attr]
    torch.save(other.state_dict(), "five.pt")
    loaded = load_model("checkpoint:five.pt?arch=hf:pets&num_classes=5")
    assert torch.equal(loaded.module.eval()(images(2, 64)).logits, other(images(2, 64)).logits)
    assert loaded.preprocess.resize == 73


def test_only_safetensors_are_loaded() -> None:
    net = save_classifier("pets")
    Path("pets/model.safetensors").unlink()
    torch.save(net.state_dict(), "pets/pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pets has no model\.safetensors; nothing else is loaded"):
        load_model("hf:pets")


def test_code_in_a_repository_is_not_run() -> None:
    save_classifier("pets")
    config = Path("pets/config.json")
    text = config.read_text().replace('"resnet"', '"own_resnet"')
    auto = '"auto_map": {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Net"},'
    config.write_text(text.replace("{", "{" + auto, 1))
    Path("pets/own.py").write_text("import os\nos.mkdir('executed')\nclass Config: ...\nclass Net: ...\n")
    with pytest.raises(ModelError, match=r"hf:pets.* cannot be loaded"):
        load_model("hf:pets")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("change", "reference"),
    [
        ({"model_type": "timm_wrapper", "architecture": "hf-hub:evil/net"}, "a model of timm"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"_attn_implementation": "evil/kernel"}, "_attn_implementation 'evil/kernel'"),
        ({"vision_config": {"attn_implementation": "evil/kernel@main"}}, "attn_implementation 'evil/kernel@main'"),
    ],
)
def test_a_configuration_that_refers_elsewhere_is_refused(change: dict[str, Any], reference: str) -> None:
    save_classifier("pets")
    config = Path("pets/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ModelError, match=re.escape(f"config.json refers to {reference}")):
        load_model("hf:pets")


def test_an_adapter_of_another_model_is_refused() -> None:
    save_classifier("pets")
    Path("pets/adapter_config.json").write_text('{"base_model_name_or_path": "evil/net"}')
    with pytest.raises(ModelError, match=r"is a PEFT adapter of evil/net, .*type hf:BASE\?adapter=pets, with"):
        load_model("hf:pets")
    Path("pets/model.safetensors").rename("pets.safetensors")
    with pytest.raises(ModelError, match=r"is a PEFT adapter of evil/net"):
        load_model("hf:pets")
    with pytest.raises(ModelError, match=r"is a PEFT adapter of evil/net"):
        load_model("checkpoint:pets.safetensors?arch=hf:pets")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"id2label": None},
            r"classifier\.1\.weight is \[3, 16\], expected \[2, 16\].*num_labels where id2label is .* null",
        ),
        (
            {"id2label": {"0": "cat", "1": None, "2": 5}},
            r"id2label in config\.json has \['cat', None, 5\], expected a text",
        ),
    ],
)
def test_names_of_classes_that_a_configuration_lacks_are_named(change: dict[str, Any], message: str) -> None:
    save_classifier("pets")
    config = Path("pets/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_model("hf:pets")
    complete = change | {"id2label": None, "label2id": None, "num_labels": 3}
    config.write_text(json.dumps(json.loads(config.read_text()) | complete))
    assert load_model("hf:pets").classes is None


def test_weights_that_no_place_is_for_are_an_error() -> None:
    from safetensors.torch import load_file, save_file

    save_classifier("pets")
    state = load_file("pets/model.safetensors")
    harmless = {
        "resnet.pooler.dense.weight": torch.ones(2, 2),
        "loss.weight": torch.ones(5),
        "n_averaged": torch.ones(1),
    }
    save_file(state | harmless, "pets/model.safetensors", {"format": "pt"})
    assert load_model("hf:pets").name == "pets"
    save_file(state | {"projection.weight": torch.ones(2, 5)}, "pets/model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"pets has weights that ResNet.* does not have: projection\.weight \[2, 5\]"):
        load_model("hf:pets")


def test_weights_that_are_missing_are_an_error_not_random() -> None:
    import transformers

    net = small_classifier()
    net.resnet.save_pretrained("backbone")  # type: ignore[operator, union-attr]
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained("backbone")
    with pytest.raises(ModelError, match=r"backbone has no weights for classifier\.1\.bias, classifier\.1\.weight"):
        load_model("hf:backbone")


def test_weights_in_several_files() -> None:
    import transformers

    net = small_classifier()
    net.save_pretrained("pets", max_shard_size="5KB")  # type: ignore[operator]
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained("pets")
    shards = sorted(Path("pets").glob("model-*.safetensors"))
    assert len(shards) > 1
    digests = [hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards]
    loaded = load_model(f"hf:pets?sha256={','.join(digests)}")
    assert torch.equal(loaded.module.eval()(images(2, 64)).logits, net(images(2, 64)).logits)
    with pytest.raises(ModelError, match="another file than the spec expects"):
        load_model(f"hf:pets?sha256={','.join([*digests[:-1], '0' * 64])}")
    index = Path("pets/model.safetensors.index.json")
    index.write_text(index.read_text().replace(shards[0].name, f"../{shards[0].name}"))
    with pytest.raises(ModelError, match=r"names '\.\./model-.*', which is not in its directory"):
        load_model("hf:pets")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "cannot be loaded"),
        ("config.json", "{}", "cannot be loaded"),
        ("model.safetensors", "nothing", "cannot be loaded"),
        ("preprocessor_config.json", "[]", "cannot be loaded"),
        ("preprocessor_config.json", None, r"has no preprocessor_config\.json; declare the preprocessing"),
    ],
)
def test_directories_that_cannot_be(file: str, content: str | None, message: str) -> None:
    save_classifier("pets")
    if content is None:
        Path("pets", file).unlink()
        assert load_model("hf:pets?size=64&mean=0.5&std=0.5").preprocess.crop == 64
        with pytest.raises(ModelError, match=message):
            load_model("hf:pets?size=64")
    else:
        Path("pets", file).write_text(content)
    with pytest.raises(ModelError, match=message):
        load_model("hf:pets")


# ------------------------------------------------------------------------------------------- missing extras


@pytest.mark.parametrize(
    ("spec", "library", "extra"),
    [
        ("timm:resnet18", "timm", "timm"),
        ("hf:pets", "transformers", "hf"),
        ("hf:someone/pets", "huggingface_hub", "hf"),
        ("onnx:net.onnx", "onnxruntime", "onnx"),
        ("onnx:net.onnx", "onnx", "onnx"),
    ],
)
def test_a_missing_extra_is_one_line_with_what_to_type(
    spec: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_classifier("pets")
    Path("net.onnx").write_bytes(b"is not read")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SpecError) as caught:
        load_model(spec)
    line = f"needs {library}, which is not installed; type: pip install 'pytest-biastransfer[{extra}]'"
    assert str(caught.value) == f"spec {spec!r}: {line}"
