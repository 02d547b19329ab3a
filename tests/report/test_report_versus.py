"""Variants against each other: what may be said of who beats whom, and where nothing may."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_attacks import write, write_attacks
from synthetic_study import dump, write_study

from anonbench.report.collect import Sources
from anonbench.report.impact import Compared, Scores
from anonbench.report.study import Attacks, Primary, ReportStudy
from anonbench.report.versus import FOUND, KEPT, VERSUS_COLUMNS, told, versus
from anonbench.tasks.base import load

STUDY = ReportStudy("study", 7, {"d": {"train": "train", "val": "val"}}, ["original"], {"m": {}}, [0, 1], margin=1.0)


def table(kept: list[dict[str, Any]], ends: tuple[float | None, float | None] = (-0.2, -0.1)) -> pd.DataFrame:
    """Return versus.csv with a variant `a` in which less is found than in `r`, and rows of what it keeps."""
    both = {"dataset": "d", "variant": "a", "reference": "r", "n_seeds": 3}
    low, high = ends
    found = {"half": FOUND, "attack": "find", "measure": "average_precision", "size": "", "difference": -0.15}
    rows = [{**both, **found, "simultaneous_low": low, "simultaneous_high": high}]
    head = {"half": KEPT, "model": "m", "task": "detection", "category": "person", "best": "higher"}
    rows += [{**both, **head, **row} for row in kept]
    frame = pd.DataFrame(rows, columns=list(VERSUS_COLUMNS))
    return frame.astype(dict.fromkeys(("simultaneous_low", "simultaneous_high"), float))


def kept(low: float | None, high: float | None, **rest: Any) -> dict[str, Any]:
    middle = 0.0 if low is None or high is None else (low + high) / 2
    return {"difference": middle, "simultaneous_low": low, "simultaneous_high": high, **rest}


@pytest.mark.parametrize("first", [True, False])
def test_a_loss_in_one_task_is_not_hidden_by_another(first: bool) -> None:
    rows = [kept(-0.5, 0.5), kept(-12.0, -8.0, task="pose")]
    (said,) = told(table(rows if first else rows[::-1]), STUDY)
    assert said.endswith("of these a (keypoint AP: −10.0, −12.0 to −8.0) keeps less.")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (kept(-0.5, 0.5), "keeps no less, by the margin."),
        (kept(-0.5, -0.1), "keeps no less, by the margin."),
        (kept(-3.0, 4.0), "may keep less: one cannot tell."),
        (kept(None, None), "(box AP: 0.0, no interval) may keep less: one cannot tell."),
        (kept(-3.0, -0.5), "keeps less."),
        (kept(0.5, 3.0, best="lower"), "keeps less."),
        (kept(-3.0, 0.5, best="lower"), "keeps no less, by the margin."),
    ],
)
def test_who_keeps_no_less_has_to_show_it(row: dict[str, Any], expected: str) -> None:
    (said,) = told(table([row]), STUDY)
    assert said.endswith(expected)


def test_the_worst_row_is_named_with_model_and_category() -> None:
    rows = [kept(-0.2, 0.4), kept(-0.9, 0.5, model="other", category="rider")]
    (said,) = told(table(rows), STUDY)
    assert "(box AP, rider, other: −0.2, −0.9 to +0.5) keeps no less" in said


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((None, None), "too little was tried to tell who gives away less (average precision)."),
        ((-0.2, 0.1), "no variant was seen to give away less (average precision)."),
    ],
)
def test_who_gives_away_less_has_to_show_it(ends: tuple[float | None, float | None], expected: str) -> None:
    (said,) = told(table([kept(-0.5, 0.5)], ends), STUDY)
    assert said.endswith(expected)


def made(root: Path, seeds: tuple[int, ...], **more: Any) -> pd.DataFrame:
    quality = {"original": 0.85, "body-blur-medium": 0.35, "body-mask_out": 0.15, "face-mask_out": 0.8}
    file = write_study(root, seeds=seeds, images=30, quality=quality, tasks=("detection",), bootstrap=100, noise=True)
    write_attacks(root, {"original": 2.0, "body-blur-medium": 1.2, "body-mask_out": 0.0}, seeds=seeds)
    value = json.loads(file.read_text())
    value["report"]["against"] = more.pop("against", ["body-mask_out"])
    value["report"]["primary"] = more.pop("primary", {})
    value["attacks"] |= more.pop("attacks", {})
    dump(file, value | more)
    study = ReportStudy.read(file)
    return versus(study, Sources(root / "evaluations", root / "models", root / "anonymized", attacks=root / "attacks"))


ENDS = ["difference_low", "difference_high", "simultaneous_low", "simultaneous_high"]


def test_pairs_are_widened_together(tmp_path: Path) -> None:
    found = made(tmp_path, (0, 1, 2))
    assert list(zip(found.half, found.variant, strict=True)) == [
        (KEPT, "body-blur-medium"),
        (KEPT, "face-mask_out"),
        (FOUND, "body-blur-medium"),
    ]
    assert found[ENDS].notna().all().all()
    wide, narrow = (found[f"{name}_high"] - found[f"{name}_low"] for name in ("simultaneous", "difference"))
    of_two = found.half == KEPT
    assert (wide[of_two] > 1.1 * narrow[of_two]).all()
    assert wide[~of_two].tolist() == pytest.approx(narrow[~of_two].tolist()), "of a single pair they are the same"


def test_the_family_is_what_the_primary_question_names(tmp_path: Path) -> None:
    every, named = (
        made(tmp_path / name, (0, 1, 2), primary={"variants": chosen}).set_index(["half", "variant"])
        for name, chosen in (("every", []), ("named", ["face-mask_out"]))
    )
    assert named[ENDS[:2]].equals(every[ENDS[:2]])
    assert named[ENDS[2:]].notna().all(axis=1).to_dict() == {
        (KEPT, "body-blur-medium"): False, (KEPT, "face-mask_out"): True, (FOUND, "body-blur-medium"): False
    }  # fmt: skip
    mirrored = made(
        tmp_path / "both", (0, 1, 2), against=["body-mask_out", "face-mask_out"],
        primary={"variants": ["face-mask_out"]},
    ).set_index(["half", "variant", "reference"])  # fmt: skip
    assert mirrored.loc[KEPT, ENDS[2:]].notna().all(axis=1).to_dict() == {
        ("body-blur-medium", "body-mask_out"): False, ("face-mask_out", "body-mask_out"): True,
        ("body-mask_out", "face-mask_out"): True, ("body-blur-medium", "face-mask_out"): True,
    }  # fmt: skip
    of_one = named.loc[(KEPT, "face-mask_out")]
    assert of_one[ENDS[2:]].tolist() == pytest.approx(of_one[ENDS[:2]].tolist()), "a family of one"
    assert told(named.reset_index(), replace(STUDY, primary=Primary(variants=("face-mask_out",)))) == []


def test_what_is_not_asked_about_is_not_told() -> None:
    one = table([kept(-0.5, 0.5)], (-0.2, 0.1))
    two = pd.concat([one, one.assign(variant="b")])
    for frame, variants, expected in (
        (one, (), "no variant was seen"),
        (one, ("a",), "a was not seen"),
        (one, ("a", "c"), "a was not seen"),
        (two, ("a", "b"), "none of a and b was seen"),
        (two, ("r",), "no variant was seen"),
    ):
        (said,) = told(frame, replace(STUDY, primary=Primary(variants=variants)))
        assert said.endswith(f": {expected} to give away less (average precision).")
    assert told(table([kept(-0.5, 0.5)]), replace(STUDY, primary=Primary(variants=("b",)))) == []


def test_the_difference_of_two_references_has_one_interval(tmp_path: Path) -> None:
    found = made(tmp_path, (0, 1, 2), against=["body-mask_out", "face-mask_out", "original"])
    kept = found[found.half == KEPT].set_index(["variant", "reference"])
    assert len(kept) == 2 + 2 + 3
    one, other = kept.loc[("face-mask_out", "body-mask_out")], kept.loc[("body-mask_out", "face-mask_out")]
    assert one.difference == -other.difference > 0
    for name in ("difference", "simultaneous"):
        assert (one[f"{name}_low"], one[f"{name}_high"]) == (-other[f"{name}_high"], -other[f"{name}_low"])
    assert one.simultaneous_low < one.difference_low < one.difference < one.difference_high < one.simultaneous_high


def compared(refitted: tuple[str, ...] = (), pools: bool = True) -> Compared:
    """Return AP of seven variants and the original, which spread alike over three seeds that move all of them."""
    random = np.random.default_rng(4)
    seeds = 3 * random.normal(size=3)
    values = {v: 40 + seeds + random.normal(size=3) for v in ("original", *"abcdefg")}
    scores = {
        variant: {s: Scores({"AP": ap}, ap + random.normal(size=50) / 10) for s, ap in enumerate(of)}
        for variant, of in values.items()
    }
    study = replace(STUDY, variants=list(values), refitted=refitted)
    return Compared(
        study, "d", "detection", load("detection"), "person", frozenset({"person"}), 90, "image", 60, scores,
        frozenset(values), pools,
    )  # fmt: skip


def test_what_is_kept_has_the_spread_that_variants_share() -> None:
    """The paired t interval has 2 degrees of freedom of three seeds; variants that are fitted anew have no other."""
    shared, own = compared().rivals((0, 1, 2), "a", "b"), compared(pools=False).rivals((0, 1, 2), "a", "b")
    assert [term.source for term in shared.terms] == ["original 1", "others", "images"]
    assert [term.source.split()[0] for term in own.terms] == ["own", "images"]
    assert own.value == shared.value
    for refitted in ("a", "b"):
        found = compared((refitted,)).rivals((0, 1, 2), "a", "b")
        assert (found.value, found.interval()) == (own.value, own.interval())
        assert [t.source for t in compared((refitted,)).rivals((0, 1, 2), "c", "d").terms][1] == "others"


def test_against_the_original_it_is_the_difference_of_the_impact_table() -> None:
    whole = compared()
    assert whole.rivals((0, 1, 2), "a", "original").interval() == whole.contrasts["a"].interval()


def test_each_detector_is_compared_with_itself(tmp_path: Path) -> None:
    """Of `body-blur-medium` the detector of people finds most, of `body-mask_out` that of faces: two questions."""
    recall = {"body-blur-medium": {"faces": 0.3, "people": 0.8}, "body-mask_out": {"faces": 0.5, "people": 0.1}}
    random = np.random.default_rng(3)
    for variant, of in recall.items():
        for name, value in of.items():
            few = {"recall": {"value": value, "chance": None, "units": 100, "people": 50}}
            drawn = {"replicates/recall": value + 0.01 * random.normal(size=100), "telling/recall": np.asarray(50.0)}
            folder = tmp_path / "attacks" / "streetlife" / variant / "find" / name / "seed0"
            parts = {"validation": {"measures": few}, "test": {"measures": few}}
            who = {"detector": {"plugin": name}}
            write(folder, "find", variant, who, parts, drawn | {"probe": np.arange(len(name))}, risk="singling out")
    asked = Attacks(
        ("streetlife",), ("find",), {"find": {v: list(of) for v, of in recall.items()}}, [0], [10], ("find",)
    )
    study = replace(
        STUDY, datasets={"streetlife": {}}, variants=["original", *recall], directions=(), attacks=asked,
        against=("body-mask_out",),
    )  # fmt: skip
    found = versus(study, Sources(tmp_path, tmp_path, tmp_path, attacks=tmp_path / "attacks"))
    assert dict(zip(found.attacker, found.difference, strict=True)) == pytest.approx({"faces": -0.2, "people": 0.7})
    assert (found.simultaneous_low < found.difference_low).all(), "the two are told together"
    faces, people = told(found, study)
    assert faces.startswith("streetlife, find by faces, against masking out bodies (body-mask_out): body-blur-medium (")
    assert people.startswith("streetlife, find by people,")
    assert people.endswith("no variant was seen to give away less (recall).")


def test_a_detector_looks_at_each_fit_of_a_method(tmp_path: Path) -> None:
    """What it finds in another variant is the same for every seed, and stands beside each fit."""
    random, values = np.random.default_rng(3), {"body-gan": (0.3, 0.2, 0.25), "body-mask_out": (0.5,)}
    noise = 0.01 * random.normal(size=100)
    for variant, of in values.items():
        for seed, value in enumerate(of):
            measured = {"recall": {"value": value, "chance": None, "units": 100, "people": 50}}
            drawn = {"replicates/recall": value + noise, "telling/recall": np.asarray(50.0), "probe": np.arange(5)}
            made_by = f"{variant}-fit{seed}" if seed else variant
            folder = tmp_path / "attacks" / "streetlife" / made_by / "find" / "faces" / f"seed{seed}"
            parts = {"validation": {"measures": measured}, "test": {"measures": measured}}
            write(folder, "find", made_by, {"detector": {"plugin": "p"}}, parts, drawn, risk="singling out")
    whom = {variant: ["faces"] for variant in values}
    asked = Attacks(("streetlife",), ("find",), {"find": whom}, [0, 1, 2], [10], ("find",))
    study = replace(
        STUDY, datasets={"streetlife": {}}, variants=["original", *values], directions=(), attacks=asked,
        against=("body-mask_out",), refitted=("body-gan",), seeds=[0, 1, 2],
    )  # fmt: skip
    (row,) = versus(study, Sources(tmp_path, tmp_path, tmp_path, attacks=tmp_path / "attacks")).itertuples()
    assert (row.variant, row.n_seeds, row.difference) == ("body-gan", 3, pytest.approx(-0.25))
    half = 4.302653 * 0.05 / 3**0.5  # Student's t of two degrees of freedom; the images' noise is common to both
    assert (row.difference_low, row.difference_high) == pytest.approx((-0.25 - half, -0.25 + half), abs=0.01)


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    found = made(tmp_path, (0,))
    assert len(found) == 3
    assert found.difference.notna().all()
    assert found[ENDS].isna().all().all()


def test_models_that_learnt_nothing_are_not_called_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(load("detection")), "floor", 99.0)
    found = made(tmp_path, (0, 1, 2))
    kept = found.half == KEPT
    assert found.difference.notna().all()
    assert found.loc[kept, ENDS].isna().all().all()
    assert found.loc[~kept, ENDS].notna().all().all()
    assert not any("keeps no less" in text for text in told(found, STUDY))


def test_attacks_that_learn_nothing_need_no_seeds_unless_the_method_does(tmp_path: Path) -> None:
    once = {"attacks": {"once": ["reidentify"]}}
    found = made(tmp_path / "once", (0,), **once)
    assert found.loc[found.half == FOUND, ENDS].notna().all().all()
    found = made(tmp_path / "fitted", (0,), **once, refitted=["body-blur-medium"])
    assert (found.half == FOUND).any()
    assert found.loc[found.half == FOUND, ENDS].isna().all().all()
