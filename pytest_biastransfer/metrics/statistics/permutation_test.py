"""Permuted changes of a skew: what a change would have been, had chance dealt the images to the two measurements.

If nothing changed between an earlier measurement and the one of now, an image that moves in one of them could as
well have moved in the other one (Pitman 1937). Where the images are the same, each image's two outcomes change
places with probability 1/2; where they are not, each image goes to one of the measurements, by their sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.bootstrap import (
    Moving,
    coins,
    excess,
    gained,
    generator_of,
    move_numbers,
    rows_by_kind,
)
from pytest_biastransfer.metrics.statistics.class_sums import ClassSums, Term, summed
from pytest_biastransfer.metrics.statistics.combinatorics import log_share
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Images up to which all ways of dealing them are tried: 4096 of them.
_FEW: Final = 12


class Permuted(NamedTuple):
    """What an outcome would be, dealt by chance.

    Attributes
    ----------
    changes
        Of the skews, or their excess, in [-2, 2], float64 of shape [draws].
    shares
        The probabilities of these where they are all that there are; else None.
    images
        How many images were dealt.
    """

    changes: Floats
    shares: Floats | None
    images: int


def permuted_changes(
    before: Sequence[Transitions], now: Sequence[Transitions], n_before: int, n_now: int, *, paired: bool
) -> Permuted:
    """Return what a change of the skew would be, had chance dealt the images to the two measurements.

    See `comparison.skew_change` for the parameters.

    >>> def flips(images, to):
    ...     return Transitions(np.array(images), before=np.zeros(len(images), np.int64), after=np.full(len(images), to))
    >>> permuted_changes([flips([7], 1)], [flips([], 1)], 10, 10, paired=True)
    Permuted(changes=array([ 0.1, -0.1]), shares=array([0.5, 0.5]), images=1)
    """
    deal = _Deal.of(before, now, (n_before, n_now), paired)
    if deal.rows <= _FEW:
        weights = np.array(np.indices([2] * deal.rows)).reshape(deal.rows, 2**deal.rows)
        return Permuted(deal.changes(weights, np.full(weights.shape[1], n_now)), deal.shares(weights), deal.rows)
    changes = [deal.changes(weights, sizes) for weights, sizes in deal.draws()]
    return Permuted(np.concatenate(changes), None, deal.rows)


class _Model(NamedTuple):
    """One model's images: the sums of those dealt to now, on top of what is there anyway, and of all."""

    dealt: ClassSums
    fixed: npt.NDArray[np.int32]
    whole: npt.NDArray[np.int32]


class _Deal(NamedTuple):
    """How the images of two measurements can be dealt: row by row to the one of now (1) or of before (0)."""

    models: list[_Model]
    rows: int
    sizes: tuple[int, int]
    paired: bool

    @classmethod
    def of(
        cls, before: Sequence[Transitions], now: Sequence[Transitions], sizes: tuple[int, int], paired: bool
    ) -> _Deal:
        if not paired:
            now = [transitions._replace(images=transitions.images + _beyond(before)) for transitions in now]
        moving = Moving.of([*before, *now])
        differs = _differs(moving)
        rows = np.full(len(moving.kinds), -1)
        rows[differs] = rows_by_kind(moving.kinds[differs])
        pairs = zip(range(len(before)), range(len(before), len(moving.moves)), strict=True)
        models = [_model(moving, rows, pair, paired) for pair in pairs]
        return cls(models, int(np.count_nonzero(differs)), sizes, paired)

    def changes(self, weights: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> Floats:
        """Return the change for weights of shape [rows, draws], where now has so many images in each draw."""
        changes: Floats = excess([self._change(model, weights, sizes) for model in self.models])
        return changes

    def _change(self, model: _Model, weights: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> Floats:
        now = model.dealt.of(weights) + model.fixed[:, None]
        before = model.whole[:, None] - now
        change: Floats = _distance(now) / sizes - _distance(before) / (sum(self.sizes) - sizes)
        return change

    def shares(self, weights: Integers) -> Floats:
        """Return how probable it is that the images are dealt in these ways."""
        if self.paired:
            return np.full(weights.shape[1], 0.5**self.rows)
        return np.exp(log_share(weights.sum(axis=0), self.rows, self.sizes))

    def draws(self) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Yield random weights, and the numbers of images of now."""
        generator, (n_before, n_now) = generator_of(0), self.sizes
        if self.paired:
            yield from ((bits, np.full(bits.shape[1], n_now)) for bits in coins(generator, self.rows))
            return
        share = n_now / (n_before + n_now)
        for bits in coins(generator, self.rows, share):
            others = generator.binomial(n_before + n_now - self.rows, share, size=bits.shape[1])
            # A measurement of no image has no skew.
            yield bits, np.clip(others + summed(bits), 1, n_before + n_now - 1)


def _beyond(moves: Sequence[Transitions]) -> int:
    return 1 + max(int(transitions.images.max(initial=0)) for transitions in moves)


def _differs(moving: Moving) -> npt.NDArray[np.bool_]:
    """Tell which images do not move alike in the first half of the moves and in the second."""
    numbers = np.array(
        [
            move_numbers(moves, index, len(moving.kinds), moving.classes)
            for moves, index in zip(moving.moves, moving.places, strict=True)
        ]
    )
    half = len(numbers) // 2
    differs: npt.NDArray[np.bool_] = (numbers[:half] != numbers[half:]).any(axis=0)
    return differs


def _model(moving: Moving, rows: Integers, pair: tuple[int, int], paired: bool) -> _Model:
    """Take one model's moves of before and of now, which are at these places of `moving`."""
    before, now = (moving.moves[index] for index in pair)
    old_rows, new_rows = (rows[moving.places[index]] for index in pair)
    # Now gets the one outcome of an image *instead* of the other one where the images are the same.
    dealt = ClassSums(moving.classes, *_terms(now, new_rows, 1), *_terms(before, old_rows, -1 if paired else 1))
    old, new = (gained(moves, moving.classes).astype(np.int32) for moves in (before, now))
    return _Model(dealt, old if paired else np.zeros_like(old), old + new)


def _terms(moves: Transitions, rows: Integers, sign: int) -> tuple[Term, Term]:
    dealt = rows >= 0
    return Term(sign, rows[dealt], moves.after[dealt]), Term(-sign, rows[dealt], moves.before[dealt])


def _distance(sums: npt.NDArray[np.int32]) -> Floats:
    distance: Floats = np.abs(sums).sum(axis=0, dtype=np.int32) / 2
    return distance
