"""How sure a difference is: resampling of validation images, Student's t over seeds, and a verdict.

With D(b, s) the difference of AP between a variant and the original in resample b of the validation images (the same
images for both) and seed s (the same for both), a replicate is the mean of D(b, s) over the seeds plus
t(b) sd / sqrt(n), with sd the standard deviation over seeds of a difference and t(b) a draw from Student's t. The
interval holds the middle 95 % of the replicates. Without image noise it is the t interval exactly. Drawing the seeds
with replacement, the plain bootstrap, covers far less with two or three of them (tests/report/test_report_resample.py
measures both).

Two or three seeds say little about their own spread, but every variant is trained with them: sd is pooled over the
variants as in an analysis of variance (`pooled`), which gives t the degrees of freedom of all of them. Where one model
is tested on every variant there is nothing to pool: its values on two variants move together, and by how much depends
on the variant, so sd is that of the differences by seed.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from anonbench.seeding import generator

LEVEL = 0.95

DROP, GAIN, SAME, UNSURE = "drop", "gain", "no practical difference", "cannot tell"
REFERENCE, MISSING = "reference", "not evaluated"

MOST_SEEDS = 999
"""Above this, `needed` gives up."""


@dataclass(frozen=True)
class Difference:
    """A variant minus the original, in the metric's unit, with its interval (None with no replicate) and a verdict.

    ``seeds_needed`` and ``images_needed`` say what it would take when the verdict is `UNSURE` (None: not known).
    """

    value: float
    low: float | None
    high: float | None
    verdict: str
    seeds_needed: int | None = None
    images_needed: int | None = None


def image_weights(images: int, resamples: int, *seed: object) -> np.ndarray:
    """Return int32 (resamples, images): how often each image is drawn, with replacement, per resample."""
    random = generator("images", *seed)
    return random.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.int32)


@dataclass(frozen=True)
class Spread:
    """How much a seed moves a difference: standard deviation, degrees of freedom, groups pooled."""

    sd: float
    freedom: int
    groups: int


def pooled(values_of: list[np.ndarray], floor: float | None = None, best: str = "higher") -> Spread | None:
    """Return the spread over seeds of a difference between two variants, pooled over variants; None with one seed each.

    ``values_of`` holds the metric per seed for each variant. The variance within variants is pooled (one-way analysis
    of variance; Dunnett 1955 compares with a control this way), and a difference has twice that, as if its seeds were
    not paired. A variant whose mean is worse than ``floor`` has learnt nothing, hardly varies and is left
    out, unless all are; ``best`` says whether ``higher`` or ``lower`` values are better.
    """
    several = [values for values in values_of if len(values) > 1]
    better = 1 if best == "higher" else -1
    groups = [v for v in several if floor is None or better * v.mean() >= better * floor] or several
    freedom = sum(len(values) - 1 for values in groups)
    if not freedom:
        return None
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in groups) / freedom
    return Spread(math.sqrt(2 * within), freedom, len(groups))


@functools.cache
def student(n: int, resamples: int, *seed: object) -> np.ndarray:
    """Return ``resamples`` values of Student's t with n - 1 degrees of freedom, evenly spread in probability.

    They are the middles of equal shares of a thousand times as many draws, in random order: with one or two
    degrees of freedom, plain draws would make the ends of an interval a matter of luck. Zeros when n is 1. The
    array is kept for the next call and cannot be written to.
    """
    values = np.zeros(resamples)
    if n > 1:
        random = generator("seeds", n, *seed)
        values = random.permutation(np.sort(random.standard_t(n - 1, size=1000 * resamples))[500::1000])
    values.setflags(write=False)
    return values


def difference(
    per_seed: np.ndarray,
    replicates: np.ndarray,
    noise: np.ndarray,
    margin: float,
    images: int,
    learnt: bool = True,
    spread: Spread | None = None,
    best: str = "higher",
    fixed: bool = False,
) -> Difference:
    """Return the difference with interval and verdict.

    ``per_seed`` (n) are the paired differences on the whole validation set, ``replicates`` (B, n) those on resampled
    images (NaN where the category was not drawn), ``noise`` (B) comes from `student`; all in the metric's unit.
    ``spread`` is that of a difference over seeds; left out, it is taken from ``per_seed`` alone.
    Unless the original has ``learnt`` anything there is no equivalence to be had, but `UNSURE`. ``best`` says whether
    the metric's ``higher`` or ``lower`` values are the better ones, a `GAIN`. ``fixed``: of a model that is not
    trained, whose one seed is all that there are: images are the only noise, and they decide.
    """
    n = len(per_seed)
    value = float(np.mean(per_seed))
    images_only = replicates.mean(axis=1)
    same = not per_seed.any() and not np.nan_to_num(replicates).any()  # the same models: no seed can part them
    if n < 2 or same:
        spread = Spread(0.0, 0, 1)
    elif spread is None:
        spread = Spread(float(np.std(per_seed, ddof=1)), n - 1, 1)
    both = images_only + spread.sd / math.sqrt(n) * noise
    known = ~np.isnan(both)
    if not known.any():
        return Difference(value, None, None, UNSURE)
    tails = 50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL)
    low, high = (float(v) for v in np.percentile(both[known], tails))
    ends_of = (low, high) if best == "higher" else (-high, -low)
    said = verdict(*ends_of, margin) if n > 1 or fixed else UNSURE
    if said == SAME and not learnt:
        return Difference(value, low, high, UNSURE)
    if said == UNSURE and fixed:
        return Difference(value, low, high, said, None, images_needed(value, (high - low) / 2, margin, images))
    if said != UNSURE or n < 2:
        return Difference(value, low, high, said)
    ends = np.percentile(images_only[known], tails)
    seeds, more = needed(value, float(ends[1] - ends[0]) / 2, spread.sd, margin, images, n, spread.groups)
    return Difference(value, low, high, said, seeds, more)


def verdict(low: float, high: float, margin: float) -> str:
    """Judge an interval of a metric whose higher values are better.

    Inside the margin is an equivalence (Schuirmann 1987, at a stricter level than its 90 %).
    """
    if -margin < low and high < margin:
        return SAME
    if high < 0:
        return DROP
    if low > 0:
        return GAIN
    return UNSURE


def images_needed(value: float, half: float, margin: float, images: int) -> int:
    """Estimate how many images would decide, if the difference stayed what it is and nothing else were uncertain.

    ``half`` is the half-width of the interval with ``images`` images; it shrinks with their root. See `needed`.
    """
    target = max(margin - abs(value), abs(value))
    return max(images, math.ceil(images * (half / target) ** 2))


def needed(
    value: float, image_half: float, seed_sd: float, margin: float, images: int, seeds: int, groups: int = 1
) -> tuple[int | None, int | None]:
    """Estimate how many seeds and images would decide, if the difference stayed what it is.

    The interval must reach neither both zero and the margin: a half-width below max(margin - |value|, |value|).
    ``image_half`` is the half-width from images alone, and shrinks with their root; ``seed_sd`` is the standard
    deviation over seeds, known from ``groups`` variants. Where the images alone are too few, half of the variance is
    left to each.
    """
    target = max(margin - abs(value), abs(value))
    enough = image_half < 0.9 * target
    more = images if enough else math.ceil(2 * images * (image_half / target) ** 2)
    left = math.sqrt(target**2 - image_half**2) if enough else target / math.sqrt(2)
    for n in range(max(2, seeds), MOST_SEEDS + 1):
        if t_quantile(groups * (n - 1)) * seed_sd / math.sqrt(n) <= left:
            return n, more
    return None, more


def t_quantile(freedom: int) -> float:
    """Return Student's t at probability 0.975: a table to 4, then Abramowitz and Stegun 26.7.5 (error < 0.005)."""
    if freedom <= 4:
        return (12.706, 4.303, 3.182, 2.776)[freedom - 1]
    z, v = 1.959964, freedom
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
