"""CLIP and SigLIP as classifiers: the library's own logits, texts embedded once and kept, and an error for anything else."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.loading import load_model, sources_of
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts, Store
from tests.models.test_deferred import age
from tests.models.test_schemes import COMMIT, hub, save_classifier
from tests.support.zero_shot_models import own_logits, save_clip, save_siglip

__all__ = ["hub"]  # A fixture.

IMAGES: Final = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES: Final = ["cat", "dog", "hot air balloon"]
SAVE: Final[dict[str, Callable[..., Any]]] = {"clip": save_clip, "siglip": save_siglip}
TEXT_TOWERS: Final = ("CLIPTextModelWithProjection", "SiglipTextModel")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("".join(f"{name}\n" for name in NAMES))


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many texts each call of a tower of texts embeds; 0 is for a tower that was built."""
    import transformers

    counts: list[int] = []
    for name in TEXT_TOWERS:
        kind = getattr(transformers, name)

        def counted(self: Any, *arguments: Any, _own: Any = kind.forward, **options: Any) -> Any:
            counts.append(len(options["input_ids"]))
            return _own(self, *arguments, **options)

        def built(self: Any, *arguments: Any, _own: Any = kind.__init__, **options: Any) -> None:
            counts.append(0)
            _own(self, *arguments, **options)

        monkeypatch.setattr(kind, "forward", counted)
        monkeypatch.setattr(kind, "__init__", built)
    return counts


