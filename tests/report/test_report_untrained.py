"""A model that needs no training beside one that is trained, and alone: its rows, its interval, its warnings."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from synthetic_study import QUALITY, dump, write_study

from anonbench.report.answer import answers, warnings
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.html import write_html
from anonbench.report.impact import asked, impact
from anonbench.report.study import ReportStudy
from anonbench.report.tables import primary, read_csv, write_tables
from anonbench.report.versus import versus


def add_finder(root: Path, seen: list[str] | None, leaks: bool | None, alone: bool = False) -> ReportStudy:
    """Add the model ``finder``, which finds on a variant what ``compact``, trained on it, finds on the original."""
    place = root / "evaluations" / "streetlife"
    for model, seeds in (("compact", (0, 1)), ("finder", (0,))):
        for variant, seed in product(QUALITY, seeds):
            to = place / "original" / model / f"seed{seed}" / f"on-{variant}"
            if not to.exists():
                shutil.copytree(place / variant / "compact" / f"seed{seed}" / "on-original", to)
    recipe = {"trainer": "ready_made", "tasks": ["detection"], "settings": {"detector": {"plugin": "centerface"}}}
    start = {"kind": "ready_made", "seen": seen, "leaks": leaks, "detector": "a detector", "weights": []}
    record = {
        "recipe": recipe, "resolved": {"iterations": 0}, "initialisation": start, "seed": 0, "loss_curve": [],
        "device": "a CPU", "threads": 1, "versions": {"torch": "2.13.0"}, "data": {"dataset": "streetlife"},
    }  # fmt: skip
    folder = root / "models" / "streetlife" / "original" / "finder" / "seed0"
    dump(folder / "train.json", record)
    dump(folder / "timing.json", {"seconds": 0.0, "iterations": 0, "iterations_per_second": 0.0})
    value: dict[str, Any] = json.loads((root / "study.json").read_text())
    models = {"finder": recipe} if alone else {**value["models"], "finder": recipe}
    value |= {"models": models, "untrained": ["finder"], "directions": ["original", "same", "deployed"]}
    if not alone:  # `same` asks for evaluations of the trained model that are not there
        value["directions"] = ["original", "deployed"]
    dump(root / "study.json", value)
    annotations = root / "annotations" / "streetlife"
    for end in ("json", "coverage.csv", "regions.parquet"):  # what is deployed is changed in the other split
        shutil.copy(annotations / f"train.{end}", annotations / f"val.{end}")
    return ReportStudy.read(root / "study.json")


def everything(root: Path, study: ReportStudy) -> tuple[Any, str]:
    sources = Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")
    write_tables(study, sources, root / "tables")
    write_figures(study, root / "tables", root / "figures")
    write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")
    page = re.sub(r"data:image[^\"]*", "", (root / "report.html").read_text())
    return read_csv(root / "tables" / "impact.csv"), " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    root = tmp_path_factory.mktemp("mixed")
    write_study(root, seeds=(0, 1), images=30, bootstrap=100, tasks=("detection",), people_per_sheet=1)
    return root, *everything(root, add_finder(root, ["streetlife"], True))


def test_its_rows_are_of_one_seed_and_have_a_verdict(mixed: tuple[Path, Any, str]) -> None:
    table = primary(mixed[1])
    own = table[table.model == "finder"]
    assert set(own[own.direction == "original"].variant) == {"original"}
    assert set(own[own.direction == "deployed"].variant) == set(QUALITY)
    assert set(own.n_seeds) == {1}
    assert own.value_std.isna().all()
    assert own.seeds_needed.isna().all()
    worst = own[(own.variant == "body-mask_out") & (own.category == "person")].iloc[0]
    assert worst.verdict == "drop"
    assert worst.difference_low < worst.difference < worst.difference_high < 0
    trained = table[(table.model == "compact") & (table.variant != "original")]
    assert set(trained.n_seeds) == {2}
    assert set(trained[trained.direction == "original"].variant) == set(QUALITY) - {"original"}


def test_its_interval_is_of_images_alone(mixed: tuple[Path, Any, str]) -> None:
    """Student's t with the standard deviation of the differences on resampled images, computed from the evidence."""
    from anonbench.evaluate import evidence
    from anonbench.statistics.resampling import group_weights
    from anonbench.tasks.base import load

    place = mixed[0] / "evaluations/streetlife/original/finder/seed0"
    runs = [
        evidence.read(place / f"on-{variant}" / evidence.FILE)["detection"] for variant in ("original", "body-mask_out")
    ]
    weights = group_weights(len(runs[0].groups), 100, 7, "streetlife")
    base, own = (load("detection").score(run.parts["person"], weights) for run in runs)
    table = primary(mixed[1])
    row = table[(table.model == "finder") & (table.variant == "body-mask_out") & (table.category == "person")].iloc[0]
    held = runs[0].parts["person"]["instances"].astype(float)
    groups = held.sum() ** 2 / (held**2).sum()  # as many images as tell of people
    half = scipy.stats.t.ppf(0.975, groups - 1) * np.std(own - base, ddof=1) * (groups / (groups - 1)) ** 0.5
    assert (row.difference_low, row.difference_high) == pytest.approx(
        (row.difference - half, row.difference + half), abs=1e-3
    )


