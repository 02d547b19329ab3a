"""Mean average precision and rank-k, as person re-identification reports them, with ties averaged exactly.

The protocol is that of Market-1501 (Zheng et al. 2015): every gallery image counts by itself, and a gallery image of
the probe's own person and camera is in no ranking (``allowed`` False). Average precision is the mean of the precisions
at the ranks of the mates, as in torchreid and FastReID; the evaluation code that came with the data set joins these
points by trapezoids, which differs by a little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from anonbench.attack.pairs import checked
from anonbench.errors import AnonbenchError


def average_precision(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None
) -> np.ndarray:
    """Return each probe's average precision (0..1), float64 (P), NaN where a probe has no mate.

    It is the mean over all orders of equal scores (McSherry and Najork 2008): of n equal scores after c others, with r
    mates after R others, the i-th has a mate with chance r / n, and then a precision of
    (R + 1 + (i - 1)(r - 1)/(n - 1)) / (c + i) in the mean. Inputs and errors are those of `pairs.checked`.
    """
    pairs = checked(scores, probe, gallery, allowed)
    found = np.full(len(pairs.scores), np.nan)
    for row in np.flatnonzero(pairs.mated):
        kept = pairs.allowed[row]
        levels, level = np.unique(-pairs.scores[row, kept], return_inverse=True)
        n = np.bincount(level, minlength=len(levels))
        r = np.bincount(level, weights=pairs.mates[row, kept], minlength=len(levels))
        before, mates_before = np.cumsum(n) - n, np.cumsum(r) - r
        i = np.arange(1, n.sum() + 1) - np.repeat(before, n)
        hits = np.repeat(mates_before + 1, n) + (i - 1) * np.repeat((r - 1) / np.maximum(n - 1, 1), n)
        precision = hits / np.arange(1, n.sum() + 1)
        found[row] = (np.repeat(r / n, n) * precision).sum() / r.sum()
    return found


def mean_average_precision(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None
) -> float:
    """Return mAP (0..1): the mean of `average_precision` over the probes with a mate."""
    return float(np.nanmean(average_precision(scores, probe, gallery, allowed)))


def within_rank(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, rank: int, allowed: ArrayLike | None = None
) -> np.ndarray:
    """Return each probe's chance that a mate is among the first ``rank`` images, float64 (P), NaN without a mate.

    The mean over probes is the cumulative match characteristic (CMC) at that rank. Equal scores are ordered at random:
    of n equal scores, r of them mates, m are within the rank, and hold no mate with chance C(n - r, m) / C(n, m).
    Inputs and errors are those of `pairs.checked`; AnonbenchError, too, for a rank below 1.
    """
    if rank < 1:
        raise AnonbenchError(f"{rank} is no rank", entry="rank", remedy="give 1 or more")
    pairs = checked(scores, probe, gallery, allowed)
    best = np.where(pairs.mates, pairs.scores, -np.inf).max(axis=1, keepdims=True)
    ahead = (pairs.allowed & (pairs.scores > best)).sum(axis=1)
    level = pairs.scores == best
    equal, mates = (level & pairs.allowed).sum(axis=1), (level & pairs.mates).sum(axis=1)
    within = np.clip(rank - ahead, 0, equal)
    missed = np.where(
        within > equal - mates,
        0.0,
        np.exp(
            special.gammaln(equal - mates + 1)
            - special.gammaln(np.maximum(equal - mates - within, 0) + 1)
            + special.gammaln(equal - within + 1)
            - special.gammaln(equal + 1)
        ),
    )
    return np.where(pairs.mated, 1 - missed, np.nan)
