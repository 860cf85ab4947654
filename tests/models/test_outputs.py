"""Of outputs that are no tensor, the logits are taken where it is clear which they are, and asked for where it is not."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torchvision import models

from pytest_biastransfer import Model, load_model
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.evaluation.batch_size import BatchSize
from pytest_biastransfer.evaluation.predictor import Predictor
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.logits import logits_of
from pytest_biastransfer.store import Store
from tests.models.test_deferred import age
from tests.models.test_schemes import save_classifier, script, small_classifier

pytestmark = pytest.mark.usefixtures("warm_executable")


class Heads(NamedTuple):
    """As torchvision's GoogLeNet returns it."""

    logits: torch.Tensor
    aux: torch.Tensor | None


@dataclasses.dataclass
class Scores:
    scores: torch.Tensor
    loss: torch.Tensor | None = None


class Lambda(torch.nn.Module):
    """Returns any form of output of the means of the channels, [batch, 3], and of twice as much."""

    def __init__(self, form: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.form = form

    def forward(self, images: torch.Tensor) -> Any:
        means = images.mean(dim=(2, 3))
        return self.form(means, 2 * means)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels(side: int = 8) -> torch.Tensor:
    return torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))


def logits(model: Model, side: int = 8) -> torch.Tensor:
    """Return what the evaluation takes as the logits of four images."""
    model.module.eval()
    return Predictor(model, torch.device("cpu"), BatchSize(4, "cpu")).logits(pixels(side))


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether logits are equal up to rounding: the evaluation lays images out with the channels last."""
    return first.shape == second.shape and bool((first - second).abs().max() <= 1e-5)


CLEAR: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "tensor": lambda a, b: a,
    "dictionary": lambda a, b: {"features": b, "logits": a},
    "named tuple": Heads,
    "named tuple in evaluation": lambda a, b: Heads(a, None),
    "tuple of one": lambda a, b: (a,),
    "list of one": lambda a, b: [a],
    "dictionary of one": lambda a, b: {"out": a, "aux": None},
    "dataclass of one": lambda a, b: Scores(a),
}


@pytest.mark.parametrize("form", CLEAR)
def test_clear_logits_are_taken(form: str) -> None:
    assert same(logits(Model(Lambda(CLEAR[form]))), pixels().mean(dim=(2, 3)))


UNCLEAR: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], Any], str]] = {
    "tuple": (
        lambda a, b: (a, b),
        r"a tuple of 0 \[4, 3\], 1 \[4, 3\] for 4 images; name the one that is the logits: output=0 or output=1$",
    ),
    "list": (lambda a, b: [a, [b]], r"a list of 0 \[4, 3\], 1\.0 \[4, 3\] for 4 .* output=0 or output=1\.0$"),
    "heads": (
        lambda a, b: {"head": {"age": a, "sex": b}, "map": a[..., None]},
        r"a dict of head\.age \[4, 3\], head\.sex \[4, 3\], map \[4, 3, 1\] .* output=head\.age or output=head\.sex$",
    ),
    "logits of several heads": (lambda a, b: {"logits": {"age": a, "sex": b}}, r"output=logits\.age or output=logits"),
    "dataclass": (Scores, r"a Scores of scores \[4, 3\], loss \[4, 3\] .* output=scores or"),
    "one map": (lambda a, b: {"map": a[..., None]}, r"a dict of map \[4, 3, 1\] .* expected logits \[batch, classes\]"),
    "no tensor": (lambda a, b: None, r"a NoneType for 4 images; expected logits \[batch, classes\], here \[4, classes\]"),
}  # fmt: skip


@pytest.mark.parametrize("form", UNCLEAR)
def test_of_unclear_outputs_the_entries_are_listed(form: str) -> None:
    output, message = UNCLEAR[form]
    with pytest.raises(ModelError, match=rf"^model net returned .*{message}"):
        logits(Model(Lambda(output), name="net"))


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (lambda a, b: (b, a), 1),
        (lambda a, b: (b, a), "1"),
        (lambda a, b: Heads(b, a), "aux"),
        (lambda a, b: {"logits": b, "head": {"age": a}}, "head.age"),
        (lambda a, b: {"head.age": a, "head": {"age": b}}, "head.age"),
        (lambda a, b: {"a.b": [b, a]}, "a.b.1"),
        (lambda a, b: {7: a, 8: b}, 7),
        (lambda a, b: Scores(b, a), "loss"),
    ],
)
def test_the_named_entry_is_taken(form: Callable[[torch.Tensor, torch.Tensor], Any], key: str | int) -> None:
    model = Model(Lambda(form), output=key)
    assert same(logits(model), pixels().mean(dim=(2, 3)))
    assert (model.name, model.output) == ("Lambda", str(key))


@pytest.mark.parametrize(
    ("form", "key", "message"),
    [
        (
            lambda a, b: {"scores": a, "features": b},
            "score",
            r"module Lambda returned a dict of scores \[4, 3\], features \[4, 3\], without an entry 'score'; "
            r"did you mean scores\? Valid: features, scores$",
        ),
        (lambda a, b: {"head": {"age": a}}, "head", r"output=head is a dict; did you mean head\.age\?"),
        (lambda a, b: (a, 0.5), "1", r"output=1 is a float; expected a tensor \[batch, classes\]$"),
        (lambda a, b: a, "logits", r"module Lambda returned a single tensor, \[4, 3\]; leave out output=logits$"),
    ],
)
def test_an_entry_that_is_not_there_is_an_error(
    form: Callable[[torch.Tensor, torch.Tensor], Any], key: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        logits(Model(Lambda(form), output=key))


@pytest.mark.parametrize("key", ["", True, 1.5])
def test_keys_are_texts_or_whole_numbers(key: Any) -> None:
    with pytest.raises(ModelError, match=r"Model: output=.*, expected the key of an entry of the module's output"):
        Model(torch.nn.Flatten(), output=key)


def pair(means: torch.Tensor, twice: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a": means, "b": twice}


def test_the_output_is_a_part_of_the_identity() -> None:
    bare, a, b = (Model(Lambda(pair), output=output) for output in (None, "a", "b"))
    assert len({bare.fingerprint, a.fingerprint, b.fingerprint}) == 3
    assert Model(Lambda(pair), output="a").fingerprint == a.fingerprint
    renamed = dataclasses.replace(a, name="other")
    assert (renamed.fingerprint, renamed.output) == (a.fingerprint, "a")
    assert dataclasses.replace(a, output="b").fingerprint == b.fingerprint
    for again in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert (again.fingerprint, again.output) == (a.fingerprint, "a")
        assert same(logits(again), logits(a))


@pytest.mark.parametrize(
    ("form", "key"), [(pair, "b"), (lambda a, b: (a, b), "1"), (Heads, "aux"), (lambda a, b: {"x": {"y": b}}, "x.y")]
)
def test_a_named_output_is_compiled_without_a_break(form: Callable[..., Any], key: str) -> None:
    module = Model(Lambda(form), output=key).module
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert same(compiled(pixels()), 2 * pixels().mean(dim=(2, 3)))


def test_transformers_define_their_logits_as_an_object_and_as_a_tuple() -> None:
    module: Any = small_classifier()
    expected = module(pixels(64)).logits
    assert same(logits(Model(module), 64), expected)
    module.config.return_dict = False
    module.config.output_hidden_states = True
    assert type(module(pixels(64))) is tuple
    assert same(logits(Model(module), 64), expected)


def test_a_directory_of_transformers_may_ask_for_tuples() -> None:
    module: Any = small_classifier()
    expected = module(pixels(64)).logits
    save_classifier("net")
    config = Path("net/config.json")
    config.write_text(config.read_text().replace("{", '{\n  "return_dict": false,', 1))
    loaded = load_model("hf:net")
    output = loaded.module(pixels(64))
    assert isinstance(output, tuple)
    assert same(logits_of(output, loaded.module), expected)
    assert logits(loaded, 64).shape == (4, 3)


def test_a_backbone_of_transformers_has_no_logits() -> None:
    import transformers

    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    module: Any = transformers.ResNetModel(config)
    with pytest.raises(ModelError, match=r"last_hidden_state .*, pooler_output .*none of them is what a classifier"):
        logits(Model(module), 64)


def test_auxiliary_classifiers_of_torchvision_are_left_out() -> None:
    module: Any = models.googlenet(num_classes=3, init_weights=False, aux_logits=True).train()
    module.dropout = torch.nn.Identity()
    with torch.no_grad():
        output: Any = module(pixels(64))
    assert output._fields == ("logits", "aux_logits2", "aux_logits1")
    assert logits_of(output, module) is output.logits


def test_detectors_and_segmentation_are_refused() -> None:
    segmentation = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    with pytest.raises(ModelError, match=r"OrderedDict of out \[4, 3, 32, 32\] .*none of them is what a classifier"):
        logits(Model(segmentation), 32)
    boxes = Lambda(lambda a, b: [{"boxes": torch.zeros(2, 4), "scores": torch.zeros(2)} for _ in a])
    with pytest.raises(ModelError, match=r"a list of 0\.boxes \[2, 4\], 0\.scores \[2\], .*none of them is what"):
        logits(Model(boxes))


# ------------------------------------------------------------------------------------------- specs


NETS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.age, self.sex = torch.nn.Linear(3, 4), torch.nn.Linear(3, 2)

    def forward(self, images):
        features = images.mean(dim=(2, 3))
        return {"heads": {"age": self.age(features), "sex": self.sex(features)}, "features": features}
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a network of two heads, whose weights and code are in files."""
    Path("two_heads.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "two_heads", raising=False)
    module = importlib.import_module("two_heads").Net()
    torch.save(module.state_dict(), "net.pt")
    for name in ("two_heads.py", "net.pt"):
        age(Path(name))
    return module


def test_a_spec_names_the_output(net: Any) -> None:
    expected: Mapping[str, torch.Tensor] = net(pixels())["heads"]
    for key, name in (("age", "heads.age"), ("sex", "heads.sex")):
        for spec in (
            f"checkpoint:net.pt?arch=python:two_heads:Net&output={name}",
            f"checkpoint:net.pt?arch=python:two_heads:Net?output={name}",
        ):
            loaded = load_model(spec)
            assert same(logits(loaded), expected[key])
            assert (loaded.name, loaded.output) == ("net", name)
    assert load_model("python:two_heads:Net?output=heads.age").output == "heads.age"
    with pytest.raises(ModelError, match=r"output=heads\.age or output=heads\.sex or output=features$"):
        logits(load_model("checkpoint:net.pt?arch=python:two_heads:Net"))


def test_a_known_model_keeps_its_output(net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Store(tmp_path / "store").facts
    fingerprints = set()
    for name in ("heads.age", "heads.sex"):
        spec = f"checkpoint:net.pt?arch=python:two_heads:Net&output={name}"
        monkeypatch.delitem(sys.modules, "two_heads", raising=False)
        loaded = model_of_spec(spec, tmp_path, facts)
        expected = loaded.fingerprint, name
        monkeypatch.delitem(sys.modules, "two_heads", raising=False)
        deferred = model_of_spec(spec, tmp_path, facts)
        assert isinstance(deferred, DeferredModel)
        assert (deferred.fingerprint, deferred.output) == expected
        assert same(logits(deferred), logits(loaded))
        sent = pickle.loads(pickle.dumps(deferred))
        assert (sent.fingerprint, sent.output) == expected
        assert same(logits(sent), logits(loaded))
        fingerprints.add(expected)
    assert len(fingerprints) == 2


# ------------------------------------------------------------------------------------------- programs


class Pair(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = images.mean(dim=(2, 3))
        return means[:, :2], means


class Named(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        means = images.mean(dim=(2, 3))
        return {"scores": means, "features": 2 * means}


class Clear(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        means = images.mean(dim=(2, 3))
        return {"features": 2 * means, "logits": means}


def save(kind: str, module: torch.nn.Module) -> str:
    """Save a program; return the start of its spec."""
    if kind == "torchscript":
        script(module, "net.pt")
        return "torchscript:net.pt?"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = {"images": {0: torch.export.Dim("batch")}}
        torch.export.save(torch.export.export(module, (pixels(),), dynamic_shapes=batch), "net.pt2")
    return "export:net.pt2?"


@pytest.mark.parametrize("trust", ["", "&trust=1"])
@pytest.mark.parametrize("kind", ["torchscript", "export"])
def test_programs_of_several_outputs(kind: str, trust: str) -> None:
    means = pixels().mean(dim=(2, 3))
    spec = save(kind, Pair())
    assert same(logits(load_model(f"{spec}output=1{trust}")), means)
    assert logits(load_model(f"{spec}output=0{trust}")).shape == (4, 2)
    assert load_model(f"{spec}output=0{trust}").fingerprint != load_model(f"{spec}output=1{trust}").fingerprint
    # torch.export and TorchScript may return a list or a tuple for either.
    with pytest.raises(ModelError, match=r"of 0 \[4, 2\], 1 \[4, 3\] for 4 images; .*: output=0 or output=1$"):
        logits(load_model(f"{spec}name=net{trust}"))
    with pytest.raises(ModelError, match=r"program returned .*, without an entry '2'; .*Valid: 0, 1$"):
        logits(load_model(f"{spec}output=2{trust}"))


@pytest.mark.parametrize("kind", ["torchscript", "export"])
def test_programs_whose_outputs_have_names(kind: str) -> None:
    means = pixels().mean(dim=(2, 3))
    spec = save(kind, Named())
    model = load_model(f"{spec}output=scores")
    assert same(logits(model), means)
    assert same(logits(copy.deepcopy(model)), means)
    assert same(logits(pickle.loads(pickle.dumps(model))), means)
    with pytest.raises(ModelError, match=r"scores \[4, 3\].* name the one that is the logits: output="):
        logits(load_model(spec.rstrip("?")))
    assert same(logits(load_model(save(kind, Clear()).rstrip("?"))), means)
