"""What anonymization buys: the table, whether attacks have worked, its forms, the figure and the answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from matplotlib.figure import Figure
from synthetic_attacks import ATTACKERS, SIZES, TELLING, place, write, write_attack, write_attacks
from synthetic_study import write_study

from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.report import gates
from anonbench.report.attempts import Attempt, read_attempt
from anonbench.report.bought import LIMITS, RISKS, bought, risks, told_to_paste
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.figures.tradeoff import front, tradeoff_figure, write_notes
from anonbench.report.html import write_html
from anonbench.report.privacy import PRIVACY_COLUMNS, privacy
from anonbench.report.privacy_text import (
    flat_privacy,
    privacy_latex,
    privacy_macros,
    privacy_markdown,
    strongest_table,
)
from anonbench.report.study import Attacks, ReportStudy
from anonbench.report.tables import read_csv, rows_of, write_csv, write_tables
from anonbench.report.tradeoff import tradeoff

LATEX = next((path for name in ("pdflatex", "lualatex", "xelatex", "tectonic") if (path := shutil.which(name))), None)


def study_of(said: dict[str, Any], variants: list[str] | None = None) -> ReportStudy:
    words = {name: tuple(said[name]) for name in ("datasets", "attacks")}
    asked = Attacks(**words, attackers=said["attackers"], seeds=said["seeds"], sizes=said["sizes"])
    names = variants or list(next(iter(said["attackers"].values())))
    return ReportStudy("s", 7, {"streetlife": {"train": "train", "val": "val"}}, names, {"m": {}}, [0], attacks=asked)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportStudy, pd.DataFrame]:
    """Return the folder, the study and its table: one seed."""
    root = tmp_path_factory.mktemp("attacks")
    study = study_of(write_attacks(root))
    return root, study, privacy(study, root / "attacks")


def cell(table: pd.DataFrame, column: str, **of: str) -> Any:
    """Return a column of the only row that ``of`` names."""
    rows = table
    for name, value in ({"measure": "linkability", "size": "30"} | of).items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, of
    return rows[column].iloc[0]


# --- the table


def test_one_fit_that_hides_people_is_no_verdict(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    root, study, before = made
    table = privacy(replace(study, refitted=("body-mask_out", "body-blur-medium")), root / "attacks")
    hidden, seen = ({"variant": v, "attacker": "body-aware"} for v in ("body-mask_out", "body-blur-medium"))
    assert cell(before, "verdict", **hidden) == gates.AT_CHANCE
    assert (cell(table, "verdict", **hidden), cell(table, "why", **hidden)) == (gates.NO_VERDICT, gates.ONE_FIT)
    assert (cell(table, "verdict", **seen), cell(table, "why", **seen)) == (gates.ABOVE, "")


def test_every_attempt_has_a_row_per_measure(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    root, _, table = made
    keys = ["dataset", "variant", "attack", "attacker", "measure", "size"]
    assert not table.duplicated(keys).any()
    assert list(table.columns) == list(PRIVACY_COLUMNS)
    assert set(table.measure) == {"linkability", "auc", "tar_1e2", "tar_1e3", "singling_out"}
    assert set(table["size"][table.measure == "linkability"]) == {*map(str, SIZES), "all"}
    assert set(table["size"][table.measure != "linkability"]) == {""}
    assert set(table.risk[table.measure == "singling_out"]) == {"singling out"}
    test = read_json(place(root, "face-blur-medium", "face-aware") / "metrics.json")["test"]
    of = {"variant": "face-blur-medium", "attacker": "face-aware"}
    assert cell(table, "value", **of) == round(test["linkability"]["30"], 4)
    pi = test["measures"]["singling_out"]
    assert cell(table, "value", measure="singling_out", size="", **of) == round(pi["value"], 4)
    assert cell(table, "chance", measure="singling_out", size="", **of) == round(pi["chance"], 4)
    assert (table.value_low <= table.value).all()
    assert (table.value <= table.value_high).all()
    raw = cell(table, "value", variant="original", attacker="face-naive")
    assert cell(table, "raw", **of) == raw


def test_intervals_of_the_chosen_of_all_variants_are_wider_and_hold_alone_too(
    made: tuple[Path, ReportStudy, pd.DataFrame],
) -> None:
    table = made[2]
    family = table[table.simultaneous_low.notna()]
    assert set(family.variant) == set(TELLING) - {"original", "face-identity"}
    assert set(family.chosen) == {"true"}
    assert (family.simultaneous_low <= family.value_low).all()
    assert (family.simultaneous_high >= family.value_high).all()
    inner = family[(family.value_low > 0.05) & (family.value_high < 0.9)]
    assert (inner.simultaneous_high - inner.simultaneous_low > 1.1 * (inner.value_high - inner.value_low)).all()


def test_gain_lies_between_originals_and_control(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    table = made[2]
    of = {"variant": "body-blur-medium", "attacker": "body-aware"}
    value, raw, control = (cell(table, name, **of) for name in ("value", "raw", "control"))
    assert cell(table, "gain", **of) == pytest.approx(1 - (value - control) / (raw - control), abs=1e-3)
    assert cell(table, "residual", **of) == pytest.approx((value - control) / (1 - control), abs=1e-3)
    assert 0 < cell(table, "gain_low", **of) < cell(table, "gain", **of) < cell(table, "gain_high", **of) < 1
    assert control == cell(table, "value", variant="body-blur-medium", attacker="body-silhouette")
    faces = {"variant": "face-blur-medium", "attacker": "face-aware"}
    assert np.isnan(cell(table, "control", **faces)), "of another region"
    assert np.isnan(cell(table, "control", variant="original", attacker="body-silhouette")), "a control has none"


def test_a_view_that_a_method_may_change_is_no_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean colour that a blur leaves tells of people: as a control it would call that unavoidable."""
    colour = {"knowledge": "naive", "region": "body", "view": "colour"}
    monkeypatch.setitem(ATTACKERS, "body-colour", colour)
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.6, "body-mask_out": 0.0})
    table = privacy(study_of(said), tmp_path / "attacks")
    of = {"variant": "body-blur-medium", "attacker": "body-aware"}
    seen = cell(table, "value", variant="body-blur-medium", attacker="body-colour")
    assert seen > 2 * cell(table, "control", **of)
    assert cell(table, "control", **of) == cell(table, "value", variant="body-blur-medium", attacker="body-silhouette")
    assert cell(table, "gain", **of) < 0.5
    rows = table[table.attacker == "body-colour"]
    assert set(rows.role) == {"reference"}
    assert set(rows.chosen) == {"false"}
    assert set(rows.verdict) == {""}
    assert rows.control.isna().all()
    (point,) = (p for p in points(table) if p.startswith("For comparison, whoever sees next to nothing"))
    for row in rows_of(rows[rows.headline == "true"]):
        assert re.search(rf"{100 * row.value:.1f} % \(.*\) on {row.variant}", point), "each variant's own"
    (control,) = (p for p in points(table) if p.startswith("For comparison, whoever sees only"))
    assert "colour" not in control
    assert "*body-colour*" in privacy_markdown(table)


