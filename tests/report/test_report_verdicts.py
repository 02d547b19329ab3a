"""What may be said of attacks where nothing is to be told: exact ties, too few people, families of some variants."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from synthetic_attacks import write_attacks
from test_report_privacy import impact, study_of

from anonbench.attack.linkage import linkability
from anonbench.attack.risk import identity_replicates
from anonbench.report import tradeoff
from anonbench.report.attempts import Attempt, Measured
from anonbench.report.bought import bought
from anonbench.report.gates import ABOVE, AT_CHANCE, counterpart, judged, strongest
from anonbench.report.privacy import privacy
from anonbench.statistics.resampling import group_weights


@pytest.mark.parametrize("people", [30, 60, 140, 200])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_who_all_look_the_same_are_not_found_however_sums_are_rounded(people: int, factor: float) -> None:
    who, raw = np.arange(people), Measured(np.array([0.9]), 0.1, people, people, people, np.full((1, 300), 0.9))
    for size in (10, 20):
        values = linkability(np.zeros((people, people)), who, who, size)
        drawn = identity_replicates(values[None], who, group_weights(people, 300, "same"))
        found = Measured(np.array([values.mean()]), 1 / size, people, people, people, drawn)
        ends = found.interval(factor)
        assert ends is not None
        assert np.isfinite(ends).all()
        assert ends[0] <= 1 / size + 1e-9
        assert judged(found, ends, raw, (), True).verdict == AT_CHANCE
    above = Measured(np.array([0.3]), 0.1, people, people, people, np.full((1, 300), 0.3))
    assert judged(above, above.interval(), raw, (), True).verdict == ABOVE


def attempt(strength: float | None, region: str = "body") -> Attempt:
    return Attempt("inference", {"knowledge": "naive", "region": region, "view": "person"}, strength, {}, ())


def test_an_attacker_below_nothing_is_still_stronger_than_one_further_below() -> None:
    """R2 of colours may be negative."""
    found = {"weak": attempt(-3.0), "none": attempt(None), "better": attempt(-0.5)}
    assert strongest(found) == "better"
    assert counterpart(attempt(None), found) is found["better"]


def test_too_few_to_tell_are_not_called_found(tmp_path) -> None:
    study = study_of(write_attacks(tmp_path))
    table = privacy(study, tmp_path / "attacks")
    few = table.assign(verdict="", value_low=np.nan, value_high=np.nan, simultaneous_low=np.nan)
    said = bought(impact(), few)[0].paragraph.points[:4]
    assert all("too few people were attacked to say what" in line and "still" not in line for line in said)


def test_intervals_are_said_to_hold_at_once_of_those_alone_that_do(tmp_path) -> None:
    table = privacy(study_of(write_attacks(tmp_path)), tmp_path / "attacks")
    treated = [v for v in dict.fromkeys(table.variant) if v != "original" and "identity" not in v]
    assert len(treated) > 2

    def lead(without: list[str]) -> str:
        asked = ~table.variant.isin(without)
        some: pd.DataFrame = table.assign(simultaneous_low=table.simultaneous_low.where(asked))
        return bought(impact(), some)[0].paragraph.text

    assert "; their intervals of 95 % hold all at once:" in lead([])
    told = lead(treated[:1])
    assert f"which of {treated[1]}" in told
    assert "hold all at once and of the others each by itself:" in told
    assert treated[0] not in told
    assert "at once" not in lead(treated)


@pytest.mark.parametrize("order", [("link", "reidentify"), ("reidentify", "link")])
def test_the_answer_is_of_people_who_are_known_in_other_pictures(tmp_path, order: tuple[str, ...]) -> None:
    """Whoever looks for a picture's own original has the pose and the place, too: an upper bound."""
    said = write_attacks(tmp_path, attacks=order)
    found = bought(impact(), privacy(study_of(said), tmp_path / "attacks"))
    assert {one.attack: one.first for one in found} == {"link": False, "reidentify": True}
    alone = write_attacks(tmp_path / "alone", attacks=("link",))
    (one,) = bought(impact(), privacy(study_of(alone), tmp_path / "alone" / "attacks"))
    assert one.first


def test_all_of_somebody_is_the_same_whichever_region_is_attacked() -> None:
    sees = [
        Attempt("linkability", {"knowledge": "naive", "region": region, "view": view}, 0.5, {}, ())
        for region in ("body", "face")
        for view in ("person", "region")
    ]
    assert [[one.sees_as(other) for other in sees] for one in sees] == [
        [True, False, True, False],
        [False, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


def test_what_controls_find_is_said_once(tmp_path) -> None:
    table = privacy(study_of(write_attacks(tmp_path)), tmp_path / "attacks")
    rows = table[(table.role == "control") & (table.headline == "true")]
    name = rows.attacker.iloc[0]
    for values, words in (
        ((0.2, 0.2), rf"{name} \(the outline\) 20\.0 %"),
        ((0.2, 0.3), rf"{name} \(the outline\) at most 30\.0 %"),
    ):
        told = table.copy()
        mine = told.index[told.index.isin(rows.index[rows.attacker == name])]
        told.loc[mine, "value"] = values[0]
        told.loc[mine[-1:], "value"] = values[1]
        (point,) = (p for p in bought(impact(), told)[0].paragraph.points if p.startswith("For comparison"))
        assert re.search(words, point)
        assert point.count(str(name)) == 1


def test_a_control_that_finds_more_is_told_beside_who_does_not_look_there(tmp_path) -> None:
    """Nobody has to look at what a method hides: outlines are in the labels."""
    table = privacy(study_of(write_attacks(tmp_path)), tmp_path / "attacks")
    words = "; whoever sees only what the method is not asked to change 97.0 %"
    hidden = table.assign(control=np.where(table.variant == "body-mask_out", 0.97, np.nan))
    lines = bought(impact(), hidden)[0].paragraph.points
    assert [line.startswith("Masking out bodies") for line in lines if words in line] == [True]
    assert not any(words in line for line in bought(impact(), table)[0].paragraph.points)


def test_who_sees_something_else_is_no_measure_of_what_knowing_the_method_adds(tmp_path) -> None:
    table = privacy(study_of(write_attacks(tmp_path)), tmp_path / "attacks")
    rows = table[table.variant == "body-blur-medium"]
    (both,) = [one for one in tradeoff._measures(rows) if one["measure"] == "linkability" and one["size"] == "30"]
    assert both["naive"] < both["aware"]
    other = rows.assign(view=rows.view.mask((rows.knowledge == "naive") & (rows.view == "person"), "region"))
    (apart,) = [one for one in tradeoff._measures(other) if one["measure"] == "linkability" and one["size"] == "30"]
    assert "naive" not in apart
    assert apart["aware"] == both["aware"]
