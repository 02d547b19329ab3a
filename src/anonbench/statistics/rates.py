"""A rate itself, not its difference to another variant's: its uncertainty and interval, and what it means by others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from anonbench.statistics.contrasts import IMAGES, LEVEL, Contrast, Panel, Term, quantile

ROUNDING = 1e-6
"""Rates that differ by less are the same: sums of many numbers are rounded."""


def level(values: ArrayLike, replicates: np.ndarray, groups: float) -> Contrast:
    """Return a measure itself, not its difference to another variant, with its uncertainty: identities, then seeds.

    ``values`` (n) by seed, ``replicates`` (n, B) on draws of ``groups`` identities that all seeds share. It is the
    contrast to nothing that `Panel` makes: the spread over seeds (n - 1 degrees of freedom), and what identities do to
    all seeds alike (``groups`` - 1); of one seed the latter alone; see `at_least`.
    """
    known = np.asarray(values, dtype=np.float64)[None]
    panel = Panel(known, replicates[None], groups, np.ones(1, dtype=bool), pools=False)
    return at_least(panel.contrast(0, ratio=0.0), groups)


def at_least(found: Contrast, groups: float) -> Contrast:
    """Return a contrast with no less uncertainty than its mean over these very seeds has on other identities.

    Seeds that agree by accident, each on other identities, seem to leave none.
    """
    if found.replicates is None or len(found.replicates) < 2:
        return found
    least = float(found.replicates.var(ddof=1)) * groups / max(groups - 1, 1.0)
    if least <= found.variance:
        return found
    rest = Term(least - found.part(images=False), max(groups - 1, 1.0), IMAGES)
    return replace(found, terms=(*(term for term in found.terms if term.source != IMAGES), rest))


def rate_interval(rate: Contrast, groups: float, coverage: float = LEVEL, factor: float = 1.0) -> tuple[float, float]:
    """Return the ends of the interval of a rate (0..1), such as `level` gives, over ``groups`` identities.

    ``factor`` (`family.simultaneous_factor`) widens it as it would value ± t: it takes the coverage of that interval.

    Rates near 0 or 1 are skewed, and ± t misleads there (`benchmarks/attack.py` measures how much). This is the
    interval of Clopper and Pearson for as many trials as would be as uncertain (Korn and Graubard 1998), fewer with few
    degrees of freedom. Its upper end is never below what no hit in ``groups`` trials would give,
    1 - (alpha / 2)^(1 / groups), and its lower end never above what hits alone would: people of a kind that the sample
    happens to hold nobody of are not excluded.
    """
    beyond = widened(coverage, rate.freedom, factor)
    low = high = min(max(rate.value, 0.0), 1.0)
    if 0 < low < 1 and rate.variance > ROUNDING**2:
        shrunk = (quantile(1 - beyond, np.inf) / quantile(1 - beyond, rate.freedom)) ** 2
        trials = low * (1 - low) / rate.variance * shrunk
        hits = low * trials
        low = float(special.betaincinv(hits, trials - hits + 1, beyond))
        high = float(special.betaincinv(hits + 1, trials - hits, 1 - beyond))
    unseen = 1 - beyond ** (1 / max(groups, 1.0))
    return min(low, 1 - unseen), max(high, unseen)


def widened(coverage: float, freedom: float, factor: float) -> float:
    """Return the chance beyond either end of an interval of a ``coverage`` whose half-width is ``factor`` as large."""
    half = factor * quantile(0.5 + coverage / 2, freedom)
    return float(special.stdtr(freedom, -half) if np.isfinite(freedom) else special.ndtr(-half))


def residual(a: ArrayLike, c: ArrayLike) -> np.ndarray:
    """Return the residual risk (a - c) / (1 - c): the part of what a control could not do that an attack did.

    ``a``, the attack's success (0..1), and ``c``, the control's, broadcast; the result has their shape and is 1 for a
    sure attack, 0 for one as good as its control, and below 0 for a worse one. NaN where c is 1 (or above): a control
    that always succeeds leaves nothing to tell. It is how Anonymeter corrects its risks (Giomi et al. 2023).
    """
    attack, control = np.asarray(a, dtype=np.float64), np.asarray(c, dtype=np.float64)
    return share_of(attack - control, 1 - control)


def gain(a: ArrayLike, c: ArrayLike, raw: ArrayLike) -> np.ndarray:
    """Return the privacy gain 1 - (a - c) / (raw - c): the part of the avoidable risk that a method removed.

    ``a``, the success (0..1) on anonymized images, ``c``, that of the control, and ``raw``, that on raw images,
    broadcast. 1: no better than the control; 0: as on raw images; it may lie outside of 0..1. NaN where ``raw`` is not
    above ``c``: nothing could be removed. Where the two are close, it is a ratio of noise.
    """
    attack, control, risk = (np.asarray(value, dtype=np.float64) for value in (a, c, raw))
    return 1 - share_of(attack - control, risk - control)


def share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part over whole, NaN where whole is not above 0."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))
