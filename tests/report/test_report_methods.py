"""The methods paragraph says what the records say; each number's commands lead to it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_study import write_study

from anonbench.report import explorer as module
from anonbench.report.collect import Sources, training_record
from anonbench.report.explorer import anchors, chosen, explorer, key
from anonbench.report.methods import methods
from anonbench.report.study import ORIGINAL, Attacks, ReportStudy
from anonbench.report.tables import read_csv, rows_of, write_csv, write_tables

VARIANTS = {"original": 0.85, "face-identity": 0.85, "body-mask_out": 0.15}
MADE = {"commit": "0123456789abcdef", "dirty": False, "anonbench": "9.9"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportStudy]:
    root = tmp_path_factory.mktemp("study")
    path = write_study(root, images=12, bootstrap=50, quality=VARIANTS, tasks=("detection", "pose"), seeds=(3, 5))
    value = json.loads(path.read_text()) | {"files": ["config/own.yaml"]}
    path.write_text(json.dumps(value))
    study = ReportStudy.read(path)
    folders = {name: root / name for name in ("evaluations", "models", "anonymized")}
    write_tables(study, Sources(**folders, annotations=root / "annotations"), root / "results/tables")
    return root, study


def said(made: tuple[Path, ReportStudy], change: Any = None, **columns: Any) -> str:
    root, study = made
    records: list[dict[str, Any]] = []
    for dataset, model, variant, seed in study.trainings():
        record = training_record(Sources(root, root / "models", root), dataset, variant, model, seed)
        assert record
        records.append({**record, "dataset": dataset, "model": model, "variant": variant, "seed": seed})
    if change:
        change(records)
    table, cover = (read_csv(root / f"results/tables/{name}.csv") for name in ("impact", "coverage"))
    return methods(study, table.assign(**columns), cover, records, MADE, root / "anonymized", root / "evaluations")


def test_every_fact_is_that_of_the_records(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    text = said(made)
    table = read_csv(root / "results/tables/impact.csv")
    metrics = json.loads((root / "evaluations/streetlife/original/compact/seed3/on-original/metrics.json").read_text())
    assert re.search(r"split “train” \(12 images; 200 annotated people: 200 person\)", text)
    counted = {name: of["instances"] for name, of in metrics["counts"]["categories"].items()}
    instances = ", ".join(f"{counted[name]} {name}" for name in ("person", "car", "bicycle"))
    assert f"split “val” ({metrics['counts']['images']} images; instances: {instances})" in text
    assert "two variants beside the original" in text
    assert "body-mask_out: masking out bodies (98 % of the people changed)" in text
    assert "face-identity: only re-encoding;" in text
    assert "same encoder policy (source). Seed of the anonymization: 7." in text
    assert "random weights, on every variant with two seeds (3 and 5): six trainings, the same recipe for all" in text
    assert "Optimizer sgd, learning rate 0.01, batch size 8, iterations 400, training images 12." in text
    assert "Models were tested on the original images. Metrics: box AP (per cent; also AP50 and AP75)" in text
    assert (
        "Categories of people: person. Categories that were not anonymized serve as controls: car and bicycle." in text
    )
    samples = int(table.samples.max())
    assert f"50 bootstrap resamples of the {samples} validation images" in text
    assert "two one-sided tests at 5 %, a 90 % interval inside ±1 AP points" in text
    library = ", ".join(f"{name} {version}" for name, version in metrics["library"].items())
    assert f"torch 2.13.0, {library}. Trained on: a CPU." in text
    assert f"anonbench 9.9, git revision 0123456789ab; study “synthetic”, sha256 {study.config_sha256[:12]}." in text


def test_data_that_no_model_is_trained_on_is_said_to_be_what_it_is(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    split = {"train": "train", "val": "val"}
    attacks = Attacks(("streetlife", "attacked"), ("link",), {"link": {}}, [0], [10], probe="probe")
    (model,) = study.models
    more = replace(
        study, datasets={**study.datasets, "attacked": split, "own": split}, attacks=attacks,
        asked={"streetlife": {model: study.variants}, "attacked": {model: []}, "own": {model: []}},
    )  # fmt: skip
    text = said((root, more))
    assert "own: no model was trained on it; attackers learnt from it." in text
    assert "attacked: its people of the split “probe” were attacked." in text
    assert re.search(r"streetlife: models were trained on .*, people of “probe” were attacked\.", text)
    assert "were attacked" not in said(made)


def test_what_trainings_do_not_agree_on_is_not_said(made: tuple[Path, ReportStudy]) -> None:
    def change(records: list[dict[str, Any]]) -> None:
        records[0]["resolved"] = {**records[0]["resolved"], "batch_size": 4}

    text = said(made, change)
    assert "batch size" not in text
    assert "iterations 400" in text


def test_intervals_of_a_family_are_spoken_of(made: tuple[Path, ReportStudy]) -> None:
    text = said(made, simultaneous_low=-1.0, equivalence_low=-0.5, question="exploratory")
    assert "simultaneous" in text
    assert "two one-sided tests at 5 %, a 90 % interval inside ±1 AP points" in text
    assert text.count("exploratory") == 1
    assert "simultaneous" not in said(made, simultaneous_low=None, simultaneous_high=None)


def test_each_rows_commands_find_it(made: tuple[Path, ReportStudy]) -> None:
    root, study = made
    table, seeds = (read_csv(root / f"results/tables/{name}.csv") for name in ("impact", "seeds"))
    found = explorer(table, seeds, study, MADE, Path("evaluations"), Path("results"))
    assert len(found["records"]) == len(table)
    lines = (root / "results/tables/impact.csv").read_text().splitlines()[1:]
    assert len({record["id"] for record in found["records"]}) == len(table)
    for record, line in list(zip(found["records"], lines, strict=True))[::3]:
        checkout, make, again, grep = record["commands"].split("\n")
        assert checkout == "git checkout 0123456789abcdef"
        assert make.startswith("snakemake evaluations/streetlife/")
        targets, end = make.removeprefix("snakemake ").split(" --", 1)
        assert end == "cores all --configfile config/own.yaml", "the option takes every word behind it for a file"
        expanded = subprocess.run(["bash", "-c", f"ls {targets}"], cwd=root, capture_output=True, text=True)
        assert expanded.returncode == 0, expanded.stderr
        assert len(expanded.stdout.split()) == (2 if record["variant"] == ORIGINAL else 4)
        assert again == "snakemake results/tables/impact.csv --cores all --configfile config/own.yaml"
        done = subprocess.run(["bash", "-c", grep], cwd=root, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [line]


def test_no_path_of_this_machine_is_on_the_page(made: tuple[Path, ReportStudy], tmp_path: Path) -> None:
    from anonbench.report.html import write_html

    root, study = made
    stages = {name: root / name for name in ("evaluations", "anonymized")}
    write_html(study, root / "results/tables", tmp_path, root / "models", root / "results/report.html", **stages)
    page = (root / "results/report.html").read_text()
    assert str(root) not in page
    assert "evaluations/streetlife/original/compact/seed{3,5}/on-original/metrics.json" in page


def test_a_large_study_shows_its_first_metrics(made: tuple[Path, ReportStudy], monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_csv(made[0] / "results/tables/impact.csv")
    everything, left = chosen(table)
    assert (len(everything), left) == (len(table), "")
    monkeypatch.setattr(module, "MOST_ROWS", 20)
    fewer, left = chosen(table)
    assert set(fewer.role) == {"primary"}
    assert left == f"Another {len(table) - len(fewer)} rows are in tables/impact.csv alone."
    monkeypatch.setattr(module, "MOST_ROWS", 8)
    assert set(chosen(table)[0].group) == {"people", "mean"}


def test_anchors_differ_where_names_only_look_alike(made: tuple[Path, ReportStudy], tmp_path: Path) -> None:
    table = read_csv(made[0] / "results/tables/impact.csv").head(2)
    table["metric"], table["category"] = "AP", ["traffic light", "traffic/light"]
    ids = [anchors(table)[key(row)] for row in rows_of(table)]
    assert ids[0] == "streetlife.compact.detection.traffic-light.original.AP"
    assert ids[1] == f"{ids[0]}.2"
    write_csv(tmp_path / "t.csv", table.assign(direction="deployed"))
    (first, _) = anchors(read_csv(tmp_path / "t.csv")).values()
    assert first.startswith("streetlife.compact.deployed.")