@pytest.mark.parametrize(
    ("view", "kind", "role"),
    [
        ("surroundings", "body", "control"), ("surroundings", "", "control"), ("surroundings", "frame", "reference"),
        ("silhouette", "frame", "control"), ("colour", "body", "reference"), ("person", "frame", "attacker"),
    ],
)  # fmt: skip
def test_a_method_of_whole_frames_changes_surroundings_too(view: str, kind: str, role: str) -> None:
    assert Attempt("linkability", {"region": "body", "view": view}, 0.1, {}, (), kind=kind).role == role


def test_the_kind_of_region_is_that_of_the_variant(tmp_path: Path) -> None:
    silhouette = place(tmp_path, "frame-blur-medium", "body-silhouette")
    write_attack(silhouette, 0.3, "reidentify", "frame-blur-medium", "body-silhouette", 0, 60)
    assert read_attempt({0: silhouette.parent}, "reidentify", "frame-blur-medium").kind == "frame"


def test_the_strongest_is_chosen_on_validation_people(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.0})
    file = place(tmp_path, "body-blur-medium", "body-naive") / "metrics.json"
    metrics = read_json(file)
    metrics["validation"]["linkability"]["all"] = 0.999
    write_json(file, metrics)
    table = privacy(study_of(said), tmp_path / "attacks")
    chosen = table[(table.variant == "body-blur-medium") & (table.chosen == "true")]
    assert set(chosen.attacker) == {"body-naive"}, "though the other finds more of those who are told of"
    assert set(table[(table.variant == "original") & (table.chosen == "true")].role) == {"attacker"}


def test_seeds_widen_intervals_and_a_missing_one_is_named(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.0}, seeds=(0, 1, 2))
    table = privacy(study_of(said), tmp_path / "attacks")
    assert set(table.n_seeds) == {3}
    assert table.error_seeds.notna().all()
    files = [read_json(place(tmp_path, "original", "body-naive", s) / "metrics.json")["test"] for s in (0, 1, 2)]
    mean = np.mean([f["linkability"]["30"] for f in files])
    assert cell(table, "value", variant="original", attacker="body-naive") == round(mean, 4)
    # a seed that finds next to nobody makes the rest uncertain
    write_attack(place(tmp_path, "body-blur-medium", "body-aware", 2), 0.2, "reidentify", "body-blur-medium",
                 "body-aware", 2, 60)  # fmt: skip
    of = {"variant": "body-blur-medium", "attacker": "body-aware"}
    odd = privacy(study_of(said), tmp_path / "attacks")
    wide, narrow = (cell(t, "value_high", **of) - cell(t, "value_low", **of) for t in (odd, table))
    assert wide > 2 * narrow
    assert cell(odd, "error_seeds", **of) > 5 * cell(table, "error_seeds", **of)
    (place(tmp_path, "body-blur-medium", "body-aware", 1) / "metrics.json").unlink()
    with pytest.raises(AnonbenchError, match=r"seed1/metrics\.json: no such file"):
        privacy(study_of(said), tmp_path / "attacks")


def test_without_attacks_the_table_is_empty(tmp_path: Path) -> None:
    study = ReportStudy("s", 7, {"d": {"train": "train", "val": "val"}}, ["original"], {"m": {}}, [0])
    assert privacy(study, tmp_path).empty


# --- whether an attack has worked


