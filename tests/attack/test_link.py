"""Link: a picture is found among pictures, and whoever is in several of them is drawn, chosen and counted once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anonbench.attack import trials
from anonbench.attack.attackers import learn
from anonbench.attack.attacks.link import Link
from anonbench.attack.attacks.reidentify import Reidentify
from anonbench.attack.attacks.restore import Restore
from anonbench.attack.contract import Matching, Trial
from anonbench.attack.estimates import estimate_arrays, estimates, threshold_of
from anonbench.attack.linkage import linkability
from anonbench.attack.subjects import EMPTY, Subjects
from anonbench.attack.verification import auc, tar_at_far, verification_replicates
from anonbench.files import read_json
from anonbench.report.attempts import read_attempt
from anonbench.statistics.resampling import Draw
from tests.attack.test_attackers import QUICK, people
from tests.attack.test_matching import plain
from tests.attack.town import build, person

DRAW = Draw(60, 7, "people of d")


def attempted(everybody: Subjects, attack: type[Matching] = Link) -> Trial:
    return attack().attempt(everybody, everybody, None, plain)


@pytest.mark.parametrize("attack", [Link, Restore])
def test_nobody_is_both_among_those_who_choose_and_those_who_are_told_of(attack: type[Matching]) -> None:
    everybody = people(20, 6, 1)
    trial = attempted(everybody, attack)
    parts = trials.split_people(trial, 0.3, 0)
    who = dict(zip(trial.probe.tolist(), everybody.identities.tolist(), strict=True))
    names = {name: {who[number] for number in part.probe.tolist()} for name, part in parts.items()}
    assert {name: len(of) for name, of in names.items()} == {"validation": 6, "test": 14}
    assert not names["validation"] & names["test"]
    assert all(len(part.probe) == 6 * len(names[name]) for name, part in parts.items()), "with all their pictures"


def test_people_are_counted_and_drawn_not_their_pictures() -> None:
    test = trials.split_people(attempted(people(20, 6, 1)), 0.3, 0)["test"]
    each = trials.linkabilities(test, [10])
    assert (trials.measure(test, each)["probes"], trials.measure(test, each)["people"]) == (84, 14)
    arrays = trials.replicates(test, each, DRAW)
    assert arrays["telling/all"] == arrays["telling/10"] == 14
    found = estimates(test, threshold_of(test))
    assert {(of["units"], of["people"]) for of in found.values()} == {(84, 14)}
    drawn = estimate_arrays(test, found, DRAW)
    assert {float(value) for name, value in drawn.items() if name.startswith("telling/")} == {14.0}
    # by hand: a draw counts all pictures of a person as often as the person
    weights = DRAW.weights(14)
    who = np.unique(test.drawn_with(test.probe), return_inverse=True)[1]
    by_hand = weights[:, who] @ each["10"] / weights[:, who].sum(axis=1)
    assert arrays["replicates/10"] == pytest.approx(by_hand)


def test_a_crowd_is_one_of_people_however_many_pictures_there_are_of_each() -> None:
    """By hand: first among all is who beats one picture of everybody else, drawn at random."""
    trial = attempted(people(12, 4, 1))
    trial = replace(trial, scores=np.random.default_rng(4).normal(size=trial.scores.shape).astype(np.float32))
    assert int(trial.mates.sum()) == 48, "one mate each: the own original"
    found = trials.measure(trial, trials.linkabilities(trial, [5]))
    assert (found["candidates"], found["chance"]["all"]) == (12, pytest.approx(1 / 12))
    others = [np.arange(48)[trial.gallery == who] for who in range(12)]
    first = [
        np.prod([(trial.scores[k, of] < trial.scores[k, k]).mean() for who, of in enumerate(others) if who != own])
        for k, own in enumerate(trial.probe)
    ]
    assert found["linkability"]["all"] == pytest.approx(np.mean(first))
    assert 4 < found["crowd"]["median"] < 9


@pytest.mark.parametrize("size", [64, 141, 214, 560])
def test_people_who_look_exactly_the_same_tie_wherever_they_stand(size: int) -> None:
    """A product of matrices rounds by a row's place: unless each picture is described once, places tell who is who."""
    grey = replace(people(size, 1, 1), crops=np.full((size, 16, 8, 3), 128, np.uint8))
    for seed in range(4):
        vector = np.random.default_rng(seed).normal(size=64).astype(np.float32)

        def describe(crops: np.ndarray, vector: np.ndarray = vector) -> np.ndarray:
            return np.repeat(vector[None] / np.linalg.norm(vector), len(crops), axis=0)

        trial = Link().attempt(grey, grey, None, describe)
        assert len(np.unique(trial.scores)) == 1
        found = trials.measure(trial, trials.linkabilities(trial, [10]))
        assert found["linkability"]["10"] == pytest.approx(0.1, abs=1e-12)
        assert found["auc"] == 0.5


