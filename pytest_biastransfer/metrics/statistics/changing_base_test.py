"""Is a share another one than before, if the images among which it is taken change as well? P-values of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value
from pytest_biastransfer.metrics.statistics.random_signs import exchange_p_value

Integers = npt.NDArray[np.int64]


class ShareOfSome(NamedTuple):
    """A share of some of the images of a dataset.

    Attributes
    ----------
    hits
        The images that count, int64; those that are `outside` do not.
    outside
        The images among which the share is not taken, int64.
    """

    hits: Integers
    outside: Integers

    def value(self, n: int) -> float:
        """Return the share, among n images of the dataset; 0 among none."""
        return len(np.setdiff1d(self.hits, self.outside)) / max(1, n - len(self.outside))


def paired_share_change(before: ShareOfSome, now: ShareOfSome, n: int, margin: float = 0.0) -> float:
    """Return the two-sided p-value of a change of a share of the same n images, of which some belong to its base.

    By exchange of the two measurements of images (Fisher 1935), which leaves the share p of both together as it is.
    What is summed is by how much each image changes: it stands at 1 - p if it counts, at -p if it belongs to the base
    and does not count, and else at 0. Where the base is the same, this is McNemar's exact test.

    The square of the sum, divided by the sum of the squares, is 1 - r^2 times the statistic of Kosinski's weighted
    generalized score test (2013, Statistics in Medicine 32, 964-977), r being the difference of the bases' sizes
    divided by their sum. So the test is valid, and more conservative the more the bases differ, if the base
    became another one but the share did not, in which case the measurements cannot be exchanged. Unlike the score test
    it is exact for few images: with k images that stand differently, p is at least 2^(1 - k).

    With a `margin`, which has the sign of the change, the test is of a change beyond it, by the standard error of the
    difference of two ratios of sums (Cochran 1977, Sampling Techniques, 6.4).

    Examples
    --------
    >>> none, six = np.arange(0), np.arange(6)
    >>> round(paired_share_change(ShareOfSome(none, none), ShareOfSome(six, none), 100), 5)
    0.03125
    """
    standings = [_standings(measurement, n) for measurement in (before, now)]
    if margin:
        return _share_beyond(standings, margin)
    counted, base = (sum(int(np.count_nonzero(standing >= least)) for standing in standings) for least in (2, 1))
    # In units of one image of both bases, so that sums are whole numbers and ties are ties.
    worth = np.array([0, -counted, base - counted])
    changes = worth[standings[1]] - worth[standings[0]]
    sizes = Counter(abs(changes[changes != 0]).tolist())
    return exchange_p_value(int(changes.sum()), sizes)


def _share_beyond(standings: Sequence[Integers], margin: float) -> float:
    shares, residuals = [], []
    for standing in standings:
        hits, base = standing == 2, standing >= 1
        size = max(1, int(base.sum()))
        shares.append(float(hits.sum()) / size)
        residuals.append((hits - shares[-1] * base) / size)
    spread = float(np.sqrt(((residuals[1] - residuals[0]) ** 2).sum()))
    return normal_p_value(shares[1] - shares[0], spread, margin)


def _standings(share: ShareOfSome, n: int) -> Integers:
    """Return of each image 2 if it counts, 1 if it belongs to the base, and else 0."""
    standings = np.ones(n, dtype=np.int64)
    standings[share.hits] = 2
    standings[share.outside] = 0
    return standings
