"""How many seeds and images it takes until a study can be expected to decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from anonbench.seeding import generator
from anonbench.statistics.contrasts import EQUIVALENCE_LEVEL, LEVEL

POWER = 0.8
"""The chance of a right decision that is planned for."""

MOST_SEEDS = 200
"""Above this, a plan is given up."""

_WORLDS = 500


@dataclass(frozen=True)
class Pilot:
    """What a study knows of a difference: its value, and the squared standard errors from seeds and from images.

    ``freedom`` is that of the part from seeds; ``seeds`` and ``images`` are the pilot's.
    """

    value: float
    seed_variance: float
    image_variance: float
    freedom: float
    seeds: int
    images: int


@dataclass(frozen=True)
class Plan:
    """Seeds and images that decide with a chance of ``POWER``; None: more than `MOST_SEEDS`."""

    seeds: int | None
    images: int | None


def chance(pilot: Pilot, seeds: int, images: float, margin: float, trained: bool = True) -> float:
    """Return the chance that a new study of ``seeds`` seeds and ``images`` images decides, and decides rightly.

    Right is `no practical difference` where the true difference lies within the margin, and a drop or gain of the true
    sign. What is true is drawn from what the pilot leaves possible (a normal difference, a scaled inverse chi-squared
    variance over seeds), so that the luck of a pilot is not planned on: an assurance (O'Hagan, Stevens and Campbell
    2005).
    """
    return float(_chances(_worlds(pilot), pilot, seeds, images, margin, trained).mean())


def _worlds(pilot: Pilot) -> tuple[np.ndarray, np.ndarray]:
    """Return true differences and true variances of one seed's difference that the pilot leaves possible."""
    random = generator("power", _WORLDS)
    levels = (np.arange(_WORLDS) + 0.5) / _WORLDS
    normal, spread = random.permutation(special.ndtri(levels)), random.permutation(levels)
    freedom = max(pilot.freedom, 1.0) if np.isfinite(pilot.freedom) else 1e6
    variance = pilot.seed_variance * freedom / special.chdtri(freedom, spread)
    return pilot.value + normal * np.sqrt(variance + pilot.image_variance), variance * pilot.seeds


def _chances(
    worlds: tuple[np.ndarray, np.ndarray], pilot: Pilot, seeds: int, images: float, margin: float, trained: bool
) -> np.ndarray:
    true, variance = worlds
    error = np.sqrt((variance / seeds if trained else 0.0) + pilot.image_variance * pilot.images / images)
    error = np.maximum(error, 1e-12)
    per_seed = pilot.freedom / max(pilot.seeds - 1, 1)
    freedom = np.minimum(per_seed * (seeds - 1), 1e6) if trained else 1e6
    wide = special.stdtrit(freedom, 0.5 + LEVEL / 2) * error
    narrow = special.stdtrit(freedom, 0.5 + EQUIVALENCE_LEVEL / 2) * error
    room = np.maximum(margin - narrow, 0)
    same = special.ndtr((room - true) / error) - special.ndtr((-room - true) / error)
    # beyond zero on the side of the truth, and not taken for an equivalence before
    beyond = np.maximum(wide, room)
    sided = special.ndtr((np.abs(true) - beyond) / error)
    return np.where(np.abs(true) < margin, same, 0.0) + sided


def plan(pilot: Pilot, margin: float, trained: bool = True) -> Plan:
    """Return how many seeds and images decide with a chance of `POWER`.

    Images are kept as they are where more seeds alone can do it; else they are as many as bring a study without noise
    of seeds to a chance half way between `POWER` and certainty, and seeds do the rest. Of a model that is not trained
    images alone count.
    """
    worlds = _worlds(pilot)

    def reached(seeds: int, images: float, wanted: float) -> bool:
        return float(_chances(worlds, pilot, seeds, images, margin, trained).mean()) >= wanted

    images = float(pilot.images)
    if not reached(MOST_SEEDS, images, POWER):
        wanted = POWER if not trained else (1 + POWER) / 2
        most = images * 1e4
        if not reached(MOST_SEEDS, most, wanted):
            return Plan(None, None)
        images = _least(lambda n: reached(MOST_SEEDS, n, wanted), images, most)
    if not trained:
        return Plan(None, math.ceil(images))
    low, high = max(2, min(pilot.seeds, MOST_SEEDS)) - 1, MOST_SEEDS
    if reached(low + 1, images, POWER):
        return Plan(low + 1, math.ceil(images))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle, images, POWER) else (middle, high)
    return Plan(high, math.ceil(images))


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """Return, to a hundredth, the least number between two that is enough."""
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
