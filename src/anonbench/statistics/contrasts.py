"""A variant minus the original: what it is, how uncertain it is, and from where the uncertainty comes.

A seed gives the models of all variants the same first weights and the same order of images, so what a seed does to all
of them alike cancels in a difference: seeds are blocks. With y(v, s) the metric of variant v and seed s,

    y(v, s) = mean(v) + seed(s) + e(v, s),    sd of e(v, s): its own for the original, common to the other variants.

The variance of y(v) - y(0), averaged over n seeds, is the sum of two mean squares over n, as Welch (1947) has it for
two samples: that of the original about the mean of the others (n - 1 degrees of freedom), and that of the others about
their mean (those of V variants and n seeds: (V - 1)(n - 1)), less what the first holds of it already. It is right
where seeds do nothing alike, and where the original spreads more than the others; pooling all of them into one
mean square, a two-way analysis of variance, is not (`benchmarks/intervals.py` compares them).

Every difference rests on the original, which is therefore worth more trainings than a variant: sqrt(V) times as many
for V variants (Dunnett 1955). With m further seeds of the original alone, whose blocks have nobody else, the difference
of the means has the variance

    (var seed + var e0) / (n + m) + var e1 / n + var seed (1 / n - 2 / (n + m)).

The first is the original's plain variance over its n + m seeds, the second the others' mean square as above. The third
is what pairing cannot take out or takes out beyond that: nothing at m = n, left out where it is negative.

Of a variant that is made anew for each seed, by a method that is fitted again, e(v, s) holds what the fit does as well:
it spreads more than the others, and its difference has the variance of its own paired differences, n - 1 degrees of
freedom, alone. Further seeds of the original are left out of it: with them the sum of two mean squares, of which the
one of the fits has n - 1 degrees of freedom and the other more, would hold in fewer studies than it says.

Images are the other source. With replicates of y on resampled images, the covariance of the difference between
different seeds is what images do to all seeds alike; what they do to one seed is in the spread over seeds already, as
in the analysis of many readers and many cases (Obuchowski and Rockette 1995). Images are as many as they are, so that
it is divided by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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

    The original has ``further`` seeds beyond these. ``shared`` is the part of the variance that is the original's, and
    so that of every variant's contrast; ``spread`` is how many variants share the mean square of the others (1: none).
    ``replicates`` (B) are the contrast on resampled images, averaged over seeds, or None.
    """

    value: float
    seeds: int
    terms: tuple[Term, ...]
    shared: float = 0.0
    spread: int = 1
    replicates: np.ndarray | None = None
    further: int = 0

    @property
    def seeds_of_original(self) -> int:
        """Return how many seeds the original has."""
        return self.seeds + self.further

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
        freedom = [term.freedom for term in self.terms]
        return float(effective_freedom(variances, freedom, self.seeds_of_original, self.spread)[0])

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
    # further seeds of the original do not make others' mean squares any surer
    least = np.minimum(np.where(variances > 0, known, np.inf).min(axis=1), seeds - 1)
    return np.maximum(least, found * (1 - CAUTION * (1 - 2 / spread) / (seeds - 1)))


