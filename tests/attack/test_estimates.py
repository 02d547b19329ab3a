"""AUC, accept rates and singling out of a ranking, as the report reads them."""

from __future__ import annotations

import numpy as np
import pytest

from anonbench.attack.contract import Trial
from anonbench.attack.estimates import SINGLING_OUT, estimate_arrays, estimates, threshold_of
from anonbench.attack.linkage import singled_out
from anonbench.attack.risk import identity_replicates
from anonbench.attack.verification import auc, tar_at_far
from anonbench.report.attempts import Measured
from anonbench.statistics.contrasts import LEVEL
from anonbench.statistics.rates import level, rate_interval
from anonbench.statistics.resampling import Draw

DRAW = Draw(100, 7, "people of d")


def trial(left: float, people: int = 40, seed: int = 0, pictures: int = 2) -> Trial:
    """Return a trial in which ``left`` of a person is in each probe, beside noise of 1."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), pictures)
    persons = random.normal(size=(people, 24))
    probe, gallery = (part * persons[who] + random.normal(size=(len(who), 24)) for part in (left, 2.0))
    scores = probe @ gallery.T
    return Trial(scores, who, who, np.ones(scores.shape, bool), np.ones(len(who), bool), np.arange(len(who)))


def test_values_are_those_of_the_measures_and_the_threshold_is_the_validations() -> None:
    chosen, test = trial(1.5, seed=1), trial(1.5, seed=2)
    threshold = threshold_of(chosen)
    found = estimates(test, threshold)
    given = test.scores, test.probe, test.gallery
    assert found["auc"]["value"] == auc(*given)
    assert found["auc"]["chance"] == 0.5
    assert found["tar_1e2"]["value"] == tar_at_far(*given, 1e-2)
    alone = singled_out(*given, threshold)
    assert found[SINGLING_OUT]["value"] == alone.rate > 3 * alone.baseline_rate
    assert found[SINGLING_OUT]["chance"] == alone.baseline_rate
    assert found[SINGLING_OUT]["threshold"] == threshold
    assert {(of["units"], of["people"]) for of in found.values()} == {(80, 40)}


def test_a_rate_of_less_than_a_pair_is_none_and_has_no_replicates() -> None:
    few = trial(1.5, people=6)  # 120 pairs of different people
    found = estimates(few, 0.0)
    assert found["tar_1e2"]["value"] is not None
    assert found["tar_1e3"]["value"] is None
    arrays = estimate_arrays(few, found, DRAW)
    assert "replicates/tar_1e2" in arrays
    assert not [name for name in arrays if name.endswith("tar_1e3")]


def test_an_attacker_who_names_nobody_singles_out_nobody() -> None:
    found = estimates(trial(1.5), np.inf)[SINGLING_OUT]
    assert (found["value"], found["chance"], found["threshold"]) == (0.0, 0.0, None)
    arrays = estimate_arrays(trial(1.5), estimates(trial(1.5), np.inf), DRAW)
    assert not arrays["replicates/singling_out"].any()


def test_replicates_are_around_the_estimates_and_repeat() -> None:
    test = trial(1.2)
    found = estimates(test, threshold_of(trial(1.2, seed=1)))
    one, other = (estimate_arrays(test, found, DRAW) for _ in range(2))
    for name, of in found.items():
        drawn = one[f"replicates/{name}"]
        assert drawn.shape == (100,)
        assert np.array_equal(drawn, other[f"replicates/{name}"])
        assert one[f"estimate/{name}"] == of["value"]
        assert abs(drawn.mean() - of["value"]) < 3 * drawn.std() + 1e-9
        assert one[f"telling/{name}"] == 40
    assert not [name for name in estimate_arrays(test, found, None) if name.startswith("replicates")]


def test_people_without_a_mate_do_not_count() -> None:
    full = trial(1.5)
    gallery = full.gallery < 30
    test = Trial(full.scores[:, gallery], full.probe, full.gallery[gallery], full.allowed[:, gallery], full.covered,
                 full.images)  # fmt: skip
    found = estimates(test, 0.0)
    assert {(of["units"], of["people"]) for of in found.values()} == {(60, 30)}
    assert estimate_arrays(test, found, DRAW)["telling/auc"] == 30


def test_scores_that_tell_nothing_are_chance_within_the_intervals() -> None:
    """Of 40 studies, the intervals of singling out leave out the baseline in few."""
    left_out = dict.fromkeys(("auc", "tar_1e2", SINGLING_OUT), 0)
    for seed in range(40):
        test = trial(0.0, seed=seed)
        found = estimates(test, threshold_of(trial(0.0, seed=100 + seed)))
        arrays = estimate_arrays(test, found, DRAW)
        for name in left_out:
            contrast = level([found[name]["value"]], arrays[f"replicates/{name}"][None], 40)
            low, high = rate_interval(contrast, 40)
            left_out[name] += not low <= found[name]["chance"] <= high
    assert max(left_out.values()) <= 6, left_out


@pytest.mark.parametrize("freedom", [2.0, np.inf])
def test_a_factor_widens_a_rate_as_it_widens_t(freedom: float) -> None:
    from scipy import special

    from anonbench.statistics.rates import widened

    beyond = widened(LEVEL, freedom, 1.0)
    assert beyond == pytest.approx((1 - LEVEL) / 2)
    narrower = widened(LEVEL, freedom, 1.5)
    back = special.stdtrit(freedom, 1 - narrower) if np.isfinite(freedom) else special.ndtri(1 - narrower)
    plain = special.stdtrit(freedom, 1 - beyond) if np.isfinite(freedom) else special.ndtri(1 - beyond)
    assert back == pytest.approx(1.5 * plain)


def test_seeds_that_agree_by_accident_are_not_certain() -> None:
    """Two attackers find as many people, each other ones."""
    weights = Draw(500, 7, "people of d").weights(40)
    hits = np.zeros((2, 40))
    hits[0, :10], hits[1, 20:30] = 1, 1
    drawn = identity_replicates(hits, np.arange(40), weights)
    contrast = level(hits.mean(axis=1), drawn, 40)
    assert contrast.variance == pytest.approx(drawn.mean(axis=0).var(ddof=1) * 40 / 39)
    low, high = rate_interval(contrast, 40)
    assert low < 0.2
    assert high > 0.3
    one = level(hits.mean(axis=1)[:1], drawn[:1], 40)
    assert one.variance == pytest.approx(drawn[0].var(ddof=1) * 40 / 39), "of one seed it is what it was"
    apart = level([0.1, 0.5], drawn, 40)
    assert apart.variance > 0.03, "the spread over seeds counts where it is larger"
    # nor is the difference of two attackers, each of whose seeds differ as much
    other = Measured(np.array([0.1, 0.1]), 0.1, 40, 40, 40.0, drawn[::-1] * 0.4)
    difference = Measured(np.array([0.25, 0.25]), 0.1, 40, 40, 40.0, drawn).less(other)
    assert difference is not None
    least = (drawn - 0.4 * drawn[::-1]).mean(axis=0).var(ddof=1) * 40 / 39
    assert difference.variance == pytest.approx(least)
