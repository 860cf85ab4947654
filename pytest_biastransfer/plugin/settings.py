"""The options and ini values of the plugin, read into one frozen `Settings`. An option overrides its ini value."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from pytest_biastransfer.baseline.location import default_baseline
from pytest_biastransfer.errors import SpecError, nearest, percent_hint
from pytest_biastransfer.names import (
    CANARY_IMAGES,
    CONTROL_FIXTURE,
    DATASET_FIXTURE,
    FINETUNING_FIXTURE,
    MODEL_FIXTURE,
    SOURCE_FIXTURE,
    Compare,
    Compile,
    Correction,
    Images,
    Precision,
    Update,
)
from pytest_biastransfer.picture_files import allow_picture_formats
from pytest_biastransfer.reporting.render import RENDERERS, expected_suffix

_MODEL_FIXTURES: Final = (SOURCE_FIXTURE, MODEL_FIXTURE, CONTROL_FIXTURE)
_DATASET_FIXTURES: Final = {DATASET_FIXTURE: "imagefolder:data/val", FINETUNING_FIXTURE: "imagefolder:data/train"}

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
_PICTURE_FORMATS: Final = "bias_picture_formats"
# Where GitHub Actions shows what a step wrote.
SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
_UNITS: Final = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


@dataclass(frozen=True)
class Verify:
    """How many images of each key are verified (None for all), and the seed that selects them, if one is set."""

    images: int | None
    seed: str


@dataclass(frozen=True)
class Settings:
    """The settings of a session, from the command line and the ini file.

    Attributes
    ----------
    device, batch_size, max_images
        As in `pytest_biastransfer.measure`.
    order_seed
        Decides, with the content of a dataset, in which order its images are visited.
    store
        Directory of the prediction store. None means one in pytest's cache directory.
    store_url
        URL of the remote store whose cache the prediction store is, if any. It may have credentials: do not show it.
    specs
        Spec strings of the model and dataset fixtures, by fixture name.
    transfer
        How the transferred model is made, as in the ini file.
    directory
        The directory of the ini file; relative paths in specs start there.
    only
        Whether only bias tests run.
    workers_per_gpu
        How many workers share a GPU.
    pixel_cache
        Maximum size of the decoded pixels in the store, in bytes; None for the default.
    device_cache
        Maximum size of the decoded pixels on a GPU, in bytes; None for a share of what is free.
    share_across_devices
        Whether predictions of other models of GPUs are used.
    precision
        The precision on CUDA: ``"float32"``, ``"tf32"`` or ``"bf16"``.
    compiled
        Whether models are compiled.
    baseline
        The file of accepted measurements; it need not exist.
    update, compare, prune
        Which measurements are written to it, what a regression does, and whether entries without a test are removed.
    store_key
        The environment variable with the secret that seals the store, if any.
    correction
        How p-values are corrected for their number.
    alpha
        Level of the tests for regressions, in (0, 1).
    alpha_over_time
        Level of the tests of all runs on new images together, in (0, 1); None to test each run alone.
    verify
        How many stored predictions are verified; None for none.
    executor
        ``"local"``, ``"ray"``, or the address of a Ray cluster; None for what the hook returns, or this process.
    early_stop
        The probability of a wrong early verdict; None to measure on all images.
    reports
        Files that a report is written to.
    images
        The tests whose flipped images a report shows.
    saliency
        Whether a report shows where the model looks.
    html_path
        The file that pytest-html writes, if it does.
    """

    device: str
    batch_size: int | None
    max_images: int | None
    order_seed: int
    store: Path | None
    store_url: str | None = field(repr=False)
    workers_per_gpu: int
    pixel_cache: int | None
    device_cache: int | None
    share_across_devices: bool
    precision: Precision
    compiled: bool
    specs: Mapping[str, str]
    transfer: str | None
    directory: Path
    only: bool
    baseline: Path
    update: Update | None
    compare: Compare
    prune: bool
    store_key: str | None
    alpha: float
    alpha_over_time: float | None
    correction: Correction
    verify: Verify | None
    executor: str | None
    early_stop: float | None
    reports: tuple[Path, ...]
    images: Images
    saliency: bool
    html_path: str | None

    @property
    def wants_details(self) -> bool:
        """Whether an output of the session needs more of a test than its verdict."""
        return bool(self.reports or self.html_path) or SUMMARY_VARIABLE in os.environ

    @property
    def uses_ray(self) -> bool:
        """Whether a Ray cluster computes predictions."""
        return self.executor not in (None, "local")

    @property
    def fails_on_regression(self) -> bool:
        """Whether a regression fails its test. It does not if the session accepts all measurements."""
        return self.compare in ("fail", "require") and self.update != "all"


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini values."""
    group = parser.getgroup("biastransfer", "bias tests of transferred models")
    for name, (metavar, text) in _OPTIONS.items():
        bare: Mapping[str, Any] = {"nargs": "?", "const": _BARE[name]} if name in _BARE else {}
        group.addoption(_flag(name), dest=f"bias_{name}", metavar=metavar, default=None, help=text, **bare)
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
        _PICTURE_FORMATS,
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
    for fixture in _MODEL_FIXTURES:
        text = f"the spec of the fixture {fixture}, such as checkpoint:pets.pt?arch=torchvision:resnet18"
        parser.addini(ini_of(fixture), text, default=None)
    for fixture, example in _DATASET_FIXTURES.items():
        parser.addini(ini_of(fixture), f"the spec of the fixture {fixture}, such as {example}", default=None)


