"""The configuration of a pytest session in the current directory: settings, store, names of interventions.

Commands ask pytest itself, so that they use the same store and the same names as the next ``pytest``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.plugin.collection.intervention_registry import registry_of
from pytest_biastransfer.plugin.pytest_internals import configure
from pytest_biastransfer.plugin.scheme_hooks import plugin_loaders
from pytest_biastransfer.plugin.session_store import open_store
from pytest_biastransfer.plugin.state import SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Registry
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.specs.plugin_loader import PluginLoaders
    from pytest_biastransfer.store import Store

_STRICT: Final = ("strict_markers", "strict")


class SessionHere:
    """The configuration that a session in the current directory starts with; the session itself is not started."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @property
    def settings(self) -> Settings:
        """The settings of the command line and the ini file."""
        return self._config.stash[SETTINGS]

    @property
    def ini(self) -> Path | None:
        """The file that pytest reads its configuration from; None if there is none."""
        return self._config.inipath

    def words_of(self, name: str) -> list[str]:
        """Return the words of an ini value of pytest, such as ``addopts``."""
        words: list[str] = self._config.getini(name)
        return words

    @property
    def has_strict_markers(self) -> bool:
        """Whether unknown markers are errors, by an option or, since pytest 9, by the ini file."""
        options = [self._config.getoption(name, False) for name in ("strict_markers", "strict")]
        return any(options) or any(
            self._config.getini(name) for name in _STRICT if name in self._config._parser._inidict
        )

    @functools.cached_property
    def store(self) -> Store:
        """The prediction store, whose directory is created if it is in pytest's cache; it has to be flushed."""
        return open_store(self._config)

    @functools.cached_property
    def registry(self) -> Registry:
        """The interventions that tests in this directory can name."""
        # Names depend on the directory, so a node of the tree of tests is needed.
        return registry_of(pytest.Dir.from_parent(pytest.Session.from_config(self._config), path=Path.cwd()))

    @property
    def has_model_schemes(self) -> bool:
        """Whether a plugin or a conftest defines schemes for models."""
        return bool(self._config.hook.pytest_bias_load_model.get_hookimpls())

    @property
    def has_dataset_schemes(self) -> bool:
        """Whether a plugin or a conftest defines schemes for datasets."""
        return bool(self._config.hook.pytest_bias_load_dataset.get_hookimpls())

    @property
    def plugins(self) -> PluginLoaders:
        """The schemes of plugins and conftest files."""
        return plugin_loaders(self._config)


def session_here(arguments: Sequence[str] = ()) -> SessionHere:
    """Return the configuration of ``pytest ARGUMENTS`` in the current directory. No test is collected.

    Raises
    ------
    BiasTransferError
        If pytest does not start here (it has printed the reason), or does not load this plugin.
    """
    question = _Question()
    # Assertion rewriting would warn about modules that are already imported; output must not be captured.
    status = pytest.main(["--assert=plain", "--capture=no", *arguments], plugins=[question])
    if question.answer is None:
        raise BiasTransferError(
            f"pytest does not start in {Path.cwd()} (status {int(status)}), so its configuration is "
            f"unknown; type pytest --collect-only to see why"
        )
    return question.answer


class _Question:
    """A plugin that reads the configuration, and prevents pytest from doing anything else."""

    answer: SessionHere | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Keep the configuration after all plugins are configured, and end pytest."""
        configure(config)
        if SETTINGS not in config.stash:
            raise BiasTransferError(
                "pytest does not load the plugin biastransfer here; remove -p no:biastransfer from addopts, or, if "
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD is set, add -p biastransfer"
            )
        self.answer = SessionHere(config)
        return 0
