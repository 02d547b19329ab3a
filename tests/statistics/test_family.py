"""The factor of a family: known limits, and how often a family misleads."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from anonbench.statistics.contrasts import Panel
from anonbench.statistics.family import Member, simultaneous_factor, simultaneous_intervals


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


def pairs(panel: Panel, references: tuple[int, ...], block: str = "a") -> list[Member]:
    """Return every row against each reference, of two references the later one against the first."""
    every = [(v, r) for r in references for v in range(len(panel.values)) if v > r or (v < r and v not in references)]
    return [Member(block, "image", panel.against(v, r), f"{v}", f"{r}") for v, r in every]


def of(values: np.ndarray, replicates: np.ndarray | None = None, groups: float = 100, **rest: object) -> Panel:
    return Panel(values, replicates, groups, np.ones(len(values), dtype=bool), **rest)  # type: ignore[arg-type]


def half_widths(ends: list[tuple[float, float]]) -> np.ndarray:
    return np.array([high - low for low, high in ends]) / 2


def test_a_single_pair_is_told_alone() -> None:
    assert simultaneous_intervals([], 1) == []
    for rest in ({}, {"pools": False}):
        (member,) = pairs(of(np.random.default_rng(6).normal(0, 1, (5, 3)), **rest), (0,))[:1]
        assert np.allclose(simultaneous_intervals([member], 1), [member.contrast.interval()])


def test_spreads_of_their_own_have_bonferronis_rule() -> None:
    family = pairs(of(np.random.default_rng(7).normal(0, 1, (6, 3)), pools=False), (0, 1))
    assert len(family) == 9
    assert simultaneous_intervals(family, 1) == [m.contrast.interval(1 - 0.05 / 9) for m in family]


def test_few_seeds_of_many_pairs_are_told_by_the_spread_that_they_share() -> None:
    """Three seeds of 33 variants, four of them references: 122 pairs."""
    random = np.random.default_rng(8)
    narrower = []
    for k in range(10):
        values = 1.5 * random.standard_normal((1, 3)) + random.standard_normal((33, 3))
        both = [
            half_widths(simultaneous_intervals(pairs(of(values, pools=pools), (0, 9, 18, 27)), k, draws=500))
            for pools in (True, False)
        ]
        narrower.append(np.median(both[1]) / np.median(both[0]))
    assert np.median(narrower) > 4


def test_a_pair_with_a_spread_of_its_own_leaves_the_others_theirs() -> None:
    """One variant is fitted anew for each seed: it is as wide as it was, and the others hardly wider."""
    values = np.random.default_rng(9).normal(0, 1, (8, 3))
    shared = pairs(of(values[:7]), (0, 1))
    mixed = pairs(of(values, apart=np.arange(8) == 7), (0, 1))
    ends = simultaneous_intervals(mixed, 1)
    fitted = [k for k, m in enumerate(mixed) if m.variant == "7"]
    assert len(fitted) == 2
    for k in fitted:
        assert ends[k] == pytest.approx(mixed[k].contrast.interval(1 - 0.05 / len(mixed)))
    others = [end for k, end in enumerate(ends) if k not in fitted]
    wider = half_widths(others) / half_widths(simultaneous_intervals(shared, 1))
    assert ((wider > 1) & (wider < 1.2)).all()


def test_references_share_what_a_variant_is_off_by() -> None:
    """With as many seeds that spreads are known it is the quantile of all differences of nine means to two of them."""
    values = np.random.default_rng(10).normal(0, 1, (9, 400))
    family = pairs(of(values), (0, 1))
    means = np.random.default_rng(11).standard_normal((200_000, 9)) / np.sqrt(2)
    largest = np.max([np.abs(means[:, int(m.variant)] - means[:, int(m.base)]) for m in family], axis=0)
    expected = np.quantile(largest, 0.975) / scipy.stats.norm.ppf(0.975)
    ends = simultaneous_intervals(family, 1, draws=100_000)
    alone = [m.contrast.half() for m in family]
    assert half_widths(ends) / alone == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("groups", [15, 100])
def test_pairs_that_images_alone_make_uncertain_hold_together(groups: int) -> None:
    """A single seed of models that are not trained: resamples of few images, whose spread is an estimate, too."""
    random = np.random.default_rng(groups)
    wrong, studies = 0, 150
    for k in range(studies):
        each = random.standard_normal((6, groups))
        weights = random.multinomial(groups, np.full(groups, 1 / groups), size=200) / groups
        panel = of(each.mean(axis=1)[:, None], (each @ weights.T)[:, None], groups)
        family = pairs(panel, (0, 1))
        wrong += any(low > 0 or high < 0 for low, high in simultaneous_intervals(family, k, draws=400))
    assert 0 < wrong / studies <= 0.1


@pytest.mark.parametrize(("loud", "least"), [(1.0, 0.92), (3.0, 0.90)])
def test_a_family_of_pairs_seldom_misleads(loud: float, least: float) -> None:
    """Three seeds, the first of two references as loud as the others, or three times as loud."""
    random = np.random.default_rng(12)
    held, studies = 0, 200
    for k in range(studies):
        spread = np.r_[loud, np.ones(7)][:, None]
        values = random.standard_normal((1, 3)) + spread * random.standard_normal((8, 3))
        ends = simultaneous_intervals(pairs(of(values), (0, 4)), k, draws=500)
        held += all(low <= 0 <= high for low, high in ends)
    assert held / studies >= least
