"""Plans: what they promise, and that studies which follow them decide."""

import math

import numpy as np
import pytest

from anonbench.statistics.contrasts import EQUIVALENCE_LEVEL, Panel
from anonbench.statistics.power import MOST_SEEDS, POWER, Pilot, chance, images_for, plan, seeds_for
from anonbench.statistics.verdicts import DROP, GAIN, SAME, UNSURE, verdict

SPREAD, SEEDS, VARIANTS = 1.0, 3, 7


def panel(truth: float, seeds: int, random: np.random.Generator) -> Panel:
    """Return a study in which the first variant differs by ``truth``, with a seed effect common to all."""
    values = 40 + 1.5 * random.standard_normal(seeds) + SPREAD * random.standard_normal((VARIANTS + 1, seeds))
    values[1] += truth
    return Panel(values, None, 500, np.ones(VARIANTS + 1, dtype=bool))


def said(of: Panel) -> str:
    found = of.contrast(1)
    return verdict(found.interval(), found.interval(EQUIVALENCE_LEVEL), 1.0)


def test_a_plan_from_three_seeds_decides_rightly_in_four_of_five_studies() -> None:
    random = np.random.default_rng(1)
    outcomes, wrong = [], 0
    while len(outcomes) < 250:
        truth = random.uniform(-2, 2)
        pilot = panel(truth, SEEDS, random)
        if said(pilot) != UNSURE:
            continue
        found = plan(Pilot.of(pilot.contrast(1), 500), 1.0, least=SEEDS)
        assert found.seeds is not None
        verdict_ = said(panel(truth, found.seeds, random))
        right = (verdict_ == SAME and abs(truth) < 1) or verdict_ == (DROP if truth < 0 else GAIN)
        wrong += verdict_ != UNSURE and not right
        outcomes.append(right)
    assert 0.73 < np.mean(outcomes) < 0.92
    assert wrong < 0.05 * len(outcomes)


def test_the_chance_of_known_errors_is_that_of_the_two_tests() -> None:
    """Without noise of seeds and with a certain pilot the chance is a matter of normal distributions alone."""
    pilot = Pilot(-3.0, 0.0, 1e-6, math.inf, 3, 1000, trained=False)
    images = 1e-6 * 1000 / 1.5**2  # a standard error of 1.5 points
    random = np.random.default_rng(2)
    estimates = -3 + 1.5 * random.standard_normal(200_000)
    assert chance(pilot, 1, images, 1.0) == pytest.approx(np.mean(estimates + 1.96 * 1.5 < 0), abs=0.005)


def test_more_seeds_and_images_help_and_a_family_costs() -> None:
    pilot = Pilot(-1.5, 0.5, 0.3, 12.0, 3, 400)
    chances = [chance(pilot, n, 400, 1.0) for n in (2, 3, 5, 10, 40)]
    assert chances == sorted(chances)
    assert chance(pilot, 5, 1600, 1.0) > chance(pilot, 5, 400, 1.0)
    family = Pilot(-1.5, 0.5, 0.3, 12.0, 3, 400, factor=1.5)
    assert chance(family, 10, 1600, 1.0) < chance(pilot, 10, 1600, 1.0)


def test_what_is_needed_is_enough_and_one_less_is_not() -> None:
    pilot = Pilot(-2.5, 0.6, 0.1, 12.0, 3, 400)
    seeds = seeds_for(pilot, 400, 1.0)
    assert seeds is not None
    assert seeds > 2
    assert chance(pilot, seeds, 400, 1.0) >= POWER > chance(pilot, seeds - 1, 400, 1.0)
    images = images_for(Pilot(-2.5, 0.05, 0.8, 12.0, 3, 400), 3, 1.0)
    assert images is not None
    assert chance(Pilot(-2.5, 0.05, 0.8, 12.0, 3, 400), 3, images, 1.0) >= POWER
    assert chance(Pilot(-2.5, 0.05, 0.8, 12.0, 3, 400), 3, 0.95 * images, 1.0) < POWER


def test_images_are_added_where_seeds_alone_will_not_do() -> None:
    pilot = Pilot(-0.3, 0.2, 4.0, 12.0, 3, 100)
    assert seeds_for(pilot, 100, 1.0) is None
    found = plan(pilot, 1.0)
    assert found.seeds is not None
    assert found.images is not None
    assert found.images > 100
    assert found.seeds <= MOST_SEEDS
    assert chance(pilot, found.seeds, found.images, 1.0) >= POWER


def test_what_images_add_is_not_planned_without_knowing_it() -> None:
    assert images_for(Pilot(-0.3, 0.2, 0.0, 12.0, 3, 100), 3, 1.0) is None


def test_the_freedom_of_a_pilot_is_that_of_its_seeds() -> None:
    random = np.random.default_rng(3)
    values = 40 + random.standard_normal((3, 3))
    drawn = values[:, :, None] + 5 * random.standard_normal((3, 1, 200))
    contrast = Panel(values, drawn, 5000, np.ones(3, dtype=bool)).contrast(1)
    assert contrast.freedom > 100
    assert Pilot.of(contrast, 5000).freedom <= 4
