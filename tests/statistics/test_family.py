"""The factor of a family: known limits, and how often a family misleads."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from anonbench.statistics.contrasts import Panel
from anonbench.statistics.family import Member, simultaneous_factor


def members(values: np.ndarray, block: str = "a", replicates: np.ndarray | None = None) -> list[Member]:
    panel = Panel(values, replicates, 100, np.ones(len(values), dtype=bool))
    return [Member(block, "image", panel.contrast(v)) for v in range(1, len(values))]


def test_one_question_is_asked_alone() -> None:
    values = np.random.default_rng(0).normal(0, 1, (2, 3))
    assert simultaneous_factor(members(values), 1) == 1
    assert simultaneous_factor([], 1) == 1
    same = np.ones((4, 3)) * np.arange(3)
    assert simultaneous_factor(members(same), 1) == 1


def test_it_is_dunnetts_where_spreads_are_known() -> None:
    """With many seeds it is near the multivariate normal's equicoordinate quantile at the level aimed at."""
    values = np.random.default_rng(1).normal(0, 1, (8, 400))
    correlation = 0.5 * np.eye(7) + 0.5
    draws = np.abs(np.random.default_rng(2).multivariate_normal(np.zeros(7), correlation, 200_000)).max(axis=1)
    expected = np.quantile(draws, 0.975) / scipy.stats.norm.ppf(0.975)
    assert simultaneous_factor(members(values), 3, draws=100_000) == pytest.approx(expected, rel=0.02)


def test_more_questions_and_more_blocks_widen_it() -> None:
    random = np.random.default_rng(4)
    few, many = random.normal(0, 1, (3, 20)), random.normal(0, 1, (12, 20))
    one = simultaneous_factor(members(few), 1)
    assert 1 < one < simultaneous_factor(members(many), 1)
    assert one < simultaneous_factor([*members(few), *members(random.normal(0, 1, (3, 20)), "b")], 1)
    assert simultaneous_factor(members(few), 1) == one


def test_images_that_move_all_alike_are_one_question() -> None:
    """The same images, the same errors: seven variants are then no more than one."""
    random = np.random.default_rng(5)
    values = 40 + np.array([[0.0], *[[1.0]] * 7]) + 0.001 * random.standard_normal((8, 3))
    moved = np.zeros((8, 1, 400))
    moved[1:] = random.standard_normal(400)
    alike = simultaneous_factor(members(values, replicates=values[:, :, None] + moved), 1)
    single = np.zeros((8, 1, 400))
    single[1:] = random.standard_normal((7, 1, 400))
    apart = simultaneous_factor(members(values, replicates=values[:, :, None] + single), 1)
    assert alike < 1.15
    assert apart > 1.3


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_family_of_nothing_seldom_misleads(seeds: int) -> None:
    """Two tasks of five variants that do nothing: at most 6 % of 400 studies say otherwise."""
    random = np.random.default_rng(seeds)
    wrong = alone = 0
    for k in range(400):
        family = []
        for block in ("a", "b"):
            values = random.standard_normal((1, seeds)) + random.standard_normal((6, seeds))
            family += members(values, block)
        error = np.array([abs(m.contrast.value) for m in family])
        halves = np.array([m.contrast.half() for m in family])
        wrong += bool((error > simultaneous_factor(family, k, draws=1000) * halves).any())
        alone += bool((error > halves).any())
    assert wrong / 400 <= 0.06
    assert alone / 400 > 0.15