def logits(module: torch.nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = module(images)
    return result


def aged(directory: str) -> None:
    for path in (*Path(directory).iterdir(), *Path().glob("*.txt")):
        age(path)


def facts() -> Facts:
    """Return the facts of a new session on the same store."""
    return Store(Path("store").absolute()).facts


@pytest.mark.parametrize("kind", SAVE)
def test_the_logits_are_those_of_the_library(kind: str) -> None:
    module = SAVE[kind]()
    model = load_model(f"zeroshot:{kind}?classes=names.txt")
    expected = own_logits(module, kind, [f"a photo of a {name}." for name in NAMES], IMAGES)
    assert expected.std() > 0.1
    assert (logits(model.module) - expected).abs().max() <= 1e-5
    assert (model.classes, model.name, model.outputs) == (tuple(NAMES), kind, "softmax")
    assert (model.preprocess.resize, model.preprocess.interpolation) == ((32, 32), "bicubic")
    assert not [name for name, _ in model.module.named_modules() if "text_model" in name]


@pytest.mark.parametrize("kind", SAVE)
def test_several_templates_are_averaged_as_embeddings_of_length_1(kind: str) -> None:
    module = SAVE[kind]()
    templates = ["a photo of a {}.", "art of the {}", "the {} in a game"]
    Path("templates.txt").write_text("\n".join(templates))
    Path("templates.json").write_text(json.dumps(templates))
    scale = module.logit_scale.exp().item()
    shift = module.logit_bias.item() if kind == "siglip" else 0.0
    model = load_model(f"zeroshot:{kind}?classes=names.txt&template=templates.txt")
    # By hand: the mean cosine over templates, divided by the length of the mean embedding.
    per_template = [
        (own_logits(module, kind, [template.replace("{}", name) for name in NAMES], IMAGES) - shift) / scale
        for template in templates
    ]
    lengths = mean_lengths(module, kind, templates)
    expected = torch.stack(per_template).mean(0) / lengths * scale + shift
    assert lengths.max() < 0.999, "the templates differ"
    assert (logits(model.module) - expected).abs().max() <= 1e-5
    in_json = load_model(f"zeroshot:{kind}?classes=names.txt&template=templates.json")
    assert torch.equal(logits(in_json.module), logits(model.module))


def mean_lengths(module: Any, kind: str, templates: list[str]) -> torch.Tensor:
    """Return the length of the mean over templates of each class's embeddings of length 1."""
    means = []
    for name in NAMES:
        texts = [template.replace("{}", name) for template in templates]
        output = library_output(module, kind, texts)
        means.append((output / output.norm(dim=-1, keepdim=True)).mean(0))
    lengths: torch.Tensor = torch.stack(means).norm(dim=-1)
    return lengths


def library_output(module: Any, kind: str, texts: list[str]) -> torch.Tensor:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(kind)
    length = module.config.text_config.max_position_embeddings
    tokens = tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        features = module.get_text_features(input_ids=tokens)
    # transformers 4 returns the tensor.
    output: torch.Tensor = getattr(features, "pooler_output", features)
    return output


def test_siglip_gets_texts_in_lower_case_as_it_was_trained() -> None:
    save_siglip()
    Path("upper.txt").write_text("".join(f"{name.upper()}\n" for name in NAMES))
    lower = load_model("zeroshot:siglip?classes=names.txt&template=a photo of a {}")
    upper = load_model("zeroshot:siglip?classes=upper.txt&template=A photo of a {}")
    assert torch.equal(logits(lower.module), logits(upper.module))


@pytest.mark.parametrize("kind", SAVE)
def test_texts_are_embedded_in_the_first_session_only(kind: str, embedded: list[int]) -> None:
    SAVE[kind]()
    aged(kind)
    embedded.clear()
    spec = f"zeroshot:{kind}?classes=names.txt&template=a {{}}"
    first = model_of_spec(spec, Path.cwd(), facts())
    assert not isinstance(first, DeferredModel)
    assert embedded == [0, 3]
    second = model_of_spec(spec, Path.cwd(), facts())
    assert isinstance(second, DeferredModel)
    assert not second.is_loaded
    assert (second.fingerprint, second.classes, second.preprocess) == (
        first.fingerprint,
        tuple(NAMES),
        first.preprocess,
    )
    # Another intervention needs the model: its images, and not its texts.
    assert torch.equal(logits(second.module), logits(first.module))
    assert embedded == [0, 3]


def test_a_thousand_classes_in_seven_templates_are_embedded_once(embedded: list[int]) -> None:
    save_clip()
    Path("names.txt").write_text("".join(f"thing {number}\n" for number in range(1000)))
    Path("templates.txt").write_text("".join(f"{word} {{}}.\n" for word in "abcdefg"))
    aged("clip")
    spec = "zeroshot:clip?classes=names.txt&template=templates.txt"
    model = load_model(spec, facts=facts())
    assert (sum(embedded), embedded.count(0)) == (7000, 1)
    again = load_model(spec, facts=facts())
    assert (sum(embedded), embedded.count(0)) == (7000, 1)
    assert logits(model.module).shape == (4, 1000)
    assert torch.equal(logits(model.module), logits(again.module))
    assert again.fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("names.txt").write_text("cat\ndog\nballoon\n"),
        lambda: Path("names.txt").write_text("dog\ncat\nhot air balloon\n"),
        lambda: Path("templates.txt").write_text("the {}\n"),
        lambda: save_clip(seed=1),
        lambda: Path("clip/tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer", "pad_token": "a"}'),
    ],
    ids=["a name", "the order of names", "a template", "the weights", "the tokenizer"],
)
def test_what_decides_about_the_texts_is_part_of_the_key(change: Callable[[], Any], embedded: list[int]) -> None:
    save_clip()
    Path("templates.txt").write_text("a {}\n")
    spec = "zeroshot:clip?classes=names.txt&template=templates.txt"
    first = load_model(spec, facts=facts()).fingerprint
    change()
    embedded.clear()
    assert load_model(spec, facts=facts()).fingerprint != first
    assert embedded == [0, 3]


def test_a_known_model_is_loaded_anew_if_names_or_templates_have_changed() -> None:
    save_clip()
    Path("templates.txt").write_text("a {}\n")
    aged("clip")
    spec = "zeroshot:clip?classes=names.txt&template=templates.txt"
    first = model_of_spec(spec, Path.cwd(), facts()).fingerprint
    for file, content in (("templates.txt", "the {}\n"), ("names.txt", "cat\ndog\nballoon\n")):
        Path(file).write_text(content)
        changed = model_of_spec(spec, Path.cwd(), facts())
        assert not isinstance(changed, DeferredModel)
        assert changed.fingerprint != first
        first = changed.fingerprint


