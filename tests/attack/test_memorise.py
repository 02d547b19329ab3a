"""Whom a generator was fitted to: repeated people are told, others not, and the record says who they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench.attack.answers import arrays_of, told
from anonbench.attack.attacks.memorise import AUC, EXCESS, OF_ORIGINALS, TPR, Memorise
from anonbench.attack.contract import Answers, Site
from anonbench.attack.members import Members, apart_from_members
from anonbench.attack.membership import auc_of, tpr_at
from anonbench.attack.metrics import chooser
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.statistics.resampling import Draw
from tests.attack.test_attackers import people
from tests.attack.town import build, person

CHOOSE = chooser(0.3, 0)


def looked_at(crops: np.ndarray) -> np.ndarray:
    """Return a description of what is worn, and of nothing else."""
    worn = np.concatenate([crops[:, 6:14, 6:18].mean((1, 2)), crops[:, 18:26, 6:18].mean((1, 2))], axis=1) - 128
    found: np.ndarray = worn.astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def generated(raw: Subjects, clothes: Subjects, seed: int) -> Subjects:
    """Return people whose clothes are those of others, drawn at random, each picture anew."""
    random = np.random.default_rng(seed)
    crops = raw.crops.copy()
    crops[:, 4:28, 4:20] = clothes.crops[random.integers(0, len(clothes), len(raw)), 4:28, 4:20]
    return replace(raw, crops=crops, covered=np.ones(len(raw), bool))


def in_images(everybody: Subjects) -> Subjects:
    """Return them two in an image."""
    return replace(everybody, images=np.arange(len(everybody)) // 2)


def recalled(members: Subjects, raw: Subjects, seen: Subjects) -> dict[str, Any]:
    answers = Memorise().recall(seen, raw, members, looked_at, CHOOSE, 0)
    return {name: told(one) for name, one in answers.parts["test"].items()}


def test_who_is_repeated_is_told() -> None:
    members, raw = in_images(people(40, 2, 1)), in_images(people(120, 2, 2))
    found = recalled(members, raw, generated(raw, members, 3))
    assert found[AUC]["value"] > 0.9
    assert found[TPR]["value"] > 0.5
    assert (found[EXCESS]["chance"], found[AUC]["chance"]) == (0.0, None)
    assert found[EXCESS]["value"] == pytest.approx(found[AUC]["value"] - found[OF_ORIGINALS]["value"])
    assert found[AUC]["people"] == 160 - 48


def test_without_memory_neither_kind_is_nearer_on_average() -> None:
    """Over 30 draws of people: a standard error of .012 about chance."""
    found = []
    for k in range(30):
        members, raw = in_images(people(40, 2, 1000 + k)), in_images(people(120, 2, 2000 + k))
        values = recalled(members, raw, generated(raw, people(200, 1, 3000 + k), k))
        found.append([values[name]["value"] for name in (AUC, OF_ORIGINALS)])
    assert np.mean(found, axis=0) == pytest.approx([0.5, 0.5], abs=0.045)


def test_members_who_look_unlike_strangers_without_memory_are_no_finding() -> None:
    """Originals tell the two kinds apart as well: what members wear, strangers and what is generated wear, too."""
    members, raw = in_images(people(60, 2, 1)), in_images(people(60, 2, 2))
    usual = people(4, 1, 9)
    some = np.random.default_rng(5).integers(0, 4, len(members))
    members.crops[:, 4:28, 4:20] = usual.crops[some, 4:28, 4:20]
    raw.crops[::8, 4:28, 4:20] = usual.crops[some[: len(raw.crops[::8])], 4:28, 4:20]
    answers = Memorise().recall(generated(raw, usual, 3), raw, members, looked_at, CHOOSE, 0)
    part = answers.parts["test"]
    assert told(part[AUC])["value"] > 0.8
    assert told(part[OF_ORIGINALS])["value"] > 0.8
    low, high = np.nanpercentile(arrays_of(part, Draw(400, 0, "people"))[f"replicates/{EXCESS}"], [2.5, 97.5])
    assert low <= 0.1
    assert high - low < 0.4


def test_as_many_tell_as_there_are_of_the_rarer_kind() -> None:
    members, raw = in_images(people(100, 1, 1)), in_images(people(10, 1, 2))
    answers = Memorise().recall(generated(raw, members, 3), raw, members, looked_at, CHOOSE, 0)
    part = answers.parts["test"]
    strangers = int((~answers.arrays["member"] & ~answers.arrays["validation"]).sum())
    assert arrays_of(part, None)[f"telling/{AUC}"] == strangers < 15


def test_a_generator_without_memory_is_at_chance_within_its_interval() -> None:
    members, raw = in_images(people(60, 2, 1)), in_images(people(60, 2, 2))
    seen = generated(raw, people(200, 1, 9), 3)
    answers = Memorise().recall(seen, raw, members, looked_at, CHOOSE, 0)
    found = arrays_of(answers.parts["test"], Draw(400, 0, "people"))
    low, high = np.percentile(found[f"replicates/{AUC}"], [2.5, 97.5])
    assert low < 0.5 < high
    assert high - low < 0.3


def test_what_was_generated_in_the_own_place_tells_nothing() -> None:
    """A method that changes nothing makes everybody alike to themselves: strangers must not look like members."""
    members, raw = in_images(people(60, 2, 1)), in_images(people(60, 2, 2))
    seen = replace(raw, covered=np.ones(len(raw), bool))
    answers = Memorise().recall(seen, raw, members, looked_at, CHOOSE, 0)
    assert 0.35 < told(answers.parts["test"][AUC])["value"] < 0.65
    nearest, member = answers.arrays["nearest"], answers.arrays["member"]
    own = (looked_at(raw.crops) * looked_at(seen.crops)).sum(axis=1)
    assert (nearest[~member] < own - 1e-6).all()


def test_where_nobody_says_who_is_who_images_are_drawn() -> None:
    members, raw = in_images(people(60, 1, 1)), in_images(people(60, 1, 2))
    for one in (members, raw):
        one.identities[:] = None
    answers = Memorise().recall(generated(raw, members, 3), raw, members, looked_at, CHOOSE, 0)
    assert answers.drawn == "images"
    assert len(np.unique(answers.arrays["probe"])) == 60
    assert told(answers.parts["test"][AUC])["value"] > 0.8


def test_of_nobody_who_was_generated_nothing_is_told() -> None:
    raw = in_images(people(20, 1, 2))
    with pytest.raises(AnonbenchError, match="nobody of the probe split was generated"):
        Memorise().recall(raw, raw, people(20, 1, 1), looked_at, CHOOSE, 0)
    together = replace(raw, images=np.zeros(len(raw), np.int64), covered=np.ones(len(raw), bool))
    with pytest.raises(AnonbenchError, match="somebody is compared with nobody else"):
        Memorise().recall(together, raw=together, members=people(20, 1, 1), describe=looked_at, choose=CHOOSE, seed=0)


def test_the_answer_repeats() -> None:
    def once() -> Answers:
        members, raw = in_images(people(20, 2, 1)), in_images(people(40, 2, 2))
        return Memorise().recall(generated(raw, members, 3), raw, members, looked_at, CHOOSE, 5)

    one, other = once(), once()
    for name, value in one.arrays.items():
        assert np.array_equal(value, other.arrays[name])


def test_measures_by_hand_and_by_repetition() -> None:
    scores = np.array([3.0, 2.0, 2.0, 1.0, 0.0])
    members = np.array([True, True, False, False, True])
    ones = np.ones((1, 5))
    # pairs of a member and a stranger: 3 > 2, 3 > 1, 2 = 2, 2 > 1, 0 < 2, 0 < 1
    assert auc_of(scores, members)(ones)[0] == pytest.approx(3.5 / 6)
    # the higher stranger, at a third of the curve, has one member above it for sure and one with a chance of a half;
    # the other, at two thirds, has two of three
    assert tpr_at(scores, members, 1 / 3)(ones)[0] == pytest.approx(1.5 / 3)
    assert tpr_at(scores, members, 2 / 3)(ones)[0] == pytest.approx(2 / 3)
    assert tpr_at(scores, members, 0.5)(ones)[0] == pytest.approx((1.5 / 3 + 2 / 3) / 2)
    weights = np.array([[2.0, 0, 1, 3, 1], [0, 0, 1, 1, 0]])
    times = weights[0].astype(int)
    for statistic in (auc_of, lambda s, m: tpr_at(s, m, 0.3)):
        again = statistic(np.repeat(scores, times), np.repeat(members, times))(np.ones((1, times.sum())))
        found = statistic(scores, members)(weights)
        assert found[0] == pytest.approx(again[0])
        assert np.isnan(found[1]), "a draw without members"
    flat = auc_of(np.zeros(5), members)(ones)[0], tpr_at(np.zeros(5), members, 0.01)(ones)[0]
    assert flat == (pytest.approx(0.5), pytest.approx(0.01)), "chance where all scores tie"


@pytest.mark.parametrize("strangers", [100, 150, 199, 400])
def test_scores_that_know_nothing_are_told_as_often_as_the_rate_says(strangers: int) -> None:
    """However many strangers there are: read off the curve's steps, 100 of them would give .0198."""
    random, members = np.random.default_rng(strangers), np.arange(2 * strangers) < strangers
    ones = np.ones((1, 2 * strangers))
    found = [tpr_at(random.normal(size=2 * strangers), members, 1e-2)(ones)[0] for _ in range(800)]
    assert abs(np.mean(found) - 0.01) < 3.5 * np.std(found) / 800**0.5
    assert 3.5 * np.std(found) / 800**0.5 < 0.002
    sure = tpr_at(members.astype(float), members, 1e-2)(ones)[0]
    assert sure == 1, "whoever knows is told"
    rounded = [tpr_at(random.integers(0, 40, 2 * strangers), members, 1e-2)(ones)[0] for _ in range(800)]
    assert abs(np.mean(rounded) - 0.01) < 3.5 * np.std(rounded) / 800**0.5, "where scores tie, too"