@dataclass(frozen=True)
class Panel:
    """A metric of one category by variant and seed, the original first.

    ``values`` (V, n) on the whole validation set; ``replicates`` (V, n, B) on resampled ones, NaN where the category
    was not drawn, or None; ``further`` (m) and ``further_replicates`` (m, B) are likewise of the original's further
    seeds, which no variant has; ``groups`` is how many images (videos) can tell of the category, of those that were
    drawn. ``learnt`` (V): a model below the floor of its task has no spread that could speak for others, and shares
    with them nothing that a seed does. ``pools``: whether there is a training behind each variant; if not, one model's
    values on several variants move together in ways of their own, and each difference has its own spread alone.
    ``apart`` (V): a variant that is itself made anew for each seed spreads by that, too, so that its differences have
    their own paired spread alone, without the original's further seeds, and speak for no other's. ``base`` names the
    mean square of the first row, where another variant than the original stands there for all to be compared with.
    """

    values: np.ndarray
    replicates: np.ndarray | None
    groups: float
    learnt: np.ndarray
    pools: bool = True
    further: np.ndarray = field(default_factory=lambda: np.empty(0))
    further_replicates: np.ndarray | None = None
    apart: np.ndarray | None = None
    base: str = ORIGINAL

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return int(self.values.shape[1])

    @cached_property
    def _others(self) -> np.ndarray:
        """Return the residuals (V', n) of the variants that learnt, each once, and not those whose models are the
        original's: they would have it speak for them."""
        own = self.learnt & (self.values != self.values[0]).any(axis=1)
        own &= ~self._apart
        found = np.unique(self.values[own], axis=0)
        return np.asarray(found - found.mean(axis=1, keepdims=True))

    @cached_property
    def _apart(self) -> np.ndarray:
        return np.zeros(len(self.values), dtype=bool) if self.apart is None else self.apart

    @cached_property
    def _squares(self) -> dict[str, Term]:
        """Return the mean squares of one seed's values, by source."""
        n, others = self.seeds, self._others
        original = self.values[0] - self.values[0].mean()
        mean = others.mean(axis=0)
        freedom = (len(others) - 1) * (n - 1)
        between = float(((others - mean) ** 2).sum() / freedom) if freedom else 0.0
        return {
            ORIGINAL: Term(float(((original - mean) ** 2).sum() / (n - 1)), n - 1, self.base),
            OTHERS: Term(between, max(freedom, 1), OTHERS),
            SEEDS: Term(float((mean**2).sum() / (n - 1)), n - 1, SEEDS),
        }

    @cached_property
    def _original(self) -> np.ndarray:
        """Return the original's values (n + m) on the whole validation set; (1) where a single seed is compared."""
        return np.concatenate([self.values[0], self.further]) if self.seeds > 1 else self.values[0]

    def contrast(self, variant: int, ratio: float = 1.0) -> Contrast:
        """Return variant minus ``ratio`` times the original; ``variant`` is a row of ``values``."""
        values = self.values[variant]
        drawn = None if self.replicates is None else self._drawn(variant)
        paired = values - ratio * self.values[0]
        if not paired.any() and (drawn is None or np.array_equal(drawn[0], ratio * drawn[1][: self.seeds])):
            same = None if drawn is None else np.zeros(drawn[0].shape[1])
            return Contrast(0.0, self.seeds, (), replicates=same)  # the same models: no seed can part them
        original = self._original_of(variant)
        value = float(values.mean() - ratio * original.mean())
        means = None if drawn is None else drawn[0].mean(axis=0) - ratio * drawn[1].mean(axis=0)
        terms, shared, spread = self._seed_terms(variant, ratio)
        if drawn is not None:
            common = image_variance(*drawn, self.groups, ratio)
            terms.append(Term(common, max(self.groups - 1, 1.0), IMAGES))
        return Contrast(value, self.seeds, tuple(terms), shared, spread, means, len(original) - self.seeds)

    def against(self, variant: int, reference: int) -> Contrast:
        """Return row ``variant`` minus row ``reference`` of a panel that the original is not in.

        The reference stands where the original does in `contrast`: it has a mean square of its own, since its noise is
        in every difference to it. Where spreads are not shared, since nothing `pools`, one of the two is made anew for
        each seed or did not learn, or nobody else is there, the difference has its own paired spread alone.
        """
        led, position = self._led_by(reference), variant + (variant < reference)
        found = led.contrast(position)
        return found if found.spread > 1 else replace(led, pools=False).contrast(position)

    def _led_by(self, reference: int) -> Panel:
        """Return the panel with another row first, which stands for the original; its ``base`` is that row's number."""
        if reference not in self._led:
            order = [reference, *(k for k in range(len(self.values)) if k != reference)]
            drawn = None if self.replicates is None else self.replicates[order]
            pools = self.pools and not self._apart[reference]
            self._led[reference] = Panel(
                self.values[order], drawn, self.groups, self.learnt[order], pools,
                apart=self._apart[order], base=f"{ORIGINAL} {reference}",
            )  # fmt: skip
        return self._led[reference]

    @cached_property
    def _led(self) -> dict[int, Panel]:
        return {}

    def _original_of(self, variant: int) -> np.ndarray:
        """Return the original's values that a variant is compared with: of one made anew for each seed the paired."""
        return self.values[0] if self._apart[variant] else self._original

    def _drawn(self, variant: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the replicates of a variant (n, B') and of the original (n + m, B'): those that all of them have."""
        assert self.replicates is not None
        own, original = self.replicates[variant], self.replicates[0]
        if self.further_replicates is not None and len(self._original_of(variant)) > len(original):
            original = np.concatenate([original, self.further_replicates])
        known = np.isfinite(own).all(axis=0) & np.isfinite(original).all(axis=0)
        return own[:, known], original[:, known]

    def _seed_terms(self, variant: int, ratio: float) -> tuple[list[Term], float, int]:
        """Return the terms of a contrast's variance that come from seeds, the part that is shared, and the spread."""
        n, several = self.seeds, len(self._others)
        if n < 2:
            return [], 0.0, 1
        alone = Term(float(self.values[variant].var(ddof=1)) / n, n - 1, f"{OWN} {variant}")
        if len(self._original_of(variant)) > n:
            pooled = self.learnt[variant] and several > 1 and self.learnt[0]
            return self._unpaired(alone, pooled, ratio)
        if (
            self._apart[variant]
            or not self.pools
            or not self.learnt[0]
            or not several
            or (several == 1 and self.learnt[variant])
        ):
            paired = self.values[variant] - ratio * self.values[0]
            return [Term(float(paired.var(ddof=1)) / n, n - 1, f"{OWN} {variant}")], 0.0, 1
        squares = self._squares
        original, others, seeds = (squares[source].variance / n for source in (ORIGINAL, OTHERS, SEEDS))
        own = max(original - others / several, 0.0) * ratio**2
        if not self.learnt[variant]:
            terms = [Term(ratio**2 * original, n - 1, self.base), Term(ratio**2 * seeds, n - 1, SEEDS), alone]
            return [term for term in terms if term.variance], own + ratio**2 * seeds, 1
        rest = max(1 - ratio**2 / several, 0.0) * others
        terms = [Term(ratio**2 * original, n - 1, self.base), Term(rest, squares[OTHERS].freedom, OTHERS)]
        if ratio != 1:
            terms.append(Term((1 - ratio) ** 2 * seeds, n - 1, SEEDS))
        return [term for term in terms if term.variance], own, several

    def _unpaired(self, alone: Term, pooled: bool, ratio: float) -> tuple[list[Term], float, int]:
        """Return what `_seed_terms` does, where the original has further seeds; ``alone`` is the variant's own."""
        n, whole = self.seeds, len(self._original)
        original = ratio**2 * float(self._original.var(ddof=1)) / whole
        terms = [Term(original, whole - 1, self.base)]
        if not pooled:
            return [term for term in (*terms, alone) if term.variance], original, 1
        squares = self._squares
        left = max(1 / n - 2 * ratio / whole, 0.0) * squares[SEEDS].variance
        terms += [Term(squares[OTHERS].variance / n, squares[OTHERS].freedom, OTHERS), Term(left, n - 1, SEEDS)]
        return [term for term in terms if term.variance], original + left, len(self._others)


def image_variance(variant: np.ndarray, original: np.ndarray, groups: float, ratio: float = 1.0) -> float:
    """Return what images add to the variance of ``variant`` minus ``ratio`` times ``original``, both means over seeds.

    Replicates are (n, B) and (N, B), N >= n, the first n of both of the same seeds. Of several seeds it is what two
    different ones have in common, of one seed the variance of their difference; times G / (G - 1), since a bootstrap of
    G groups has a variance that is too small by that factor.
    """
    if variant.shape[1] < 2:
        return 0.0
    if len(variant) == 1:
        common = float((variant[0] - ratio * original[0]).var(ddof=1))
    else:
        common = _common(variant) + ratio**2 * _common(original) - 2 * ratio * _crossed(variant, original)
    return max(common, 0.0) * groups / max(groups - 1, 1)


def _common(replicates: np.ndarray) -> float:
    """Return the mean covariance between two different rows."""
    n = len(replicates)
    return float((n**2 * replicates.mean(axis=0).var(ddof=1) - replicates.var(axis=1, ddof=1).sum()) / (n * (n - 1)))


def _crossed(few: np.ndarray, many: np.ndarray) -> float:
    """Return the mean covariance between a row of ``few`` and another row (by position) of ``many``."""
    own, others = (of - of.mean(axis=1, keepdims=True) for of in (few, many))
    whole = (own.sum(axis=0) * others.sum(axis=0)).sum() - (own * others[: len(own)]).sum()
    return float(whole / (few.shape[1] - 1) / (len(few) * (len(many) - 1)))
