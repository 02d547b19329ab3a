"""Many questions at once: one factor that widens the intervals of a family until all of them hold together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from anonbench.seeding import generator
from anonbench.statistics.contrasts import IMAGES, LEVEL, ORIGINAL, OWN, Contrast, Term, effective_freedom

DRAWS = 10_000

FAMILY_LEVEL = 0.975
"""What is aimed at for 95 %: the mean squares that errors are drawn with are estimates of few degrees of freedom."""

FAMILY_LEVEL_OF_TWO = 0.985
"""The same where the original's mean square has a single one, that of two seeds (`benchmarks/intervals.py`)."""


@dataclass(frozen=True)
class Member:
    """A contrast of a family. Those of one ``block`` (task and category) have the original and mean squares in common.

    ``sample`` names what its images were drawn from: replicates of one sample were drawn together. In a family of
    several bases ``base`` names what it is a contrast to, and ``variant`` what is compared: two contrasts that share
    one of these share its errors.
    """

    block: str
    sample: str
    contrast: Contrast
    variant: str = ""
    base: str = ORIGINAL


def simultaneous_factor(
    members: Sequence[Member],
    *seed: object,
    draws: int = DRAWS,
    level: float | None = None,
    images_known: bool = True,
) -> float:
    """Return the factor (1 or more) by which the members' 95 % intervals must be wider to hold all at once in 95 %.

    A parametric max-t: studies are drawn in which every contrast is off by errors of the estimated size (the original's
    is common to its block, as in Dunnett 1955; those of images are correlated as the replicates are; those of blocks'
    seeds are taken as independent, which is the widest), and every mean square is drawn anew; the factor is a high
    quantile (``level``; else `family_level`) of the largest error in units of the half-width that such a study would
    give. With ``images_known`` what images do is drawn with the variance that was found, else that is drawn anew, too.
    """
    uncertain = [m for m in members if m.contrast.variance > 0]
    if len(uncertain) < 2:
        return 1.0
    random = generator("family", *seed)
    common: dict[tuple[str, str], np.ndarray] = {}
    halves: dict[object, np.ndarray] = {}

    def normal(block: str, name: str) -> np.ndarray:
        return common.setdefault((block, name), random.standard_normal(draws))

    def square(block: str, name: str, freedom: float) -> np.ndarray:
        key = (block, f"{name} squared")
        if key not in common:
            common[key] = random.chisquare(freedom, draws) / freedom
        return common[key]

    def drawn(k: int, term: Term) -> np.ndarray:
        block = uncertain[k].block
        if term.source == IMAGES:
            if images_known:
                return np.full(draws, term.variance)
            return term.variance * square(f"images {uncertain[k].sample}", f"{term.freedom}", term.freedom)
        return term.variance * square(f"{block} {k}" if is_own(term) else block, term.source, term.freedom)

    def half(k: int) -> np.ndarray:
        contrast = uncertain[k].contrast
        alike = (uncertain[k].block, uncertain[k].sample, contrast.terms, contrast.seeds_of_original, contrast.spread)
        if alike in halves and not has_own_spread(contrast):
            return halves[alike]
        variances = np.stack([drawn(k, term) for term in contrast.terms], axis=1)
        freedom = effective_freedom(
            variances, [t.freedom for t in contrast.terms], contrast.seeds_of_original, contrast.spread
        )
        quantiles = special.stdtrit(np.minimum(freedom, 1e6), 0.5 + LEVEL / 2)
        found = halves[alike] = np.asarray(quantiles * np.sqrt(variances.sum(axis=1)))
        return found

    images = _image_errors(uncertain, random, draws)
    worst = np.zeros(draws)
    for k, member in enumerate(uncertain):
        contrast, block = member.contrast, member.block
        own = max(contrast.part(images=False) - contrast.shared, 0.0)
        error = np.sqrt(contrast.shared) * normal(block, member.base)
        if member.variant:
            error = error - np.sqrt(own) * normal(block, member.variant)
        else:
            error = error + np.sqrt(own) * random.standard_normal(draws)
        error += images[k]
        np.maximum(worst, np.abs(error) / half(k), out=worst)
    return max(1.0, float(np.quantile(worst, family_level(uncertain) if level is None else level)))


def family_level(members: Sequence[Member]) -> float:
    """Return the quantile of the largest error that is aimed at for 95 %."""
    two = any(member.contrast.seeds_of_original == 2 for member in members)
    return FAMILY_LEVEL_OF_TWO if two else FAMILY_LEVEL


def simultaneous_intervals(members: Sequence[Member], *seed: object, draws: int = DRAWS) -> list[tuple[float, float]]:
    """Return the intervals of the members, each wider than by itself, that hold all at once in 95 %.

    Contrasts whose spread over seeds is shared with others, and those that images alone make uncertain, are widened by
    `simultaneous_factor`. One with a spread of its own (`has_own_spread`) has so few degrees of freedom, and so little
    in common with others, that a max-t would be no narrower than Bonferroni's rule, which it has. Either kind has its
    share, by number, of the 5 %.
    """
    shared = [m.contrast.variance > 0 and not has_own_spread(m.contrast) for m in members]
    joint = [member for member, of in zip(members, shared, strict=True) if of]
    seeds = any(member.contrast.part(images=False) > 0 for member in joint)
    # images are no few degrees of freedom whose mean squares would have to be allowed for
    beyond = 1 - (family_level(joint) if seeds else LEVEL)
    level = 1 - beyond * len(joint) / max(len(members), 1)
    factor = simultaneous_factor(joint, *seed, draws=draws, level=level, images_known=False)
    alone = 1 - (1 - LEVEL) / max(len(members), 1)
    return [
        member.contrast.interval(factor=factor) if of and len(joint) > 1 else member.contrast.interval(alone)
        for member, of in zip(members, shared, strict=True)
    ]


def has_own_spread(contrast: Contrast) -> bool:
    """Tell whether a contrast has a mean square over seeds that no other one shares."""
    return any(map(is_own, contrast.terms))


def is_own(term: Term) -> bool:
    """Tell whether a mean square is that of a variant, or of a pair, alone."""
    return term.source.startswith(OWN)


def _image_errors(members: Sequence[Member], random: np.random.Generator, draws: int) -> np.ndarray:
    """Return errors (members, draws) of the estimated variance, correlated as the replicates of one sample are."""
    errors = np.zeros((len(members), draws))
    for sample in dict.fromkeys(m.sample for m in members):
        rows = [k for k, m in enumerate(members) if m.sample == sample and m.contrast.part(images=True) > 0]
        if not rows:
            continue
        sizes = np.sqrt([members[k].contrast.part(images=True) for k in rows])
        drawn = [members[k].contrast.replicates for k in rows]
        correlation = np.eye(len(rows))
        if len(rows) > 1 and len({0 if d is None else len(d) for d in drawn}) == 1:
            correlation = np.corrcoef(np.stack([d for d in drawn if d is not None]))
        values, vectors = np.linalg.eigh(np.nan_to_num(correlation, nan=0.0))
        root = vectors * np.sqrt(np.maximum(values, 0))
        errors[rows] = sizes[:, None] * (root @ random.standard_normal((len(rows), draws)))
    return errors