def fitted(tmp_path: Path, **change: Any) -> tuple[Members, Site]:
    """Write a data set, a variant of it and the record of a training."""
    town = build(tmp_path, {1: np.zeros((50, 50, 3), np.uint8)}, [person(1, 1, (0, 0, 9, 9), identity="a")])
    out = town.show("body-gan", {1: np.zeros((50, 50, 3), np.uint8)})
    from anonbench import manifests

    file = manifests.summary_path(out, "val")
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_sha256": "w"}))
    table = town.annotations / "val.regions.parquet"
    tables = {table.name: hashlib.sha256(table.read_bytes()).hexdigest()}
    record = {"dataset": "town", "split": "val", "region": "body", "tables_sha256": tables, "weights_sha256": "w"}
    fit = tmp_path / "fit.json"
    fit.write_text(json.dumps({**record, **change}))
    return Members(fit, town.variant("original"), town.annotations), town.site("body-gan")


def test_members_are_those_whom_the_record_names(tmp_path: Path) -> None:
    members, site = fitted(tmp_path)
    there = members.site(site, RegionKind.BODY)
    assert (there.variant, there.annotations, there.split) == (members.original, members.annotations, "val")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights_sha256": "x"}, r"val\.json: was not made by the method that .*fit\.json tells of"),
        ({"region": "face"}, r"fit\.json: was fitted to face regions, not to body ones"),
        ({"tables_sha256": {"val.regions.parquet": "x"}}, r"is missing or not what the method was fitted to"),
        ({"tables_sha256": {"val.other.parquet": "x"}}, r"is missing or not what the method was fitted to"),
        ({"tables_sha256": None}, r"fit\.json: does not say whom a method was fitted to"),
    ],
)
def test_a_record_of_others_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    members, site = fitted(tmp_path, **change)
    with pytest.raises(AnonbenchError, match=says):
        members.site(site, RegionKind.BODY)


def test_members_are_no_strangers() -> None:
    members, raw = people(4, 1, 1), people(4, 1, 2)
    apart_from_members(raw, members, Path("probe.parquet"))
    with pytest.raises(AnonbenchError, match=r"probe\.parquet: shows '1-0', whom the method was fitted to"):
        apart_from_members(members, members, Path("probe.parquet"))
