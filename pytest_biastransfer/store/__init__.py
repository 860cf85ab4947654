"""What is kept between sessions: predictions, decoded pixels, and facts that take long to find out."""

from __future__ import annotations

from pathlib import Path

from pytest_biastransfer.store.chunks import ChunkStore, Content
from pytest_biastransfer.store.facts import Facts

__all__ = ["ChunkStore", "Content", "Facts", "Store"]


class Store:
    """The places of all that is kept, in one directory; nothing is kept where that is None."""

    def __init__(self, directory: Path | None = None) -> None:
        self.predictions = ChunkStore(directory and directory / "predictions")
        self.pixels = ChunkStore(directory and directory / "pixels")
        self.facts = Facts(ChunkStore(directory and directory / "facts"))
