"""Linear probes: heads that scikit-learn or torch fitted on a backbone's features have the same logits on it here."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from pytest_biastransfer import Model, load_model
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.loading import sources_of
from pytest_biastransfer.models.logits import logits_of
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Store
from tests.models.test_deferred import age
from tests.models.test_peft_adapters import save_base
from tests.models.test_schemes import exported, save_classifier, small_classifier, small_timm, trained

SIDE = 64
# A torchvision network with trained statistics, in a file. Its features are 512.
BACKBONE = "checkpoint:net.pt?arch=torchvision:resnet18&num_classes=5&size=64"
PROBE = f"probe:{BACKBONE}&head="


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    module: torch.nn.Module = models.resnet18(num_classes=5).train()
    module(pictures(16, side=32))
    return module.eval()


@pytest.fixture(scope="module")
def features(resnet: torch.nn.Module) -> Any:
    """Return the features of `pictures()`, float32 [images, 512], as a user computes them."""
    return features_of(resnet, "fc")


def features_of(module: torch.nn.Module, head: str) -> Any:
    rows: list[torch.Tensor] = []
    handle = module.get_submodule(head).register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0]))
    with torch.no_grad():
        module(pictures())
    handle.remove()
    return rows[0].flatten(1).numpy()


@pytest.fixture(autouse=True)
def _backbone(resnet: torch.nn.Module, _here: None) -> None:
    torch.save(resnet.state_dict(), "net.pt")


def pictures(count: int = 24, side: int = SIDE) -> torch.Tensor:
    """Return images of four colours with noise."""
    generator = torch.Generator().manual_seed(1)
    colors = torch.rand(4, 3, 1, 1, generator=generator).repeat(-(-count // 4), 1, 1, 1)[:count]
    return (colors + 0.3 * torch.rand(count, 3, side, side, generator=generator)).clamp(0, 1)


def labels(classes: int) -> Any:
    return np.arange(24) % 4 % classes


def logits(model: Model | str) -> Any:
    module = (load_model(model) if isinstance(model, str) else model).module.eval()
    with torch.no_grad():
        return logits_of(module(pictures()), module).numpy()


def assert_close(actual: Any, expected: Any) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def save_sklearn(classifier: Any, path: str = "head.npz", **arrays: Any) -> None:
    np.savez(path, coef_=classifier.coef_, intercept_=classifier.intercept_, **arrays)


def fitted(features: Any, classes: int, names: Any = None) -> Any:
    from sklearn.linear_model import LogisticRegression

    targets = labels(classes)
    return LogisticRegression(max_iter=300).fit(features, targets if names is None else np.array(names)[targets])


# ------------------------------------------------------------------------------------------- scikit-learn


def test_a_logistic_regression_has_its_own_decisions(features: Any) -> None:
    classifier = fitted(features, 4)
    save_sklearn(classifier, classes_=classifier.classes_)
    model = load_model(f"{PROBE}head.npz")
    assert_close(logits(model), classifier.decision_function(features))
    assert (model.name, model.classes, model.preprocess.crop) == ("head", None, SIDE)


def test_two_classes_have_the_probabilities_of_scikit_learn(features: Any) -> None:
    classifier = fitted(features, 2, names=["cat", "dog"])
    assert classifier.coef_.shape == (1, 512)
    save_sklearn(classifier, classes_=classifier.classes_)
    model = load_model(f"{PROBE}head.npz")
    both = logits(model)
    assert_close(both[:, 1], classifier.decision_function(features))
    assert_close(torch.from_numpy(both).softmax(dim=1).numpy(), classifier.predict_proba(features))
    assert model.classes == ("cat", "dog")
    single = load_model(f"{PROBE}head.npz&outputs=sigmoid")
    assert_close(logits(single), classifier.decision_function(features)[:, None])
    assert single.classes == ("dog",)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_features_are_standardised_as_in_a_pipeline(features: Any, with_mean: bool, with_std: bool) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Far from 0: whoever folds the mean into the weights in float32 loses the figures.
    pipeline = make_pipeline(StandardScaler(with_mean=with_mean, with_std=with_std), RidgeClassifier())
    pipeline.fit(features, labels(4))
    scaler, classifier = pipeline[0], pipeline[1]
    arrays = {"mean_": scaler.mean_} if with_mean else {}
    arrays |= {"scale_": scaler.scale_} if with_std else {}
    save_sklearn(classifier, **arrays)
    assert_close(logits(f"{PROBE}head.npz"), pipeline.decision_function(features))


def test_a_model_without_an_intercept_has_one_number(features: Any) -> None:
    from sklearn.svm import LinearSVC

    classifier = LinearSVC(fit_intercept=False).fit(features, labels(4))
    assert np.shape(classifier.intercept_) == ()
    save_sklearn(classifier)
    assert_close(logits(f"{PROBE}head.npz"), classifier.decision_function(features))


def test_labels_that_are_other_numbers_need_names(features: Any) -> None:
    classifier = fitted(features, 3, names=[3, 5, 9])
    save_sklearn(classifier, classes_=classifier.classes_)
    with pytest.raises(ModelError, match=r"classes_ in .*head\.npz are the labels 3, 5, 9, .*with &classes=FILE$"):
        load_model(f"{PROBE}head.npz")
    Path("names.txt").write_text("a\nb\nc\n")
    assert load_model(f"{PROBE}head.npz&classes=names.txt").classes == ("a", "b", "c")


# ------------------------------------------------------------------------------------------- torch


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("prefix", ["", "head.linear."])
def test_a_linear_layer_in_safetensors(features: Any, kind: torch.dtype, prefix: str) -> None:
    torch.manual_seed(2)
    layer = torch.nn.Linear(512, 3).to(kind)
    save_file({f"{prefix}{name}": value for name, value in layer.state_dict().items()}, "head.safetensors")
    with torch.no_grad():
        expected = layer.double()(torch.from_numpy(features).double()).numpy()
    assert_close(logits(f"{PROBE}head.safetensors"), expected)


def test_a_linear_layer_in_an_npz(features: Any) -> None:
    weight, bias = np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32), np.ones(3, np.float16)
    np.savez("head.npz", weight=weight, bias=bias)
    assert_close(logits(f"{PROBE}head.npz"), features @ weight.T + bias)


# ------------------------------------------------------------------------------------------- backbones


def save_head(features: int) -> Any:
    """Save a head of three classes; return what computes its logits from features."""
    generator = np.random.default_rng(features)
    weight, bias = generator.normal(size=(3, features)) / features**0.5, generator.normal(size=3)
    np.savez("head.npz", weight=weight, bias=bias)
    return lambda rows: rows @ weight.T + bias


def mobilenet() -> torch.nn.Module:
    torch.manual_seed(3)
    module: torch.nn.Module = models.mobilenet_v3_small(num_classes=4)
    return module.eval()


def saved_hf() -> torch.nn.Module:
    save_classifier("hf")
    return small_classifier()


def saved_timm() -> torch.nn.Module:
    module = small_timm(3).eval()
    torch.save(module.state_dict(), "timm.pth")
    return module


def saved_own() -> torch.nn.Module:
    torch.save(mobilenet().state_dict(), "own.pt")
    return mobilenet()


@pytest.mark.parametrize(
    ("save", "spec", "head"),
    [
        (saved_hf, "hf:hf?", "classifier.1"),
        (saved_timm, "timm:resnet10t?checkpoint=timm.pth&in_chans=3&num_classes=3&size=64&", "fc"),
        (saved_own, "checkpoint:own.pt?arch=torchvision:mobilenet_v3_small?num_classes=4&size=64&", "classifier.3"),
        (saved_own, "checkpoint:own.pt%3Farch=torchvision:mobilenet_v3_small%26num_classes=4?size=64&", "classifier.3"),
    ],
)
def test_the_features_are_those_before_the_last_layer(
    save: Callable[[], torch.nn.Module], spec: str, head: str
) -> None:
    rows = features_of(save(), head)
    expected = save_head(rows.shape[1])(rows)
    assert_close(logits(f"probe:{spec}head=head.npz"), expected)


def test_a_backbone_of_the_users_code_with_several_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_backbone.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(0)\n"
        "        self.layer, self.a, self.b = (torch.nn.Linear(*s) for s in ((3, width), (width, 4), (width, 2)))\n"
        "    def forward(self, images):\n"
        "        features = self.layer(images.mean(dim=(2, 3)))\n"
        "        return {'a': self.a(features), 'b': self.b(features)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_backbone", raising=False)
    module = importlib.import_module("own_backbone").Net(7)
    expected = save_head(7)(features_of(module, "b"))
    spec = "probe:python:own_backbone:Net?width=7&output=b&head=head.npz"
    assert_close(logits(spec), expected)
    with pytest.raises(NotRecognizableError):
        sources_of(Spec.parse(spec))
    with pytest.raises(ModelError, match=r"backbone Net has no head to replace: none of its 3 linear .* dict"):
        load_model(spec.replace("&output=b", ""))


# ------------------------------------------------------------------------------------------- identity


def test_a_probe_is_known_by_the_files_of_both(tmp_path: Path) -> None:
    save_head(512)
    for name in ("net.pt", "head.npz"):
        age(Path(name))
    spec = f"{PROBE}head.npz"
    sources = sources_of(Spec.parse(spec))
    assert sources is not None
    assert {path.name for path in sources.files} == {"net.pt", "head.npz"}
    facts = Store(tmp_path / "store").facts
    first = model_of_spec(spec, tmp_path, facts)
    known = model_of_spec(spec, tmp_path, facts)
    assert not isinstance(first, DeferredModel)
    assert isinstance(known, DeferredModel)
    assert known.fingerprint == first.fingerprint
    assert_close(logits(known), logits(first))
    np.savez("head.npz", weight=np.zeros((3, 512)), bias=np.zeros(3))
    changed = model_of_spec(spec, tmp_path, facts)
    assert not isinstance(changed, DeferredModel)
    assert changed.fingerprint != first.fingerprint


def test_sha256_is_of_the_head_and_checked_first() -> None:
    save_head(512)
    digest, other = (hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("head.npz", "net.pt"))
    assert load_model(f"{PROBE}head.npz&sha256={digest}").name == "head"
    inner = f"checkpoint:net.pt%3Farch=torchvision:resnet18%26num_classes=5%26sha256={other}"
    assert load_model(f"probe:{inner}?head=head.npz&sha256={digest}").name == "head"
    with pytest.raises(ModelError, match=r"net\.pt is another file than the spec expects"):
        load_model(f"probe:{inner.replace(other, digest)}?head=head.npz")
    Path("head.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"head\.npz is another file than the spec expects; nothing in it was read"):
        load_model(f"{PROBE}head.npz&sha256={digest}")


# ------------------------------------------------------------------------------------------- mistakes


def arrays(**changes: Any) -> dict[str, Any]:
    values = {"weight": np.ones((3, 512)), "bias": np.zeros(3)} | changes
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            arrays(weight=np.ones((3, 100))),
            r"head takes 100 features, .* backbone net, fc, takes 512; name the backbone",
        ),
        (arrays(weight=None), r"has no weight, only bias; expected weight \[classes, features\] and bias"),
        (arrays(bias=None), r"has no bias, only weight; expected"),
        (arrays(bias=np.zeros(4)), r"weight is \[3, 512\] and bias is \[4\]; expected"),
        (arrays(weight=np.ones(512)), r"weight is \[512\] and bias is \[3\]; expected"),
        (arrays(weight=np.full((3, 512), np.nan)), r"weight has 1536 values that are NaN or infinite"),
        (arrays(bias=np.array([0, np.inf, 0])), r"bias has 1 values that are NaN or infinite"),
        (arrays(weight=np.ones((3, 512), int)), r"weight is of int64, expected float16, float32 or float64"),
        (arrays(mean_=np.ones(3)), r"mean_ is \[3\], expected \[512\], one for each feature"),
        (arrays(scale_=np.zeros(512)), r"scale_ has 0, expected numbers above 0"),
        (arrays(components_=np.ones((3, 512))), r"has components_ besides the head, which would be ignored"),
        (arrays(bias=None, intercept_=np.zeros(3)), r"weight and intercept_ are not of one layer; expected weight"),
        (arrays(coef_=np.ones((3, 512))), r"has several arrays that may be the weight: coef_, weight"),
        (arrays(classes_=np.array(["a", "b"])), r"classes_ has 2 classes, and the head 3 outputs"),
        (arrays(classes_=np.ones((3, 1))), r"classes_ is float64 \[3, 1\], expected texts or numbers \[3\]"),
        (arrays(classes_=np.array(["a", "b", "c"], object)), r"classes_ is of Python objects, .*unpickled"),
    ],
)
def test_a_head_that_does_not_fit_is_an_error(content: dict[str, Any], message: str) -> None:
    np.savez("head.npz", **content)
    with pytest.raises(ModelError, match=message):
        load_model(f"{PROBE}head.npz")


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_nothing_in_a_head_is_unpickled() -> None:
    np.savez("head.npz", weight=np.array([Bomb()], object), bias=np.zeros(3))
    with pytest.raises(ModelError, match=r"weight is of Python objects, which would have to be unpickled"):
        load_model(f"{PROBE}head.npz")
    np.array([Bomb()], object).dump("head.npz")
    with pytest.raises(ModelError, match=r"head\.npz: cannot be read .*; expected a complete file of numpy\.savez"):
        load_model(f"{PROBE}head.npz")
    assert not Path("exploded").exists()


def test_damaged_and_missing_files_are_named() -> None:
    save_head(512)
    Path("head.npz").write_bytes(Path("head.npz").read_bytes()[:500])
    with pytest.raises(ModelError, match=r"head\.npz: cannot be read"):
        load_model(f"{PROBE}head.npz")
    with pytest.raises(ModelError, match=r"other\.npz: no such file"):
        load_model(f"{PROBE}other.npz")
    torch.save({}, "head.pt")
    with pytest.raises(ModelError, match=r"head\.pt: expected a file \.safetensors or \.npz; save it with"):
        load_model(f"{PROBE}head.pt")
    save_file({"a.weight": torch.ones(3, 5), "b.weight": torch.ones(3, 5)}, "head.safetensors")
    with pytest.raises(ModelError, match=r"several arrays that may be the weight: a\.weight, b\.weight"):
        load_model(f"{PROBE}head.safetensors")


def test_an_archive_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_biastransfer.models.safe_loading import head_file

    monkeypatch.setattr(head_file, "_MOST_BYTES", 10_000)
    np.savez_compressed("head.npz", weight=np.zeros((3, 512)), bias=np.zeros(3))
    assert Path("head.npz").stat().st_size < 2000
    with pytest.raises(ModelError, match=r"has 1\d,\d{3} bytes of arrays, expected at most 10,000"):
        load_model(f"{PROBE}head.npz")


def test_specs_that_are_no_probe() -> None:
    save_head(512)
    with pytest.raises(SpecError, match=r"a probe needs the file of its head, such as &head=pets\.npz"):
        load_model(f"probe:{BACKBONE}")
    with pytest.raises(SpecError, match=r"unknown key 'heads'; "):
        load_model(f"{PROBE}head.npz&heads=1")
    with pytest.raises(SpecError, match=r"unknown scheme 'checkpoin'; did you mean checkpoint\?"):
        load_model("probe:checkpoin:net.pt?head=head.npz")
    with pytest.raises(SpecError, match=r"arch= needs a module with named weights, which probe: is not"):
        load_model("checkpoint:net.pt?arch=probe:torchvision:resnet18?head=head.npz")


@pytest.mark.usefixtures("warm_executable")
def test_a_program_has_no_features() -> None:
    save_head(512)
    exported(trained(), "net.pt2")
    with pytest.raises(SpecError, match=r"a probe needs a module with features, which export: is not"):
        load_model("probe:export:net.pt2?head=head.npz")


def test_a_backbone_whose_logits_are_no_layers_output() -> None:
    save_head(512)
    torch.save(models.squeezenet1_1(num_classes=3).state_dict(), "squeezenet.pt")
    with pytest.raises(ModelError, match=r"computes its logits from classifier\.1 and not from this layer alone"):
        load_model("probe:checkpoint:squeezenet.pt?arch=torchvision:squeezenet1_1&num_classes=3&size=64&head=head.npz")


def test_a_backbone_that_refuses_the_images() -> None:
    save_head(768)
    save_base()
    with pytest.raises(
        ModelError, match=r"raised \w+ on images of shape \[2, 3, 20, 20\]: (?s:.*)or &size=\.\.\. in its spec"
    ):
        load_model("probe:hf:vit?size=20&head=head.npz")
