"""The shipped studies of the official data sets: planned as they are, and run for real on fixtures in their layouts."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from anonbench import registry
from anonbench.tasks.truth import read_annotations
from tests.workflow.conftest import TINY_MODEL, Project

FOR_ATTACKERS = ("market1501", "lfw")
"""Data sets of one person to an image, on which no detector is trained: no study of theirs is shipped."""
WITHOUT_BOXES = ("ucf101", "hmdb51", "vispr")
"""Data sets that do not say where people are, on which no detector is trained either."""
OTHERS = ("streetlife", "coco", *FOR_ATTACKERS, *WITHOUT_BOXES)
OFFICIAL = [name for name in registry.names("datasets") if name not in OTHERS]
TRAINED = ["cityscapes", "crowdpose"]
"""One with masks and one with keypoints and subsets: after the variants, nothing knows which data set it was."""


def shipped(project: Project, name: str) -> dict[str, Any]:
    study: dict[str, Any] = yaml.safe_load((project.folder / "config" / f"{name}.yaml").read_text())
    return study


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_shipped_study_plans_every_job(project: Project, name: str) -> None:
    study = shipped(project, name)
    variants, shards = len(study["variants"]), study["anonymize"]["shards"]
    trainings = variants * len(study["train"]["seeds"])
    expected = {
        "all": 1,
        "download": 1,
        "annotate": 2,
        "regions": 1,
        "anonymize": (variants + 1) * shards,
        "merge": variants + 1,
        "train": trainings,
        "predict": trainings,
        "evaluate": trainings,
        "study": 1,
        "report_tables": 1,
        "report_figures": 1,
        "report_sheet": 1,
        "report_html": 1,
    }
    if study["regions"].get("detectors"):
        expected["detect"] = shards
    assert project.jobs(config=name) == expected


def small(project: Project, name: str) -> tuple[dict[str, Any], Any]:
    """Write a shipped study with a tiny model, on a tiny data set in its layout; return it and the layout's module."""
    fixture = importlib.import_module(f"tests.fixtures.{name}")
    root = project.folder / "raw"
    fixture.write(root, images=4)
    study = shipped(project, name)
    (block,) = study["datasets"].values()
    block.update(root=str(root), train=fixture.SPLITS[0], val=fixture.SPLITS[1], options=fixture.OPTIONS)
    (tasks,) = (model["tasks"] for model in study["models"].values())
    study.update(
        variants=[v for v in study["variants"] if v in ("original", "face-blur-medium", "body-mask_out")],
        models={"tiny": {**TINY_MODEL, "tasks": tasks}},
        anonymize={"shards": 2},
        train={"seeds": [0], "device": "cpu", "threads": 1},
        report={"bootstrap": 100, "people_per_sheet": 1, "vector_formats": []},
    )
    project.study(name, study)
    return study, fixture


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_shipped_study_runs_on_its_layout(project: Project, name: str) -> None:
    study, fixture = small(project, name)
    targets = [] if name in TRAINED else ["variants"]
    done = project.snakemake(*targets, config=name)
    assert done.returncode == 0, done.stdout
    out = project.folder / study["output"]
    train, val = fixture.SPLITS
    ledger = pd.read_csv(out / "annotations" / name / f"{train}.ledger.csv")
    assert ledger.groupby(["person_id", "kind"]).size().eq(1).all()
    assert (ledger["status"] == "region").any()
    counts = pd.read_csv(out / "annotations" / name / f"{train}.coverage.csv")
    assert counts["people"].sum() == len(ledger)
    for variant in study["variants"][1:]:
        kind, _, _ = variant.partition("-")
        shards = sorted((out / "anonymized" / name / "private" / variant / "manifests" / train).glob("*.jsonl"))
        rows = [json.loads(line) for path in shards for line in path.read_text().splitlines()]
        people = [row["person_id"] for row in rows if row["type"] == "person"]
        assert sorted(people) == sorted(ledger["person_id"][ledger["kind"] == kind])  # nobody is lost on the way
    subsets = read_annotations(out / "annotations" / name / f"{val}.json").subsets()
    assert (len(subsets) > 0) == (name in ("crowdpose", "pennfudan", "widerface"))
    if name in TRAINED:
        check_tables(out, study["variants"], len(ledger), subsets=name == "crowdpose")
    assert project.jobs(*targets, config=name) == {}


def check_tables(out: Path, variants: list[str], people: int, subsets: bool) -> None:
    """Check that the report counts everybody in the ledger, every variant, and subsets where the data set has some."""
    counts = pd.read_csv(out / "results" / "tables" / "people.csv", keep_default_na=False)
    assert counts["people"].sum() == people  # nobody is lost between the ledger and the report
    assert (counts["status"] == "region").any()
    impact = pd.read_csv(out / "results" / "tables" / "impact.csv")
    assert set(impact["variant"]) == set(variants)
    assert (len(pd.read_csv(out / "results" / "tables" / "subsets.csv")) > 0) == subsets
