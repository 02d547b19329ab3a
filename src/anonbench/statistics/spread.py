"""Whether one variant spreads over seeds more than the others, whose common spread its interval takes."""

from __future__ import annotations

import functools

import numpy as np

from anonbench.seeding import generator

STUDIES = 10_000


def outlying_spread(values: np.ndarray) -> tuple[int, float, float]:
    """Return which of several variants spreads most over seeds, how many times as much as the others, and a p-value.

    ``values`` is (V, n), three variants or more and two seeds or more. What a seed does to all variants is taken out
    with medians over variants, which one wild variant does not move. The statistic is Cochran's C (1941), the largest
    variance over the sum of all; its p-value is the share of simulated normal studies of the same size and of equal
    spread that reach it, since the medians change its distribution.
    """
    variances = _variances(np.asarray(values, dtype=np.float64))
    most, total = int(variances.argmax()), float(variances.sum())
    if not total:
        return most, 1.0, 1.0
    rest = (total - float(variances[most])) / (len(variances) - 1)
    times = float(np.sqrt(variances[most] / rest)) if rest else float("inf")
    equal = _of_equal_spread(*np.shape(values))
    reached = len(equal) - int(np.searchsorted(equal, float(variances[most]) / total))
    return most, times, (1 + reached) / (1 + len(equal))


def _variances(values: np.ndarray) -> np.ndarray:
    """Return (..., V): the variances over seeds of values (..., V, n) without what a seed does to all variants."""
    centred = values - values.mean(axis=-1, keepdims=True)
    found: np.ndarray = (centred - np.median(centred, axis=-2, keepdims=True)).var(axis=-1, ddof=1)
    return found


@functools.cache
def _of_equal_spread(variants: int, seeds: int) -> np.ndarray:
    """Return the statistic in simulated studies of equal spread, rising."""
    random = generator("equal spread", variants, seeds)
    variances = _variances(random.normal(size=(STUDIES, variants, seeds)))
    return np.sort(variances.max(axis=-1) / variances.sum(axis=-1))
