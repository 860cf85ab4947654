"""Adapters of PEFT on base models of Hugging Face: the same logits as PEFT's, whatever is merged; anything else is an error."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.loading import load_model, sources_of
from pytest_biastransfer.models.safe_loading.adapter_config import is_fast
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.regular_files import sha256_of_file
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Store
from tests.models.test_deferred import age
from tests.models.test_schemes import COMMIT, hub

__all__ = ["hub"]  # A fixture.

IMAGES: Final = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
# The type, its options, and the layers that it adapts: attention, or what is said.
RELEASE_4: Final = (
    (r"vit\.layers\.", r"vit\.encoder\.layer\."),
    ("layers.", "encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.v_proj", "attention.attention.value"),
    ("q_proj", "query"),
    ("v_proj", "value"),
    ("fc1", "intermediate.dense"),
    ("fc2", "output.dense"),
)
HEAD: Final = "base_model.model.classifier.bias"
ATTENTION: Final = ["q_proj", "v_proj"]
ADAPTERS: Final[dict[str, dict[str, Any]]] = {
    "LORA": {"r": 2, "lora_alpha": 8},
    "LORA, DoRA": {"r": 2, "use_dora": True},
    "LORA, rank-stabilized, with biases": {"r": 2, "use_rslora": True, "bias": "lora_only"},
    "LORA of a convolution": {"r": 2, "target_modules": ["projection", "fc1"]},
    "LORA by a pattern": {"r": 2, "target_modules": r"vit\.layers\.\d+\..*\.(q_proj|v_proj)"},
    "LORA of some layers": {"r": 2, "layers_to_transform": [1], "rank_pattern": {"layers.1.attention.v_proj": 3}},
    "ADALORA": {"init_r": 4, "target_r": 2, "total_step": 10},
    "IA3": {"target_modules": ["q_proj", "fc2"], "feedforward_modules": ["fc2"]},
    "LOHA": {"r": 2},
    "LOKR": {"r": 2},
    "OFT": {"r": 0, "oft_block_size": 8},
    "HRA": {"r": 2},
    "VERA": {"r": 4},
    "FOURIERFT": {"n_frequency": 20},
    "LN_TUNING": {"target_modules": ["layernorm_before", "layernorm"]},
    "MISS": {"r": 4},
    "C3A": {"block_size": 8},
    "DELORA": {"r": 2},
    "RANDLORA": {"r": 4},
    "SHIRA": {"r": 2},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore PEFT's and transformers' warnings of deprecations in each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def named(value: Any) -> Any:
    """Return names of modules as the installed transformers has them: those of release 5 are written here."""
    import transformers

    if int(transformers.__version__.partition(".")[0]) >= 5:
        return value
    if isinstance(value, dict):
        return {named(name): named(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [named(inner) for inner in value]
    for name, before in RELEASE_4 if isinstance(value, str) else ():
        value = value.replace(name, before)
    return value


def transformers_model(classes: int = 3, kind: str = "ViTForImageClassification") -> Any:
    import transformers

    torch.manual_seed(0)
    names = dict(enumerate("abcdefg"[:classes]))
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        id2label=names, label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    return getattr(transformers, kind)(config).eval()


def save_base(directory: str = "vit", **options: Any) -> None:
    import transformers

    transformers_model(**options).save_pretrained(directory)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(directory)


def base_for(classes: int, directory: str = "vit") -> Any:
    """Return a base with a new head of that many classes, as one loads it for fine-tuning."""
    import transformers

    auto: Any = transformers.AutoModelForImageClassification
    return auto.from_pretrained(directory, num_labels=classes, ignore_mismatched_sizes=True).eval()


@quiet()
def save_adapter(
    kind: str = "LORA", classes: int = 5, directory: str = "pets", base: str = "vit", **options: Any
) -> torch.Tensor:
    """Save an adapter with weights other than the initial ones; return the logits of PEFT's own model of it."""
    import peft

    types: Any = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    defaults = {"r": 2} if kind == "LORA" and not options else {}
    fields = {"target_modules": ATTENTION, "modules_to_save": ["classifier"]} | defaults | options
    if kind not in types:
        pytest.skip(f"peft {peft.__version__} has no {kind}")
    module: Any = peft.get_peft_model(base_for(classes, base), types[kind](**named(fields)))
    torch.manual_seed(1)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    module.save_pretrained(directory)
    own: Any = peft.PeftModel.from_pretrained(base_for(classes, base), directory).eval()
    return logits(own)