def open_pictures_as_configured(config: pytest.Config) -> None:
    """Allow the picture formats of the ini file in this process, until the session ends."""
    before = allow_picture_formats(*config.getini(_PICTURE_FORMATS))

    def forget() -> None:
        allow_picture_formats(*before)

    config.add_cleanup(forget)


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this session. Raises `pytest.UsageError` for an invalid value."""
    _require_known_ini_keys(config)
    fixtures = (*_MODEL_FIXTURES, *_DATASET_FIXTURES)
    specs = {fixture: config.getini(ini_of(fixture)) for fixture in fixtures}
    return Settings(
        device=_value(config, "device") or "auto",
        batch_size=_count(config, "batch_size"),
        max_images=_count(config, "max_images"),
        order_seed=_order_seed(config),
        store=_store(config),
        store_url=_store_url(config),
        specs={fixture: spec for fixture, spec in specs.items() if spec},
        directory=_directory(config),
        only=config.getoption("bias_only"),
        workers_per_gpu=_count(config, "workers_per_gpu") or 1,
        pixel_cache=_bytes(config, "pixel_cache"),
        device_cache=_bytes(config, "device_cache"),
        share_across_devices=config.getini("bias_share_across_devices"),
        transfer=_transfer(config),
        precision=_choice("bias_precision in the ini file", config.getini("bias_precision") or "float32", Precision),
        compiled=_choice("bias_compile in the ini file", config.getini("bias_compile") or "off", Compile) == "on",
        baseline=_path(config, "baseline") or _default_baseline(config),
        update=_update(config),
        compare=_choice(_named("compare"), _value(config, "compare") or "fail", Compare),
        prune=config.getoption("bias_prune"),
        store_key=_store_key(config),
        alpha=_probability("bias_alpha in the ini file", config.getini("bias_alpha")) or 0.01,
        alpha_over_time=_alpha_over_time(config),
        correction=_choice("bias_correction in the ini file", config.getini("bias_correction") or "holm", Correction),
        verify=_verify(config),
        executor=_executor(config),
        early_stop=_probability(
            f"{_named('early_stop')}, before a path as {_flag('early_stop')}=0.01",
            _value(config, "early_stop"),
        ),
        reports=tuple(_reports(config)),
        html_path=config.getoption("htmlpath", None),
        images=_choice(_named("images"), _value(config, "images") or "failed", Images),
        saliency=config.getoption("bias_saliency") or config.getini("bias_saliency"),
    )


def ini_of(fixture: str) -> str:
    """Return the name of the ini value that configures a fixture."""
    return fixture if fixture.startswith("bias_") else f"bias_{fixture}"


def _require_known_ini_keys(config: pytest.Config) -> None:
    """Raise `pytest.UsageError` for a misspelt key of this plugin: pytest only warns, and the key has no effect."""
    import difflib

    fixtures = (*_MODEL_FIXTURES, *_DATASET_FIXTURES)
    names = (*_OPTIONS, *_INI_ONLY, "report", "saliency")
    valid = [f"bias_{name}" for name in names] + [ini_of(name) for name in fixtures]
    # pytest has no public way to ask which keys of the ini file nobody has declared.
    for key in sorted(config._get_unknown_ini_keys()):
        if difflib.get_close_matches(key, valid, n=1, cutoff=0.85):
            raise pytest.UsageError(f"{config.inipath or 'ini file'}: unknown key {key}; {nearest(key, valid)}")


def _flag(name: str) -> str:
    return f"--bias-{name.replace('_', '-')}"


def _named(name: str) -> str:
    """Return the names of an option and its ini value, for an error message."""
    return f"{_flag(name)} (or bias_{name} in the ini file)"


def _value(config: pytest.Config, name: str) -> str | None:
    option: str | None = config.getoption(f"bias_{name}")
    value: str | None = config.getini(f"bias_{name}") if option is None else option
    return value


def _count(config: pytest.Config, name: str) -> int | None:
    value = _value(config, name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) == 0:
        raise pytest.UsageError(f"{_named(name)}: got {value!r}, expected a whole number above 0")
    return int(value)


def _order_seed(config: pytest.Config) -> int:
    value: str = config.getini("bias_order_seed") or "0"
    if not (value.isascii() and value.isdecimal()):
        raise pytest.UsageError(f"bias_order_seed in the ini file: got {value!r}, expected a whole number, at least 0")
    return int(value)


def _verify(config: pytest.Config) -> Verify | None:
    value = _value(config, "verify") or "auto"
    how, _, seed = value.partition("@")
    if value == "off":
        return None
    if how == "all":
        return Verify(None, seed)
    if how == "auto" or (how.isascii() and how.isdecimal() and int(how) > 0):
        return Verify(CANARY_IMAGES if how == "auto" else int(how), seed)
    raise pytest.UsageError(
        f"{_named('verify')}: got {value!r}, expected auto, off, all or a whole number above 0, such as 16; or what a "
        f"message about stale predictions shows, such as 16@3f2a9c"
    )


def _executor(config: pytest.Config) -> str | None:
    value = _value(config, "executor")
    if value is None or value in ("local", "ray") or value.startswith("ray://"):
        return value or None
    raise pytest.UsageError(f"{_named('executor')}: got {value!r}, expected local, ray, or an address ray://HOST:PORT")


def _bytes(config: pytest.Config, name: str) -> int | None:
    value: str = config.getini(f"bias_{name}")
    if not value:
        return None
    number = value.strip().upper()
    unit = next((unit for unit in reversed(_UNITS) if number.endswith(unit)), "")
    digits = number.removesuffix(unit).strip()
    if not digits.isdecimal():
        raise pytest.UsageError(
            f"bias_{name} in the ini file: got {value!r}, expected a size such as 500MB or 4GB, or 0"
        )
    return int(digits) * _UNITS[unit]


def _choice(origin: str, value: str, choices: Any) -> Any:
    """Return a value of a `Literal`; raise `pytest.UsageError` for another one."""
    if value not in get_args(choices):
        raise pytest.UsageError(f"{origin}: got {value!r}; {nearest(value, get_args(choices))}")
    return value


def _transfer(config: pytest.Config) -> str | None:
    value: str | None = config.getini("bias_transfer")
    if value and config.getini(ini_of(MODEL_FIXTURE)):
        raise pytest.UsageError(
            f"bias_transfer and {ini_of(MODEL_FIXTURE)} in the ini file: the first says how the transferred model is "
            f"made, the second where it is; remove one of them"
        )
    return value or None


def _update(config: pytest.Config) -> Update | None:
    value = config.getoption("bias_update")
    update: Update | None = None if value is None else _choice("--bias-update", value, Update)
    if update != "history":
        return update
    if _alpha_over_time(config) is None:
        raise pytest.UsageError(
            "--bias-update=history counts runs that are judged together, at a level of their own: write, for example, "
            "bias_alpha_over_time = 0.05 into the ini file"
        )
    if _value(config, "compare") == "off":
        raise pytest.UsageError(
            f"--bias-update=history counts a run that is compared with the baseline, but {_named('compare')} is off; "
            f"remove one of them"
        )
    return update


def _alpha_over_time(config: pytest.Config) -> float | None:
    return _probability("bias_alpha_over_time in the ini file", config.getini("bias_alpha_over_time"))


def _probability(origin: str, value: str | None) -> float | None:
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(value) < 1:
            return float(value)
    hint = percent_hint(value)
    raise pytest.UsageError(f"{origin}: got {value!r}, expected a number above 0 and below 1, such as 0.01{hint}")


def _store(config: pytest.Config) -> Path | None:
    if _store_url(config) is not None:
        return None
    path = _path(config, "store")
    if path is not None and path.exists() and not path.is_dir():
        raise pytest.UsageError(f"{_named('store')}: {path} is not a directory")
    return path


def _store_url(config: pytest.Config) -> str | None:
    """Return the location of a remote store, if one is set. Nothing is connected."""
    value = _value(config, "store")
    if value is None or "://" not in value:
        return None
    # Imported here: sessions with a local store need neither this nor fsspec.
    from pytest_biastransfer.store.remote_location import require_usable

    try:
        require_usable(value, _named("store"))
    except SpecError as error:
        raise pytest.UsageError(str(error)) from error
    return value


def _store_key(config: pytest.Config) -> str | None:
    name: str = config.getini("bias_store_key") or ""
    if name and not re.fullmatch("[A-Z][A-Z0-9_]*", name):
        # It is not shown: it may be the secret itself.
        raise pytest.UsageError(
            "bias_store_key in the ini file: expected the name of an environment variable in capital letters, such as "
            "BIAS_STORE_KEY, that has the secret; the secret itself does not belong into a file"
        )
    return name or None


def _path(config: pytest.Config, name: str) -> Path | None:
    """Return a path. It is relative to the current directory as an option, to the ini file as an ini value."""
    option: str | None = config.getoption(f"bias_{name}")
    base = config.invocation_params.dir if option is not None else _directory(config)
    path = _value(config, name)
    return None if path is None else base / path


def _default_baseline(config: pytest.Config) -> Path:
    """Return the baseline's path if no setting names one; it depends on the paths that pytest collects."""
    current = config.invocation_params.dir
    # An argument that is no path, such as a package with --pyargs, is resolved only by the collection.
    paths = [Path(os.path.normpath(current / argument.partition("::")[0])) for argument in config.args]
    tests = [path for path in paths if path.exists()]
    return default_baseline(config.rootpath, tests, current)


def _reports(config: pytest.Config) -> Iterator[Path]:
    """Yield the paths of reports; see `_path` for relative ones."""
    option: list[str] | None = config.getoption("bias_report")
    base = config.invocation_params.dir if option is not None else _directory(config)
    for name in config.getini("bias_report") if option is None else option:
        if Path(name).suffix not in RENDERERS:
            raise pytest.UsageError(f"{_named('report')}: got {name!r}, {expected_suffix()}")
        yield base / name


def _directory(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath else config.rootpath
