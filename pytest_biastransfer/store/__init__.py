"""What is kept between sessions: predictions, decoded pixels, and facts that take long to find out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.store.checksummed_files import Seal
from pytest_biastransfer.store.directory import StoreDirectory
from pytest_biastransfer.store.facts import Facts
from pytest_biastransfer.store.generations import Generations

if TYPE_CHECKING:
    from pytest_biastransfer.store.chunks import ChunkStore

__all__ = ["Facts", "Generations", "Store", "StoreDirectory"]


_OF_PREDICTIONS: Final = 2**24
_TRAINING_SECONDS: Final = 24 * 3600.0


class Store:
    """All that is kept in one directory; nothing is kept where that is None.

    With a `secret`, only what was written with the same one is read. It has a directory of its own in there, so that
    sessions with other secrets, or without one, neither read nor remove it.
    """

    def __init__(self, directory: Path | None = None, secret: bytes | None = None) -> None:
        seal = Seal(secret)
        self._place = StoreDirectory(directory and directory / seal.name, seal)
        self.facts = Facts(self._place.inside("facts"))
        self.generations = Generations(self.facts, self._place.inside("facts"))

    @property
    def directory(self) -> Path | None:
        """Where everything is; None where nothing can be kept."""
        return self._place.path if self._place.can_be_written else None

    @functools.cached_property
    def predictions(self) -> ChunkStore:
        """The predictions of models."""
        return self._chunks("predictions", most_bytes=_OF_PREDICTIONS)

    @functools.cached_property
    def pixels(self) -> ChunkStore:
        """The decoded pixels of datasets."""
        return self._chunks("pixels")

    @functools.cached_property
    def rows(self) -> ChunkStore:
        """What models compute of each image besides predictions, such as features."""
        return self._chunks("rows")

    @functools.cached_property
    def checks(self) -> ChunkStore:
        """Which models were found to give the same results twice."""
        return self._chunks("checks")

    @functools.cached_property
    def trained(self) -> ChunkStore:
        """The weights of models that were trained here."""
        # Nobody trains beside another process that takes long.
        return self._chunks("trained", patience=_TRAINING_SECONDS)

    def place(self, name: str) -> StoreDirectory:
        """Return where files of another kind are."""
        return self._place.inside(name)

    def _chunks(self, name: str, **options: Any) -> ChunkStore:
        # Only now: it imports numpy, which facts do not need.
        from pytest_biastransfer.store.chunks import ChunkStore

        return ChunkStore(self._place.inside(name), **options)
