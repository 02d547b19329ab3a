"""Rates: the table from manifests, curves and their difference, Markdown, figure and page."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_study import QUALITY, dump, write_study

from anonbench.errors import AnonbenchError
from anonbench.manifests import summary_path
from anonbench.report import captions
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.figures.rates import rates_figure
from anonbench.report.html import write_html
from anonbench.report.rates import (
    BD_COLUMNS,
    MSSSIM,
    PSNR,
    RATE_COLUMNS,
    anchor_of,
    curve_of,
    off_target,
    rate_table,
    rates,
    series,
)
from anonbench.report.study import Attacks, ReportStudy, is_coded, phrase
from anonbench.report.tables import read_csv, write_csv, write_tables

RATES = {1: 0.25, 2: 0.5, 3: 1.0, 4: 2.0}
"""Bits per pixel by level."""
CODECS = {"jpeg": (30.0, 1.0), "avif": (30.0, 0.5)}
"""PSNR at the lowest rate; the rate of one is half of the other's for the same picture."""


def variants() -> dict[str, float]:
    """Return how well people are found in what was trained on each variant."""
    coded = {f"frame-{codec}-r{level}": 0.70 + 0.03 * level for codec in CODECS for level in RATES}
    return {"original": QUALITY["original"], **coded, "frame-jpeg-faceblur2": 0.7, "face-blur-medium": 0.83}


def spoil(root: Path, variant: str, target: float | None = None, **facts: Any) -> None:
    for split in ("train", "val"):
        path = summary_path(root / "anonymized" / "streetlife" / variant, split)
        value = json.loads(path.read_text())
        value["facts_mean"] = {name: {"count": 12, "mean": mean} for name, mean in facts.items()}
        value["people"]["weak"] = 200
        value["parameters"] = {"bpp": target}
        dump(path, value)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportStudy]:
    """Return a study of noise with two codecs at four rates, whose tables are written, and its folder."""
    root = tmp_path_factory.mktemp("rates")
    write_study(root, seeds=(0, 1), images=20, quality=variants(), tasks=("detection",), bootstrap=100)
    for codec, (psnr, factor) in CODECS.items():
        for level, bpp in RATES.items():
            facts = {"bpp": factor * bpp, "bits": 1000.0 * bpp, "picture_bits": 900.0 * bpp, "quality": 10.0 * level}
            spoil(
                root, f"frame-{codec}-r{level}", factor * (0.5 if level == 4 else 1.0) * bpp, **facts,
                psnr_outside_faces=psnr + 3 * level, msssim_outside_faces=0.9,
            )  # fmt: skip
    spoil(root, "frame-jpeg-faceblur2", 0.495, bpp=0.49, bits=500.0, psnr_outside_faces=36.0, msssim_outside_faces=0.9)
    study = ReportStudy.read(root / "study.json")
    write_tables(study, sources(root), root / "tables")
    return root, study


def sources(root: Path) -> Sources:
    return Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")


def test_curves_are_named_by_what_comes_before_the_number() -> None:
    named = {
        "frame-jpeg-q20": "jpeg", "frame-jpeg-r1": "jpeg", "frame-jpeg-faceblur12": "jpeg faceblur",
        "frame-roi_codec-cpu": "roi_codec", "frame-roi_codec": "roi_codec", "frame-avif-2x": "avif",
    }  # fmt: skip
    assert {variant: curve_of(variant) for variant in named} == named
    assert anchor_of(["avif", "jpeg faceblur", "jpeg"]) == "jpeg"
    assert anchor_of(["avif", "jpeg faceblur"]) == "avif"


def test_which_methods_are_codecs() -> None:
    assert [v for v in (*variants(), "frame-nosuch-1", "frame-identity") if is_coded(v)] == list(variants())[1:-1]
    assert captions.dosed(["frame-jpeg-r1", "frame-jpeg-r2", "face-blur-low", "face-blur-high"]).keys() == {
        ("face", "blur")
    }