def test_verdicts_of_attacks_that_work(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    table = made[2]
    said = table[(table.headline == "true") & (table.chosen == "true")].set_index("variant").verdict
    assert dict(said) == dict.fromkeys(TELLING, gates.ABOVE) | {"body-mask_out": gates.AT_CHANCE}
    assert set(table.why) == {""} or set(table.measure[table.why != ""]) <= {"tar_1e3"}
    assert set(table.verdict[table.role == "control"]) == {""}


def test_an_attack_that_fails_on_originals_gives_no_verdict(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 0.0, "body-mask_out": 0.0})
    table = privacy(study_of(said), tmp_path / "attacks")
    row = table[(table.variant == "body-mask_out") & (table.headline == "true") & (table.chosen == "true")].iloc[0]
    assert (row.verdict, row.why) == (gates.NO_VERDICT, gates.RAW_FAILED)


def test_an_attack_that_is_hardly_above_chance_on_originals_has_failed_too(tmp_path: Path) -> None:
    """Its interval leaves out chance, and there is next to nothing to lose."""
    said = write_attacks(tmp_path, {"original": 0.2, "body-mask_out": 0.0}, people=200)
    table = privacy(study_of(said), tmp_path / "attacks")
    raw = table[(table.variant == "original") & (table.headline == "true") & (table.attacker == "body-naive")].iloc[0]
    assert raw.value_low > raw.chance
    assert raw.value - raw.chance < gates.LEAST
    row = table[(table.variant == "body-mask_out") & (table.headline == "true") & (table.chosen == "true")].iloc[0]
    assert (row.verdict, row.why) == (gates.NO_VERDICT, gates.RAW_FAILED)


def test_without_an_attack_on_originals_nobody_found_is_no_verdict(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"body-blur-medium": 1.5, "body-mask_out": 0.0})
    said["attackers"]["reidentify"]["original"] = []
    table = privacy(study_of(said), tmp_path / "attacks")
    found = table[(table.headline == "true") & (table.chosen == "true")].set_index("variant")
    assert found.verdict["body-mask_out"] == gates.NO_VERDICT
    assert found.why["body-mask_out"] == gates.NOT_TRIED
    assert found.verdict["body-blur-medium"] == gates.ABOVE, "who is found is found"
    assert found.why["body-blur-medium"] == ""
    assert [p for p in points(table) if "was not seen to work, so there is no verdict: nobody tried" in p]


@pytest.mark.parametrize("encoded", [0.6, 2.0])
def test_identity_must_equal_the_original(tmp_path: Path, encoded: float) -> None:
    """Whoever looks at faces vouches for the variants of faces, whichever region the encoded variant is of."""
    telling = {"original": 2.0, "body-identity": 2.0, "face-blur-medium": 1.5, "body-blur-medium": 1.5}
    said = write_attacks(tmp_path, telling)
    there = place(tmp_path, "body-identity", "face-naive")
    write_attack(there, 0.9 * encoded, "reidentify", "body-identity", "face-naive", 0, 60)
    table = privacy(study_of(said), tmp_path / "attacks")
    found = table[(table.headline == "true") & (table.chosen == "true")].set_index("variant")
    odd = encoded != telling["original"]
    assert found.verdict["face-blur-medium"] == (gates.NO_VERDICT if odd else gates.ABOVE)
    assert found.why["face-blur-medium"] == (gates.CODEC if odd else "")
    assert found.verdict["body-blur-medium"] == gates.ABOVE, "the codec of faces says nothing of bodies"


def test_a_doubt_is_of_those_who_are_about_the_same(tmp_path: Path) -> None:
    """An attacker of faces that takes encoded pictures for others says nothing of who looks at bodies."""
    said = write_attacks(tmp_path, {"original": 2.0, "body-identity": 2.0, "frame-blur-medium": 1.5})
    write_attack(
        place(tmp_path, "body-identity", "face-naive"), 0.5, "reidentify", "body-identity", "face-naive", 0, 60
    )
    for name in ("face-naive", "body-naive"):
        write_attack(place(tmp_path, "frame-blur-medium", name), 1.5, "reidentify", "frame-blur-medium", name, 0, 60)
    said["attackers"]["reidentify"]["frame-blur-medium"] = ["face-naive", "body-naive"]
    table = privacy(study_of(said), tmp_path / "attacks")
    rows = table[table.headline == "true"].set_index(["variant", "attacker"])
    for variant in ("body-identity", "frame-blur-medium"):
        assert rows.why[variant, "face-naive"] == gates.CODEC
        assert rows.why[variant, "body-naive"] == ""


def test_an_aware_attacker_that_is_worse_than_a_naive_one_is_doubted(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.5, "body-mask_out": 0.0})
    folder = place(tmp_path, "body-blur-medium", "body-aware")
    write_attack(folder, 0.6, "reidentify", "body-blur-medium", "body-aware", 0, 60)
    table = privacy(study_of(said), tmp_path / "attacks")
    found = table[(table.headline == "true") & (table.chosen == "true")].set_index("variant")
    assert found.attacker["body-blur-medium"] == "body-naive"
    assert (found.verdict["body-blur-medium"], found.why["body-blur-medium"]) == (gates.ABOVE, gates.WORSE)
    assert found.why["body-mask_out"] == ""
    assert "or more: knowing the method made the attacker worse" in " ".join(points(table))
    # where nobody is found by either, the doubt leaves no verdict
    doubtful = gates.judged(
        attempt_of(tmp_path, said, "body-mask_out", "body-aware"), (0.0, 0.2),
        attempt_of(tmp_path, said, "original", "body-naive"), (gates.WORSE,), True,
    )  # fmt: skip
    assert doubtful == gates.Judged(gates.NO_VERDICT, (gates.WORSE,))