def test_whoever_shows_nothing_is_as_like_as_half_of_the_others() -> None:
    """People without a face look exactly the same: they must not be the likest pairs of all, nor found."""
    everybody = people(40, 2, 1)
    crops = everybody.crops.copy()
    hidden = np.isin(everybody.identities, everybody.identities[:10])
    crops[hidden] = EMPTY
    shown = replace(everybody, crops=crops)
    trial = Reidentify().attempt(shown, None, shown, lambda crops: plain(crops ^ 1))
    seen = trial.scores[~hidden][:, ~hidden]
    assert np.unique(trial.scores[hidden]).tolist() == [np.median(seen)]
    assert (trial.scores[~hidden][:, hidden] == np.median(seen, axis=1, keepdims=True)).all()
    found = linkability(trial.scores, trial.probe, trial.gallery, 10, trial.allowed)
    assert found[hidden] == pytest.approx(0.1)
    tied = np.where(np.outer(hidden, hidden), np.float32(1), trial.scores)
    given = trial.probe, trial.gallery, 0.01, trial.allowed
    assert tar_at_far(trial.scores, *given) > 2 * tar_at_far(tied, *given)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_masked_face_is_like_does_not_say_whether_somebody_shows_one(sign: int) -> None:
    """Whatever the sign of its cosines, which no attacker means anything by."""
    raw = people(60, 1, 1)
    crops, masked = raw.crops.copy(), raw.crops.copy()
    crops[:20] = masked[:20] = EMPTY
    masked[20:] = 40

    def describe(crops: np.ndarray) -> np.ndarray:
        towards = np.where((crops == 40).all(axis=(1, 2, 3)), sign, 1) * 0.7
        other = np.sqrt(1 - 0.49) * plain(crops ^ 1)[:, :30]
        return np.concatenate([towards[:, None], other], axis=1).astype(np.float32)

    trial = Link().attempt(replace(raw, crops=masked), replace(raw, crops=crops), None, describe)
    found = linkability(trial.scores, trial.probe, trial.gallery, 10, trial.allowed)
    assert found[:20] == pytest.approx(0.1)
    assert 0.09 < found.mean() < 0.16, "that a face is there is all that links"
    assert 0.45 < auc(trial.scores, trial.probe, trial.gallery, trial.allowed) < 0.55


def test_where_nobody_shows_anything_all_tie() -> None:
    nobody = replace(people(5, 1, 1), crops=np.full((5, 16, 8, 3), EMPTY, np.uint8))
    assert not Link().attempt(nobody, nobody, None, lambda crops: plain(crops ^ 1)).scores.any()


