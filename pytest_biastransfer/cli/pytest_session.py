"""What a pytest session would know that was started here: its settings, its store, and the names that it has.

Commands ask pytest itself, so that what they keep and write is what the next ``pytest`` finds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.plugin.collection.intervention_registry import registry_of
from pytest_biastransfer.plugin.settings import cached_store, store_secret
from pytest_biastransfer.plugin.state import SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Registry
    from pytest_biastransfer.plugin.settings import Settings
    from pytest_biastransfer.specs.spec import Spec

_STRICT: Final = ("strict_markers", "strict")


class SessionHere:
    """What a session in the current directory starts with; `config` is that of a session that never began."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @property
    def settings(self) -> Settings:
        """The settings of the command line that was asked about, and of the ini file."""
        return self._config.stash[SETTINGS]

    @property
    def ini(self) -> Path | None:
        """The file that pytest reads its configuration from; None where it finds none."""
        return self._config.inipath

    def words_of(self, name: str) -> list[str]:
        """Return the words that the ini file has for an option of pytest's own, such as ``addopts``."""
        words: list[str] = self._config.getini(name)
        return words

    @property
    def has_strict_markers(self) -> bool:
        """Whether an option, or since pytest 9 the ini file, makes an error of unknown markers."""
        asked = [self._config.getoption(name, False) for name in ("strict_markers", "strict")]
        return any(asked) or any(self._config.getini(name) for name in _STRICT if name in self._config._parser._inidict)

    @functools.cached_property
    def store(self) -> Path | None:
        """Where it would keep predictions, made now if it is in pytest's cache; None where it keeps none."""
        return self.settings.store or cached_store(self._config)

    @property
    def secret(self) -> bytes | None:
        """What it would seal them with."""
        return store_secret(self.settings)

    @functools.cached_property
    def registry(self) -> Registry:
        """The interventions that tests in this directory can name."""
        # The names are those of a directory, which takes a place in the tree of tests.
        return registry_of(pytest.Dir.from_parent(pytest.Session.from_config(self._config), path=Path.cwd()))

    @property
    def loads_with_plugins(self) -> bool:
        """Whether a plugin or a conftest has schemes of its own for models."""
        return bool(self._config.hook.pytest_bias_load_model.get_hookimpls())

    def load_with_plugins(self, spec: Spec) -> object:
        """Return the model of a spec whose scheme is a plugin's or a conftest's; None where it is nobody's."""
        return self._config.hook.pytest_bias_load_model(spec=spec)


def session_here(arguments: Sequence[str] = ()) -> SessionHere:
    """Return what ``pytest ARGUMENTS``, typed here, would start with; no test is collected.

    Raises
    ------
    BiasTransferError
        If pytest does not start here, which it has said itself then, or if it does not load this plugin.
    """
    question = _Question()
    # Neither rewritten assertions nor captured output are of use here; the first would warn of what is imported.
    status = pytest.main(["--assert=plain", "--capture=no", *arguments], plugins=[question])
    if question.answer is None:
        raise BiasTransferError(
            f"pytest does not start in {Path.cwd()} (status {int(status)}), so there is no telling what it is "
            f"configured to; type pytest --collect-only to see why"
        )
    return question.answer


class _Question:
    """A plugin that asks in place of what pytest would do."""

    answer: SessionHere | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Note what is known after all have been configured, and have pytest do nothing."""
        config._do_configure()
        if SETTINGS not in config.stash:
            raise BiasTransferError(
                "pytest does not load the plugin biastransfer here; remove -p no:biastransfer from addopts, or, where "
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD is set, add -p biastransfer"
            )
        self.answer = SessionHere(config)
        return 0
