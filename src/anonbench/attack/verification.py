"""Same person or not: the ROC curve over all pairs, with ties exact, and its numbers when people are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from anonbench.attack.pairs import Pairs, checked
from anonbench.errors import AnonbenchError


@dataclass(frozen=True)
class _Curve:
    """Genuine and impostor pairs, each with the highest score first, and the people that they are of."""

    pairs: Pairs

    @cached_property
    def _genuine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the genuine pairs' negated scores, rising, and their people, each (M)."""
        negated, probe, _ = self._sorted(self.pairs.mates)
        return negated, probe

    @cached_property
    def _impostor(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the impostor pairs' negated scores, rising, and their two people as a * I + b, each (N)."""
        negated, probe, gallery = self._sorted(self.pairs.others)
        return negated, probe * len(self.pairs.identities) + gallery

    def _sorted(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, columns = np.nonzero(which)
        negated = -self.pairs.scores[rows, columns]
        order = np.argsort(negated, kind="stable")
        return negated[order], self.pairs.probe[rows[order]], self.pairs.gallery[columns[order]]

    @cached_property
    def _ahead(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many impostors are above each genuine pair, and how many are not below it, each (M)."""
        return _around(self._impostor[0], self._genuine[0])

    def masses(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cumulative weights of genuine (M + 1) and impostor (N + 1) pairs; ``weights`` (I) of people."""
        products = np.multiply.outer(weights, weights).ravel()
        genuine, impostor = weights[self._genuine[1]], products[self._impostor[1]]
        return np.concatenate([[0.0], np.cumsum(genuine)]), np.concatenate([[0.0], np.cumsum(impostor)])

    def auc(self, genuine: np.ndarray, impostor: np.ndarray) -> float:
        """Return the chance that a genuine pair scores higher than an impostor pair, half of ties counted."""
        above, not_below = self._ahead
        ahead = (impostor[above] + impostor[not_below]) / 2
        with np.errstate(invalid="ignore"):
            return float(1 - np.diff(genuine) @ ahead / (genuine[-1] * impostor[-1]))

    def tar(self, far: float, genuine: np.ndarray, impostor: np.ndarray) -> float:
        """Return the share of genuine pairs accepted where a share ``far`` of impostor pairs is."""
        if not genuine[-1] or not impostor[-1]:
            return float("nan")
        wanted = far * impostor[-1]
        last = int(np.searchsorted(impostor, wanted * (1 + 1e-12), "right")) - 1  # 0.01 * 300 is below 3
        if last >= len(impostor) - 1:
            return 1.0
        # the tie that the share falls into is accepted in part, its genuine pairs with its impostor pairs
        tie = self._impostor[0][last]
        low, high = impostor[[*_around(self._impostor[0], tie)]]
        accepted = genuine[[*_around(self._genuine[0], tie)]]
        part = (wanted - low) / (high - low)
        return float((accepted[0] + part * (accepted[1] - accepted[0])) / genuine[-1])

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return false and true accept rates at every score that occurs, from (0, 0) to (1, 1)."""
        sides = self._impostor[0], self._genuine[0]
        levels = np.unique(np.concatenate(sides))
        false, true = (np.searchsorted(side, levels, "right") / len(side) for side in sides)
        return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def _around(rising: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of ``rising`` values are below each value, and how many are not above it."""
    return np.searchsorted(rising, values, "left"), np.searchsorted(rising, values, "right")


def _equal(pairs: Pairs) -> np.ndarray:
    """Return a weight of one for every identity."""
    return np.ones(len(pairs.identities))


def _checked_rate(far: float, pairs: Pairs) -> float:
    """Return ``far``; raises AnonbenchError where it is no rate or smaller than one impostor pair."""
    if not 0 < far <= 1:
        raise AnonbenchError(f"{far} is no false accept rate", entry="far", remedy="give one above 0, and at most 1")
    known = int(pairs.others.sum())
    if far * known < 1 - 1e-9:
        raise AnonbenchError(
            f"a false accept rate of {far:g} was asked for, but there are {known} pairs of different people",
            entry="far",
            remedy=f"ask for {1 / known:.2g} or more, or compare more people",
        )
    return far


def auc(scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve (0..1): Mann and Whitney's (1947) statistic, half of ties counted.

    It is the chance that two pictures of one person score higher than two of different people; 0.5 is chance.
    Inputs and errors are those of `pairs.checked`.
    """
    pairs = checked(scores, probe, gallery, allowed)
    curve = _Curve(pairs)
    return curve.auc(*curve.masses(_equal(pairs)))


def tar_at_far(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, far: float, allowed: ArrayLike | None = None
) -> float:
    """Return the true accept rate (0..1) at a false accept rate of ``far`` (0 to 1) over all allowed pairs.

    The curve is linear between the points that thresholds reach: pairs that score exactly the threshold are accepted
    with a chance that makes the false accept rate exact. Chance is ``far``. Inputs and errors are those of
    `pairs.checked`; AnonbenchError, too, where ``far`` is less than one pair of different people.
    """
    pairs = checked(scores, probe, gallery, allowed)
    curve = _Curve(pairs)
    return curve.tar(_checked_rate(far, pairs), *curve.masses(_equal(pairs)))


def eer(scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None) -> float:
    """Return the equal error rate (0..1), at which as many genuine pairs are refused as impostor pairs are accepted.

    Never report it alone: it is an average over people, and hides the few whom an attacker finds for sure. Where 10 %
    of people are linked without error and 90 % are at chance, it is 0.9 / 1.9 = .47, next to chance at .5, while the
    true accept rate at a false one of 1e-3 is .10, a hundred times chance. It is read off the curve of `tar_at_far`.
    Inputs and errors are those of `pairs.checked`.
    """
    false, true = _Curve(checked(scores, probe, gallery, allowed)).points()
    total = false + true  # rises from 0 to 2, strictly; both errors are equal where it is 1
    return float(np.interp(1.0, total, false))


@dataclass(frozen=True)
class VerificationReplicates:
    """Numbers of the ROC curve on B draws of people: ``auc`` (B) and ``tar`` (F, B), one row per false accept rate.

    NaN where a draw holds no pair of one kind.
    """

    auc: np.ndarray
    tar: np.ndarray


def verification_replicates(
    scores: ArrayLike,
    probe: ArrayLike,
    gallery: ArrayLike,
    weights: np.ndarray,
    fars: Sequence[float] = (),
    allowed: ArrayLike | None = None,
) -> VerificationReplicates:
    """Return AUC, and the true accept rates at ``fars``, when whole people are drawn with replacement.

    ``weights`` (B, I) says how often each identity is drawn (`statistics.resampling.group_weights`); its columns are
    the sorted identities of probes and gallery together. A pair of two people counts as often as the product of their
    weights (Owen 2007), a pair of one person as often as that person's (Bolle, Ratha and Pankanti 2004): two copies of
    one person make no impostor pair. Inputs and errors are those of `pairs.checked` and `tar_at_far`;
    AnonbenchError, too, for weights of another number of identities.
    """
    pairs = checked(scores, probe, gallery, allowed)
    rates = [_checked_rate(far, pairs) for far in fars]
    drawn = np.asarray(weights, dtype=np.float64)
    if drawn.ndim != 2 or drawn.shape[1] != len(pairs.identities):
        raise AnonbenchError(
            f"have the shape {drawn.shape} for {len(pairs.identities)} identities",
            entry="weights",
            remedy="give one column per identity of probes and gallery, sorted",
        )
    curve = _Curve(pairs)
    areas, accepted = np.empty(len(drawn)), np.empty((len(rates), len(drawn)))
    for b, weight in enumerate(drawn):
        masses = curve.masses(weight)
        areas[b] = curve.auc(*masses)
        accepted[:, b] = [curve.tar(rate, *masses) for rate in rates]
    return VerificationReplicates(areas, accepted)