def test_the_page_speaks_of_it_rightly(mixed: tuple[Path, Any, str]) -> None:
    _, table, page = mixed
    assert "finder needs no training and is tested as it is: one model, no seeds" in page
    assert "streetlife, finder: the model was fitted on streetlife, that is, on images of this data set." in page
    assert "start weights have seen" not in page
    assert "one seed only" not in page
    assert "streetlife, compact: 2 seeds only" in page
    assert "finder: 1 seeds" not in page
    assert "not every seed is evaluated" not in page
    assert set(table[table.model == "finder"].leaks) == {"true"}
    assert "† the model was fitted on images of the data set" in page
    assert "a detector" in page
    curves = (mixed[0] / "tables/curves.csv").read_text()
    assert "compact" in curves
    assert "finder" not in curves


def test_from_one_fit_of_a_method_there_is_no_verdict(mixed: tuple[Path, Any, str]) -> None:
    """The model has no other seeds, but the variant would be another with another fit."""
    root, before, _ = mixed
    study = ReportStudy.read(root / "study.json")
    study = replace(study, models={"finder": study.models["finder"]}, refitted=("body-mask_out",), seeds=[0])
    sources = Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")
    table, _ = impact(study, sources)
    keys = ["direction", "task", "category", "variant"]
    after, before = (primary(of)[primary(of).model == "finder"].set_index(keys).verdict for of in (table, before))
    of_fit = after.index.get_level_values("variant") == "body-mask_out"
    assert of_fit.any()
    assert set(after[of_fit]) == {"cannot tell"}
    assert "drop" in set(before[of_fit])
    assert after[~of_fit].equals(before[~of_fit])


