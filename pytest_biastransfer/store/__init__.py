"""Data cached between sessions: predictions, decoded pixels, trained weights, facts about files and models."""

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
    from pytest_biastransfer.store.remote import RemoteStore

__all__ = ["Facts", "Generations", "Store", "StoreDirectory"]


_MOST_PREDICTION_BYTES: Final = 2**24
_TRAINING_SECONDS: Final = 24 * 3600.0


class Store:
    """All cached data, in one directory; nothing is cached if that is None.

    With a `secret`, only files that were written with the same secret are read. They are in a subdirectory of their
    own, so that sessions with other secrets, or without one, neither read nor remove them.

    A `remote` store shares what means the same on other machines, and takes long to compute: predictions, other figures
    of images, trained weights, and which predictions were dropped. Facts are about local files; whether a model gives
    the same results twice is checked where its reads are observed; and pixels are large, and decoded fast.
    """

    def __init__(
        self, directory: Path | None = None, secret: bytes | None = None, remote: RemoteStore | None = None
    ) -> None:
        seal = Seal(secret)
        self._remote = remote
        self._root = StoreDirectory(directory and directory / seal.name, seal, remote)
        self.facts = Facts(self._root.inside("facts"))
        self.generations = Generations(self._root.inside("generations", shared=True))

    @property
    def directory(self) -> Path | None:
        """The directory of the store; None if nothing can be written."""
        return self._root.path if self._root.can_be_written else None

    @functools.cached_property
    def predictions(self) -> ChunkStore:
        """The predictions of models."""
        return self._chunks("predictions", shared=True, most_bytes=_MOST_PREDICTION_BYTES)

    @functools.cached_property
    def pixels(self) -> ChunkStore:
        """The decoded pixels of datasets."""
        return self._chunks("pixels", fast=True)

    @functools.cached_property
    def rows(self) -> ChunkStore:
        """Arrays with one row for each image that models compute besides predictions, such as features."""
        return self._chunks("rows", shared=True)

    @functools.cached_property
    def checks(self) -> ChunkStore:
        """Notes of which models have given the same results twice."""
        return self._chunks("checks")

    @functools.cached_property
    def trained(self) -> ChunkStore:
        """The weights of models that were trained here."""
        # A chunk here is a whole training: waiting for another process is cheaper than training a second time.
        return self._chunks("trained", shared=True, patience=_TRAINING_SECONDS)

    @property
    def is_remote(self) -> bool:
        """Whether there is a remote store."""
        return self._remote is not None

    def subdirectory(self, name: str) -> StoreDirectory:
        """Return the subdirectory for another kind of file."""
        return self._root.inside(name)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until a remote store has everything, for a limited time; warn if it could not be read or written."""
        if self._remote is not None:
            self._remote.flush(seconds)

    def _chunks(self, name: str, *, fast: bool = False, shared: bool = False, **options: Any) -> ChunkStore:
        # Imported here: chunks need numpy, and facts do not.
        from pytest_biastransfer.store.chunks import ChunkStore

        return ChunkStore(self._root.inside(name, fast=fast, shared=shared), **options)
