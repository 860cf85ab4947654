"""Bootstrap draws: what a skew would have been, had other images of the same kinds been seen.

Every image gets a random weight of mean 1 and variance 1 in every draw. Where the images fall into few kinds,
the weights are those of the classical bootstrap: the counts of the kinds are multinomial. Where the kinds are
many, as with predictions of hundreds of classes, each image counts double or not at all, with probability 1/2
(McCarthy 1969, "Pseudo-replication: half samples"; Owen and Eckles 2012, "Bootstrapping data arrays of arbitrary
order"): that takes one random bit an image and draw, and gives the same spread.

The same images always get the same draws, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.class_sums import ClassSums, Term, summed
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DRAWS: Final = 2000
# Kinds of images up to which the counts of the kinds are drawn: seven classes have 42. Above, bits cost less (a
# tenth at 500 kinds, of whatever many images), and intervals cover the truth as often.
_FEW: Final = 50
# Bits are made in slices of at most this many, which fit into caches.
_SLICE: Final = 8 * 2**20
_WORD: Final = 64


def generator_of(seed: int) -> np.random.Generator:
    """Return a random generator, of the kind whose raw bits numpy promises never to change."""
    return np.random.Generator(np.random.PCG64(seed))


def resampled_counts(counts: Integers, seed: int = 0) -> Integers:
    """Return bootstrap draws of a table of counts: int64 of shape [cells] -> [draws, cells].

    >>> resampled_counts(np.array([8, 0, 2])).mean(axis=0).round(1)
    array([8., 0., 2.])
    """
    total = int(counts.sum())
    draws_of_counts: Integers = generator_of(seed).multinomial(total, counts / total, size=DRAWS)
    return draws_of_counts


def skew_of(moves: Transitions, n: int) -> float:
    """Return the skew of n images: how far apart their classes are before and after they move.

    >>> skew_of(Transitions(np.array([3, 7]), before=np.array([0, 0]), after=np.array([1, 1])), n=10)
    0.2
    """
    classes = int(max(moves.before.max(initial=0), moves.after.max(initial=0))) + 1
    return float(np.abs(gained(moves, classes)).sum() / (2 * n))


def gained(moves: Transitions, classes: int) -> Integers:
    """Return how many images each class gains, less those that it loses: int64 of shape [classes]."""
    before, after = (
        np.bincount(numbers_of_classes, minlength=classes) for numbers_of_classes in (moves.before, moves.after)
    )
    return after - before


def excess(skews: Any) -> Any:
    """Return the skew of the model, less that of the control model if there is one; numbers, or draws of each."""
    return skews[0] - skews[1] if len(skews) > 1 else skews[0]


def resampled_skews(moves: Sequence[Transitions], n: int, seed: int = 0) -> Floats:
    """Return bootstrap draws of the skews of several models, or at several times, on the same n images.

    An image weighs the same for all of them, so that differences can be taken draw by draw.

    Parameters
    ----------
    moves
        One for each of the models. Images that are in none of them move no class' share.
    n
        The number of images, those that do not move included.

    Returns
    -------
    Skews in [0, 1], float64 of shape [len(moves), draws].

    Examples
    --------
    >>> two_of_ten = Transitions(np.array([3, 7]), before=np.array([0, 0]), after=np.array([1, 1]))
    >>> resampled_skews([two_of_ten], n=10).mean(axis=1).round(2)
    array([0.2])
    """
    moving = Moving.of(moves)
    draw = _resampled_kinds if moving.kinds.max(initial=0) < _FEW else _double_or_nothing
    return draw(moving, n, seed)


class Moving(NamedTuple):
    """The images that move for any of several models.

    Attributes
    ----------
    moves
        The moves of each model, with classes numbered from 0 on.
    places
        For each model, where in `kinds` its images are.
    kinds
        The kind of each image, int64 of shape [images]: two of a kind move alike for all models.
    classes
        The number of classes that any image leaves or enters.
    """

    moves: list[Transitions]
    places: list[Integers]
    kinds: Integers
    classes: int

    @classmethod
    def of(cls, moves: Sequence[Transitions]) -> Moving:
        """Bring the images of several models together."""
        images = np.unique(np.concatenate([transitions.images for transitions in moves]))
        places = [np.searchsorted(images, transitions.images) for transitions in moves]
        moves, classes = _renumbered(moves)
        kinds = np.zeros(len(images), dtype=np.int64)
        for transitions, rows_of_model in zip(moves, places, strict=True):
            kinds = _ranks(kinds * (classes**2 + 1) + move_numbers(transitions, rows_of_model, len(images), classes))
        return cls(moves, places, kinds, classes)


def move_numbers(moves: Transitions, places: Integers, images: int, classes: int) -> Integers:
    """Return a number for each image that is 0 if it does not move, and tells else from where to where."""
    numbers = np.zeros(images, dtype=np.int64)
    numbers[places] = 1 + moves.before * classes + moves.after
    return numbers


def coins(generator: np.random.Generator, rows: int, share: float = 0.5) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield slices of all draws: 1 with a probability of `share`, else 0; uint8 of shape [rows, some draws]."""
    step = max(1, _SLICE // max(1, rows) // _WORD) * _WORD
    for start in range(0, DRAWS, step):
        draws = min(step, DRAWS - start)
        if share == 0.5:
            yield _random_bits(generator, rows, draws)
        else:
            yield (generator.random((rows, draws), dtype=np.float32) < share).view(np.uint8)


def _random_bits(generator: np.random.Generator, rows: int, draws: int) -> npt.NDArray[np.uint8]:
    # Words of 64 draws follow each other, each for all rows: how the draws are sliced does not change them.
    blocks = -(-draws // _WORD)
    raw = generator.bit_generator.random_raw(rows * blocks).reshape(blocks, rows)
    packed = np.ascontiguousarray(raw.T, dtype="<u8").view(np.uint8)
    return np.unpackbits(packed, axis=1)[:, :draws]


def _resampled_kinds(moving: Moving, n: int, seed: int) -> Floats:
    counts = np.bincount(moving.kinds)
    draws_of_counts = resampled_counts(np.concatenate([[n - counts.sum()], counts]), seed)[:, 1:]
    weights = np.ascontiguousarray(draws_of_counts.T)
    return np.array([_absolute(sums.of(weights)) for sums in _sums_of_kinds(moving)]) / (2 * n)


def _double_or_nothing(moving: Moving, n: int, seed: int) -> Floats:
    """Weigh images by 1 or 0, which is the same as 2 or 0 as long as the total weight is divided by."""
    generator = generator_of(seed)
    rows = len(moving.kinds)
    others = generator.binomial(n - rows, 0.5, size=DRAWS)
    models = _sums_of_images(moving)
    moved, weights = [], []
    for bits in coins(generator, rows):
        moved.append([_absolute(sums.of(bits)) for sums in models])
        weights.append(summed(bits))
    skews: Floats = np.concatenate(moved, axis=1) / (2 * (others + np.concatenate(weights)))
    return skews


def _absolute(sums: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.abs(sums).sum(axis=0, dtype=np.int32)  # type: ignore[no-any-return]


def _sums_of_kinds(moving: Moving) -> Iterator[ClassSums]:
    for moves, rows_of_model in zip(moving.moves, moving.places, strict=True):
        kinds, once = np.unique(moving.kinds[rows_of_model], return_index=True)
        yield shift_sums(moving.classes, kinds, moves.before[once], moves.after[once])


def _sums_of_images(moving: Moving) -> list[ClassSums]:
    rows = rows_by_kind(moving.kinds)
    return [
        shift_sums(moving.classes, rows[rows_of_model], moves.before, moves.after)
        for moves, rows_of_model in zip(moving.moves, moving.places, strict=True)
    ]


def shift_sums(classes: int, rows: Integers, before: Integers, after: Integers) -> ClassSums:
    """Return what sums the changes of the classes, when weighted rows move from class to class."""
    return ClassSums(classes, Term(1, rows, after), Term(-1, rows, before))


def rows_by_kind(kinds: Integers) -> Integers:
    """Return a row for each image such that images of a kind, which may change places, are neighbours."""
    rows = np.empty(len(kinds), dtype=np.int64)
    rows[np.argsort(kinds, kind="stable")] = np.arange(len(kinds))
    return rows


def _renumbered(moves: Sequence[Transitions]) -> tuple[list[Transitions], int]:
    """Number the classes that occur from 0 on: products of class numbers must not overflow."""
    classes = np.unique(
        np.concatenate(
            [
                numbers_of_classes
                for transitions in moves
                for numbers_of_classes in (transitions.before, transitions.after)
            ]
        )
    )
    numbers = [
        [np.searchsorted(classes, numbers_of_classes) for numbers_of_classes in (transitions.before, transitions.after)]
        for transitions in moves
    ]
    return [Transitions(transitions.images, *parts) for transitions, parts in zip(moves, numbers, strict=True)], len(
        classes
    )


def _ranks(values: Integers) -> Integers:
    ranks: Integers = np.unique(values, return_inverse=True)[1]
    return ranks
