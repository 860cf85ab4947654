"""The options and ini values of the plugin, as pytest declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from pytest_biastransfer.errors import nearest
from pytest_biastransfer.names import (
    CONTROL_FIXTURE,
    DATASET_FIXTURE,
    FINETUNING_FIXTURE,
    MODEL_FIXTURE,
    SOURCE_FIXTURE,
)
from pytest_biastransfer.reporting.render import RENDERERS

MODEL_FIXTURES: Final = (SOURCE_FIXTURE, MODEL_FIXTURE, CONTROL_FIXTURE)
DATASET_FIXTURES: Final = {DATASET_FIXTURE: "imagefolder:data/val", FINETUNING_FIXTURE: "imagefolder:data/train"}

# Options with a value; their ini values have the same names. Each has the word for its value, and its help.
_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "device": (
        "DEVICE",
        "the device that models run on: auto (default; CUDA if available, else Apple's GPU, else the CPU), cpu, mps, "
        "cuda, cuda:1",
    ),
    "batch_size": ("N", "images per forward pass (default: depends on the device; halved if memory does not suffice)"),
    "max_images": ("N", "measure on a fixed random sample of N images of each dataset (default: all)"),
    "store": (
        "DIR|URL",
        "the directory of the prediction store (default: in pytest's cache directory), or the URL of one that machines "
        "share, such as s3://bucket/bias-store",
    ),
    "workers_per_gpu": ("N", "the number of pytest-xdist workers that -n auto starts for each GPU (default: 1)"),
    "baseline": (
        "FILE",
        "the file of accepted measurements (default: bias-baseline.json in the root directory, or above the tests)",
    ),
    "compare": (
        "MODE",
        "what a regression from the baseline does: fail (default), warn or off; with require, a test without "
        "an accepted measurement fails, too",
    ),
    "images": ("MODE", "the tests whose flipped images a report shows: failed (default), all or none"),
    "verify": (
        "HOW",
        "the number of stored predictions to verify where a model is loaded anyway: auto (default; 16), off, a number "
        "of images, or all, which loads every model (for nightly jobs)",
    ),
    "executor": (
        "WHERE",
        "what computes predictions: local (default; this process), ray, or a cluster such as ray://host:10001",
    ),
    "early_stop": ("ALPHA", "stop once the verdict is known, with this probability of a wrong verdict (default: 0.01)"),
}
# Options with an optional value, and the value if it is omitted.
_BARE: Final = {"early_stop": "0.01"}
_INI_ONLY: Final[Mapping[str, str]] = {
    "pixel_cache": "the maximum disk space for decoded pixels, such as 500MB (default: 4GB; 0 disables the cache)",
    "device_cache": "the maximum memory of a GPU for decoded pixels, such as 8GB (default: a third of what is free, "
    "divided by the workers that use it; 0 keeps none there)",
    "order_seed": "a whole number that decides which images are visited first, and are in a sample (default: 0)",
    "precision": "the precision that models compute with: float32 (default), tf32 or bf16",
    "compile": "whether models are compiled with torch.compile: off (default) or on",
    "transfer": "how to make the fixture transferred_model from source_model and bias_finetuning_dataset, such as "
    "fixed-feature, or full-network?epochs=5&learning_rate=0.01",
    "store_key": "the environment variable with the secret that seals the store, such as BIAS_STORE_KEY",
    "alpha": "the probability of a false alarm, over all comparisons of a session (default: 0.01)",
    "alpha_over_time": "the probability of a false alarm over all runs on new images, such as 0.05 (default: each run "
    "is judged alone)",
    "correction": "how p-values are corrected for their number: holm (Tarone and Holm, default), fdr or none",
}

PICTURE_FORMATS: Final = "bias_picture_formats"


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini values."""
    group = parser.getgroup("biastransfer", "bias tests of transferred models")
    for name, (metavar, text) in _OPTIONS.items():
        bare: Mapping[str, Any] = {"nargs": "?", "const": _BARE[name]} if name in _BARE else {}
        group.addoption(flag_of(name), dest=f"bias_{name}", metavar=metavar, default=None, help=text, **bare)
        parser.addini(f"bias_{name}", text, default=None)
    for name, text in _INI_ONLY.items():
        parser.addini(f"bias_{name}", text, default=None)
    group.addoption(
        "--bias-report",
        dest="bias_report",
        metavar="FILE",
        action="append",
        default=None,
        help=f"write a report of the bias tests to {', '.join(f'FILE{suffix}' for suffix in RENDERERS)}; "
        "may be given several times",
    )
    parser.addini(
        PICTURE_FORMATS,
        "picture formats to open in addition to JPEG, PNG, BMP, GIF, PPM, TIFF and WEBP, by Pillow's names",
        type="args",
    )
    parser.addini(
        "bias_share_across_devices",
        "use predictions that another model of GPU has computed (default: false): images that are nearly tied between "
        "two classes may differ",
        type="bool",
        default=False,
    )
    saliency = (
        "show where the model looks, for the first flipped images of failed tests; takes about 400 forward passes for "
        "each of these tests (default: off)"
    )
    group.addoption("--bias-saliency", dest="bias_saliency", action="store_true", default=False, help=saliency)
    parser.addini("bias_saliency", saliency, type="bool", default=False)
    parser.addini("bias_report", f"files to write reports to, one per line: {', '.join(RENDERERS)}", type="linelist")
    group.addoption("--bias-only", dest="bias_only", action="store_true", default=False, help="run only the bias tests")
    group.addoption(
        "--bias-update",
        dest="bias_update",
        metavar="new|add|all|history",
        default=None,
        help="write to the baseline. new: add what it lacks; add: add further seeds of the same training, too; all: "
        "replace what was accepted; history: count this run on new images",
    )
    group.addoption(
        "--bias-prune",
        dest="bias_prune",
        action="store_true",
        default=False,
        help="remove baseline entries of tests that no longer exist; only if all tests are collected",
    )
    for fixture in MODEL_FIXTURES:
        text = f"the spec of the fixture {fixture}, such as checkpoint:pets.pt?arch=torchvision:resnet18"
        parser.addini(ini_of(fixture), text, default=None)
    for fixture, example in DATASET_FIXTURES.items():
        parser.addini(ini_of(fixture), f"the spec of the fixture {fixture}, such as {example}", default=None)


def ini_of(fixture: str) -> str:
    """Return the name of the ini value that configures a fixture."""
    return fixture if fixture.startswith("bias_") else f"bias_{fixture}"


def require_known_ini_keys(config: pytest.Config) -> None:
    """Raise `pytest.UsageError` for a misspelt key of this plugin: pytest only warns, and the key has no effect."""
    import difflib

    fixtures = (*MODEL_FIXTURES, *DATASET_FIXTURES)
    names = (*_OPTIONS, *_INI_ONLY, "report", "saliency")
    valid = [f"bias_{name}" for name in names] + [ini_of(name) for name in fixtures]
    # pytest has no public way to ask which keys of the ini file nobody has declared.
    for key in sorted(config._get_unknown_ini_keys()):
        if difflib.get_close_matches(key, valid, n=1, cutoff=0.85):
            raise pytest.UsageError(f"{config.inipath or 'ini file'}: unknown key {key}; {nearest(key, valid)}")


def flag_of(name: str) -> str:
    """Return an option as it is typed.

    >>> flag_of("max_images")
    '--bias-max-images'
    """
    return f"--bias-{name.replace('_', '-')}"
