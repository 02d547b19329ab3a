"""A variant minus the original: what it is, how uncertain it is, and from where the uncertainty comes.

A seed gives the models of all variants the same first weights and the same order of images, so what a seed does to all
of them alike cancels in a difference: seeds are blocks. With y(v, s) the metric of variant v and seed s,

    y(v, s) = mean(v) + seed(s) + e(v, s),    sd of e(v, s): its own for the original, common to the other variants.

The variance of y(v) - y(0), averaged over n seeds, is the sum of two mean squares over n, as Welch (1947) has it for
two samples: that of the original about the mean of the others (n - 1 degrees of freedom), and that of the others about
their mean (those of V variants and n seeds: (V - 1)(n - 1)), less what the first holds of it already. It is right
where seeds do nothing alike, and where the original spreads more than the others; pooling all of them into one
mean square, a two-way analysis of variance, is not (`benchmarks/intervals.py` compares them).

Images are the other source. With replicates of y on resampled images, the covariance of the difference between
different seeds is what images do to all seeds alike; what they do to one seed is in the spread over seeds already, as
in the analysis of many readers and many cases (Obuchowski and Rockette 1995). Images are as many as they are, so that
it is divided by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

LEVEL = 0.95
"""Coverage of an interval."""

EQUIVALENCE_LEVEL = 0.90
"""Coverage of the interval that two one-sided tests at 5 % look at (Schuirmann 1987)."""

CAUTION = 0.65
"""Welch's degrees of freedom promise too much where one mean square has many and the other few: see `Contrast.freedom`.
Chosen by simulation over 1 to 20 variants and 2 to 5 seeds (`benchmarks/intervals.py`)."""


@dataclass(frozen=True)
class Term:
    """One mean square's share in a variance, with its degrees of freedom and the name of the mean square."""

    variance: float
    freedom: float
    source: str


@dataclass(frozen=True)
class Contrast:
    """A variant minus ``ratio`` times the original, averaged over ``seeds``; ``terms`` add up to its variance.

    ``shared`` is the part of the variance that is the original's, and so that of every variant's contrast; ``spread``
    is how many variants share the mean square of the others (1: none). ``replicates`` (B) are the contrast on resampled
    images, averaged over seeds, or None.
    """

    value: float
    seeds: int
    terms: tuple[Term, ...]
    shared: float = 0.0
    spread: int = 1
    replicates: np.ndarray | None = None

    @cached_property
    def variance(self) -> float:
        """Return the squared standard error."""
        return sum(term.variance for term in self.terms)

    def part(self, images: bool) -> float:
        """Return the variance that comes from images, or from seeds."""
        return sum(term.variance for term in self.terms if (term.source == IMAGES) == images)

    @cached_property
    def freedom(self) -> float:
        """Return the effective degrees of freedom: Welch's and Satterthwaite's, with caution, inf without variance."""
        variances = np.array([[term.variance for term in self.terms]])
        return float(effective_freedom(variances, [t.freedom for t in self.terms], self.seeds, self.spread)[0])

    def half(self, level: float = LEVEL) -> float:
        """Return the half-width of the interval at a level (0..1)."""
        return quantile(0.5 + level / 2, self.freedom) * float(np.sqrt(self.variance))

    def interval(self, level: float = LEVEL, factor: float = 1.0) -> tuple[float, float]:
        """Return the ends of the interval at a level (0..1), widened by ``factor``."""
        half = factor * self.half(level)
        return self.value - half, self.value + half


ORIGINAL, OTHERS, OWN, SEEDS, IMAGES = "original", "others", "own", "seeds", "images"
"""Sources of variance: the original about the others, the others about their mean, a variant alone, what a seed does
to all variants, and images."""


def quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, or of the normal distribution at infinite ``freedom``."""
    return float(special.stdtrit(freedom, probability) if np.isfinite(freedom) else special.ndtri(probability))


def effective_freedom(variances: np.ndarray, freedom: list[float], seeds: int = 1, spread: int = 1) -> np.ndarray:
    """Return the degrees of freedom (N) of sums of mean squares; ``variances`` is (N, terms).

    Satterthwaite's (1946), times 1 - c (1 - 2 / ``spread``) / (``seeds`` - 1) with c = `CAUTION`: with few seeds the
    few degrees of freedom of the original make them overstated where ``spread`` variants give the other term many. Not
    less than the smallest of the terms that matter at all.
    """
    # a term of no variance may have no degrees of freedom either
    known = np.maximum(np.asarray(freedom, dtype=np.float64), 1.0)
    spread_out = (variances**2 / known).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(spread_out > 0, variances.sum(axis=1) ** 2 / spread_out, np.inf)
    if seeds < 2 or spread < 2:
        return found
    return np.maximum(seeds - 1, found * (1 - CAUTION * (1 - 2 / spread) / (seeds - 1)))


@dataclass(frozen=True)
class Panel:
    """A metric of one category by variant and seed, the original first.

    ``values`` (V, n) on the whole validation set; ``replicates`` (V, n, B) on resampled ones, NaN where the category
    was not drawn, or None; ``groups`` is how many images (videos) can tell of the category, of those that were drawn.
    ``learnt`` (V): a model below the floor of its task has no spread that could speak for others, and shares with them
    nothing that a seed does. ``pools``: whether there is a training behind each variant; if not, one model's values on
    several variants move together in ways of their own, and each difference has its own spread alone.
    """

    values: np.ndarray
    replicates: np.ndarray | None
    groups: float
    learnt: np.ndarray
    pools: bool = True

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return int(self.values.shape[1])

    @cached_property
    def _others(self) -> np.ndarray:
        """Return the residuals (V', n) of the variants that learnt, each once, and not those whose models are the
        original's: they would have it speak for them."""
        own = self.learnt & (self.values != self.values[0]).any(axis=1)
        found = np.unique(self.values[own], axis=0)
        return np.asarray(found - found.mean(axis=1, keepdims=True))

    @cached_property
    def _squares(self) -> dict[str, Term]:
        """Return the mean squares of one seed's values, by source."""
        n, others = self.seeds, self._others
        original = self.values[0] - self.values[0].mean()
        mean = others.mean(axis=0)
        freedom = (len(others) - 1) * (n - 1)
        between = float(((others - mean) ** 2).sum() / freedom) if freedom else 0.0
        return {
            ORIGINAL: Term(float(((original - mean) ** 2).sum() / (n - 1)), n - 1, ORIGINAL),
            OTHERS: Term(between, max(freedom, 1), OTHERS),
            SEEDS: Term(float((mean**2).sum() / (n - 1)), n - 1, SEEDS),
        }

    def contrast(self, variant: int, ratio: float = 1.0) -> Contrast:
        """Return variant minus ``ratio`` times the original; ``variant`` is a row of ``values``."""
        values = self.values[variant] - ratio * self.values[0]
        replicates = None
        if self.replicates is not None:
            drawn = self.replicates[variant] - ratio * self.replicates[0]
            replicates = drawn[:, np.isfinite(drawn).all(axis=0)]
        value = float(values.mean())
        means = None if replicates is None else replicates.mean(axis=0)
        if not values.any() and (replicates is None or not replicates.any()):
            return Contrast(value, self.seeds, (), replicates=means)  # the same models: no seed can part them
        terms, shared, spread = self._seed_terms(variant, values, ratio)
        if replicates is not None:
            terms.append(Term(image_variance(replicates, self.groups), max(self.groups - 1, 1.0), IMAGES))
        return Contrast(value, self.seeds, tuple(terms), shared, spread, means)

    def _seed_terms(self, variant: int, values: np.ndarray, ratio: float) -> tuple[list[Term], float, int]:
        """Return the terms of a contrast's variance that come from seeds, the part that is shared, and the spread."""
        n, several = self.seeds, len(self._others)
        if n < 2:
            return [], 0.0, 1
        if not self.pools or not self.learnt[0] or not several or (several == 1 and self.learnt[variant]):
            return [Term(float(values.var(ddof=1)) / n, n - 1, f"{OWN} {variant}")], 0.0, 1
        squares = self._squares
        original, others, seeds = (squares[source].variance / n for source in (ORIGINAL, OTHERS, SEEDS))
        own = max(original - others / several, 0.0) * ratio**2
        if not self.learnt[variant]:
            alone = float(self.values[variant].var(ddof=1)) / n
            terms = [
                Term(ratio**2 * original, n - 1, ORIGINAL),
                Term(ratio**2 * seeds, n - 1, SEEDS),
                Term(alone, n - 1, f"{OWN} {variant}"),
            ]
            return [term for term in terms if term.variance], own + ratio**2 * seeds, 1
        rest = max(1 - ratio**2 / several, 0.0) * others
        terms = [Term(ratio**2 * original, n - 1, ORIGINAL), Term(rest, squares[OTHERS].freedom, OTHERS)]
        if ratio != 1:
            terms.append(Term((1 - ratio) ** 2 * seeds, n - 1, SEEDS))
        return [term for term in terms if term.variance], own, several


def image_variance(replicates: np.ndarray, groups: float) -> float:
    """Return what images add to the variance of a mean over seeds; ``replicates`` is (n, B), of one contrast.

    Of several seeds it is the mean covariance between two of them, of one seed its variance; times G / (G - 1), since
    a bootstrap of G groups has a variance that is too small by that factor.
    """
    n = len(replicates)
    if replicates.shape[1] < 2:
        return 0.0
    of_mean, single = float(replicates.mean(axis=0).var(ddof=1)), float(replicates.var(axis=1, ddof=1).sum())
    common = (n**2 * of_mean - single) / (n * (n - 1)) if n > 1 else of_mean
    return max(common, 0.0) * groups / max(groups - 1, 1)
