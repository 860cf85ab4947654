"""Chunks of other evaluations that are computed while their pixels are on the device.

Pixels that do not stay on a device are loaded again for each intervention. So whoever has loaded a chunk also computes
what later measurements need of the same model and images, and stores it. A later measurement finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.evaluation.visiting_order import chunks

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import ChunkTask, Evaluation
    from pytest_biastransfer.store.chunks import ChunkStore, Claim, Content


@dataclass(frozen=True)
class Companion:
    """An evaluation of the same model and images that a later measurement needs.

    Attributes
    ----------
    evaluation
        Has a portable key.
    key
        What its chunks are stored under.
    count
        It needs the first so many images of the visiting order for certain, or all if there are fewer.
    """

    evaluation: Evaluation
    key: str
    count: int


class Companions:
    """The companions of one evaluation, and the chunks of them that this process computes now.

    Parameters
    ----------
    find
        Returns them; called once, when something is computed: a session whose measurements are all stored needs none.
    store
        Where their chunks are stored.
    accepts
        Whether the content of a file has the form of a chunk.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Companion]],
        store: ChunkStore,
        accepts: Callable[[range, Content], bool],
    ) -> None:
        self._find = find
        self._store = store
        self._accepts = accepts
        self._companions: Sequence[Companion] | None = None
        self._claims: dict[tuple[Evaluation, range], Claim] = {}

    def claim(self, chunk: range) -> list[Evaluation]:
        """Return the companions that need a chunk, and claim it for this process until `write` or `release`.

        A chunk that is stored, or that another process computes, is left out.
        """
        if self._companions is None:
            self._companions = self._find()
            for companion in self._companions:
                # Other machines may have them: together, not one round trip for each.
                needed = [each for each in chunks(companion.evaluation.count) if each.start < companion.count]
                self._store.fetch(companion.evaluation.key.text, needed)
        claimed = []
        for companion in self._companions:
            evaluation = companion.evaluation
            if chunk.start < companion.count and (evaluation, chunk) not in self._claims:
                claim = self._store.claim(companion.key, chunk, self._accepts)
                if claim is not None:
                    self._claims[evaluation, chunk] = claim
                    claimed.append(evaluation)
        return claimed

    def write(self, task: ChunkTask, content: Content) -> None:
        """Store the result of a chunk that `claim` has returned."""
        self._claims.pop((task.evaluation, task.chunk)).write(content)

    def release(self, chunk: range | None = None) -> None:
        """Let other processes compute what was claimed and not written: of one chunk, or of all."""
        for evaluation, claimed in list(self._claims):
            if chunk is None or claimed == chunk:
                self._claims.pop((evaluation, claimed)).release()

    def end(self) -> None:
        """Release all, and claim nothing any more."""
        self.release()
        self._companions = ()
