"""Measures of an attack: exact values by brute force, what chance gives, and whether leaks are seen."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
import scipy.stats

from anonbench.attack import verification
from anonbench.attack.linkage import _first, crowd, isolating_threshold, linkability, singled_out, summarise_crowd
from anonbench.attack.pairs import checked
from anonbench.attack.retrieval import average_precision, mean_average_precision, within_rank
from anonbench.attack.risk import Mixture, identities_that_tell, identity_replicates, mixture
from anonbench.attack.verification import auc, chance_of_tar, eer, tar_at_far, verification_replicates
from anonbench.errors import AnonbenchError
from anonbench.statistics.contrasts import Panel
from anonbench.statistics.rates import gain, level, rate_interval, residual
from anonbench.statistics.resampling import group_weights


def case(seed: int, levels: int | None = 4, people: int = 5) -> dict[str, np.ndarray]:
    """Return a small problem: people with 1 to 3 gallery images, scores of few ``levels`` (None: no ties), some pairs
    left out."""
    random = np.random.default_rng(seed)
    gallery = random.permutation(np.repeat(np.arange(people), random.integers(1, 4, people)))
    probe = random.permutation(np.repeat(np.arange(people), 2))
    shape = len(probe), len(gallery)
    scores = random.normal(size=shape) if levels is None else random.integers(0, levels, shape).astype(float)
    return {"scores": scores, "probe": probe, "gallery": gallery, "allowed": random.random(shape) < 0.9}


CASES = [case(seed, levels) for seed in range(6) for levels in (1, 3, None)]


def ranks_first(mate: float, others: tuple[float, ...]) -> float:
    """Return the chance that a mate is first, by hand."""
    return 0.0 if any(s > mate for s in others) else 1 / (1 + sum(s == mate for s in others))


@pytest.mark.parametrize("found", CASES)
@pytest.mark.parametrize("size", [2, 3, None])
def test_linkability_is_the_mean_over_every_gallery(found: dict[str, Any], size: int | None) -> None:
    values = linkability(size=size, **found)
    for p, identity in enumerate(found["probe"]):
        row, kept = found["scores"][p], found["allowed"][p]
        images = {i: row[kept & (found["gallery"] == i)] for i in set(found["gallery"].tolist())}
        mates = images.pop(int(identity))
        crowds = [i for i, scores in images.items() if len(scores)]
        if not len(mates):
            assert math.isnan(values[p])
            continue
        means = [
            np.mean([ranks_first(mate, drawn) for drawn in itertools.product(*(images[i] for i in people))])
            for mate in mates
            for people in itertools.combinations(crowds, (size or len(crowds) + 1) - 1)
        ]
        assert values[p] == pytest.approx(np.mean(means), abs=1e-12)


def _exactly(below: list[Fraction], equal: list[Fraction], drawn: int) -> Fraction:
    """Return the chance to be first: the coefficient of z^drawn in the product of 1 + z (below + u equal), over u."""
    terms = {(0, 0): Fraction(1)}  # by the powers of z and u
    for passed, tied in zip(below, equal, strict=True):
        longer: dict[tuple[int, int], Fraction] = defaultdict(Fraction)
        for (z, u), value in terms.items():
            longer[z, u] += value
            longer[z + 1, u] += value * passed
            longer[z + 1, u + 1] += value * tied
        terms = longer
    return sum((v / (u + 1) for (z, u), v in terms.items() if z == drawn), Fraction(0)) / comb(len(below), drawn)


@pytest.mark.parametrize("drawn", [1, 2, 9, 15, 16])
def test_mates_who_tie_with_nobody_some_and_all_are_exact_in_one_batch(drawn: int) -> None:
    rng = np.random.default_rng(3)
    thirds = rng.integers(0, 4, (6, 16))  # of three images of each person so many are below, and some of the rest equal
    ties = np.array([rng.integers(0, 4 - row) for row in thirds])
    ties[0], thirds[1], ties[1], ties[2, 1:] = 0, 0, 3, 0
    wanted = [
        float(_exactly([Fraction(int(b), 3) for b in row], [Fraction(int(e), 3) for e in tied], drawn))
        for row, tied in zip(thirds, ties, strict=True)
    ]
    assert len({int((tied > 0).sum()) for tied in ties}) > 3, "they need different numbers of nodes"
    np.testing.assert_allclose(_first(thirds / 3, ties / 3, drawn), wanted, rtol=1e-12, atol=1e-15)


def test_linkability_of_one_image_each_is_hypergeometric() -> None:
    """Without ties: none of those above the mate is among the N - 1 who are drawn."""
    scores = np.random.default_rng(0).normal(size=(50, 50))
    people = np.arange(50)
    above = (scores > np.diag(scores)[:, None]).sum(axis=1)
    wanted = scipy.stats.hypergeom(49, above, 9).pmf(0)
    assert linkability(scores, people, people, 10) == pytest.approx(wanted, abs=1e-12)


def test_many_people_with_many_ties_are_chance_exactly() -> None:
    people = np.arange(500)
    for size in (10, 100, 500):
        constant = linkability(np.zeros((3, 500)), people[:3], people, size)
        assert constant == pytest.approx(np.full(3, 1 / size), rel=1e-9)


def test_somebody_with_many_images_is_no_larger_a_crowd() -> None:
    scores = np.array([[0.5, *[0.9] * 30, 0.1, 0.2]])
    gallery = np.array([0, *[1] * 30, 2, 3])
    assert linkability(scores, [0], gallery, 2) == pytest.approx([2 / 3])  # one of three people is above
    assert crowd(scores, [0], gallery) == pytest.approx([2])


def test_scores_that_tell_nothing_are_chance() -> None:
    people = np.repeat(np.arange(12), 2)
    nothing = {"scores": np.zeros((24, 24)), "probe": people, "gallery": people}
    assert linkability(size=10, **nothing) == pytest.approx(np.full(24, 0.1))
    assert linkability(size=None, **nothing) == pytest.approx(np.full(24, 1 / 12))
    assert crowd(**nothing) == pytest.approx(np.full(24, 6.5))
    assert auc(**nothing) == 0.5
    assert tar_at_far(far=0.01, **nothing) == pytest.approx(0.01)
    assert eer(**nothing) == 0.5
    assert within_rank(rank=1, **nothing) == pytest.approx(np.full(24, 2 / 24))
    assert singled_out(threshold=0.0, **nothing).rate == 0
    assert isolating_threshold(**nothing) == math.inf


def test_names_order_and_monotone_changes_of_scores_do_not_matter() -> None:
    found = case(3, None)
    named = {**found, "probe": [f"p{i}" for i in found["probe"]], "gallery": [f"p{i}" for i in found["gallery"]]}
    order = np.random.default_rng(1).permutation(len(found["gallery"]))
    turned = {
        "scores": np.exp(found["scores"][:, order]),
        "probe": found["probe"],
        "gallery": found["gallery"][order],
        "allowed": found["allowed"][:, order],
    }
    for measure in (lambda **k: linkability(size=3, **k), crowd, average_precision, auc, eer):
        wanted = measure(**found)  # type: ignore[operator]
        for other in (named, turned):
            assert measure(**other) == pytest.approx(wanted, nan_ok=True)  # type: ignore[operator]


@pytest.mark.parametrize("found", CASES)
def test_the_crowd_is_the_expected_rank_among_people(found: dict[str, Any]) -> None:
    values = crowd(**found)
    for p, identity in enumerate(found["probe"]):
        ranks = []
        for g in np.flatnonzero((found["gallery"] == identity) & found["allowed"][p]):
            rank = 1.0
            for other in set(found["gallery"].tolist()) - {identity}:
                kept = found["scores"][p][(found["gallery"] == other) & found["allowed"][p]]
                if len(kept):
                    mate = found["scores"][p, g]
                    rank += np.mean(kept > mate) + np.mean(kept == mate) / 2
            ranks.append(rank)
        assert values[p] == pytest.approx(np.mean(ranks) if ranks else math.nan, nan_ok=True)


def test_the_summary_of_crowds() -> None:
    found = summarise_crowd(np.array([1.0, 5.0, 9.5, 10.0, 40.0, np.nan]))
    assert (found.median, found.below) == (9.5, 0.6)
    assert found.fifth == pytest.approx(1.8)


def by_hand(found: dict[str, Any]) -> tuple[list[tuple[float, int]], list[tuple[float, int, int]]]:
    """Return genuine pairs (score, person) and impostor pairs (score, person, person)."""
    genuine, impostor = [], []
    for p, g in zip(*np.nonzero(found["allowed"]), strict=True):
        a, b, score = int(found["probe"][p]), int(found["gallery"][g]), float(found["scores"][p, g])
        if a == b:
            genuine.append((score, a))
        else:
            impostor.append((score, a, b))
    return genuine, impostor


@pytest.mark.parametrize("found", CASES)
def test_auc_is_mann_whitney(found: dict[str, Any]) -> None:
    genuine, impostor = ([pair[0] for pair in pairs] for pairs in by_hand(found))
    u = scipy.stats.mannwhitneyu(genuine, impostor).statistic
    assert auc(**found) == pytest.approx(u / len(genuine) / len(impostor))


def accepted(far: float, genuine: list[tuple[float, float]], impostor: list[tuple[float, float]]) -> float:
    """Return the TAR of the randomised threshold: pairs (score, weight) above it count, those at it in part."""
    total = sum(w for _, w in impostor)
    for threshold in sorted({s for s, _ in impostor}, reverse=True):
        above = sum(w for s, w in impostor if s > threshold) / total
        at = sum(w for s, w in impostor if s == threshold) / total
        if above + at > far + 1e-12:
            part = (far - above) / at
            hits = sum(w * ((s > threshold) + part * (s == threshold)) for s, w in genuine)
            return float(hits / sum(w for _, w in genuine))
    return 1.0


@pytest.mark.parametrize("found", CASES)
@pytest.mark.parametrize("far", [0.05, 0.2, 0.5, 1.0])
def test_tar_is_that_of_the_randomised_threshold(found: dict[str, Any], far: float) -> None:
    genuine, impostor = by_hand(found)
    wanted = accepted(far, [(s, 1) for s, _ in genuine], [(s, 1) for s, _, _ in impostor])
    assert tar_at_far(far=far, **found) == pytest.approx(wanted)


def test_tar_within_a_tie_and_at_a_corner_by_hand() -> None:
    people, allowed = np.arange(3), np.ones((3, 3), dtype=bool)
    allowed[2, 1] = False
    # genuine 3, 2, 2; impostors 2, 2, 2, 1, 1: the tie at 2 holds three of these five, and two of those three
    scores = np.array([[3.0, 2.0, 2.0], [2.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    found = [tar_at_far(scores, people, people, far, allowed) for far in (0.2, 0.3, 0.6, 0.8)]
    assert found == pytest.approx([1 / 3 + 2 / 9, 1 / 3 + 1 / 3, 1, 1])
    # genuine 9, 7, 6; impostors 8, 4, 3, 2, 1: at exactly one impostor of five, all that stand before the next count
    scores = np.array([[9.0, 8.0, 1.0], [2.0, 7.0, 3.0], [4.0, 0.0, 6.0]])
    assert tar_at_far(scores, people, people, 0.2, allowed) == 1
    assert eer(scores, people, people, allowed) == pytest.approx(0.2)


@pytest.mark.parametrize(("people", "far"), [(33, 1e-3), (46, 1e-3), (11, 1e-2), (40, 1e-2)])
def test_chance_of_a_tar_is_what_scores_that_know_nothing_get(people: int, far: float) -> None:
    """33 people make 1056 pairs of two: chance at 1e-3 is 2 / 1057, almost twice the rate."""
    random, who, pairs = np.random.default_rng(people), np.arange(people), people * (people - 1)
    found = [tar_at_far(random.normal(size=(people, people)), who, who, far) for _ in range(1500)]
    assert abs(np.mean(found) - chance_of_tar(far, pairs)) < 3.5 * np.std(found) / 1500**0.5
    assert chance_of_tar(far, 10**7) == pytest.approx(far, rel=1e-4)
    assert chance_of_tar(1e-2, 300) == 4 / 301, "0.01 * 300 is below 3"


@pytest.mark.parametrize("found", CASES)
def test_replicates_are_those_of_weighted_pairs(found: dict[str, Any]) -> None:
    weights = group_weights(5, 20, 7)
    fars = (0.1, 0.5)
    replicates = verification_replicates(weights=weights, fars=fars, **found)
    genuine, impostor = by_hand(found)
    for b, w in enumerate(weights):
        same = [(s, float(w[a])) for s, a in genuine]
        different = [(s, float(w[a] * w[c])) for s, a, c in impostor]
        masses = sum(v for _, v in same), sum(v for _, v in different)
        if not all(masses):
            assert math.isnan(replicates.auc[b])
            assert np.isnan(replicates.tar[:, b]).all()
            continue
        wins = sum(v * u * ((s > t) + (s == t) / 2) for s, v in same for t, u in different)
        assert replicates.auc[b] == pytest.approx(wins / masses[0] / masses[1])
        assert replicates.tar[:, b] == pytest.approx([accepted(far, same, different) for far in fars])


@pytest.mark.parametrize(("step", "held"), [(1, 1), (2, 40), (7, 2**20)])
def test_where_sums_are_cut_and_how_many_draws_are_held_changes_nothing(
    step: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, who = np.random.default_rng(3), np.repeat(np.arange(12), 3)
    scores = np.round(random.normal(size=(36, 36)), 1)
    columns = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9])  # some are drawn together
    given = {"weights": group_weights(10, 30, 7), "fars": (0.01, 0.3, 1.0), "columns": columns}
    wanted = verification_replicates(scores, who, who, **given)
    monkeypatch.setattr(verification._Curve, "STEP", step)
    monkeypatch.setattr(verification._Curve, "HELD", held)
    found = verification_replicates(scores, who, who, **given)
    np.testing.assert_array_equal(found.auc, wanted.auc)
    np.testing.assert_array_equal(found.tar, wanted.tar)


def test_equal_weights_change_nothing() -> None:
    found = case(4, None)
    once = verification_replicates(weights=np.full((1, 5), 3), fars=(0.2,), **found)
    assert once.auc[0] == pytest.approx(auc(**found))
    assert once.tar[0, 0] == pytest.approx(tar_at_far(far=0.2, **found))


def test_few_who_are_linked_for_sure_are_hidden_by_eer() -> None:
    """10 % linkable, 90 % at chance: EER 0.9 / 1.9, TAR at FAR f = 0.1 + 0.9 f."""
    people = np.arange(400)
    scores = np.random.default_rng(0).permutation(400 * 400).reshape(400, 400).astype(float)
    others = np.sort(scores[~np.eye(400, dtype=bool)])
    scores[people[40:], people[40:]] = others[((np.arange(360) + 0.5) / 360 * len(others)).astype(int)] + 0.5
    scores[people[:40], people[:40]] = 1e6
    assert eer(scores, people, people) == pytest.approx(0.9 / 1.9, abs=0.002)
    assert tar_at_far(scores, people, people, 1e-3) == pytest.approx(0.1, abs=0.003)
    assert tar_at_far(scores, people, people, 1e-2) == pytest.approx(0.109, abs=0.003)


def orders(scores: np.ndarray) -> list[tuple[int, ...]]:
    """Return every order of scores from high to low, ties in each of their orders."""
    return [o for o in itertools.permutations(range(len(scores))) if all(np.diff(scores[list(o)]) <= 0)]


def reference_ap(hits: np.ndarray) -> float:
    """Return average precision of a ranking of hits."""
    return float(np.mean([hits[: k + 1].mean() for k in np.flatnonzero(hits)]))


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_and_cmc_are_means_over_all_orders_of_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 1 + seed % 4, 7).astype(float)
    gallery = np.array([0, 0, 0, 1, 1, 2, 3])
    allowed = np.array([[True] * 6 + [False]])
    ranked = [gallery[list(order)] == 0 for order in orders(scores[:6])]
    found = {"scores": scores[None], "probe": [0], "gallery": gallery, "allowed": allowed}
    wanted = np.mean([reference_ap(hits) for hits in ranked])
    assert average_precision(**found) == pytest.approx([wanted])
    assert mean_average_precision(**found) == pytest.approx(wanted)
    for rank in range(1, 8):
        assert within_rank(rank=rank, **found) == pytest.approx([np.mean([hits[:rank].any() for hits in ranked])])


def test_market1501_ignores_the_same_person_and_camera() -> None:
    """A straightforward evaluation in the way of that data set: sort, drop junk, average."""
    random = np.random.default_rng(5)
    probe, gallery = random.integers(0, 8, 30), random.integers(0, 9, 120)
    cameras = random.integers(0, 3, 30), random.integers(0, 3, 120)
    scores = random.normal(size=(30, 120)) + (probe[:, None] == gallery)
    allowed = ~((probe[:, None] == gallery) & (cameras[0][:, None] == cameras[1]))
    precisions, first = [], []
    for p in range(30):
        order = [g for g in np.argsort(-scores[p]) if allowed[p, g]]
        hits = gallery[order] == probe[p]
        precisions.append(reference_ap(hits))
        first.append([hits[:k].any() for k in (1, 5, 10)])
    found = {"scores": scores, "probe": probe, "gallery": gallery, "allowed": allowed}
    assert mean_average_precision(**found) == pytest.approx(np.mean(precisions))
    for k, wanted in zip((1, 5, 10), np.mean(first, axis=0), strict=True):
        assert within_rank(rank=k, **found).mean() == pytest.approx(wanted)
    assert mean_average_precision(scores, probe, gallery) != pytest.approx(np.mean(precisions))


@pytest.mark.parametrize("found", CASES)
@pytest.mark.parametrize("threshold", [0.8, 2.0])
def test_singling_out_by_hand_and_its_baseline_over_all_permutations(found: dict[str, Any], threshold: float) -> None:
    out = singled_out(threshold=threshold, **found)
    mated = ~np.isnan(out.right)
    named = []
    for p in range(len(found["probe"])):
        hits = found["allowed"][p] & (found["scores"][p] >= threshold)
        people = set(found["gallery"][hits].tolist())
        named.append(people.pop() if len(people) == 1 else None)
        if mated[p]:
            assert (out.isolated[p], out.right[p]) == (named[p] is not None, named[p] == found["probe"][p])
    assert out.rate == pytest.approx(np.mean([named[p] == found["probe"][p] for p in np.flatnonzero(mated)]))
    # all permutations of persons over probes: every person is paired with every probe equally often
    persons = found["probe"][mated]
    pairings = [named[p] == persons[q] for p in np.flatnonzero(mated) for q in range(len(persons))]
    assert out.baseline_rate == pytest.approx(np.mean(pairings))


def test_a_predicate_that_holds_of_anybody_singles_out_no_better_than_its_baseline() -> None:
    """A rare property that has nothing to do with the person isolates somebody often, and the right one hardly ever."""
    people = np.arange(200)
    scores = (np.random.default_rng(2).random((200, 200)) < 1 / 200).astype(float)
    out = singled_out(scores, people, people, 0.5)
    assert out.isolated.mean() == pytest.approx(1 / math.e, abs=0.1)
    assert out.rate < 0.03
    assert out.baseline_rate == pytest.approx(out.isolated.mean() / 200)


def test_the_threshold_is_the_best_on_validation() -> None:
    random = np.random.default_rng(3)
    people = np.repeat(np.arange(20), 2)
    scores = random.normal(size=(40, 40)) + 3 * (people[:, None] == people)
    chosen = isolating_threshold(scores, people, people)

    def above(threshold: float) -> float:
        out = singled_out(scores, people, people, threshold)
        return out.rate - out.baseline_rate

    assert above(chosen) == pytest.approx(max(above(t) for t in scores.ravel()))
    assert above(chosen) > 0.3
    # an attacker who takes everybody for somebody else names nobody
    assert isolating_threshold(scores - 100 * (people[:, None] == people), people, people) == math.inf


def test_of_equally_good_thresholds_the_middle_of_the_highest_range() -> None:
    """Predicates isolate in (.5, .9], (.2, .7] and (.1, .5]: two of them at once in (.2, .5] and in (.5, .7]."""
    scores = np.array([[0.9, 0.5, 0.0], [0.2, 0.7, 0.0], [0.1, 0.0, 0.5]])
    assert isolating_threshold(scores, [0, 1, 2], [0, 1, 2]) == pytest.approx(0.6)
    # right up to .3, whatever the threshold, for a probe that is compared with nobody else; wrong in (.1, .5]
    allowed = np.array([[True, False], [True, True]])
    assert isolating_threshold(np.array([[0.3, 0.0], [0.5, 0.1]]), [0, 1], [0, 1], allowed) == 0.1
    # where all probes are of one person, naming them is no feat
    assert isolating_threshold(np.array([[0.3], [0.1]]), [0, 1], [0]) == math.inf


def test_risk_beside_controls() -> None:
    assert residual([1.0, 0.55, 0.1, 0.0], 0.1) == pytest.approx([1, 0.5, 0, -1 / 9])
    assert math.isnan(residual(0.5, 1.0))
    assert gain([0.1, 0.5, 0.9], 0.1, 0.9) == pytest.approx([1, 0.5, 0])
    assert np.isnan(gain(0.2, 0.3, [0.3, 0.2])).all()
    assert residual(np.zeros((2, 1)), np.zeros(3)).shape == (2, 3)


def test_who_was_missed_is_most_of_the_risk() -> None:
    """Raw risk .9, anonymized .02, recall .89: 85 % of the risk comes from those who were missed."""
    covered = np.arange(1000) < 890
    found = mixture(np.where(covered, 0.02, 0.9), covered)
    assert (found.kappa, found.covered, found.missed) == pytest.approx((0.89, 0.02, 0.9))
    assert found.risk == pytest.approx(0.89 * 0.02 + 0.11 * 0.9)
    assert found.share_missed == pytest.approx(0.8476, abs=1e-4)
    everybody = mixture(np.array([0.2, 0.4, np.nan]), np.array([True, True, False]))
    assert (everybody.kappa, everybody.risk, everybody.share_missed) == pytest.approx((1, 0.3, 0))
    assert math.isnan(everybody.missed)
    assert math.isnan(Mixture(0.5, 0, 0).share_missed)


def test_identities_are_drawn_whole() -> None:
    probe = np.array(["b", "a", "b", "c", "c"])
    values = np.array([[1.0, 2.0, 3.0, 4.0, np.nan], [0.0, 1.0, 0.0, 1.0, 1.0]])
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 0, 0]])
    found = identity_replicates(values, probe, weights)
    assert found.shape == (2, 4)
    assert found[0] == pytest.approx([10 / 4, 8 / 3, 2, math.nan], nan_ok=True)
    assert found[1] == pytest.approx([3 / 5, 1, 0, math.nan], nan_ok=True)
    assert identity_replicates(values[0], probe, weights) == pytest.approx(found[0], nan_ok=True)
    wider = np.column_stack([[5, 5, 5, 5], weights])
    assert identity_replicates(values, probe, wider, ["_", "a", "b", "c"]) == pytest.approx(found, nan_ok=True)
    assert identities_that_tell(values[0], probe) == pytest.approx(16 / 6)


def test_replicates_go_into_a_panel_as_they_are() -> None:
    """Variants, seeds and replicates: two variants that differ for everybody alike, by less than identities do."""
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(60), 2)
    weights = group_weights(60, 400, "panel")
    person = np.repeat(random.random(60), 2)
    values = np.stack([[person + by + random.normal(0, 0.01, 120) for _ in range(3)] for by in (0, -0.1, -0.3)])
    replicates = np.stack([identity_replicates(variant, people, weights) for variant in values])
    panel = Panel(values.mean(axis=-1), replicates, identities_that_tell(values[0, 0], people), np.ones(3, dtype=bool))
    low, high = panel.contrast(2).interval()
    assert low < -0.3 < high
    assert high - low < 0.02
    alone = level(values[2].mean(axis=-1), replicates[2], 60)
    assert alone.value == pytest.approx(values[2].mean())
    error = person[::2].std(ddof=1) / math.sqrt(60)
    assert math.sqrt(alone.variance) == pytest.approx(error, rel=0.15)
    assert {term.source for term in alone.terms} == {"own 0", "images"}


def test_intervals_of_rates_stay_within_0_and_1_and_exclude_nobody_unseen() -> None:
    none = level([0.0], np.zeros((1, 50)), 100)
    exact = scipy.stats.binomtest(0, 100).proportion_ci(0.95, method="exact")
    assert rate_interval(none, 100) == pytest.approx((exact.low, exact.high))
    exact = scipy.stats.binomtest(100, 100).proportion_ci(0.95, method="exact")
    assert rate_interval(level([1.0], np.ones((1, 50)), 100), 100) == pytest.approx((exact.low, exact.high))
    # two degrees of freedom are few: as wide as t has it
    seeds = level([0.44, 0.5, 0.56], np.full((3, 50), 0.5), 1000)
    assert rate_interval(seeds, 1000) == pytest.approx(seeds.interval(), abs=0.03)
    assert seeds.half() == pytest.approx(4.303 * 0.06 / math.sqrt(3), rel=1e-3)
    # three of 200 people, one probe each
    hits = (np.arange(200) < 3).astype(float)
    replicates = identity_replicates(hits[None], np.arange(200), group_weights(200, 2000, 1))
    exact = scipy.stats.binomtest(3, 200).proportion_ci(0.95, method="exact")
    assert rate_interval(level([0.015], replicates, 200), 200) == pytest.approx((exact.low, exact.high), rel=0.1)


def test_intervals_hold_chance() -> None:
    """Pictures that say nothing about who is shown: 95 % intervals leave out chance about one time in twenty."""
    random = np.random.default_rng(6)
    people, weights, studies = np.repeat(np.arange(40), 2), group_weights(40, 150, "chance"), 160
    chance = {"lambda 10": 0.1, "lambda 20": 0.05, "auc": 0.5, "tar": 0.05}
    held = dict.fromkeys([*chance, "singled out"], 0)
    for _ in range(studies):
        looks = [random.normal(size=(40, 16))[people] + random.normal(size=(80, 16)) for _ in range(2)]
        scores = looks[0] @ looks[1].T
        curve = verification_replicates(scores, people, people, weights, (0.05,))
        found = {
            "auc": (auc(scores, people, people), curve.auc),
            "tar": (tar_at_far(scores, people, people, 0.05), curve.tar[0]),
        }
        for size in (10, 20):
            values = linkability(scores, people, people, size)
            found[f"lambda {size}"] = float(values.mean()), identity_replicates(values, people, weights)
        out = singled_out(scores, people, people, float(np.quantile(scores, 0.98)))
        found["singled out"] = out.rate, identity_replicates(out.right, people, weights)
        chance["singled out"] = out.baseline_rate
        for name, (value, replicates) in found.items():
            low, high = rate_interval(level([value], replicates[None], 40), 40)
            held[name] += low <= chance[name] <= high
    for name, times in held.items():
        assert times / studies >= 0.9, name
    assert held["lambda 10"] / studies <= 0.99
    assert held["auc"] / studies <= 0.99


def test_a_leak_of_a_tenth_of_people_is_seen_at_low_false_accept_rates_and_by_linkability() -> None:
    random = np.random.default_rng(8)
    people, weights = np.repeat(np.arange(200), 2), group_weights(200, 300, "leak")
    scores = random.normal(size=(400, 400))
    scores[(people[:, None] == people) & (people[:, None] < 20)] += 100
    values = linkability(scores, people, people, 100)
    assert values[people < 20] == pytest.approx(np.ones(40))
    low, high = rate_interval(level([values.mean()], identity_replicates(values[None], people, weights), 200), 200)
    assert 0.05 < low < 0.1 < high
    curve = verification_replicates(scores, people, people, weights, (1e-3,))
    low, high = rate_interval(level([tar_at_far(scores, people, people, 1e-3)], curve.tar, 200), 200)
    assert 0.05 < low < 0.1 < high
    assert summarise_crowd(crowd(scores, people, people)).fifth < 2
    assert eer(scores, people, people) > 0.45


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.full((3, 3), np.nan)}, "scores: nan at probe 0 and gallery image 0 is no finite number"),
        ({"scores": np.array([[0, 1, 2], [0, np.inf, 1], [1, 2, 3.0]])}, "inf at probe 1 and gallery image 1"),
        ({"scores": np.zeros((3, 2))}, r"shape \(3, 2\) for 3 probes and 3 gallery images"),
        ({"probe": [0.0, 1.0, 2.0]}, "probe: identities are float64"),
        ({"probe": [[0], [1], [2]]}, r"probe: identities are int64 of shape \(3, 1\)"),
        ({"gallery": []}, "gallery: identities are"),
        ({"probe": ["a", "b", "c"]}, "one side has strings and the other numbers"),
        ({"allowed": np.ones((3, 2), dtype=bool)}, r"allowed: is bool of shape \(3, 2\)"),
        ({"allowed": np.ones((3, 3))}, "allowed: is float64"),
        ({"probe": [7, 8, 9]}, "no probe has an allowed gallery image of the same person"),
        ({"allowed": ~np.eye(3, dtype=bool)}, "no probe has an allowed gallery image of the same person"),
        ({"allowed": np.eye(3, dtype=bool)}, "no probe is compared with anybody else"),
    ],
)
def test_pairs_that_cannot_be_scored_are_refused(change: dict[str, Any], message: str) -> None:
    good = {"scores": np.eye(3), "probe": [0, 1, 2], "gallery": [0, 1, 2]}
    checked(**good)  # type: ignore[arg-type]
    with pytest.raises(AnonbenchError, match=message):
        checked(**{**good, **change})


def test_questions_that_the_people_are_too_few_for_are_refused() -> None:
    good: dict[str, Any] = {"scores": np.eye(5), "probe": np.arange(5), "gallery": np.arange(5)}
    assert linkability(size=5, **good) == pytest.approx(np.ones(5))
    with pytest.raises(AnonbenchError, match="6 people was asked for, but probe 0 has 5 candidates; ask for 5 or"):
        linkability(size=6, **good)
    with pytest.raises(AnonbenchError, match="gallery of 1 is none"):
        linkability(size=1, **good)
    assert tar_at_far(far=0.05, **good) == 1
    with pytest.raises(AnonbenchError, match=r"0\.04 was asked for, but there are 20 pairs"):
        tar_at_far(far=0.04, **good)
    with pytest.raises(AnonbenchError, match="0 is no false accept rate"):
        tar_at_far(far=0, **good)
    with pytest.raises(AnonbenchError, match="0 is no rank"):
        within_rank(rank=0, **good)
    with pytest.raises(AnonbenchError, match=r"shape \(2, 4\) for 5 identities"):
        verification_replicates(weights=np.ones((2, 4)), **good)
    with pytest.raises(AnonbenchError, match=r"shape \(2, 4\) for 5 identities"):
        identity_replicates(np.ones(5), np.arange(5), np.ones((2, 4)))
    with pytest.raises(AnonbenchError, match="covered: is bool"):
        mixture(np.full(3, np.nan), np.ones(3, dtype=bool))
