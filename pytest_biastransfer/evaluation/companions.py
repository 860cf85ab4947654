"""Chunks of other evaluations that are computed while their pixels are on the device.

Pixels that do not stay on a device are loaded again for each intervention. So whoever has loaded chunks also computes
what later measurements need of the same model and images, and stores it. A later measurement finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.evaluation.chunk_task import part_of
from pytest_biastransfer.evaluation.visiting_order import chunks, chunks_in

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
        # By the positions of the task that computes the chunks.
        self._claims: dict[tuple[Evaluation, range], Mapping[range, Claim]] = {}

    def claim(self, positions: range) -> list[Evaluation]:
        """Return the companions that need some chunks, and claim these for this process until `write` or `release`.

        A companion is left out if all of them are stored, or other processes compute them.
        """
        if self._companions is None:
            self._companions = self._find()
            for companion in self._companions:
                # Other machines may have them: together, not one round trip for each.
                needed = chunks(min(companion.count, companion.evaluation.count))
                self._store.fetch(companion.evaluation.key.text, needed)
        claimed = []
        for companion in self._companions:
            evaluation = companion.evaluation
            if positions.stop <= companion.count and (evaluation, positions) not in self._claims:
                tried = {each: self._store.claim(companion.key, each, self._accepts) for each in chunks_in(positions)}
                claims = {chunk: claim for chunk, claim in tried.items() if claim is not None}
                if claims:
                    self._claims[evaluation, positions] = claims
                    claimed.append(evaluation)
        return claimed

    def write(self, task: ChunkTask, content: Content) -> None:
        """Store what was claimed of the result of a task for a companion that `claim` has returned."""
        for chunk, claim in self._claims.pop((task.evaluation, task.positions)).items():
            claim.write(part_of(content, task.positions, chunk))

    def release(self, positions: range | None = None) -> None:
        """Let other processes compute what was claimed and not written: with one task, or with all."""
        for evaluation, claimed in list(self._claims):
            if positions is None or claimed == positions:
                for claim in self._claims.pop((evaluation, claimed)).values():
                    claim.release()

    def end(self) -> None:
        """Release all, and claim nothing any more."""
        self.release()
        self._companions = ()
