"""Linking a picture to a person in a crowd: linkability, the size of the crowd, and singling out.

A crowd is one of people. Somebody with many images is no larger a crowd than somebody with one, so everybody stands in
it with one image, drawn at random from those that the probe is compared with. Whoever attacks with several images of
each person takes the best score of each (or their mean) before, and hands over one column per person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from anonbench.attack.pairs import Pairs, checked
from anonbench.errors import AnonbenchError

SMALL_CROWD = 10
"""Fewer people than this do not hide anybody: the share of probes in such crowds is reported."""


def linkability(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, size: int | None, allowed: ArrayLike | None = None
) -> np.ndarray:
    """Return lambda(N) of each probe, float64 (P), NaN where a probe has no mate.

    It is the exact chance that a mate is ranked first in a gallery of ``size`` = N people: the mate, and one image each
    of N - 1 others, drawn without replacement; equal scores are ordered at random. The mean over the probe's mates is
    returned. Chance is 1/N. ``size`` None takes everybody whom the probe is compared with. Inputs and errors are those
    of `pairs.checked`; AnonbenchError, too, where a probe is compared with fewer than N people.
    """
    pairs = checked(scores, probe, gallery, allowed)
    if size is not None and size < 2:
        raise AnonbenchError(f"a gallery of {size} is none", entry="size", remedy="give 2 people or more")

    def first(rows: np.ndarray, below: np.ndarray, equal: np.ndarray) -> np.ndarray:
        others = below.shape[1]
        if size is not None and others + 1 < size:
            raise AnonbenchError(
                f"a gallery of {size} people was asked for, but probe {rows[0]} has {others + 1} candidates",
                entry="size",
                remedy=f"ask for {others + 1} or fewer, or put more people in the gallery",
            )
        return _first(below, equal, others if size is None else size - 1)

    return _over_mates(pairs, first)


def _over_mates(pairs: Pairs, measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return each probe's mean (P) of a ``measure`` of its mates' standing, NaN where it has none."""
    total, mates = np.zeros(len(pairs.scores)), pairs.mates.sum(axis=1)
    for rows, below, equal in pairs.standing():
        total += np.bincount(rows, measure(rows, below, equal), minlength=len(total))
    return np.divide(total, mates, out=np.full(len(total), np.nan), where=mates > 0)


def _first(below: np.ndarray, equal: np.ndarray, drawn: int) -> np.ndarray:
    """Return the chance (M) to be first among ``drawn`` of K others, who with chances (M, K) are below or equal."""
    if np.isin(below, (0, 1)).all() and np.isin(equal, (0, 1)).all():
        return _first_of_certain(below.sum(axis=1), equal.sum(axis=1), below.shape[1], drawn)
    # A tie of T is broken with chance 1 / (1 + T), the integral over u from 0 to 1 of u^T: within it, each person is
    # passed with chance below + u * equal. It is a polynomial in u, which Gauss and Legendre integrate exactly; the
    # more people tie, the more nodes that takes, and most mates tie with nobody.
    needed = np.minimum((equal > 0).sum(axis=1), drawn) // 2 + 1
    found = np.empty(len(below))
    for count in np.unique(needed):
        rows = needed == count
        nodes, weights = special.roots_legendre(count)
        passed = below[rows, None] + (nodes[:, None] + 1) / 2 * equal[rows, None]
        found[rows] = _all_of(passed, drawn) @ weights / 2
    return found


