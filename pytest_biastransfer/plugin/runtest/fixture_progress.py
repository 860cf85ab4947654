"""Which fixture of a bias test is being made: one that trains or loads a model takes long, and says nothing itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plugin.collection.parametrize import case_of
from pytest_biastransfer.plugin.state import WATCHED_FIXTURES

if TYPE_CHECKING:
    import pytest

# Fixtures of these scopes are made once for many tests, because they take long.
_LASTING: Final = ("session", "package", "module")


def note_fixtures(item: pytest.Item) -> None:
    """Note the fixtures that the test which is set up now measures; none of a test that is no bias test."""
    case = case_of(item)
    item.config.stash[WATCHED_FIXTURES] = None if case is None else case.fixtures


def reported_fixture(fixture: pytest.FixtureDef[object], config: pytest.Config) -> AbstractContextManager[None]:
    """Return what reports the making of a fixture, if the running test is a bias test and it may take long."""
    watched = config.stash.get(WATCHED_FIXTURES, None)
    if watched is None or not (fixture.argname in watched or fixture.scope in _LASTING):
        return contextlib.nullcontext()
    return _reported(fixture.argname, config)


@contextlib.contextmanager
def _reported(name: str, config: pytest.Config) -> Iterator[None]:
    from pytest_biastransfer.plugin.xdist.worker_progress import watcher
    from pytest_biastransfer.progress.activities import listening, reported

    with listening(watcher(config)), reported(f"making the fixture {name}"):
        yield
