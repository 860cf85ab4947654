"""The session's prediction store: its directory, its seal, and the remote store behind it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Final

import pytest

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.plugin.settings import Settings
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.store import Store

_LEAST_SECRET: Final = 16
# After Ctrl+C, the user waits for the prompt.
INTERRUPTED_SECONDS: Final = 5.0


def open_store(config: pytest.Config) -> Store:
    """Return the store that the settings name. Whoever opens it has to flush it."""
    settings = config.stash[SETTINGS]
    secret = store_secret(settings)
    if settings.store_url is None:
        return Store(settings.store or cached_store(config), secret)
    from pytest_biastransfer.store.remote import RemoteStore

    remote = RemoteStore(settings.store_url)
    return Store(_cache_of(config, remote.name), secret, remote)


def flushed_by_session(config: pytest.Config, store: Store) -> None:
    """Flush a store when the session ends, while its warnings are still shown."""
    if store.is_remote:
        config.pluginmanager.register(_Flush(store))


class _Flush:
    def __init__(self, store: Store) -> None:
        self._store = store

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Wait for the remote store; a second Ctrl+C ends the waiting."""
        seconds = INTERRUPTED_SECONDS if exitstatus == pytest.ExitCode.INTERRUPTED else None
        with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
            # No test can fail of it any more: where warnings are errors, it would be an internal error of pytest.
            if any(rule[0] == "error" and issubclass(StoreWarning, rule[2]) for rule in warnings.filters):
                warnings.simplefilter("always", StoreWarning)
            self._store.flush(seconds)


def cached_store(config: pytest.Config) -> Path | None:
    """Return the directory of the prediction store in pytest's cache, and create it; None without a cache directory.

    Call it only in sessions with bias tests, so that other sessions write nothing.
    """
    cache: pytest.Cache | None = getattr(config, "cache", None)
    try:
        return None if cache is None else cache.mkdir("biastransfer")
    except OSError as error:
        warnings.warn(f"pytest's cache directory cannot be written ({error}); predictions are not stored", stacklevel=2)
        return None


def store_secret(settings: Settings) -> bytes | None:
    """Return the secret that seals the store, or None. A named variable that is not set is a warning.

    Raises `pytest.UsageError` for a secret that is too short. The secret is never shown.
    """
    if settings.store_key is None:
        return None
    secret = os.environ.get(settings.store_key, "").encode(errors="surrogateescape")
    if not secret:
        warnings.warn(
            f"bias_store_key: the environment variable {settings.store_key} is not set; the store of this session "
            f"has no seal, and sealed files are not read",
            StoreWarning,
            stacklevel=2,
        )
        return None
    if len(secret) < _LEAST_SECRET:
        raise pytest.UsageError(
            f"bias_store_key: the secret in the environment variable {settings.store_key} is shorter than "
            f"{_LEAST_SECRET} characters; make one with python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return secret


def _cache_of(config: pytest.Config, url: str) -> Path:
    """Return the directory of the local copy of a remote store: in pytest's cache, or else for this session only."""
    from pytest_biastransfer.fingerprints import fingerprint

    directory = cached_store(config)
    if directory is not None:
        return directory / "remote" / fingerprint(url)[:16]
    temporary = tempfile.mkdtemp(prefix="biastransfer-")
    config.add_cleanup(lambda: shutil.rmtree(temporary, ignore_errors=True))
    return Path(temporary)
