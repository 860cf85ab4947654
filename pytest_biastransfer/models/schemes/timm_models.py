"""``timm:NAME?checkpoint=FILE``: a model of timm, preprocessed according to its data config."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.preprocess import Preprocess
from pytest_biastransfer.models.resizing import ResizeMode
from pytest_biastransfer.models.safe_loading.state_loading import load_checkpoint
from pytest_biastransfer.models.safe_loading.weights_file import weights_file, without_weights_file
from pytest_biastransfer.models.scheme import Architectures, NotRecognizableError, Scheme, Sources, drawn_at_random
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs import hub
from pytest_biastransfer.specs.spec import Spec

_KEYS: Final = (*SHARED_KEYS, "checkpoint", "num_classes", "in_chans", "pretrained", "entry", "prefix", *hub.KEYS)
_HUB_FILE: Final = "model.safetensors"
# The entries in which timm's create_model looks for weights, in its order: averaged weights come first.
_ENTRIES: Final = ("state_dict_ema", "model_ema", "state_dict", "model")


def _load(spec: Spec, architectures: Architectures) -> Model:
    model = _architecture(spec)
    file = spec.query.get("checkpoint")
    if file is None and not spec.switch("pretrained"):
        without_weights_file(spec, "add &checkpoint=FILE")
        return model
    if file is not None:
        path, name = spec.path(file), spec.path(file).stem
    else:
        snapshot = _snapshot(spec, model.module)
        path, name = snapshot.directory / _HUB_FILE, f"{spec.rest}{snapshot.revision}"
    load_checkpoint(model.module, weights_file(spec, path), spec.query.get("entry"), spec.query.get("prefix"), _ENTRIES)
    return dataclasses.replace(model, name=name)


def _architecture(spec: Spec) -> Model:
    spec.check_keys(_KEYS)
    timm = need("timm", "timm", f"spec {spec.text!r}")
    if not timm.is_model(spec.rest):
        raise ModelError(
            f"spec {spec.text!r}: timm {timm.__version__} has no model {spec.rest!r}; "
            f"{nearest(spec.rest, timm.list_models())}"
        )
    options = {key: value for key in ("num_classes", "in_chans") if (value := spec.number(key)) is not None}
    module = timm.create_model(spec.rest, pretrained=False, **options)
    preprocess = _preprocess(spec, timm.data.resolve_model_data_config(module))
    return Model(module, preprocess=preprocess, name=spec.rest, class_order="natural")


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    if "checkpoint" in spec.query:
        return Sources((spec.path(spec.query["checkpoint"]),))
    if spec.switch("pretrained"):
        raise NotRecognizableError(
            "timm finds its weights only after it has built the model; name their file with &checkpoint=FILE"
        )
    raise drawn_at_random()


def _preprocess(spec: Spec, config: dict[str, Any]) -> Preprocess:
    """Return the preprocessing of timm's own evaluation transform."""
    height, width = config["input_size"][-2:]
    # timm rounds down.
    resize = int(height / config["crop_pct"]), int(width / config["crop_pct"])
    modes: dict[str, ResizeMode] = {"center": "shortest", "squash": "exact", "border": "longest"}
    crop_mode = config["crop_mode"]
    if crop_mode not in modes:
        raise ModelError(f"spec {spec.text!r}: {spec.rest} has crop_mode {crop_mode!r}, expected one of {list(modes)}")
    mode = modes[crop_mode]
    square = mode == "shortest" and resize[0] == resize[1]
    return Preprocess(
        resize=resize[0] if square else resize,
        resize_mode=mode,
        crop=(height, width),
        fill=config["mean"] if mode == "longest" else 0.0,
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        # timm's own validation opens pictures as gray for such a model.
        channels=1 if spec.number("in_chans") == 1 or config["input_size"][0] == 1 else None,
    )


def _snapshot(spec: Spec, module: Any) -> hub.Snapshot:
    config = module.pretrained_cfg
    if not config.get("hf_hub_id"):
        raise ModelError(
            f"spec {spec.text!r}: timm has no weights of {spec.rest} on the hub; name a file: &checkpoint=FILE"
        )
    return hub.snapshot(spec, extra="timm", patterns=[_HUB_FILE], repo=config["hf_hub_id"], kind="model")


SCHEME: Final = Scheme(_load, _sources_of, _architecture)
