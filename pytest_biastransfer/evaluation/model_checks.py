"""Which models passed the determinism check on which datasets: each pair is checked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError
from pytest_biastransfer.store import StoreDirectory

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.forward_reads import ForwardReads
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.fingerprints.reads import Reads
    from pytest_biastransfer.store import Store
    from pytest_biastransfer.store.chunks import Content


class ModelChecks:
    """The results of this session's checks, and through the store those of other processes and sessions."""

    def __init__(self, store: Store, forward_reads: ForwardReads) -> None:
        self._store = store
        self._forward_reads = forward_reads
        # By basis: the message of the failed check, None for a passed one.
        self._failures: dict[str, str | None] = {}
        self._reported: set[str] = set()

    def check_once(self, key: PredictionKey, check: Callable[[], None], reads: Reads) -> None:
        """Check a model on a dataset, unless another process or an earlier session has done it.

        Parameters
        ----------
        key
            The key of predictions of the model on the dataset.
        check
            Raises `ModelError` if the model fails. It predicts, so what the model reads meanwhile is recorded.
        reads
            What the model has read before.

        Raises
        ------
        ModelError
            If the model fails, now or in an earlier call.
        ReadsMoreError
            Once for a key, if the key does not cover everything that the model reads.
        """
        from pytest_biastransfer.store.chunks import ChunkStore

        if key.basis not in self._failures:
            store = self._store.checks if key.portable else ChunkStore(StoreDirectory(None))

            def passed(_: range) -> Content:
                import numpy as np

                self._forward_reads.observe(key.content, check, reads)
                return {"passed": np.ones(1, dtype=np.bool_)}

            try:
                # The chunk's lock makes other processes wait for this check instead of repeating it.
                list(store.collect(key.basis, [range(1)], passed))
            except ModelError as error:
                self._failures[key.basis] = str(error)
            else:
                self._failures[key.basis] = None
        self.require_not_failed(key)
        state, is_all = self._forward_reads.with_reads(key.content)
        if (state != key.model or not is_all) and key.portable and key.text not in self._reported:
            self._reported.add(key.text)
            raise ReadsMoreError

    def require_not_failed(self, key: PredictionKey) -> None:
        """Raise the `ModelError` of a check that failed in this session."""
        failure = self._failures.get(key.basis)
        if failure is not None:
            raise ModelError(failure)
