"""The variant that spreads over seeds more than the others is found, and seldom where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from anonbench.statistics.spread import outlying_spread


def studies(count: int, variants: int, seeds: int, times: float) -> list[tuple[int, float, float]]:
    random = np.random.default_rng(11)
    found = []
    for _ in range(count):
        values = random.normal(size=(variants, seeds)) + 3 * random.normal(size=seeds)
        values[2] += random.normal(size=seeds) * np.sqrt(times**2 - 1)
        found.append(outlying_spread(values))
    return found


@pytest.mark.parametrize(("variants", "seeds"), [(3, 2), (4, 3), (8, 3), (8, 5)])
def test_p_is_uniform_where_all_spread_alike(variants: int, seeds: int) -> None:
    found = np.array([p for *_, p in studies(2000, variants, seeds, 1)])
    for level in (0.05, 0.2, 0.5):
        assert (found < level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_a_wild_variant_is_found_and_named() -> None:
    found = studies(500, 8, 5, 4)
    assert np.mean([p < 0.05 and variant == 2 for variant, _, p in found]) > 0.75
    assert 3 < np.median([times for _, times, _ in found]) < 5


def test_what_a_seed_does_to_all_is_no_spread() -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(6, 4))
    shifted = values + 100 * random.normal(size=4) + 50 * random.normal(size=(6, 1))
    assert outlying_spread(shifted) == pytest.approx(outlying_spread(values))


def test_nothing_varies_or_one_alone() -> None:
    assert outlying_spread(np.tile([[1.0], [2.0], [3.0]], 3))[1:] == (1.0, 1.0)
    values = np.zeros((4, 3))
    values[3] = [0, 5, 9]
    variant, times, p = outlying_spread(values)
    assert (variant, times) == (3, np.inf)
    assert p < 0.001