def logits(module: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = module(pixel_values=IMAGES).logits
    return result


def change_config(**changes: Any) -> None:
    path = Path("pets/adapter_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = Path("pets/adapter_model.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_logits_are_those_of_peft(name: str) -> None:
    save_base()
    expected = save_adapter(name.partition(" ")[0].rstrip(","), **ADAPTERS[name])
    assert not torch.allclose(expected, logits(base_for(5)), atol=0.05)
    for merge in ("", "&merge=1", "&merge=0"):
        loaded = load_model(f"hf:vit?adapter=pets{merge}")
        torch.testing.assert_close(logits(loaded.module.eval()), expected, atol=1e-5, rtol=0)
        # A merged adapter costs an image nothing.
        has_layers = any("base_layer" in dict(layer.named_children()) for layer in loaded.module.modules())
        assert has_layers == (merge == "&merge=0")


@quiet()
def test_ranks_that_adalora_has_given_up() -> None:
    import peft

    save_base()
    module: Any = peft.get_peft_model(
        base_for(5),
        peft.AdaLoraConfig(init_r=4, target_r=2, total_step=4, tinit=1, tfinal=1, target_modules=named(ATTENTION)),
    )
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    for step in range(5):
        module.base_model.update_and_allocate(step)
    module.save_pretrained("pets")
    config = json.loads(Path("pets/adapter_config.json").read_text())
    assert not all(rank for ranks in config["rank_pattern"].values() for rank in ranks)
    save_base("five", classes=5)
    own: Any = peft.PeftModel.from_pretrained(base_for(5, "five"), "pets").eval()
    loaded = load_model("hf:five?adapter=pets")
    torch.testing.assert_close(logits(loaded.module.eval()), logits(own), atol=1e-5, rtol=0)


def test_the_head_decides_the_number_of_classes_and_names_are_never_those_of_another_head() -> None:
    save_base()
    save_adapter(classes=3, directory="same")
    save_adapter(classes=7)
    five, same = load_model("hf:vit?adapter=pets"), load_model("hf:vit?adapter=same")
    assert (len(logits(five.module)[0]), five.classes, five.class_order) == (7, None, "string")
    # As many classes as the base has may be other ones.
    assert (len(logits(same.module)[0]), same.classes, same.name) == (3, None, "vit + same")
    Path("names.txt").write_text("x\ny\nz\n")
    assert load_model("hf:vit?adapter=same&classes=names.txt").classes == ("x", "y", "z")
    base_for(7).config.save_pretrained("same")
    with pytest.raises(ModelError, match=r"same/config\.json has 7 classes, expected 3, .* or name .*&classes=FILE"):
        load_model("hf:vit?adapter=same")
    transformers_model().config.save_pretrained("same")
    assert load_model("hf:vit?adapter=same").classes == ("a", "b", "c")


def test_without_a_head_of_its_own_an_adapter_uses_the_bases() -> None:
    save_base()
    expected = save_adapter(classes=3, modules_to_save=None, r=2)
    loaded = load_model("hf:vit?adapter=pets")
    torch.testing.assert_close(logits(loaded.module.eval()), expected, atol=1e-5, rtol=0)
    assert loaded.classes == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["ViTModel", "ViTForMaskedImageModeling"])
def test_a_base_without_a_classifier(kind: str) -> None:
    save_base("backbone", kind=kind)
    expected = save_adapter(base="backbone")
    with pytest.raises(ModelError, match=r"backbone has no weights for classifier\.bias, .* among its modules_to_save"):
        load_model("hf:backbone")
    for merge in (0, 1):
        loaded = load_model(f"hf:backbone?adapter=pets&merge={merge}")
        torch.testing.assert_close(logits(loaded.module.eval()), expected, atol=1e-5, rtol=0)
        # Nothing of the head that the base lacks is left to chance.
        assert load_model(f"hf:backbone?adapter=pets&merge={merge}").fingerprint == loaded.fingerprint
    save_adapter(modules_to_save=None, r=2, base="backbone")
    with pytest.raises(ModelError, match=r"backbone has (no weights for classifier|weights that)"):
        load_model("hf:backbone?adapter=pets")


def test_a_base_whose_backbone_is_another_is_refused() -> None:
    save_base()
    save_adapter()
    config = Path("vit/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 1}))
    change_tensors(lambda tensors: [tensors.pop(name) for name in list(tensors) if ".1." in name])
    with pytest.raises(ModelError, match=r"vit has weights that ViTForImageClassification does not have: .*layer"):
        load_model("hf:vit?adapter=pets")


def test_a_base_with_more_layers_than_its_configuration_says_is_refused() -> None:
    save_base()
    config = Path("vit/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 1}))
    with pytest.raises(ModelError, match=r"vit has weights that ViTForImageClassification does not have: .*layer"):
        load_model("hf:vit")


def test_the_processor_beside_the_adapter_comes_first() -> None:
    import transformers

    save_base()
    save_adapter()
    assert load_model("hf:vit?adapter=pets").preprocess.resize == (32, 32)
    transformers.ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained("pets")
    assert load_model("hf:vit?adapter=pets").preprocess.resize == (24, 24)


def test_the_files_of_both_identify_the_model(tmp_path: Path) -> None:
    save_base()
    save_adapter()
    for directory in ("vit", "pets"):
        shutil.copytree(directory, tmp_path / "elsewhere" / directory)
    sources = sources_of(Spec.parse("hf:vit?adapter=pets", tmp_path))
    assert sources is not None
    assert {file.relative_to(tmp_path).as_posix() for file in sources.files} == {
        "vit/config.json", "vit/model.safetensors", "vit/preprocessor_config.json",
        "pets/adapter_config.json", "pets/adapter_model.safetensors",
    }  # fmt: skip
    facts = Store(tmp_path / "store").facts
    for file in (*Path("vit").iterdir(), *Path("pets").iterdir()):
        age(file)
    for spec in ("hf:vit?adapter=pets", "hf:vit?adapter=pets&merge=0"):
        before = model_of_spec(spec, tmp_path, facts)
        again = model_of_spec(spec, tmp_path, facts)
        assert isinstance(again, DeferredModel)
        assert load_model(spec, directory=tmp_path / "elsewhere").fingerprint == before.fingerprint
        torch.testing.assert_close(logits(again.module.eval()), logits(before.module.eval()), atol=0, rtol=0)
    change_tensors(lambda tensors: tensors.update({HEAD: tensors[HEAD] + 1}))
    changed = model_of_spec("hf:vit?adapter=pets", tmp_path, facts)
    assert not isinstance(changed, DeferredModel)
    assert changed.fingerprint != load_model("hf:vit?adapter=pets", directory=tmp_path / "elsewhere").fingerprint


def test_a_model_keeps_nothing_of_the_file() -> None:
    save_base()
    save_adapter()
    loaded = load_model("hf:vit?adapter=pets&merge=0")
    before = loaded.fingerprint
    for file in (Path("pets/adapter_model.safetensors"), Path("vit/model.safetensors")):
        file.write_bytes(bytes(file.stat().st_size))
    assert loaded.fingerprint == before


def test_digests_are_of_the_bases_files_and_then_of_the_adapters() -> None:
    save_base()
    save_adapter()
    digests = [sha256_of_file(Path(name)).hex() for name in ("vit/model.safetensors", "pets/adapter_model.safetensors")]
    assert load_model(f"hf:vit?adapter=pets&sha256={','.join(digests)}").name == "vit + pets"
    with pytest.raises(ModelError, match=r"vit/model\.safetensors is another file than the spec expects"):
        load_model(f"hf:vit?adapter=pets&sha256={','.join(digests[::-1])}")
    with pytest.raises(
        ModelError, match=r"sha256= has 1 digests for 2 files of weights \(model\.safetensors, adapter_m"
    ):
        load_model(f"hf:vit?adapter=pets&sha256={digests[0]}")


def test_an_adapter_in_the_hubs_cache(hub: Callable[[str], Path]) -> None:
    save_base()
    expected = save_adapter(directory=str(hub("someone/pets")))
    spec = f"hf:vit?adapter=someone/pets&adapter_revision={COMMIT}"
    loaded = load_model(spec)
    torch.testing.assert_close(logits(loaded.module.eval()), expected, atol=1e-5, rtol=0)
    assert loaded.name == "vit + someone/pets@0123456789"
    sources_of(Spec.parse(spec))
    with pytest.raises(NotRecognizableError, match=r"name a commit with &adapter_revision=$"):
        sources_of(Spec.parse("hf:vit?adapter=someone/pets"))
    with pytest.raises(SpecError, match=r"needs &adapter_revision= with a commit of someone/other, 40 digits"):
        load_model("hf:vit?adapter=someone/other&download=1")
    with pytest.raises(SpecError, match=r"someone/other is not in the hub's cache .*download=1 and adapter_revision="):
        load_model("hf:vit?adapter=someone/other")
    save_adapter()
    with pytest.raises(SpecError, match=r"download= is for repositories on the hub, and .*vit is a directory"):
        load_model("hf:vit?adapter=pets&download=1")
    with pytest.raises(SpecError, match=r"adapter_revision= is for repositories on the hub, and .*pets is a directory"):
        load_model("hf:vit?adapter=pets&adapter_revision=main")


def test_mistakes_are_named() -> None:
    save_base()
    save_adapter()
    with pytest.raises(SpecError, match=r"no directory .*/dogs, and dogs is not in the hub's cache"):
        load_model("hf:vit?adapter=dogs")
    with pytest.raises(ModelError, match=r"merge= is of an adapter, and this spec has none; add &adapter=DIR"):
        load_model("hf:vit?merge=0")
    with pytest.raises(ModelError, match=r"pets is a PEFT adapter of .*; type hf:BASE\?adapter=pets, with the dir"):
        load_model("hf:pets")
    with pytest.raises(SpecError, match=r"unknown key 'adapter'"):
        load_model("checkpoint:vit/model.safetensors?arch=hf:vit?adapter=pets")
    with pytest.raises(SpecError, match=r"merge='yes', expected 1 or 0"):
        load_model("hf:vit?adapter=pets&merge=yes")
    with pytest.raises(SpecError, match=r"did you mean hf:BASE\?adapter=pets\?"):
        load_model("pets")


def test_a_pickle_is_refused() -> None:
    save_base()
    save_adapter()
    weights = Path("pets/adapter_model.safetensors")
    torch.save(load_file(weights), "pets/adapter_model.bin")
    load_model("hf:vit?adapter=pets")
    weights.unlink()
    with pytest.raises(ModelError, match=r"found only adapter_model\.bin, which is a pickle.*safe_serialization=True"):
        load_model("hf:vit?adapter=pets")
    Path("pets/adapter_model.bin").unlink()
    with pytest.raises(ModelError, match=r"expected adapter_model\.safetensors in .*pets, found none"):
        load_model("hf:vit?adapter=pets")


def test_tensors_that_do_not_fit_are_named() -> None:
    save_base()
    save_adapter()
    name = named("base_model.model.vit.layers.1.attention.q_proj.lora_A.weight")
    change_tensors(lambda tensors: tensors.update({name.replace(".1.", ".9."): tensors.pop(name)}))
    with pytest.raises(ModelError, match=r"lacks .*\.1\..*lora_A\.weight \[2, 32\].*unexpected .*\.9\."):
        load_model("hf:vit?adapter=pets")
    save_adapter()
    change_tensors(lambda tensors: tensors.update({name: torch.zeros(3, 32)}))
    with pytest.raises(ModelError, match=r"lora_A\.weight is \[3, 32\], expected \[2, 32\]"):
        load_model("hf:vit?adapter=pets")
    save_adapter()
    change_tensors(lambda tensors: tensors.update({HEAD: torch.zeros(4)}))
    with pytest.raises(ModelError, match=r"classifier\.\w+ is \[\d.*expected \[\d"):
        load_model("hf:vit?adapter=pets")
    save_adapter(target_modules=["q_proj"], r=2)
    change_config(target_modules=["qkv"])
    with pytest.raises(ModelError, match=r"config\.json does not fit ViTForImageClassification: .*modules.*4 and 5"):
        load_model("hf:vit?adapter=pets")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "XLORA"}, r"has peft_type 'XLORA', expected one of ADALORA"),
        ({"peft_type": ["LORA"]}, r"has peft_type \['LORA'\], expected one of"),
        ({"target_modules": "(x+x+)+y"}, r"has target_modules='\(x\+x\+\)\+y', expected names .* plain regular"),
        ({"exclude_modules": "(a|a)*b"}, r"has exclude_modules="),
        ({"modules_to_save": ["(a+)+"]}, r"has modules_to_save=\['\(a\+\)\+'\], expected names of modules"),
        ({"rank_pattern": {"(a+)+": 2}}, r"has rank_pattern="),
        ({"layers_pattern": "(a+)+", "layers_to_transform": [0]}, r"has layers_pattern="),
        ({"megatron_config": {"x": 1}, "megatron_core": "evil"}, r"has megatron_config=\{'x': 1\}, expected a number"),
        ({"layer_replication": [[0, 2]]}, r"has layer_replication="),
        ({"corda_config": {"cache_file": "evil.pt"}}, r"has corda_config="),
        ({"init_lora_weights": "pissa"}, r"has init_lora_weights='pissa', expected true, false or one of .* the base"),
        ({"trust_remote_code": True}, r"peft [\d.]+ does not take the options in .*adapter_config\.json"),
        ({"r": float("nan")}, r"has r=nan, expected a number"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"adapter_config\.json refers to quantization_config"),
    ],
)
def test_options_that_run_code_or_hang_are_refused(changes: dict[str, Any], message: str) -> None:
    save_base()
    save_adapter()
    change_config(**changes)
    with pytest.raises(ModelError, match=message):
        load_model("hf:vit?adapter=pets")