def _first_of_certain(below: np.ndarray, equal: np.ndarray, others: int, drawn: int) -> np.ndarray:
    """Return `_first` where of K ``others`` b are below and e equal for sure, each (M).

    Hypergeometric: sum over T of C(e, T) C(b, n - T) / C(K, n) / (1 + T), which by Vandermonde's identity is
    (C(b + e + 1, n + 1) - C(b, n + 1)) / ((e + 1) C(K, n)).
    """

    def log_choose(n: np.ndarray | int, k: int) -> np.ndarray:
        n = np.asarray(n, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            logs = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        return np.where(n < k, -np.inf, logs)

    ways = log_choose(others, drawn)
    with_ties = np.exp(log_choose(below + equal + 1, drawn + 1) - ways) - np.exp(log_choose(below, drawn + 1) - ways)
    alone = np.exp(log_choose(below, drawn) - ways)
    return np.asarray(np.where(equal > 0, with_ties / (equal + 1), alone))


def _all_of(passed: np.ndarray, drawn: int) -> np.ndarray:
    """Return the chance (...) that all of ``drawn`` people, drawn from K, are passed, given each one's (..., K).

    It is the elementary symmetric polynomial of degree n over C(K, n), by its recursion over people, each step of which
    is a mean: a draw of m from the first k + 1 holds the last of them with chance m / (k + 1).
    """
    if drawn == passed.shape[-1]:
        return np.asarray(passed.prod(axis=-1))
    people = passed.shape[-1]
    chances = np.ascontiguousarray(np.moveaxis(passed, -1, 0))
    found = np.zeros((drawn + 1, *passed.shape[:-1]))  # of each m, the chance that all of m drawn so far are passed
    found[0] = 1
    for k, chance in enumerate(chances):
        # from no more than there are so far, and to no fewer than the rest can still fill up
        first, last = max(1, drawn - (people - 1 - k)), min(k + 1, drawn)
        share = (np.arange(first, last + 1) / (k + 1)).reshape(-1, *[1] * chance.ndim)
        found[first : last + 1] += share * (chance * found[first - 1 : last] - found[first : last + 1])
    return np.asarray(found[drawn])


def crowd(scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None) -> np.ndarray:
    """Return in how large a crowd each probe's person hides, in people, float64 (P), NaN where a probe has no mate.

    k = 1 + (people more alike than the mate) + (people exactly as alike) / 2, the expected rank of the mate among one
    image of each person; the mean over mates. 1: found at once. Chance is the middle of everybody, (1 + people) / 2.
    Inputs and errors are those of `pairs.checked`.
    """
    return _over_mates(
        checked(scores, probe, gallery, allowed),
        lambda rows, below, equal: 1 + (1 - below - equal / 2).sum(axis=1),
    )


@dataclass(frozen=True)
class CrowdSummary:
    """Crowds of all probes, in people: their ``median``, the ``fifth`` percentile, and which share of probes (0..1) is
    in one ``below`` `SMALL_CROWD`."""

    median: float
    fifth: float
    below: float


def summarise_crowd(sizes: np.ndarray) -> CrowdSummary:
    """Return the summary of what `crowd` returned, over the probes that have a mate."""
    known = sizes[~np.isnan(sizes)]
    median, fifth = np.quantile(known, (0.5, 0.05))
    return CrowdSummary(float(median), float(fifth), float((known < SMALL_CROWD).mean()))


@dataclass(frozen=True)
class SinglingOut:
    """What one predicate per probe isolates, each float64 (P), NaN where a probe has no mate.

    ``isolated``: 1 where exactly one gallery person meets it; ``right``: 1 where that is the probe's person;
    ``baseline``: the chance that it would be, had the attacker looked at another picture than the probe.
    """

    isolated: np.ndarray
    right: np.ndarray
    baseline: np.ndarray

    @property
    def rate(self) -> float:
        """Return pi: the share of probes (0..1) whose person is singled out."""
        return float(np.nanmean(self.right))

    @property
    def baseline_rate(self) -> float:
        """Return the same attacker's rate (0..1) on independent probes."""
        return float(np.nanmean(self.baseline))


def singled_out(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, threshold: float, allowed: ArrayLike | None = None
) -> SinglingOut:
    """Return whom the predicates "scores ``threshold`` or more with this probe" single out.

    Singling out is to isolate one person's records (WP29, Opinion 05/2014). To isolate *somebody* proves nothing: a
    predicate that knows nothing isolates one of n with a chance of up to 1/e (Cohen and Nissim 2020). So a success is
    one that isolates the probe's own person, whom any of several images may give away, and the baseline is the same
    attacker's rate when persons are permuted over probes, its exact mean over all permutations: a predicate that
    isolates j is then right with the chance that a probe is of j. The threshold must come from other people
    (`isolating_threshold` on validation). Inputs and errors are those of `pairs.checked`.
    """
    pairs = checked(scores, probe, gallery, allowed)
    named, first, second, chances = _named(pairs)
    isolated = (first >= threshold) & (second < threshold)
    right = isolated & (named == pairs.probe)
    values = (isolated.astype(np.float64), right.astype(np.float64), isolated * chances)
    return SinglingOut(*(np.where(pairs.mated, value, np.nan) for value in values))


def isolating_threshold(
    scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None
) -> float:
    """Return the threshold that singles out most people above the baseline; inf where none singles out more.

    It is for validation people; use it with `singled_out` on others, in a gallery of about as many people, since a
    predicate that isolates one of 50 often meets several of 500. Of equally good thresholds the highest range is taken,
    and the middle of it. Inputs and errors are those of `pairs.checked`.
    """
    pairs = checked(scores, probe, gallery, allowed)
    named, first, second, chances = _named(pairs)
    use = pairs.mated & (first > second)
    gains = (named == pairs.probe)[use] - chances[use]
    # a probe's predicate isolates from above its second best person's score up to its best person's
    levels = np.unique(np.concatenate([first[use], second[use]]))
    change = np.zeros(len(levels) + 1)
    np.add.at(change, np.searchsorted(levels, second[use]) + 1, gains)
    np.add.at(change, np.searchsorted(levels, first[use]) + 1, -gains)
    total = np.cumsum(change)[: len(levels)]  # of thresholds above the level before, up to this one
    if not len(levels) or total.max() < 1e-9:
        return float("inf")
    best = int(np.flatnonzero(total >= total.max() - 1e-9)[-1])
    low, high = levels[best - 1], levels[best]
    return float((low + high) / 2 if low < (low + high) / 2 else high)


def _named(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return, each (P), who is most alike to each probe, their score, the next person's, and the share of them among
    the probes with a mate."""
    best = pairs.best()
    if best.shape[1] == 1:
        best = np.column_stack([best, np.full(len(best), -np.inf)])
    order = np.argsort(best, axis=1, kind="stable")
    named = pairs.people()[np.minimum(order[:, -1], len(pairs.people()) - 1)]
    first, second = np.take_along_axis(best, order[:, -2:], axis=1).T[::-1]
    counts = np.bincount(pairs.probe[pairs.mated], minlength=len(pairs.identities))
    return named, first, second, counts[named] / counts.sum()