def test_it_is_tested_on_what_each_fit_of_a_method_makes(mixed: tuple[Path, Any, str], tmp_path: Path) -> None:
    root, before, _ = mixed
    for name in ("evaluations", "models", "anonymized", "annotations", "study.json"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / name)
    place = tmp_path / "evaluations/streetlife/original"
    shutil.copytree(place / "compact/seed1/on-body-mask_out", place / "finder/seed0/on-body-mask_out-fit1")
    study = ReportStudy.read(tmp_path / "study.json")
    finder = {"finder": study.models["finder"]}
    study = replace(study, models=finder, refitted=("body-mask_out",), against=("face-blur-medium",))
    study = replace(study, primary=replace(study.primary, direction="deployed"))
    assert study.evaluation("streetlife", "finder", "deployed", "body-mask_out", 1).seed == 0, "it has no other seed"
    parts = [tmp_path / name for name in ("evaluations", "models", "anonymized")]
    sources = Sources(*parts, annotations=tmp_path / "annotations")
    table, seeds = impact(study, sources)
    keys = ["direction", "task", "category", "variant"]
    own = primary(table)
    row = own[(own.variant == "body-mask_out") & (own.category == "person")].iloc[0]
    single = seeds[(seeds.variant == "body-mask_out") & (seeds.category == "person") & (seeds.role == "primary")]
    assert (row.n_seeds, list(single.seed)) == (2, [0, 1])
    assert row.difference == pytest.approx(single.difference.mean())
    assert 0 < row.value_std == pytest.approx(single.value.std(ddof=1))
    assert (row.verdict, row.error_seeds > 0, row.error_images > 0) == ("drop", True, True)
    one = primary(before)[primary(before).model == "finder"].set_index(keys)
    assert (
        row.difference_high - row.difference_low
        > (one.difference_high - one.difference_low)[("deployed", "detection", "person", "body-mask_out")]
    ), "what fits do is in it"
    others = own[own.variant != "body-mask_out"].set_index(keys)
    assert others.verdict.equals(one.loc[others.index].verdict)
    pair = versus(study, sources).set_index(["category", "variant"]).loc[("person", "body-mask_out")]
    fixed = own[(own.variant == "face-blur-medium") & (own.category == "person")].iloc[0]
    assert (pair.n_seeds, pair.difference) == (2, pytest.approx(row.difference - fixed.difference))
    assert pair.difference_low < pair.difference < pair.difference_high


def test_a_model_that_is_not_asked_is_exploratory(mixed: tuple[Path, Any, str]) -> None:
    """Such as a detector of faces in a study of what hides them."""
    root = mixed[0]
    study = ReportStudy.read(root / "study.json")
    sources = Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")
    of = {}
    for models in ((), ("compact",)):
        one = replace(study, primary=replace(study.primary, direction="deployed", models=models))
        of[models] = [model for model, _ in asked(one, sources)]
    assert of == {(): ["compact", "finder"], ("compact",): ["compact"]}
    table, _ = impact(one, sources)
    found = table[(table.direction == "deployed") & (table.model == "finder") & (table.variant != "original")]
    assert set(found.question.dropna()) == {"exploratory"}
    assert found.simultaneous_low.isna().all()
    for model in ("finder", "compact"):
        one = replace(study, primary=replace(study.primary, direction="deployed", models=(model,)))
        first, *others = answers(impact(one, sources)[0])
        assert f"with {model}, " in first.text, "what is asked comes first"
        assert others


def test_alone_there_are_still_figures_and_a_page(tmp_path: Path) -> None:
    write_study(tmp_path, seeds=(0, 1), images=20, bootstrap=100, tasks=("detection",), people_per_sheet=1)
    study = add_finder(tmp_path, None, None, alone=True)
    table, page = everything(tmp_path, study)
    assert set(table.direction) == {"original", "deployed"}
    for name in ("impact", "curves", "coverage", "people"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 1000
    assert "What does anonymizing the images cost a model that is in use?" in page
    assert "Every model is trained" not in page
    assert "Training loss" not in page
    assert "streetlife, finder: the model does not say what it was fitted on" in page
    assert "weights have seen not known" in page
    assert "seed only" not in page
    assert "seeds only" not in page


def test_what_it_has_seen_is_told_from_what_a_start_has(mixed: tuple[Path, Any, str]) -> None:
    study = ReportStudy.read(mixed[0] / "study.json")
    table, cover = (read_csv(mixed[0] / "tables" / f"{name}.csv") for name in ("impact", "coverage"))

    def said(model: str, seen: list[str] | None, leaks: bool | None) -> str:
        start = {"kind": "ready_made" if model == "finder" else "coco", "seen": seen, "leaks": leaks}
        records = [{"dataset": "streetlife", "model": model, "variant": "original", "seed": 0, "initialisation": start}]
        return " ".join(warnings(study, table, cover, records))

    assert "fitted on" not in said("finder", ["elsewhere"], False)
    assert "the model was fitted on streetlife" in said("finder", ["streetlife"], True)
    assert "the model does not say what it was fitted on" in said("finder", None, None)
    assert "the start weights have seen streetlife" in said("compact", ["streetlife"], True)