def attempt_of(root: Path, said: dict[str, Any], variant: str, attacker: str) -> Any:
    folder = place(root, variant, attacker).parent
    return read_attempt(dict.fromkeys(said["seeds"], folder), "reidentify", variant).measures["linkability", "30"]


# --- attacks that rank nobody


def write_infer(root: Path, variants: dict[str, float], attacker: dict[str, Any] | None) -> dict[str, Any]:
    """Write an attack that tells attributes: two measures of 50 people, one that can be below nothing."""
    random = np.random.default_rng(1)
    for variant, value in variants.items():
        drawn = {"balanced_accuracy": value, "r2/upper": value - 0.6}
        measures = {
            name: {"value": v, "chance": 0.5 if name[0] == "b" else 0.0, "units": 100, "people": 50}
            for name, v in drawn.items()
        }
        arrays = {f"replicates/{name}": v + 0.03 * random.normal(size=200) for name, v in drawn.items()}
        arrays |= {f"telling/{name}": np.asarray(50.0) for name in drawn}
        folder = root / "attacks" / "streetlife" / variant / "infer" / "tell" / "seed0"
        parts = {"test": {"measures": measures}}
        if attacker is not None:
            parts["validation"] = {"measures": measures}
        write(folder, "infer", variant, attacker, parts, arrays, risk="inference")
    return {
        "datasets": ["streetlife"], "attacks": ["infer"], "seeds": [0], "sizes": [10],
        "attackers": {"infer": {variant: ["tell"] for variant in variants}},
    }  # fmt: skip


@pytest.mark.parametrize("attacker", [{"knowledge": "aware", "region": "body", "view": "person"}, None])
def test_an_attack_with_measures_of_its_own_has_rows_like_any_other(tmp_path: Path, attacker: Any) -> None:
    said = write_infer(tmp_path, {"original": 0.9, "body-blur-medium": 0.8, "body-mask_out": 0.52}, attacker)
    table = privacy(study_of(said), tmp_path / "attacks")
    assert set(table.risk) == {"inference"}
    assert list(table.headline) == ["true", "false"] * 3
    assert set(table.chosen) == {"true"}
    found = table[table.measure == "balanced_accuracy"].set_index("variant")
    assert dict(found.verdict) == {
        "original": gates.ABOVE, "body-blur-medium": gates.ABOVE, "body-mask_out": gates.AT_CHANCE,
    }  # fmt: skip
    r2 = table[table.measure == "r2/upper"].set_index("variant")
    assert r2.value_low["body-mask_out"] < r2.value["body-mask_out"] < 0, "R2 is no rate"
    text = privacy_markdown(table)
    assert "## streetlife: infer (inference)" in text
    assert "balanced accuracy" in text
    assert bought(impact(), table)[0].paragraph.points[0].startswith("Blurring bodies (medium)")
    assert [risk.attacks for risk in risks(table)] == [(), (), ("infer (balanced accuracy and r2 (upper))",)]


def test_r2_is_no_rate_whatever_was_drawn(tmp_path: Path) -> None:
    """Near chance all draws may lie above 0, where a rate's interval would begin above 0, too."""
    said = write_infer(tmp_path, {"original": 0.9, "body-blur-medium": 0.61}, {"knowledge": "aware", "region": "body"})
    file = tmp_path / "attacks" / "streetlife" / "body-blur-medium" / "infer" / "tell" / "seed0"
    arrays = dict(np.load(file / "scores.npz"))
    arrays["replicates/r2/upper"] = np.abs(0.01 + 0.01 * np.random.default_rng(0).normal(size=200))
    metrics = read_json(file / "metrics.json")
    parts = {name: metrics[name] for name in ("validation", "test")}
    write(file, "infer", "body-blur-medium", metrics["attacker"], parts, arrays, risk="inference")
    table = privacy(study_of(said), tmp_path / "attacks")
    row = table[(table.variant == "body-blur-medium") & (table.measure == "r2/upper")].iloc[0]
    assert row.value_low < 0 < row.value_high
    assert row.verdict == gates.AT_CHANCE


def test_where_nobody_says_who_is_who_the_report_speaks_of_images(tmp_path: Path) -> None:
    variants = {"original": 0.9, "body-blur-medium": 0.8}
    said = write_infer(tmp_path, variants, {"knowledge": "aware", "region": "body", "view": "person"})
    for variant in variants:
        file = tmp_path / "attacks" / "streetlife" / variant / "infer" / "tell" / "seed0" / "metrics.json"
        write_json(file, {**read_json(file), "drawn": "images"})
    table = privacy(study_of(said), tmp_path / "attacks")
    assert set(table.drawn) == {"images"}
    pasted, text = told_to_paste(table), privacy_markdown(table)
    for one in (pasted, text):
        assert "100 pictures of people in 50 images" in one
        assert "50 people" not in one
        assert re.search(r"intervals over images and (attackers' )?seeds", one)
    assert "chosen on other images" in bought(impact(), table)[0].paragraph.text