def test_two_processes_embed_a_text_once() -> None:
    save_clip()
    code = """
import sys
from pathlib import Path
import transformers
from pytest_biastransfer import load_model
from pytest_biastransfer.store import Store

kind, calls = transformers.CLIPTextModelWithProjection, []
own = kind.forward
kind.forward = lambda self, *a, **options: calls.append(len(options["input_ids"])) or own(self, *a, **options)
model = load_model("zeroshot:clip?classes=names.txt", facts=Store(Path("store").absolute()).facts)
print(sum(calls), model.fingerprint)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].split() for process in processes]
    assert sorted(int(count) for count, _ in printed) == [0, 3]
    assert len({content for _, content in printed}) == 1


def test_the_fingerprint_depends_on_neither_the_store_nor_the_rounding_of_embeddings() -> None:
    save_clip()
    stored = load_model("zeroshot:clip?classes=names.txt", facts=facts())
    fresh = load_model("zeroshot:clip?classes=names.txt")
    shutil.copytree("clip", "elsewhere/clip")
    copied = load_model("zeroshot:elsewhere/clip?classes=names.txt")
    assert stored.fingerprint == fresh.fingerprint == copied.fingerprint
    fresh.module.texts.embeddings[0] += 1e-3  # type: ignore[union-attr, index, operator]
    assert fresh.fingerprint != stored.fingerprint


def test_a_damaged_entry_of_the_store_is_computed_again(embedded: list[int]) -> None:
    save_clip()
    spec = "zeroshot:clip?classes=names.txt"
    first = load_model(spec, facts=facts())
    (chunk,) = Path("store").rglob("texts/**/*.chunk")
    chunk.write_bytes(chunk.read_bytes()[:-8])
    embedded.clear()
    with pytest.warns(UserWarning, match=chunk.name):
        again = load_model(spec, facts=facts())
    assert embedded == [0, 3]
    assert torch.equal(logits(again.module), logits(first.module))


def test_sigmoids_are_declared() -> None:
    save_siglip()
    model = load_model("zeroshot:siglip?classes=names.txt&outputs=sigmoid&threshold=0.2")
    assert (model.outputs, model.threshold) == ("sigmoid", 0.2)


def test_weights_in_half_precision_are_computed_in_32_bits() -> None:
    module = save_clip()
    module.half().save_pretrained("clip")
    model = load_model("zeroshot:clip?classes=names.txt")
    expected = own_logits(module.float(), "clip", [f"a photo of a {name}." for name in NAMES], IMAGES)
    assert {tensor.dtype for tensor in (*model.module.parameters(), *model.module.buffers())} <= {
        torch.float32,
        torch.int64,
    }
    assert (logits(model.module) - expected).abs().max() <= 1e-5


def test_a_repository_of_the_hub_is_read_from_the_cache(hub: Callable[[str], Path]) -> None:
    snapshot = hub("someone/clip")
    save_clip(str(snapshot))
    spec = f"zeroshot:someone/clip?classes=names.txt&revision={COMMIT}"
    assert load_model(spec).name == "someone/clip@0123456789"
    sources = sources_of(Spec.parse(spec))
    assert sources is not None
    assert {"model.safetensors", "config.json", "vocab.json", "merges.txt", "tokenizer_config.json", "names.txt"} <= {
        path.name for path in sources.files
    }
    with pytest.raises(NotRecognizableError, match=r"name a commit with &revision=$"):
        sources_of(Spec.parse("zeroshot:someone/clip?classes=names.txt&revision=main"))


def test_sha256_is_checked_before_a_file_is_read() -> None:
    save_clip()
    digest = hashlib.sha256(Path("clip/model.safetensors").read_bytes()).hexdigest()
    load_model(f"zeroshot:clip?classes=names.txt&sha256={digest}")
    Path("clip/model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="nothing in it was read"):
        load_model(f"zeroshot:clip?classes=names.txt&sha256={digest}")


def changed_config(**changes: Any) -> None:
    changed_json("clip/config.json", **changes)


def changed_json(path: str, **changes: Any) -> None:
    content = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**content, **changes}))


def changed_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = {name: tensor.clone() for name, tensor in load_file("clip/model.safetensors").items()}
    change(state)
    save_file(state, "clip/model.safetensors", metadata={"format": "pt"})


def remove(*names: str) -> None:
    for name in names:
        Path("clip", name).unlink()


def text_config(**changes: Any) -> dict[str, Any]:
    return {**json.loads(Path("clip/config.json").read_text())["text_config"], **changes}


def with_a_smaller_vocabulary(count: int) -> None:
    name = "text_model.embeddings.token_embedding.weight"
    changed_weights(lambda state: state.update({name: state[name][:count].clone()}))
    changed_config(text_config=text_config(vocab_size=count))


MISTAKES: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "no weights": (lambda: Path("clip/model.safetensors").unlink(), r"clip has no model\.safetensors"),
    "a tensor of the images is missing": (
        lambda: changed_weights(lambda state: state.pop("visual_projection.weight")),
        r"not those of a CLIPVisionModelWithProjection .*no visual_projection\.weight",
    ),
    "a tensor of the texts is missing": (
        lambda: changed_weights(lambda state: state.pop("text_projection.weight")),
        r"not those of a CLIPTextModelWithProjection .*no text_projection\.weight",
    ),
    "a tensor of another shape": (
        lambda: changed_weights(lambda state: state.update({"text_projection.weight": torch.zeros(24, 8)})),
        r"text_projection\.weight \[24, 8\], expected \[24, 32\]",
    ),
    "a tensor too many": (
        lambda: changed_weights(lambda state: state.update({"classifier.weight": torch.zeros(3)})),
        r"classifier\.weight, which it does not have",
    ),
    "no scale": (
        lambda: changed_weights(lambda state: state.pop("logit_scale")),
        r"expected logit_scale with one element, found none",
    ),
    "a reference to code": (
        lambda: changed_json("clip/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}),
        r"tokenizer_config\.json refers to auto_map=",
    ),
    "a vocabulary elsewhere": (
        lambda: changed_json("clip/tokenizer_config.json", vocab_file="/etc/passwd"),
        r"refers to vocab_file='/etc/passwd', which is not loaded",
    ),
    "a tokenizer of another class": (
        lambda: changed_json("clip/tokenizer_config.json", tokenizer_class="TransfoXLTokenizer"),
        r"tokenizer_class='TransfoXLTokenizer', expected one of CLIPTokenizer",
    ),
    "a damaged tokenizer": (lambda: Path("clip/vocab.json").write_text("{"), r"clip cannot be loaded"),
    "a damaged configuration of it": (
        lambda: Path("clip/tokenizer_config.json").write_text("{"),
        r"tokenizer_config\.json cannot be loaded: not JSON",
    ),
    "no tokenizer": (lambda: remove("merges.txt"), r"clip has no tokenizer\.json, .* save the tokenizer"),
    "a larger vocabulary": (
        lambda: with_a_smaller_vocabulary(40),
        r"has the token \d+, and the model has 40",
    ),
    "another end": (
        lambda: changed_config(text_config=text_config(eos_token_id=5)),
        r"ends a text without the token 5, which config\.json names as eos_token_id",
    ),
    "no processor": (lambda: Path("clip/preprocessor_config.json").unlink(), r"declare the preprocessing"),
    "too long a name": (
        lambda: Path("names.txt").write_text("cat\n" + 60 * "x"),
        r"the text 'a photo of a x+\.' has \d+ tokens, expected 48 at most",
    ),
    "no name": (lambda: Path("names.txt").write_text("\n"), r"names\.txt: expected one name a line"),
    "no file of names": (lambda: Path("names.txt").unlink(), r"names\.txt: No such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file_is_a_clear_error(mistake: str) -> None:
    save_clip()
    change, message = MISTAKES[mistake]
    change()
    with pytest.raises(ModelError, match=message):
        load_model("zeroshot:clip?classes=names.txt")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", r"add &classes=FILE"),
        ("classes=names.txt&templates=a {}", r"unknown key 'templates'.*template"),
        ("classes=names.txt&template=a {} of {}", r"template='a \{\} of \{\}', expected a text with one \{\}"),
        ("classes=names.txt&template=a {c}", r"template='a \{c\}', expected a text with one \{\}"),
        ("classes=names.txt&template=a photo", r"templates .*a photo: No such file.*a text with one \{\}"),
        ("classes=names.txt&template=bad.txt", r"templates .*bad\.txt: 'the dog', expected a text with one \{\}"),
        ("classes=names.txt&revision=main", r"revision= is for repositories on the hub"),
    ],
)
def test_a_mistake_in_a_spec_is_a_clear_error(query: str, message: str) -> None:
    Path("clip").mkdir()
    Path("bad.txt").write_text("the {}\nthe dog\n")
    with pytest.raises((ModelError, SpecError), match=message):
        load_model(f"zeroshot:clip?{query}" if query else "zeroshot:clip")


def test_another_model_is_named_with_the_scheme_that_loads_it() -> None:
    save_classifier("pets")
    with pytest.raises(
        ModelError, match=r"expected a CLIPModel or a SiglipModel .*an image classifier is loaded by hf:"
    ):
        load_model("zeroshot:pets?classes=names.txt")
    with pytest.raises(SpecError, match=r"arch= needs a module with named weights, which zeroshot: is not"):
        load_model("checkpoint:pets/model.safetensors?arch=zeroshot:pets")
