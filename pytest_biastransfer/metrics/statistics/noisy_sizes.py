"""The sizes of many noisy differences, less what noise adds to them: by empirical Bayes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Differences are rounded to so many standard errors: equal ones are computed once.
_STEP: Final = 0.05
# The size of a difference of more standard errors is hardly changed by noise.
_FAR: Final = 6.0
_ATOM_DISTANCE: Final = 0.25
# More steps gain little (a bias of .016 instead of .026 with 1,000 classes and 5,000 images) and take longer.
_ITERATIONS: Final = 200


def mean_sizes(differences: npt.NDArray[Any], variances: npt.NDArray[Any]) -> Floats:
    """Return the mean size of each true difference, given all of the observed ones.

    The observed size of a difference is larger on average than the true one, because noise has a size, too. The
    distribution of the true differences, in standard errors, is estimated from all of them: it is the mixture of
    normal distributions that makes what is observed most probable (Kiefer and Wolfowitz 1956), by expectation
    maximization. The result is the posterior mean of the size (Jiang and Zhang 2009). So the sum over many differences
    has hardly a bias left, whether most of them are 0 or none is. A single difference is hardly corrected: nothing says
    which sizes are usual.

    Parameters
    ----------
    differences
        Numbers, float or int of shape [differences].
    variances
        Their variances, above 0, of the same shape.

    Returns
    -------
    float64 of the same shape, at least 0.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(1000)
    >>> float(abs(noise).mean().round(2)), float(mean_sizes(noise, np.ones(1000)).mean().round(2))
    (0.78, 0.14)
    """
    errors = np.sqrt(variances)
    scores = differences / errors
    sizes: Floats = np.abs(scores)
    near = sizes < _FAR
    if near.any():
        steps, places, counts = np.unique(np.rint(scores[near] / _STEP), return_inverse=True, return_counts=True)
        sizes[near] = _posterior_sizes(steps * _STEP, counts)[places]
    sizes *= errors
    return sizes


def _posterior_sizes(scores: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """Return the posterior mean size of each of some different scores that occur so often, in standard errors."""
    most = np.abs(scores).max() + _ATOM_DISTANCE
    half = np.arange(0, most, _ATOM_DISTANCE)
    atoms = np.concatenate([-half[:0:-1], half])
    likelihood = np.exp(-((scores[:, None] - atoms) ** 2) / 2)
    weights = np.full(len(atoms), 1 / len(atoms))
    for _ in range(_ITERATIONS):
        weights = weights * (likelihood.T @ (counts / (likelihood @ weights))) / counts.sum()
    posterior = likelihood * weights
    sizes: Floats = posterior @ np.abs(atoms) / posterior.sum(axis=1)
    return sizes
