"""How many seeds and images it takes until a study can be expected to decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from anonbench.seeding import generator
from anonbench.statistics.contrasts import EQUIVALENCE_LEVEL, IMAGES, LEVEL, Contrast, effective_freedom

POWER = 0.8
"""The chance of a right decision that is planned for."""

MOST_SEEDS = 200
"""Above this, a plan is given up."""

MOST_IMAGES = 1000.0
"""Above so many times the pilot's images, too."""

USUAL = 2.0
"""The size of a usual difference, in margins; chosen by simulation (`benchmarks/power.py`)."""

_WORLDS = 1000


@dataclass(frozen=True)
class _Worlds:
    """What a pilot leaves possible, each array (N): true differences, true variances of one seed's difference, and the
    level (0..1) at which a new study comes to estimate that variance."""

    true: np.ndarray
    variance: np.ndarray
    level: np.ndarray


@dataclass(frozen=True)
class Pilot:
    """What a study knows of a difference: its value, and the squared standard errors from seeds and from images.

    ``freedom`` is that of the part from seeds; ``seeds`` and ``images`` (or videos, people) are the pilot's; further
    seeds of its original stay in proportion in what is planned. ``factor`` widens the interval that a drop or a gain is
    told by (`simultaneous_factor`). A model that is not ``trained`` has no seeds.
    """

    value: float
    seed_variance: float
    image_variance: float
    freedom: float
    seeds: int
    images: int
    factor: float = 1.0
    trained: bool = True

    @classmethod
    def of(cls, contrast: Contrast, images: int, factor: float = 1.0, trained: bool = True) -> Pilot:
        """Return what a contrast over ``images`` knows."""
        terms = [term for term in contrast.terms if term.source != IMAGES]
        variances = np.array([[term.variance for term in terms]])
        freedom = effective_freedom(
            variances, [term.freedom for term in terms], contrast.seeds_of_original, contrast.spread
        )
        parts = contrast.part(images=False), contrast.part(images=True)
        return cls(contrast.value, *parts, float(freedom[0]), contrast.seeds, images, factor, trained)

    @cached_property
    def worlds(self) -> _Worlds:
        """Return what this leaves possible: a normal difference, a scaled inverse chi-squared variance over seeds."""
        random = generator("power", _WORLDS)
        levels = (np.arange(_WORLDS) + 0.5) / _WORLDS
        normal, spread, level = (random.permutation(levels) for _ in range(3))
        freedom = min(max(self.freedom, 1.0), 1e6)
        variance = self.seed_variance * freedom / special.chdtri(freedom, spread)
        true = self.value + special.ndtri(normal) * np.sqrt(variance + self.image_variance)
        return _Worlds(true, variance * self.seeds, level)


@dataclass(frozen=True)
class Plan:
    """Seeds and images that decide with a chance of `POWER`; None: more than is ever planned, or nothing to plan."""

    seeds: int | None
    images: int | None


def chance(pilot: Pilot, seeds: int, images: float, margin: float) -> float:
    """Return the chance (0..1) that a new study of ``seeds`` seeds and ``images`` images decides, and decides rightly.

    Right is `no practical difference` where the true difference lies within the margin, and a drop or gain of the true
    sign. What is true is drawn from what the pilot leaves possible, so that the luck of a pilot is not planned on: an
    assurance (O'Hagan, Stevens and Campbell 2005). Before the pilot half of all differences are held to lie within
    `USUAL` margins (a Cauchy distribution): else a wide pilot plans for large ones, which any study decides. The new
    study draws its own estimate of the spread over seeds, too.
    """
    worlds = pilot.worlds
    of_images = pilot.image_variance * pilot.images / images
    of_seeds, estimated, freedom = np.zeros(_WORLDS), np.zeros(_WORLDS), np.full(_WORLDS, 1e6)
    if pilot.trained and pilot.seed_variance > 0:
        known = min(pilot.freedom / max(pilot.seeds - 1, 1) * (seeds - 1), 1e6)
        of_seeds = worlds.variance / seeds
        estimated = of_seeds * special.chdtri(known, worlds.level) / known
        freedom = np.minimum(known * ((estimated + of_images) / estimated) ** 2, 1e6)
    error = np.maximum(np.sqrt(of_seeds + of_images), 1e-12)
    seen = np.sqrt(estimated + of_images)
    wide = pilot.factor * special.stdtrit(freedom, 0.5 + LEVEL / 2) * seen
    room = np.maximum(margin - special.stdtrit(freedom, 0.5 + EQUIVALENCE_LEVEL / 2) * seen, 0)
    same = special.ndtr((room - worlds.true) / error) - special.ndtr((-room - worlds.true) / error)
    # beyond zero on the side of the truth, and not taken for an equivalence before
    sided = special.ndtr((np.abs(worlds.true) - np.maximum(wide, room)) / error)
    right = np.where(np.abs(worlds.true) < margin, same, 0.0) + sided
    return float(np.average(right, weights=1 / (1 + (worlds.true / (USUAL * margin)) ** 2)))


def seeds_for(pilot: Pilot, images: float, margin: float, least: int = 2) -> int | None:
    """Return the fewest seeds, ``least`` or more, with which ``images`` images decide with a chance of `POWER`.

    None where `MOST_SEEDS` do not, and of a model that is not trained.
    """
    if not pilot.trained:
        return None

    def enough(seeds: int) -> bool:
        return chance(pilot, seeds, images, margin) >= POWER

    if not enough(MOST_SEEDS):
        return None
    low, high = least - 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def images_for(pilot: Pilot, seeds: int, margin: float, wanted: float = POWER, least: float = 1) -> int | None:
    """Return the fewest images, to a hundredth, with which ``seeds`` seeds decide with a chance of ``wanted``.

    None where `MOST_IMAGES` times the pilot's do not, or where the pilot does not tell what images add.
    """
    if pilot.image_variance <= 0:
        return None

    def enough(images: float) -> bool:
        return chance(pilot, seeds, images, margin) >= wanted

    most = pilot.images * MOST_IMAGES
    if enough(least):
        return math.ceil(least)
    return math.ceil(_least(enough, least, most)) if enough(most) else None


def plan(pilot: Pilot, margin: float, least: int = 2) -> Plan:
    """Return how many seeds (``least`` or more) and images decide with a chance of `POWER`.

    Images are kept as they are where more seeds alone can do it; else they are as many as bring a study without noise
    of seeds to a chance half way between `POWER` and certainty, and seeds do the rest. Of a model that is not trained
    images alone count.
    """
    if not pilot.trained:
        return Plan(None, images_for(pilot, 1, margin, least=pilot.images))
    seeds = seeds_for(pilot, pilot.images, margin, least)
    if seeds is not None:
        return Plan(seeds, pilot.images)
    images = images_for(pilot, MOST_SEEDS, margin, (1 + POWER) / 2, least=pilot.images)
    seeds = None if images is None else seeds_for(pilot, images, margin, least)
    return Plan(None, None) if seeds is None else Plan(seeds, images)


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """Return, to a hundredth, the least number between two that is enough."""
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
