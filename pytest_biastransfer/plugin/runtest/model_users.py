"""Gives models that stay on a GPU back to the tests and the fixtures that use them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pytest

from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.resources import give_models_back

# Fixtures of these packages get no models, though many of them take `request`.
_NO_USERS: Final = ("_pytest", "pytest_biastransfer", "xdist")


class ModelUsers:
    """Follows the fixtures that get models, directly or through other fixtures.

    Code of the user finds a module where its fixture has put it. So before such a fixture is set up, and before a test
    that has one is run, all models are moved back. Where only the fixture `bias` uses them, they stay.

    Parameters
    ----------
    models
        The names of the fixtures that return models.
    """

    def __init__(self, models: Iterable[str]) -> None:
        # Through `request`, any fixture can be had.
        self._users = {*models, "request"}
        # What fixtures of the user were made from, by their names.
        self._arguments: dict[str, Sequence[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """Give models back to a fixture that uses them, and note who may have the same modules."""
        if fixturedef.func.__module__.partition(".")[0] in _NO_USERS:
            return
        name = fixturedef.argname
        self._arguments[name] = fixturedef.argnames
        if name in self._users:
            # A model may consist of what it was made from.
            self._users |= self._made_from(name)
        if self._use_models(fixturedef.argnames):
            self._users.add(name)
            give_models_back(request.config)

    def _made_from(self, name: str) -> set[str]:
        arguments = {argument for argument in self._arguments.get(name, ()) if argument in self._arguments}
        return arguments.union(*map(self._made_from, arguments))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Give models back to a test's own body."""
        function = getattr(item, "function", None)
        if function is None or self._use_models(inspect.signature(function).parameters):
            give_models_back(item.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Give models back before the fixtures of a file, or of the session, are torn down."""
        if nextitem is None or nextitem.path != item.path:
            give_models_back(item.config)

    def _use_models(self, names: Iterable[str]) -> bool:
        return not self._users.isdisjoint(names)


def watch_model_users(session: pytest.Session) -> None:
    """Follow the fixtures that get the models of the session's bias tests."""
    cases = filter(None, map(case_of, session.items))
    models = {name for case in cases for name in (case.model, case.control) if name is not None}
    session.config.pluginmanager.register(ModelUsers(models), "biastransfer-model-users")
