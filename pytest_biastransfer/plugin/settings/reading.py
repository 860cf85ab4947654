"""Reads the options and the ini file into the settings of a session."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_biastransfer.baseline.location import default_baseline
from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.names import (
    CANARY_IMAGES,
    MODEL_FIXTURE,
    Compare,
    Compile,
    Correction,
    Images,
    Precision,
    Update,
)
from pytest_biastransfer.picture_files import allow_picture_formats
from pytest_biastransfer.plugin.settings.declaration import (
    DATASET_FIXTURES,
    MODEL_FIXTURES,
    PICTURE_FORMATS,
    flag_of,
    ini_of,
    require_known_ini_keys,
)
from pytest_biastransfer.plugin.settings.session_settings import Settings, Verify
from pytest_biastransfer.plugin.settings.values import (
    choice_of,
    count_of,
    directory_of,
    names_of,
    path_of,
    probability_of,
    size_of,
    value_of,
)
from pytest_biastransfer.reporting.render import RENDERERS, expected_suffix


def open_pictures_as_configured(config: pytest.Config) -> None:
    """Allow the picture formats of the ini file in this process, until the session ends."""
    before = allow_picture_formats(*config.getini(PICTURE_FORMATS))

    def forget() -> None:
        allow_picture_formats(*before)

    config.add_cleanup(forget)


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this session. Raises `pytest.UsageError` for an invalid value."""
    require_known_ini_keys(config)
    fixtures = (*MODEL_FIXTURES, *DATASET_FIXTURES)
    specs = {fixture: config.getini(ini_of(fixture)) for fixture in fixtures}
    return Settings(
        device=value_of(config, "device") or "auto",
        batch_size=count_of(config, "batch_size"),
        max_images=count_of(config, "max_images"),
        order_seed=_order_seed(config),
        store=_store(config),
        store_url=_store_url(config),
        specs={fixture: spec for fixture, spec in specs.items() if spec},
        directory=directory_of(config),
        only=config.getoption("bias_only"),
        workers_per_gpu=count_of(config, "workers_per_gpu") or 1,
        pixel_cache=size_of(config, "pixel_cache"),
        device_cache=size_of(config, "device_cache"),
        share_across_devices=config.getini("bias_share_across_devices"),
        transfer=_transfer(config),
        precision=choice_of("bias_precision in the ini file", config.getini("bias_precision") or "float32", Precision),
        compiled=choice_of("bias_compile in the ini file", config.getini("bias_compile") or "off", Compile) == "on",
        baseline=path_of(config, "baseline") or _default_baseline(config),
        update=_update(config),
        compare=choice_of(names_of("compare"), value_of(config, "compare") or "fail", Compare),
        prune=config.getoption("bias_prune"),
        store_key=_store_key(config),
        alpha=probability_of("bias_alpha in the ini file", config.getini("bias_alpha")) or 0.01,
        alpha_over_time=_alpha_over_time(config),
        correction=choice_of("bias_correction in the ini file", config.getini("bias_correction") or "holm", Correction),
        verify=_verify(config),
        executor=_executor(config),
        early_stop=probability_of(
            f"{names_of('early_stop')}, before a path as {flag_of('early_stop')}=0.01",
            value_of(config, "early_stop"),
        ),
        reports=tuple(_reports(config)),
        html_path=config.getoption("htmlpath", None),
        images=choice_of(names_of("images"), value_of(config, "images") or "failed", Images),
        saliency=config.getoption("bias_saliency") or config.getini("bias_saliency"),
    )


def _order_seed(config: pytest.Config) -> int:
    value: str = config.getini("bias_order_seed") or "0"
    if not (value.isascii() and value.isdecimal()):
        raise pytest.UsageError(f"bias_order_seed in the ini file: got {value!r}, expected a whole number, at least 0")
    return int(value)


def _verify(config: pytest.Config) -> Verify | None:
    value = value_of(config, "verify") or "auto"
    how, _, seed = value.partition("@")
    if value == "off":
        return None
    if how == "all":
        return Verify(None, seed)
    if how == "auto" or (how.isascii() and how.isdecimal() and int(how) > 0):
        return Verify(CANARY_IMAGES if how == "auto" else int(how), seed)
    raise pytest.UsageError(
        f"{names_of('verify')}: got {value!r}, expected auto, off, all or a whole number above 0, such as 16; or what "
        f"a message about stale predictions shows, such as 16@3f2a9c"
    )


def _executor(config: pytest.Config) -> str | None:
    value = value_of(config, "executor")
    if value is None or value in ("local", "ray") or value.startswith("ray://"):
        return value or None
    raise pytest.UsageError(
        f"{names_of('executor')}: got {value!r}, expected local, ray, or an address ray://HOST:PORT"
    )


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
    update: Update | None = None if value is None else choice_of("--bias-update", value, Update)
    if update != "history":
        return update
    if _alpha_over_time(config) is None:
        raise pytest.UsageError(
            "--bias-update=history counts runs that are judged together, at a level of their own: write, for example, "
            "bias_alpha_over_time = 0.05 into the ini file"
        )
    if value_of(config, "compare") == "off":
        raise pytest.UsageError(
            f"--bias-update=history counts a run that is compared with the baseline, but {names_of('compare')} is off; "
            f"remove one of them"
        )
    return update


def _alpha_over_time(config: pytest.Config) -> float | None:
    return probability_of("bias_alpha_over_time in the ini file", config.getini("bias_alpha_over_time"))


def _store(config: pytest.Config) -> Path | None:
    if _store_url(config) is not None:
        return None
    path = path_of(config, "store")
    if path is not None and path.exists() and not path.is_dir():
        raise pytest.UsageError(f"{names_of('store')}: {path} is not a directory")
    return path


def _store_url(config: pytest.Config) -> str | None:
    """Return the location of a remote store, if one is set. Nothing is connected."""
    value = value_of(config, "store")
    if value is None or "://" not in value:
        return None
    # Imported here: sessions with a local store need neither this nor fsspec.
    from pytest_biastransfer.store.remote_location import require_usable

    try:
        require_usable(value, names_of("store"))
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


def _default_baseline(config: pytest.Config) -> Path:
    """Return the baseline's path if no setting names one; it depends on the paths that pytest collects."""
    current = config.invocation_params.dir
    # An argument that is no path, such as a package with --pyargs, is resolved only by the collection.
    paths = [Path(os.path.normpath(current / argument.partition("::")[0])) for argument in config.args]
    tests = [path for path in paths if path.exists()]
    return default_baseline(config.rootpath, tests, current)


def _reports(config: pytest.Config) -> Iterator[Path]:
    """Yield the paths of reports; see `path_of` for relative ones."""
    option: list[str] | None = config.getoption("bias_report")
    base = config.invocation_params.dir if option is not None else directory_of(config)
    for name in config.getini("bias_report") if option is None else option:
        if Path(name).suffix not in RENDERERS:
            raise pytest.UsageError(f"{names_of('report')}: got {name!r}, {expected_suffix()}")
        yield base / name