def test_what_nobody_can_know_by_chance_is_told_without_a_verdict(tmp_path: Path) -> None:
    said = write_infer(tmp_path, {"original": 0.6, "body-blur-medium": 0.7}, None)
    for file in (tmp_path / "attacks").rglob("metrics.json"):
        metrics = read_json(file)
        for of in metrics["test"]["measures"].values():
            of |= {"chance": None, "covered": 0.9, "of_covered": 0.8, "of_missed": 0.2, "share_of_missed": 0.03}
        write_json(file, metrics)
    table = privacy(study_of(said), tmp_path / "attacks")
    assert set(table.verdict) == {""}
    assert table.chance.isna().all()
    assert dict(table[["covered", "value_covered", "value_missed", "share_missed"]].iloc[0]) == {
        "covered": 0.9, "value_covered": 0.8, "value_missed": 0.2, "share_missed": 0.03,
    }  # fmt: skip
    (one,) = bought(impact(), table)
    assert one.paragraph.text == "Balanced accuracy on streetlife (infer), in per cent:"
    assert re.fullmatch(
        r"Blurring bodies \(medium\): 70.0 % \(.* to .*\), on originals 60.0 %\.", one.paragraph.points[0]
    )
    privacy_markdown(table)


def test_kinds_of_pairs_have_rows_and_a_table_of_their_own(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.0})
    for variant in said["attackers"]["reidentify"]:
        for name in said["attackers"]["reidentify"][variant]:
            folder = place(tmp_path, variant, name)
            metrics = read_json(folder / "metrics.json")
            with np.load(folder / "scores.npz") as file:
                arrays = {n: file[n] for n in file.files}
            arrays |= {f"changed_outfit/{n}": v for n, v in arrays.items() if n.startswith(("telling/", "replicates/"))}
            metrics["test"]["kinds"] = {"changed_outfit": {k: v for k, v in metrics["test"].items() if k != "measures"}}
            parts = {name: metrics[name] for name in ("validation", "test")}
            write(folder, "reidentify", variant, metrics["attacker"], parts, arrays)
    table = privacy(study_of(said), tmp_path / "attacks")
    kind = {"measure": "linkability/changed_outfit", "variant": "body-blur-medium", "attacker": "body-aware"}
    for column in ("value", "value_low", "simultaneous_high", "raw", "gain"):
        assert cell(table, column, **kind) == cell(table, column, **kind | {"measure": "linkability"})
    assert set(table.measure[table.headline == "true"]) == {"linkability"}
    assert "| found first (changed outfit) among 30 | " in re.sub(" +", " ", privacy_markdown(table))


def test_a_detector_is_compared_with_itself_on_originals(tmp_path: Path) -> None:
    """One of faces and one of people answer other questions."""
    for variant, found in {"original": (0.9, 0.5), "body-mask_out": (0.3, 0.1)}.items():
        for name, value in zip(("faces", "people"), found, strict=True):
            measures = {"recall": {"value": value, "chance": None, "units": 100, "people": 50}}
            arrays = {"telling/recall": np.asarray(50.0), "replicates/recall": np.full(200, value)}
            folder = tmp_path / "attacks" / "streetlife" / variant / "find" / name / "seed0"
            write(folder, "find", variant, {"detector": {"plugin": name}}, {"test": {"measures": measures}}, arrays)
    names = ["faces", "people"]
    asked = Attacks(("streetlife",), ("find",), {"find": {"original": names, "body-mask_out": names}}, [0, 1], [10],
                    once=("find",))  # fmt: skip
    datasets = {"streetlife": {"train": "train", "val": "val"}}
    study = ReportStudy("s", 7, datasets, ["original", "body-mask_out"], {"m": {}}, [0], attacks=asked)
    table = privacy(study, tmp_path / "attacks")
    hidden = table[table.variant == "body-mask_out"].set_index("attacker")
    assert dict(hidden.raw) == {"faces": 0.9, "people": 0.5}
    assert set(table.n_seeds) == {1}, "nothing learns, so there is one seed"


def test_a_measure_that_one_seed_has_no_number_of_is_left_out(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.0}, seeds=(0, 1))
    file = place(tmp_path, "original", "body-naive", 1) / "metrics.json"
    metrics = read_json(file)
    metrics["test"]["measures"]["tar_1e3"]["value"] = None
    write_json(file, metrics)
    table = privacy(study_of(said), tmp_path / "attacks")
    assert "tar_1e3" not in set(table.measure[(table.variant == "original") & (table.attacker == "body-naive")])
    assert set(table.verdict[(table.variant == "body-blur-medium") & (table.measure == "tar_1e3")]) <= {
        "", gates.ABOVE, gates.NO_VERDICT,
    }  # fmt: skip


# --- its forms