def test_where_nobody_says_who_is_who_whole_images_are_drawn() -> None:
    everybody = replace(people(40, 1, 1), images=np.arange(40) // 4 + 100)
    everybody.identities[:] = None
    trial = attempted(everybody)
    assert trial.drawn == "images"
    parts = trials.split_people(trial, 0.3, 0)
    images = [set(part.images.tolist()) for part in parts.values()]
    assert [len(of) for of in images] == [3, 7]
    assert not images[0] & images[1]
    assert trials.measure(parts["test"], trials.linkabilities(parts["test"], [10]))["people"] == 7
    assert parts["test"].allowed.all(), "others of the image are people to be told from"


def test_of_clips_whole_clips_are_drawn_and_the_record_says_so(tmp_path: Path) -> None:
    """Ten clips of three frames with two people each, of whom nobody says who they are."""
    random = np.random.default_rng(2)
    pictures = {k: random.integers(0, 256, (40, 60, 3), dtype=np.uint8) for k in range(1, 31)}
    there = [person(k, 2 * k + side, (4 + 30 * side, 4, 20, 30)) for k in pictures for side in (0, 1)]
    town = build(tmp_path, pictures, there, clips={k: (k - 1) // 3 for k in pictures})
    own = people(20, 1, 9)
    told = {"dataset": "own", "split": "train", "variant": "original"}
    model = tmp_path / "model"
    learn("link", QUICK.model_copy(update={"iterations": 30}), own, own, told, 0, model, device="cpu")
    out = tmp_path / "out" / "seed0"
    said = trials.run_attack(
        "link", model, town.variant("original"), town.variant("original"), town.annotations, out, sizes=[10],
        own_names=True, resamples=40, device="cpu",
    )  # fmt: skip
    assert "for 42 pictures in 7 images" in said
    metrics = read_json(out / "metrics.json")
    assert (metrics["drawn"], metrics["test"]["people"], metrics["validation"]["people"]) == ("images", 7, 3)
    with np.load(out / "scores.npz") as file:
        clips = (file["images"] - 1) // 3
        assert len(set(zip(clips.tolist(), file["groups"].tolist(), strict=True))) == 10
        assert not set(clips[file["validation"]].tolist()) & set(clips[~file["validation"]].tolist())
        assert file["telling/10"] == file["telling/auc"] == 7
    found = read_attempt({0: out.parent}, "link", "original")
    assert (found.drawn, found.measures["linkability", "10"].people) == ("images", 7)


def test_a_pair_that_is_drawn_together_counts_as_often_as_it_is_drawn() -> None:
    scores = np.random.default_rng(3).normal(size=(6, 6))
    who, columns = np.arange(6), np.array([0, 0, 1, 1, 2, 2])
    weights = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = verification_replicates(scores, who, who, weights, allowed=None, columns=columns)
    for b, w in enumerate(weights):
        wins = total = 0.0
        for i in range(6):
            for j in range(6):
                for k in range(6):
                    if j == k:
                        continue
                    one, other = columns[j], columns[k]
                    weight = w[columns[i]] * (w[one] if one == other else w[one] * w[other])
                    wins += weight * (scores[i, i] > scores[j, k])
                    total += weight
        assert found.auc[b] == pytest.approx(wins / total)


def test_chance_among_all_is_that_of_each_probe() -> None:
    """One is in 30 pictures: whoever it is compared with, a crowd is one of 31 people."""
    random = np.random.default_rng(0)
    everybody = people(31, 1, 1)
    rows = np.append(np.zeros(29, dtype=int), np.arange(31))
    everybody = replace(everybody.only(rows), images=np.arange(60), people=np.arange(60))
    trial = replace(attempted(everybody), scores=random.normal(size=(60, 60)))
    found = trials.measure(trial, trials.linkabilities(trial, [10]))
    assert found["chance"] == {"10": 0.1, "all": pytest.approx(1 / 31)}
    assert found["candidates"] == 31
    values = [
        np.nanmean(trials.linkabilities(replace(trial, scores=random.normal(size=(60, 60))), [])["all"])  # type: ignore[arg-type]
        for _ in range(60)
    ]
    assert abs(np.mean(values) - found["chance"]["all"]) < 3 * np.std(values) / 60**0.5
