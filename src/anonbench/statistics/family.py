"""Many questions at once: one factor that widens the intervals of a family until all of them hold together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from anonbench.seeding import generator
from anonbench.statistics.contrasts import IMAGES, LEVEL, ORIGINAL, OTHERS, SEEDS, Contrast, effective_freedom

DRAWS = 10_000

FAMILY_LEVEL = 0.975
"""What is aimed at for 95 %: the mean squares that errors are drawn with are estimates of few degrees of freedom."""

FAMILY_LEVEL_OF_TWO = 0.985
"""The same where the original's mean square has a single one, that of two seeds (`benchmarks/intervals.py`)."""


@dataclass(frozen=True)
class Member:
    """A contrast of a family. Those of one ``block`` (task and category) have the original and mean squares in common.

    ``sample`` names what its images were drawn from: replicates of one sample were drawn together.
    """

    block: str
    sample: str
    contrast: Contrast


def simultaneous_factor(members: Sequence[Member], *seed: object, draws: int = DRAWS) -> float:
    """Return the factor (1 or more) by which the members' 95 % intervals must be wider to hold all at once in 95 %.

    A parametric max-t: studies are drawn in which every contrast is off by errors of the estimated size (the original's
    is common to its block, as in Dunnett 1955; those of images are correlated as the replicates are; those of blocks'
    seeds are taken as independent, which is the widest), and every mean square is drawn anew; the factor is a high
    quantile (`FAMILY_LEVEL`; with two seeds `FAMILY_LEVEL_OF_TWO`) of the largest error in units of the half-width that
    such a study would give.
    """
    uncertain = [m for m in members if m.contrast.variance > 0]
    if len(uncertain) < 2:
        return 1.0
    random = generator("family", *seed)
    common: dict[tuple[str, str], np.ndarray] = {}

    def normal(block: str, name: str) -> np.ndarray:
        return common.setdefault((block, name), random.standard_normal(draws))

    def square(block: str, name: str, freedom: float) -> np.ndarray:
        key = (block, f"{name} squared")
        if key not in common:
            common[key] = random.chisquare(freedom, draws) / freedom
        return common[key]

    images = _image_errors(uncertain, random, draws)
    worst = np.zeros(draws)
    for k, member in enumerate(uncertain):
        contrast, block = member.contrast, member.block
        own = max(contrast.part(images=False) - contrast.shared, 0.0)
        error = np.sqrt(contrast.shared) * normal(block, ORIGINAL) + np.sqrt(own) * random.standard_normal(draws)
        error += images[k]
        shared = (ORIGINAL, OTHERS, SEEDS)
        parts = [
            t.variance * square(block if t.source in shared else f"{block} {k}", t.source, t.freedom)
            if t.source != IMAGES
            else np.full(draws, t.variance)
            for t in contrast.terms
        ]
        variances = np.stack(parts, axis=1)
        freedom = effective_freedom(
            variances, [t.freedom for t in contrast.terms], contrast.seeds_of_original, contrast.spread
        )
        half = special.stdtrit(np.minimum(freedom, 1e6), 0.5 + LEVEL / 2) * np.sqrt(variances.sum(axis=1))
        np.maximum(worst, np.abs(error) / half, out=worst)
    two = any(member.contrast.seeds_of_original == 2 for member in uncertain)
    return max(1.0, float(np.quantile(worst, FAMILY_LEVEL_OF_TWO if two else FAMILY_LEVEL)))


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