def impact() -> pd.DataFrame:
    """Return the part of impact.csv that says what is kept."""
    rows = [
        {"dataset": "streetlife", "model": "m", "task": "detection", "category": "person", "direction": "original",
         "variant": v, "metric": "AP", "role": "primary",
         "question": "" if v in ("original", "face-identity") else "primary",
         "kept": None if v == "original" else k, "kept_low": k - 3, "kept_high": k + 3}
        for v, k in zip(TELLING, (100, 99.5, 99, 96, 80, 3), strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype(dict.fromkeys(("kept", "kept_low", "kept_high"), float))


def points(table: pd.DataFrame) -> list[str]:
    return [point for one in bought(impact(), table) for point in one.paragraph.points]


def test_markdown_says_who_was_strongest_and_what_is_no_proof(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    text = privacy_markdown(made[2])
    for wanted in ("## streetlife: reidentify", "no proof", "**face-aware**", "*body-silhouette*", "above chance"):
        assert wanted in text
    assert "{" not in text
    body = next(line for line in text.splitlines() if line.startswith("| `body-blur-medium` ") and "above" in line)
    row = made[2][(made[2].variant == "body-blur-medium") & (made[2].chosen == "true") & (made[2].headline == "true")]
    value, low, high = (100 * row[c].iloc[0] for c in ("value", "simultaneous_low", "simultaneous_high"))
    assert f"{value:.1f} ({low:.1f} to {high:.1f})" in body
    rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(rows)) == 2, "two tables, each with as many cells in every row"
    heads, lines, _ = strongest_table(made[2])
    of = {line[0]: dict(zip(heads, line, strict=True)) for line in lines}
    assert of["body-blur-medium"]["risk from the missed"] == "0 %"
    for variant in [name for name in of if name == "original" or "identity" in name]:
        assert of[variant]["risk from the missed"] == "–", "nobody is missed where nobody was to be changed"


def test_latex_has_a_row_per_variant(made: tuple[Path, ReportStudy, pd.DataFrame], tmp_path: Path) -> None:
    text = privacy_latex(made[2])
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in lines}) == 1
    assert len(lines) == 1 + len(TELLING)
    assert r"face-mask\_out" in text
    assert not re.search(r"(?<!\\)[_#](?!\\)", re.sub(r"%.*", "", text).replace("{\\ifdim", ""))
    if LATEX:
        page = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}" + text + r"\end{document}"
        (tmp_path / "page.tex").write_text(page)
        done = subprocess.run([LATEX, "page.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (tmp_path / "page.pdf").exists(), done.stdout[-2000:]


def test_macros_and_metrics_hold_the_numbers_of_the_table(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    table = made[2]
    found = dict(privacy_macros(table))
    assert all(re.fullmatch("ab[A-Za-z]+", name) for name in found)
    value = 100 * cell(table, "value", variant="body-blur-medium", chosen="true")
    name = "abStreetlifeReidentifyLinkabilityThreeZeroBodyBlurMedium"
    assert found[f"{name}Value"] == rf"\ensuremath{{{value:.1f}}}"
    assert found[f"{name}Verdict"] == "above chance"
    assert {f"{name}{word}" for word in ("Low", "High", "Raw", "Control", "Gain", "GainLow", "Chance")} <= set(found)
    flat = flat_privacy(table)["privacy of streetlife"]["reidentify"]["linkability_30"]
    assert set(flat) == set(TELLING)
    assert flat["body-blur-medium"]["value"] == cell(table, "value", variant="body-blur-medium", chosen="true")
    assert flat["body-mask_out"]["verdict"] == gates.AT_CHANCE
    json.dumps(flat, allow_nan=False)


def test_the_table_is_read_as_it_was_written(made: tuple[Path, ReportStudy, pd.DataFrame], tmp_path: Path) -> None:
    write_csv(tmp_path / "privacy.csv", made[2])
    back = read_csv(tmp_path / "privacy.csv")
    assert privacy_markdown(back) == privacy_markdown(made[2])
    assert [one.paragraph for one in bought(impact(), back)] == [one.paragraph for one in bought(impact(), made[2])]


# --- the answer


def test_the_answer_says_what_is_kept_and_what_is_found(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    (one,) = bought(impact(), made[2])
    assert one.first
    assert "What it buys on streetlife (reidentify)" in one.paragraph.text
    assert "the first guess among 30 people is right in" in one.paragraph.text
    said = dict(zip(("faces", "masked faces", "bodies", "masked bodies"), one.paragraph.points, strict=False))
    assert said["faces"].startswith(
        "Blurring faces (medium) keeps 99.0 % (96.0 to 102.0 %) of box AP, and an attacker who knows the method still "
        "finds the right person among 30 in "
    )
    assert "was not seen to do better than chance" in said["masked bodies"]
    assert [p for p in one.paragraph.points if p.startswith("Re-encoding alone (face-identity)")]
    assert [p for p in one.paragraph.points if p.startswith("For comparison, whoever sees only")]
    assert "one seed, whose noise is in no interval" in one.paragraph.text


def test_the_methods_name_who_attacked_whom(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    text = told_to_paste(made[2])
    assert "reidentify on streetlife (80 pictures of 40 people)" in text
    assert "body-aware (aware, sees the person)" in text
    assert "one seed each" in text
    assert told_to_paste(made[2].iloc[:0]) == ""


def test_the_answer_says_when_an_attack_failed(tmp_path: Path) -> None:
    said = write_attacks(tmp_path, {"original": 0.0, "body-mask_out": 0.0})
    table = privacy(study_of(said), tmp_path / "attacks")
    (point,) = [p for p in points(table) if "Masking out bodies" in p]
    assert "the attack failed, so there is no verdict: the attack hardly finds people whom nobody anonymized" in point


def test_the_answer_follows_people_where_an_attack_does(made: tuple[Path, ReportStudy, pd.DataFrame]) -> None:
    own = made[2].assign(attack="link", people=made[2].units)  # every picture is a person of its own
    assert [(one.attack, one.first) for one in bought(impact(), pd.concat([own, made[2]]))] == [
        ("link", False), ("reidentify", True),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_page_has_both_halves_and_only_of_a_study_that_attacks(tmp_path: Path) -> None:
    pages = []
    for attacked in (False, True):
        root = tmp_path / str(attacked)
        write_study(root, seeds=(0, 1), images=12, bootstrap=50)
        if attacked:
            write_attacks(root)
        study = ReportStudy.read(root / "study.json")
        sources = Sources(root / "evaluations", root / "models", root / "anonymized",
                          annotations=root / "annotations", attacks=root / "attacks")  # fmt: skip
        write_tables(study, sources, root / "tables")
        drawn = write_figures(study, root / "tables", root / "figures")
        assert ("tradeoff.png" in drawn) == attacked
        write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")
        pages.append((root / "report.html").read_text())
        metrics = read_json(root / "tables" / "metrics.json")
        assert ("privacy of streetlife" in metrics) == attacked
        assert ("abStreetlifeReidentify" in (root / "tables" / "numbers.tex").read_text()) == attacked
        assert (root / "tables" / "privacy.tex").exists() == attacked
    plain, both = pages
    for wanted in (
        "What attackers find",
        "and what does it buy?",
        "keeps",
        "No attack of this study is about it",
        "WP216",
    ):
        assert wanted not in plain
        assert wanted in both
    assert all(escape(limit) in both for limit in LIMITS)
    assert all(escape(question) in both for question in RISKS.values())


def test_who_undoes_the_method_stands_beside_the_naive_one_as_well(
    made: tuple[Path, ReportStudy, pd.DataFrame], tmp_path: Path
) -> None:
    _, study, table = made
    undone = table.assign(knowledge=table.knowledge.replace("aware", "reverse"))
    of, back = (tradeoff(study, impact(), one, tmp_path) for one in (table, undone))
    pd.testing.assert_frame_equal(of, back)
    assert set(of.metric) == {"AP"}
    aware = back[(back.variant == "face-blur-medium") & back.measure.eq("linkability")].aware
    assert aware.tolist() == [cell(table, "value", variant="face-blur-medium", attacker="face-aware")]


# --- the figure


def test_the_front_is_of_those_whom_nobody_beats() -> None:
    places = [(100.0, 40.0), (99.0, 36.0), (97.0, 38.0), (80.0, 9.0), (80.0, 12.0), (2.0, 1.0), (1.0, 1.0)]
    assert front(places) == [(2.0, 1.0), (80.0, 9.0), (99.0, 36.0), (100.0, 40.0)]
    assert front([]) == []


def test_the_figure_has_a_column_per_risk(made: tuple[Path, ReportStudy, pd.DataFrame], tmp_path: Path) -> None:
    *_, table = made
    infer = privacy(study_of(write_infer(tmp_path, dict.fromkeys(TELLING, 0.8), None)), tmp_path / "attacks")
    figure = tradeoff_figure(impact(), pd.concat([table, infer], ignore_index=True))
    axes = [axis for axis in figure.axes if axis.get_visible()]
    assert [text.get_text() for axis in axes for text in axis.texts if text.get_fontweight() == "bold"] == [
        "Singling out", "Linkability", "Inference",
    ]  # fmt: skip
    linked = axes[1]
    ys = {round(float(line.get_ydata()[0]), 2) for line in linked.get_lines()}
    raw = 100 * cell(table, "value", variant="original", chosen="true")
    blurred = {"variant": "body-blur-medium", "chosen": "true"}
    low, high = (100 * cell(table, f"simultaneous_{end}", **blurred) for end in ("low", "high"))
    assert round(raw, 2) in ys
    assert round(100 / 30, 2) in ys, "chance"
    bars = {tuple(np.round(line.get_ydata(), 2)) for line in linked.get_lines()}
    assert (round(low, 2), round(high, 2)) in bars
    assert "found first among 30, %" in linked.get_ylabel()
    assert linked.get_xscale() == "function", "body-mask_out keeps 3 %"
    assert [line for line in linked.get_lines() if not line.get_clip_on()], "the axis is marked where its scale changes"
    control = 100 * cell(table, "control", **blurred)
    assert [round(float(line.get_ydata()[0]), 2) for line in linked.get_lines() if line.get_marker() == "_"].count(
        round(control, 2)
    )
    assert "nothing is known" in tradeoff_figure(impact().assign(kept=np.nan), table).texts[0].get_text()


def test_strengths_are_joined_mild_first(tmp_path: Path) -> None:
    telling = {"original": 2.0, "body-blur-high": 0.8, "body-blur-low": 1.6, "body-pixelate-medium": 1.2}
    table = privacy(study_of(write_attacks(tmp_path, telling)), tmp_path / "attacks")
    rows = impact().iloc[:4].assign(variant=list(telling), kept=[np.nan, 70.0, 95.0, 90.0])
    rows["question"] = ["", "primary", "primary", "primary"]
    rows["kept_low"], rows["kept_high"] = rows.kept - 3, rows.kept + 3
    axis = tradeoff_figure(rows, table).axes[0]
    assert [list(line.get_xdata()) for line in axis.get_lines() if list(line.get_xdata()) == [95.0, 70.0]]
    assert {text.get_text() for text in axis.texts} >= {"l", "h"}


def test_levels_without_an_order_are_told_apart_by_name(tmp_path: Path) -> None:
    variants = ["original", "body-blur-b30", "body-blur-spact", "body-mask_out"]
    table = privacy(study_of(write_attacks(tmp_path, dict.fromkeys(variants, 1.5))), tmp_path / "attacks")
    rows = impact().iloc[:4].assign(variant=variants, kept=[np.nan, 98.0, 95.0, 90.0])
    rows["question"] = ["", "primary", "primary", "primary"]
    axis = tradeoff_figure(rows, table).axes[0]
    assert {"b30", "spact"} <= {text.get_text() for text in axis.texts}


# --- bad input


def broken(root: Path, what: str) -> None:
    """Break an attack in one of several ways."""
    folder = place(root, "body-blur-medium", "body-aware")
    metrics = read_json(folder / "metrics.json")
    if what == "truncated":
        (folder / "scores.npz").write_bytes((folder / "scores.npz").read_bytes()[:5000])
        metrics["files"]["scores"] = sha256_file(folder / "scores.npz")
    elif what == "edited":
        (folder / "scores.npz").write_bytes((folder / "scores.npz").read_bytes() + b"x")
    elif what == "variant":
        metrics["variant"] = "body-gan"
    elif what == "nan":
        metrics["test"]["linkability"]["30"] = float("nan")
    elif what == "bare":
        metrics = {"attack": "reidentify"}
    elif what == "list":
        metrics["test"]["measures"] = []
    elif what == "people":
        write_attack(place(root, "body-blur-medium", "body-aware", 1), 1.0, "reidentify", "body-blur-medium",
                     "body-aware", 1, 54)  # fmt: skip
    elif what == "replicates":
        with np.load(folder / "scores.npz") as file:
            arrays = {name: file[name] for name in file.files}
        arrays["replicates/30"] = np.full(200, np.nan)
        write(folder, "reidentify", "body-blur-medium", metrics["attacker"],
              {k: metrics[k] for k in ("validation", "test")}, arrays)  # fmt: skip
        return
    elif what == "draws":
        with np.load(folder / "scores.npz") as file:
            arrays = {name: file[name][:150] if name.startswith("replicates") else file[name] for name in file.files}
        write(folder, "reidentify", "body-blur-medium", metrics["attacker"],
              {k: metrics[k] for k in ("validation", "test")}, arrays)  # fmt: skip
        return
    (folder / "metrics.json").write_text(json.dumps(metrics))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("truncated", r"scores\.npz: cannot be read"),
        ("edited", r"scores\.npz: is damaged, or another file than metrics\.json tells of"),
        ("variant", r"metrics\.json: tells of reidentify on body-gan, not of reidentify on body-blur-medium"),
        ("nan", r"metrics\.json: contains no attack \(test\.linkability\.30: .* finite number \(got NaN\)"),
        ("bare", r"metrics\.json: contains no attack"),
        ("list", r"metrics\.json: contains no attack"),
        ("people", r"seed1/metrics\.json: is about other people than seed0 beside it, or draws them otherwise"),
        ("replicates", r"scores\.npz: cannot be read \(replicates/30 are no numbers\)"),
        ("draws", r"seed1/metrics\.json: is about other people than seed0 beside it, or draws them otherwise"),
    ],
)
def test_damaged_attacks_are_named(tmp_path: Path, what: str, says: str) -> None:
    said = write_attacks(tmp_path, {"original": 2.0, "body-blur-medium": 1.0}, seeds=(0, 1))
    broken(tmp_path, what)
    with pytest.raises(AnonbenchError, match=says):
        privacy(study_of(said), tmp_path / "attacks")


def test_of_attackers_who_find_as_many_of_few_people_the_one_who_knows_the_method_stands_for_all() -> None:
    def attempt(knowledge: str, strength: float) -> Attempt:
        return Attempt("linkability", {"knowledge": knowledge, "view": "person"}, strength, {}, ())

    assert gates.strongest({"a": attempt("naive", 1.0), "b": attempt("aware", 1.0)}) == "b"
    assert gates.strongest({"a": attempt("aware", 1.0), "b": attempt("reverse", 1.0)}) == "a"
    assert gates.strongest({"a": attempt("naive", 0.9), "b": attempt("aware", 0.8)}) == "a"


def test_notes_of_one_place_do_not_cover_each_other() -> None:
    axis = Figure().subplots()
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 100)
    write_notes(axis, [("l", (50, 50)), ("2x", (50.5, 50.2)), ("h", (90, 50)), ("4x", (50, 50))])
    offsets = {text.get_text(): text.get_position() for text in axis.texts}
    assert offsets["l"] == offsets["h"]
    assert len({offsets["l"], offsets["2x"], offsets["4x"]}) == 3