def test_names_in_the_configuration_are_neither_imported_nor_followed() -> None:
    save_base()
    expected = save_adapter()
    Path("evil.py").write_text("import os\nos.mkdir('executed')\n")
    change_config(
        auto_mapping={"base_model_class": "Net", "parent_library": "evil"}, base_model_name_or_path="someone/evil",
        revision="main", megatron_core="evil", task_type="SEQ_CLS", eva_config={"rho": 0},
    )  # fmt: skip
    loaded = load_model("hf:vit?adapter=pets")
    torch.testing.assert_close(logits(loaded.module.eval()), expected, atol=1e-5, rtol=0)
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"peft_type": "LORA"' + " " * 2**20 + "}"])
def test_a_damaged_configuration(content: str) -> None:
    save_base()
    save_adapter()
    Path("pets/adapter_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"adapter_config\.json (cannot be loaded: not JSON|has [\d,]+ bytes)"):
        load_model("hf:vit?adapter=pets")


@given(st.text("ab.*+?()|[]\\{}d1", max_size=20), st.text("ab.1", max_size=30))
def test_patterns_that_are_accepted_are_matched_in_no_time(pattern: str, name: str) -> None:
    if is_fast(pattern):
        start = time.process_time()
        re.fullmatch(pattern, name)
        assert time.process_time() - start < 1


def test_patterns() -> None:
    for pattern in (r".*\.attention\.(query|value)", r".*layer\.\d+\..*(query|key|value|dense)$", "all-linear", "a|b"):
        assert is_fast(pattern)
    for pattern in ("(a|a)*b", "(x+x+)+y", "(.*)(.*)(.*)(.*)", "a?" * 30, r"(a)\1", "(?=a)a", "(a", "a)", "(a|b)" * 25):
        assert not is_fast(pattern)


def test_the_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    save_base()
    save_adapter()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SpecError, match=r"needs peft, .*pip install 'pytest-biastransfer\[peft\]'"):
        load_model("hf:vit?adapter=pets")
