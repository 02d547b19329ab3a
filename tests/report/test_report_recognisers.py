"""Recognisers in the report: beside learners, never in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anonbench.report import tradeoff
from anonbench.report.attempts import Attempt, Measured, seeds_of_both
from anonbench.report.bought import told_to_paste
from anonbench.report.gates import strongest
from anonbench.report.privacy import PRIVACY_COLUMNS, _Attack
from anonbench.report.privacy_text import privacy_markdown
from anonbench.report.results import Results
from anonbench.report.study import ReportStudy

PEOPLE, DRAWS = 200, 300
KEY = ("linkability", "100")
BLUR = "face-blur-medium"
RECOGNISER = {"plugin": "dlib", "options": {}}


def measured(rate: float, seeds: int, fixed: bool = False) -> Measured:
    """Return what finds a share of people, a few of them others with each seed."""
    random = np.random.default_rng(round(1000 * rate))
    weights = random.multinomial(PEOPLE, np.full(PEOPLE, 1 / PEOPLE), size=DRAWS) / PEOPLE
    found = (np.arange(PEOPLE) < round(rate * PEOPLE)).astype(float)
    values = np.stack([np.where(random.random(PEOPLE) < 0.03 * (k > 0), 1 - found, found) for k in range(seeds)])
    return Measured(values.mean(1), 0.01, PEOPLE, PEOPLE, float(PEOPLE), values @ weights.T, fixed=fixed)


def attempt(knowledge: str, rate: float, strength: float | None = None, seeds: int = 3, **who: Any) -> Attempt:
    """Return what somebody finds in three seeds, or a recogniser in one."""
    pretrained = knowledge == "pretrained"
    attacker = {"knowledge": knowledge, "region": "face", "view": "region", **who}
    attacker |= {"recogniser": RECOGNISER} if pretrained else {"network": "compact"}
    seeds = 1 if pretrained else seeds
    of = {KEY: measured(rate, seeds, pretrained)}
    return Attempt("linkability", attacker, rate if strength is None else strength, of, ("all",), "people", "face")


def study(**more: Any) -> ReportStudy:
    split = {"train": "train", "val": "val"}
    return ReportStudy("s", 0, {"d": split}, ["original", BLUR], {"m": {}}, [0, 1, 2], **more)


def table(found: dict[str, dict[str, Attempt]], **more: Any) -> pd.DataFrame:
    """Return privacy.csv of an attack, as it is read."""
    rows = [{"dataset": "d", "attack": "link", **row} for row in _Attack(study(**more), "d", found).rows()]
    frame = pd.DataFrame(rows, columns=list(PRIVACY_COLUMNS))
    texts = [name for name in frame if frame[name].map(type).isin((str, type(None))).all()]
    return frame.fillna(dict.fromkeys(texts, ""))


def row(frame: pd.DataFrame, attacker: str, variant: str = BLUR) -> Any:
    return frame[(frame.attacker == attacker) & (frame.variant == variant)].iloc[0]


def learners(raw: float, naive: float, aware: float) -> dict[str, dict[str, Attempt]]:
    return {
        "original": {"naive": attempt("naive", raw)},
        BLUR: {"naive": attempt("naive", naive), "aware": attempt("aware", aware)},
    }


def beside(found: dict[str, dict[str, Attempt]], raw: float, left: float) -> dict[str, dict[str, Attempt]]:
    """Return the attempts with those of a recogniser."""
    return {
        "original": {**found["original"], "dlib": attempt("pretrained", raw)},
        BLUR: {**found[BLUR], "dlib": attempt("pretrained", left)},
    }


def test_one_that_works_does_not_vouch_for_learners_that_fail() -> None:
    alone = learners(0.01, 0.01, 0.01)
    both = table(beside(alone, 0.95, 0.005))
    for frame in (table(alone), both):
        assert row(frame, "aware").verdict == "no verdict"
        assert row(frame, "naive", "original").verdict == "no verdict"
    assert row(both, "dlib").verdict == "not above chance"
    assert row(both, "dlib").raw == 0.95


@pytest.mark.parametrize("left", [0.005, 0.7])
def test_what_knowing_the_method_adds_is_told_of_learners(left: float) -> None:
    alone = learners(0.9, 0.3, 0.6)
    told = ["naive", "gap", "gap_low", "gap_high", "raw"]
    frames = [row(table(found), "aware")[told].astype(float) for found in (alone, beside(alone, 0.95, left))]
    assert not frames[0].isna().any()
    assert frames[0].equals(frames[1])
    assert row(table(beside(alone, 0.95, left)), "dlib")[["naive", "gap"]].isna().all()


def test_the_trade_off_tells_naive_learners_beside_aware_ones() -> None:
    alone = learners(0.9, 0.3, 0.6)
    found = [
        tradeoff._measures(frame[frame.variant == BLUR]) for frame in (table(alone), table(beside(alone, 0.9, 0.7)))
    ]
    assert pd.DataFrame(found[0]).equals(pd.DataFrame(found[1]))
    assert found[0][0]["naive"] == pytest.approx(0.3, abs=0.03)


def test_it_is_chosen_where_it_finds_most_and_has_an_interval() -> None:
    frame = table(beside(learners(0.9, 0.3, 0.4), 0.95, 0.7))
    one = row(frame, "dlib")
    assert (one.chosen, one.knowledge, one.verdict, one.n_seeds) == ("true", "pretrained", "above chance", 1)
    assert one.simultaneous_low <= one.value_low < 0.7 < one.value_high
    equal = {"first": attempt("pretrained", 0.5), "second": attempt("aware", 0.5)}
    assert strongest(equal) == "second", "who knows the method stands for all who find as many"


def test_one_seed_of_it_stands_beside_several_of_a_learner() -> None:
    one, other = measured(0.7, 1, fixed=True), measured(0.3, 3)
    assert seeds_of_both(one, other) == 3
    assert seeds_of_both(one, replace(one)) == 1
    assert seeds_of_both(replace(one, fixed=False), other) is None
    assert one.less(replace(other, fixed=True)) is not None
    assert replace(one, fixed=False).less(other) is None
    contrast = one.less(other)
    assert contrast is not None
    assert one.replicates is not None
    thrice = replace(one, values=np.repeat(one.values, 3), replicates=np.repeat(one.replicates, 3, axis=0), fixed=False)
    by_hand = thrice.less(other)
    assert by_hand is not None
    assert contrast.interval() == by_hand.interval()


def test_a_control_with_one_seed_leaves_a_gain_with_an_interval() -> None:
    found = beside(learners(0.9, 0.3, 0.6), 0.95, 0.7)
    for of in found.values():
        of["around"] = attempt("naive", 0.1, view="surroundings")
    for name in ("aware", "dlib"):
        one = row(table(found), name)
        assert one.gain_low < one.gain < one.gain_high
    for of in found.values():  # as none of ours is: a recogniser of outlines
        of["around"] = attempt("pretrained", 0.1, view="surroundings")
    assert row(table(found), "aware").gain_low < row(table(found), "aware").gain


def test_each_fit_of_a_method_that_it_has_seen_counts() -> None:
    found = beside(learners(0.9, 0.01, 0.01), 0.95, 0.01)
    one = found[BLUR]["dlib"]
    assert "one fit alone" in row(table(found, refitted=(BLUR,)), "dlib").why
    found[BLUR]["dlib"] = replace(one, measures={KEY: measured(0.01, 3)})
    assert row(table(found, refitted=(BLUR,)), "dlib").verdict == "not above chance"


def test_words_are_true_of_who_learns_nothing() -> None:
    frame = table(beside(learners(0.9, 0.3, 0.6), 0.95, 0.7))
    said = told_to_paste(frame)
    assert "by attackers who had learnt from other people (3 seeds each): naive (naive, sees the region)" in said
    assert "; and by recognisers that had learnt elsewhere: dlib (sees the region)" in said
    weak = beside(learners(0.9, 0.3, 0.6), 0.8, 0.2)
    single = {
        name: {who: replace(one, measures={KEY: measured(0.5, 1, who == "dlib")}) for who, one in of.items()}
        for name, of in weak.items()
    }
    assert "attackers of one seed, whose noise is in no interval" in privacy_markdown(table(single))
    only = {name: {"dlib": of["dlib"]} for name, of in single.items()}
    assert "one seed" not in privacy_markdown(table(only))


def test_compared_results_have_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(beside(learners(0.9, 0.3, 0.6), 0.95, 0.7))
    rows = {name: row(frame, name).to_dict() for name in ("dlib", "aware")}
    results = Results.__new__(Results)
    object.__setattr__(results, "attacks", {**rows, "one": {**rows["aware"], "n_seeds": 1}})
    known = {name: results.found(name) is not None for name in results.attacks}  # type: ignore[arg-type]
    assert known == {"dlib": True, "aware": True, "one": False}
