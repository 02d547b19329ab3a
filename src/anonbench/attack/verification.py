"""Same person or not: the ROC curve over all pairs, with ties exact, and its numbers when people are drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix

from anonbench.attack.pairs import Pairs, checked
from anonbench.errors import AnonbenchError


@dataclass(frozen=True)
class _Masses:
    """How often pairs count in D draws, with the highest score first.

    ``genuine`` (M + 1, D) is the weight of the first genuine pairs; ``cuts`` (S + 1, D) that of the impostor pairs
    before each cut; ``products`` (U, D) that of each pair of people.
    """

    genuine: np.ndarray
    cuts: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class _Curve:
    """Genuine and impostor pairs, each with the highest score first, and the weights that count them.

    Impostors are many, and few of their places matter: those where a genuine pair stands, and the one where a false
    accept rate falls. They are summed between cuts, at the former and at every `STEP`-th impostor; whoever asks for a
    place between two cuts sums from the first of them. ``columns`` int64 (I,): of each identity the column of weights,
    of ``count``, that is its own.
    """

    pairs: Pairs
    columns: np.ndarray
    count: int

    STEP: ClassVar[int] = 1024
    HELD: ClassVar[int] = 2**18
    """About so many weights are held at once, in each array of `_Masses`."""

    @classmethod
    def of(cls, pairs: Pairs) -> _Curve:
        """Return the curve of people each of whom is drawn alone."""
        return cls(pairs, np.arange(len(pairs.identities)), len(pairs.identities))

    @cached_property
    def _genuine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the genuine pairs' negated scores, rising, and their columns, each (M)."""
        negated, probe, _ = self._sorted(self.pairs.mates)
        return negated, self.columns[probe]

    @cached_property
    def _impostor(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the impostor pairs' negated scores, rising, and which pair of columns they are of, each (N).

        The third are those pairs of columns (U), as a * count + b, rising.
        """
        negated, probe, gallery = self._sorted(self.pairs.others)
        codes = self.columns[probe] * self.count + self.columns[gallery]
        places = np.zeros(self.count**2, dtype=np.int64)
        places[codes] = 1
        people = np.flatnonzero(places)
        places[people] = np.arange(len(people))
        return negated, places[codes], people

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the two columns of each pair that impostors are of, each (U), and which of these are one twice."""
        one, other = np.divmod(self._impostor[2], self.count)
        return one, other, np.flatnonzero(one == other)

    def _sorted(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, columns = np.nonzero(which)
        negated = -self.pairs.scores[rows, columns]
        order = np.argsort(negated, kind="stable")
        return negated[order], self.pairs.probe[rows[order]], self.pairs.gallery[columns[order]]

    @cached_property
    def _ahead(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many impostors are above each genuine pair, and how many are not below it, each (M)."""
        return _around(self._impostor[0], self._genuine[0])

    @cached_property
    def _cuts(self) -> np.ndarray:
        """Return the places of the cuts (S + 1), from 0 to N: how many impostors are before each."""
        known = len(self._impostor[0])
        return np.unique(np.concatenate([[0, known], *self._ahead, np.arange(0, known, self.STEP)]))

    @cached_property
    def _between(self) -> csr_matrix:
        """Return how often each pair of people stands between a cut and the next: (S, U)."""
        _, which, people = self._impostor
        return csr_matrix((np.ones(len(which)), which, self._cuts), (len(self._cuts) - 1, len(people)))

    def side_by_side(self) -> int:
        """Return how many draws to look at together."""
        return max(1, self.HELD // max(len(self._impostor[2]), len(self._genuine[0]), len(self._cuts)))

    def masses(self, weights: np.ndarray) -> _Masses:
        """Return the weights of pairs in the draws that ``weights`` (D, count) count."""
        drawn = np.ascontiguousarray(weights.T, dtype=np.float64)
        one, other, together = self._columns
        products = drawn[one]
        products *= drawn[other]
        products[together] = drawn[one[together]]  # two who are drawn together are drawn as often as one
        return _Masses(
            _cumulated(drawn[self._genuine[1]]), _cumulated(np.asarray(self._between @ products)), products
        )  # fmt: skip

    def auc(self, masses: _Masses) -> np.ndarray:
        """Return the chance that a genuine pair scores higher than an impostor pair, half of ties counted; (D)."""
        above, not_below = (masses.cuts[np.searchsorted(self._cuts, places)] for places in self._ahead)
        genuine = np.diff(masses.genuine, axis=0)
        ahead = np.einsum("md,md->d", genuine, above + not_below) / 2
        with np.errstate(invalid="ignore"):
            return np.asarray(1 - ahead / (masses.genuine[-1] * masses.cuts[-1]))

    def tar(self, far: float, masses: _Masses) -> np.ndarray:
        """Return the share of genuine pairs accepted where a share ``far`` of impostor pairs is; (D)."""
        return np.array([self._tar(far, masses, draw) for draw in range(masses.genuine.shape[1])])

    def _tar(self, far: float, masses: _Masses, draw: int) -> float:
        genuine, cuts = masses.genuine[:, draw], masses.cuts[:, draw]
        if not genuine[-1] or not cuts[-1]:
            return float("nan")
        wanted = far * cuts[-1]
        most = wanted * (1 + 1e-12)  # 0.01 * 300 is below 3
        cut = int(np.searchsorted(cuts, most, "right")) - 1
        if cut == len(cuts) - 1:
            return 1.0
        negated, which, _ = self._impostor
        first, end = self._cuts[cut : cut + 2]
        reached = cuts[cut] + np.cumsum(masses.products[which[first:end], draw])
        # the tie that the share falls into is accepted in part, its genuine pairs with its impostor pairs
        tie = negated[first + int(np.searchsorted(reached, most, "right"))]
        low, high = (self._before(int(place), masses, draw) for place in _around(negated, tie))
        accepted = genuine[[*_around(self._genuine[0], tie)]]
        part = (wanted - low) / (high - low)
        return float((accepted[0] + part * (accepted[1] - accepted[0])) / genuine[-1])

    def _before(self, place: int, masses: _Masses, draw: int) -> float:
        """Return what the impostor pairs before a place weigh in a draw."""
        cut = int(np.searchsorted(self._cuts, place, "right")) - 1
        which = self._impostor[1][self._cuts[cut] : place]
        return float(masses.cuts[cut, draw] + masses.products[which, draw].sum())

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return false and true accept rates at every score that occurs, from (0, 0) to (1, 1)."""
        sides = self._impostor[0], self._genuine[0]
        levels = np.unique(np.concatenate(sides))
        false, true = (np.searchsorted(side, levels, "right") / len(side) for side in sides)
        return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def _around(rising: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of ``rising`` values are below each value, and how many are not above it."""
    return np.searchsorted(rising, values, "left"), np.searchsorted(rising, values, "right")


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, ... rows."""
    found = np.zeros((len(weights) + 1, *weights.shape[1:]))
    np.cumsum(weights, axis=0, out=found[1:])
    return found


def _once(pairs: Pairs) -> np.ndarray:
    """Return one draw, in which every identity counts once: (1, I)."""
    return np.ones((1, len(pairs.identities)))


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
    curve = _Curve.of(pairs)
    return float(curve.auc(curve.masses(_once(pairs)))[0])


def tar_at_far(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, far: float, allowed: ArrayLike | None = None
) -> float:
    """Return the true accept rate (0..1) at a false accept rate of ``far`` (0 to 1) over all allowed pairs.

    The curve is linear between the points that thresholds reach: pairs that score exactly the threshold are accepted
    with a chance that makes the false accept rate exact. Chance is `chance_of_tar`. Inputs and errors are those of
    `pairs.checked`; AnonbenchError, too, where ``far`` is less than one pair of different people.
    """
    pairs = checked(scores, probe, gallery, allowed)
    curve = _Curve.of(pairs)
    return float(curve.tar(_checked_rate(far, pairs), curve.masses(_once(pairs)))[0])


def chance_of_tar(far: float, impostors: int) -> float:
    """Return what scores that know nothing get as `tar_at_far`: (k + 1) / (n + 1), k = floor(far * n), and no less.

    Of n impostor pairs those k are accepted that score highest, and with them all genuine pairs above the next: that is
    the chance to be among k + 1 of n + 1. It is ``far`` where n is large, and almost twice as much where k is 1. Scores
    that tie get less, and at most ``far`` where all do.
    """
    return max(far, (math.floor(far * impostors * (1 + 1e-12)) + 1) / (impostors + 1))


def eer(scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None) -> float:
    """Return the equal error rate (0..1), at which as many genuine pairs are refused as impostor pairs are accepted.

    Never report it alone: it is an average over people, and hides the few whom an attacker finds for sure. Where 10 %
    of people are linked without error and 90 % are at chance, it is 0.9 / 1.9 = .47, next to chance at .5, while the
    true accept rate at a false one of 1e-3 is .10, a hundred times chance. It is read off the curve of `tar_at_far`.
    Inputs and errors are those of `pairs.checked`.
    """
    false, true = _Curve.of(checked(scores, probe, gallery, allowed)).points()
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
    columns: np.ndarray | None = None,
) -> VerificationReplicates:
    """Return AUC, and the true accept rates at ``fars``, when whole people are drawn with replacement.

    ``weights`` (B, I) says how often each identity is drawn (`statistics.resampling.group_weights`); its columns are
    the sorted identities of probes and gallery together. A pair of two people counts as often as the product of their
    weights (Owen 2007), a pair of one person as often as that person's (Bolle, Ratha and Pankanti 2004): two copies of
    one person make no impostor pair. ``columns`` int64 (I,) says which column counts an identity, where several are
    drawn together: a pair of two of these counts as often as they are drawn. Inputs and errors are those of
    `pairs.checked` and `tar_at_far`; AnonbenchError, too, for weights of another number of columns.
    """
    pairs = checked(scores, probe, gallery, allowed)
    rates = [_checked_rate(far, pairs) for far in fars]
    drawn = np.asarray(weights, dtype=np.float64)
    curve = _Curve.of(pairs) if columns is None else _Curve(pairs, columns, int(columns.max()) + 1)
    if drawn.ndim != 2 or drawn.shape[1] != curve.count:
        raise AnonbenchError(
            f"have the shape {drawn.shape} for {curve.count} identities",
            entry="weights",
            remedy="give one column per identity of probes and gallery, sorted",
        )
    areas, accepted = np.empty(len(drawn)), np.empty((len(rates), len(drawn)))
    for first in range(0, len(drawn), size := curve.side_by_side()):
        some = slice(first, first + size)
        masses = curve.masses(drawn[some])
        areas[some] = curve.auc(masses)
        for k, rate in enumerate(rates):
            accepted[k, some] = curve.tar(rate, masses)
    return VerificationReplicates(areas, accepted)