def test_rates_come_from_the_manifests(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    table = read_csv(root / "tables" / "rates.csv")
    assert list(table.columns) == list(RATE_COLUMNS)
    assert len(table) == 9, "neither the original nor a blur is a codec"
    row = table.set_index("variant").loc["frame-avif-r2"]
    assert (row.bpp, row.share_picture, row.quality, row.psnr, row.frames, row.weak) == (0.25, 0.9, 20, 36, 12, 200)
    assert (row.curve, row.split, row.method) == ("avif", "val", "avif")
    unknown = table.set_index("variant").loc["frame-jpeg-faceblur2"]
    assert pd.isna(unknown.share_picture)
    assert pd.isna(unknown.quality)
    pd.testing.assert_frame_equal(
        rates(study, sources(root)), table.astype({"frames": int, "weak": int}), check_dtype=False
    )


def test_a_rate_stands_beside_the_one_that_was_asked_for(made: tuple[Path, ReportStudy]) -> None:
    table = read_csv(made[0] / "tables" / "rates.csv").set_index("variant")
    assert (table.bpp["frame-jpeg-r3"], table.bpp_target["frame-jpeg-r3"]) == (1.0, 1.0)
    (said,) = off_target(table.reset_index())
    assert said.startswith(
        "streetlife: frame-jpeg-r4 (2.000 instead of 1) and frame-avif-r4 (1.000 instead of 0.5) take other bits"
    )
    assert off_target(table.reset_index().assign(bpp_target=None)) == []
    for variant in ("frame-avif-r1", "frame-avif-r2"):  # as of a codec that has steps alone
        table.loc[variant, ["bpp_target", "quality"]] = math.nan
    table.loc["frame-avif-r1", "bpp"] = 1.03
    assert off_target(table.reset_index())[1:] == [
        "streetlife: frame-avif-r1 (1.030, nearest 1) has a rate more than 2 % from any that others were asked for, "
        "and was asked for none (bpp). Compare curves, not single rates."
    ]
    table.loc["frame-avif-r2", "bpp"] = 0.3
    assert "(1.030, nearest 1) and frame-avif-r2 (0.300, nearest 0.25) have rates" in off_target(table.reset_index())[1]
    table.loc[["frame-avif-r1", "frame-avif-r2"], "bpp"] = 1.01, 0.252
    assert len(off_target(table.reset_index())) == 1
    table.loc["frame-avif-r1", ["split_attacked", "bpp_attacked"]] = "probe", 0.8
    assert "frame-avif-r1 (0.800 on probe, nearest 1) has a rate" in off_target(table.reset_index())[1]
    table.loc["frame-avif-r1", "quality"] = 30.0  # a quality that was asked for is no codec of its own rate
    assert len(off_target(table.reset_index())) == 1
    table.loc["frame-avif-r1", "quality"] = math.nan
    elsewhere = table.reset_index().assign(dataset="other", bpp_target=math.nan)
    assert off_target(elsewhere) == [], "nothing was asked for"
    both = pd.concat([elsewhere.assign(bpp_target=0.8), table.reset_index()])
    assert any("nearest 1)" in said for said in off_target(both)), "of its own data set"


def test_rates_of_a_refitted_variant_are_means_over_its_fits(made: tuple[Path, ReportStudy], tmp_path: Path) -> None:
    shutil.copytree(made[0], tmp_path / "study")
    root, fit = tmp_path / "study", "frame-jpeg-faceblur2-fit1"
    streetlife = root / "anonymized" / "streetlife"
    for split in ("train", "val"):
        before = summary_path(streetlife / "frame-jpeg-faceblur2", split)
        summary_path(streetlife / fit, split).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(before, summary_path(streetlife / fit, split))
    spoil(root, fit, 0.5, bpp=0.53, bits=500.0, psnr_outside_faces=38.0, msssim_outside_faces=0.9)
    study = replace(made[1], refitted=("frame-jpeg-faceblur2",))
    row = rates(study, sources(root)).set_index("variant").loc["frame-jpeg-faceblur2"]
    assert (row.bpp, row.psnr, row.frames, row.weak) == (pytest.approx(0.51), 37.0, 12, 200)


def attacked(root: Path, study: ReportStudy, factor: float = 0.9) -> ReportStudy:
    """Have two variants attacked in the split `probe`, which takes other bits."""
    tried = ["frame-jpeg-r1", "frame-jpeg-r3"]
    for variant in tried:
        value = json.loads(summary_path(root / "anonymized" / "streetlife" / variant, "val").read_text())
        facts = {"bpp": {"count": 30, "mean": factor * value["facts_mean"]["bpp"]["mean"]}}
        dump(summary_path(root / "anonymized" / "streetlife" / variant, "probe"), value | {"facts_mean": facts})
    who = {"find": {"original": ["faces"], **{variant: ["faces"] for variant in tried}}}
    return replace(study, attacks=Attacks(("streetlife",), ("find",), who, [0], [10], ("find",), "probe"))


def test_the_rate_that_attackers_met_stands_beside_that_of_the_test(
    made: tuple[Path, ReportStudy], tmp_path: Path
) -> None:
    shutil.copytree(made[0] / "anonymized", tmp_path / "anonymized")
    study = attacked(tmp_path, made[1])
    write_csv(tmp_path / "rates.csv", rates(study, sources(tmp_path)))
    taken = read_csv(tmp_path / "rates.csv")
    row = taken.set_index("variant").loc["frame-jpeg-r3"]
    assert (row.split, row.frames, row.bpp) == ("val", 12, 1.0)
    assert (row.split_attacked, row.frames_attacked, row.bpp_attacked) == ("probe", 30, 0.9)
    rest = taken[~taken.variant.isin(["frame-jpeg-r1", "frame-jpeg-r3"])]
    assert set(rest.split_attacked) == {""}, "nobody attacks these"
    assert rest[["frames_attacked", "bpp_attacked"]].isna().all().all()
    table = read_csv(made[0] / "tables" / "impact.csv")
    heads, lines = rate_table(taken, table, None, "streetlife")
    assert heads[:4] == ["variant", "bits per pixel of val", "of probe, which is attacked", "picture's share"]
    assert {line[0]: line[1:3] for line in lines}["frame-jpeg-r3"] == ["1.000", "0.900"]
    assert {line[0]: line[1:3] for line in lines}["frame-jpeg-r4"] == ["2.000", "–"]
    assert all(len(line) == len(heads) for line in lines)
    (said,) = off_target(taken)
    assert "frame-jpeg-r3 (0.900 instead of 1 on probe)" in said
    assert "frame-jpeg-r3 (1.000" not in said


def test_attackers_are_drawn_over_the_bits_that_they_met(made: tuple[Path, ReportStudy], tmp_path: Path) -> None:
    shutil.copytree(made[0] / "anonymized", tmp_path / "anonymized")
    taken = rates(attacked(tmp_path, made[1]), sources(tmp_path))
    told = {"dataset": "streetlife", "headline": "true", "chosen": "true", "attack": "find", "attacker": "faces"}
    privacy = pd.DataFrame([{**told, "knowledge": "", "variant": "frame-jpeg-r3", "value": 0.5}])
    table = read_csv(made[0] / "tables" / "impact.csv")
    drawn = rates_figure(taken, table, privacy)
    panels = {axis.get_title(): axis for axis in drawn.axes}
    points = {name: [float(x) for line in axis.lines for x in line.get_xdata()] for name, axis in panels.items()}
    assert points["Attack find, %"] == [0.9]
    assert 1.0 in points["PSNR outside faces, dB"]


def test_what_is_attacked_is_what_is_tested_on_unless_said(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    tried = Attacks(("streetlife",), ("find",), {"find": {"frame-jpeg-r1": ["faces"]}}, [0], [10], ("find",))
    taken = rates(replace(study, attacks=tried), sources(root))
    row = taken.set_index("variant").loc["frame-jpeg-r1"]
    assert (row.split_attacked, row.frames_attacked, row.bpp_attacked) == ("val", 12, row.bpp)
    heads, _ = rate_table(taken, read_csv(root / "tables" / "impact.csv"), None, "streetlife")
    assert heads[1:3] == ["bits per pixel of val", "picture's share"]


def test_half_the_bits_for_the_same_picture_are_minus_half(made: tuple[Path, ReportStudy]) -> None:
    root, _ = made
    table = read_csv(root / "tables" / "bd_rates.csv")
    assert list(table.columns) == list(BD_COLUMNS)
    assert set(table.anchor) == {"jpeg"}
    of = table[table.measure == PSNR].set_index("curve")
    assert of.loc["avif", ["bd_rate", "common_low", "common_high"]].tolist() == pytest.approx([-50, 33, 42])
    assert of.loc["jpeg faceblur", ["bd_rate", "common_low", "common_high"]].isna().all(), "one rate is no curve"
    assert set(table.measure) == {PSNR, MSSSIM}, "of AP and attacks noise alone would make a difference"
    equal = table[table.measure == MSSSIM].bd_rate
    assert equal.isna().all(), "more bits that do not give more"


def test_values_are_those_of_people_and_the_original_stands_beside(made: tuple[Path, ReportStudy]) -> None:
    root, _ = made
    taken, table = (read_csv(root / "tables" / f"{name}.csv") for name in ("rates", "impact"))
    found = {one.name: one for one in series(taken, table, None, "streetlife")}
    ((name, of),) = [(name, one) for name, one in found.items() if "compact" in name]
    assert name == "box AP: compact, trained on it"
    assert set(of.values) == set(taken.variant)
    rows = table[(table.metric == "AP") & (table.category == "person")].set_index("variant").value
    assert of.original == rows["original"]
    assert of.values["frame-jpeg-r3"] == rows["frame-jpeg-r3"]
    heads, lines = rate_table(taken, table, None, "streetlife")
    assert len(lines) == 10
    assert all(len(line) == len(heads) for line in lines)
    assert [line[0] for line in lines[:5]] == ["original", *(f"frame-jpeg-r{k}" for k in RATES)]
    markdown = (root / "tables" / "rates.md").read_text()
    assert markdown.count("| frame-") == 9
    assert "| avif          | −50.0 % (33.0 to 42.0)   | –" in markdown


def test_each_detector_has_a_line_of_its_own_and_attackers_that_learn_one(made: tuple[Path, ReportStudy]) -> None:
    taken, table = (read_csv(made[0] / "tables" / f"{name}.csv") for name in ("rates", "impact"))
    head = {"dataset": "streetlife", "headline": "true"}
    tried = [("find", who, "", v) for who in ("faces", "people") for v in ("original", "frame-jpeg-r1")]
    tried += [("reidentify", who, who, "frame-jpeg-r1") for who in ("naive", "aware")]
    rows = [
        {**head, "attack": attack, "attacker": who, "knowledge": knows, "variant": variant, "value": k / 10}
        | {"chosen": "true" if (who in ("people", "aware") and variant != "original") or k == 0 else "false"}
        for k, (attack, who, knows, variant) in enumerate(tried)
    ]
    found = {one.name: (one.original, one.values) for one in series(taken, table, pd.DataFrame(rows), "streetlife")}
    drawn = {name: of for name, of in found.items() if name.startswith("attack")}
    assert drawn == {
        "attack find: faces, %": (0, {"frame-jpeg-r1": 10}),
        "attack find: people, %": (20, {"frame-jpeg-r1": 30}),
        "attack reidentify, %": (None, {"frame-jpeg-r1": 50}),
    }


def test_figure_and_page_show_them(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    assert "rates" in captions.names(study.variants, starts=False)
    assert "rates.png" in write_figures(study, root / "tables", root / "figures")
    write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")
    page = (root / "report.html").read_text()
    assert "What codecs take and leave" in page
    assert re.search(r"<th scope=\"row\">frame-avif-r1</th><td>0\.125</td><td>90 %</td><td>200</td>", page)
    assert "bits beside jpeg" in page
    assert "frame-jpeg-r4 (2.000 instead of 1)" in page


def test_a_manifest_without_rates_is_named(made: tuple[Path, ReportStudy], tmp_path: Path) -> None:
    root, study = made
    path = summary_path(root / "anonymized" / "streetlife" / "frame-jpeg-r1", "val")
    before = path.read_text()
    try:
        dump(path, {k: v for k, v in json.loads(before).items() if k != "facts_mean"})
        with pytest.raises(AnonbenchError, match="frame-jpeg-r1 val: its manifest does not say what the codec took"):
            rates(study, sources(root))
    finally:
        path.write_text(before)


def test_a_study_without_codecs_has_none_of_it(tmp_path: Path) -> None:
    write_study(
        tmp_path,
        seeds=(0,),
        images=8,
        quality={"original": 0.8, "face-blur-medium": 0.7},
        tasks=("detection",),
        bootstrap=100,
    )
    study = ReportStudy.read(tmp_path / "study.json")
    write_tables(study, sources(tmp_path), tmp_path / "tables")
    assert not list((tmp_path / "tables").glob("*rates*"))
    assert "rates" not in captions.names(study.variants, starts=False)


def test_codecs_are_told_in_words() -> None:
    assert phrase("frame-jpeg-r1") == "coding whole images as JPEG (r1)"
    assert phrase("frame-avif-q20") == "coding whole images as AVIF (q20)"
