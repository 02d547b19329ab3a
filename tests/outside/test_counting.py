"""Plugins of another package, one of each kind, through the whole workflow in every direction."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from anonbench.evaluate import synthetic
from anonbench.tasks.truth import read_annotations
from tests.outside.installed import PACKAGES, install
from tests.tasks.task_contract import check
from tests.workflow.conftest import Project

STUDY: dict[str, Any] = {
    "name": "counting",
    "seed": 7,
    "datasets": {"drawn": {"adapter": "boxes_drawn", "options": {"train": 12, "val": 9}}},
    "regions": {"detectors": {"face": {"plugin": "dark"}}},
    "variants": ["original", "body-identity", "body-smear", "face-smear"],
    "models": {"counter": {"trainer": "counter", "tasks": ["counting"], "iterations": 1, "settings": {"side": 6}}},
    "train": {"seeds": [0], "device": "cpu"},
    "evaluate": {"on": ["original", "same", "deployed"]},
    "report": {"bootstrap": 100, "people_per_sheet": 1, "vector_formats": [], "margins": {"counting": 0.2}},
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which the study of the other package has run."""
    folder = tmp_path_factory.mktemp("outside")
    project = Project(folder / "project")
    project.packages = install("counting", folder / "site")
    project.study("counting", STUDY)
    done = project.snakemake(config="counting")
    assert done.returncode == 0, done.stdout
    return project


def test_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGES / "counting"))
    from anonbench_counting.task import Counting  # type: ignore[import-not-found]

    value = synthetic.ground_truth(15, seed=8)
    (tmp_path / "val.json").write_text(json.dumps(value))
    task, truth = Counting(), read_annotations(tmp_path / "val.json")
    entries = [task.encode((image, 2.5), truth.people) for image in list(truth.images)[::2]]
    check(task, truth, entries)
    assert task.problem({"image_id": 1, "count": float("nan")}, truth).message == "has no finite count"


def test_it_is_in_every_table(counted: Project) -> None:
    table = pd.read_csv(counted.folder / "results/tables/impact.csv", keep_default_na=False)
    assert set(table.task) == {"counting"}
    assert set(table.metric) == {"MAE", "bias"}
    assert set(table.direction) == {"original", "same", "deployed"}
    primary = table[table.role == "primary"]
    assert set(primary.unit) == {"people"}
    assert set(primary.best) == {"lower"}
    assert set(primary.sampled) == {"image"}
    assert len(primary) == len(STUDY["variants"]) * 3
    reference = primary[primary.variant == "original"]
    assert reference.value.nunique() == 1, "the original in every direction is the same model on the same images"


def test_the_numbers_are_those_of_the_predictions(counted: Project) -> None:
    """The table's error, from the predictions and the annotations, with nothing of ours."""
    root = counted.folder
    truth = json.loads((root / "anonymized/drawn/original/annotations/val.json").read_text())
    kinds = {c["id"] for c in truth["categories"] if c["supercategory"] == "person"}
    people = {
        i["id"]: sum(a["image_id"] == i["id"] and a["category_id"] in kinds for a in truth["annotations"])
        for i in truth["images"]
    }
    table = pd.read_csv(root / "results/tables/impact.csv")
    places = {
        "original": ("body-smear", "original"), "same": ("body-smear", "body-smear"),
        "deployed": ("original", "body-smear"),
    }  # fmt: skip
    for direction, (trained, tested) in places.items():
        file = root / f"evaluations/drawn/{trained}/counter/seed0/on-{tested}/predictions.json"
        counts = json.loads(file.read_text())["counts"]
        error = np.mean([abs(entry["count"] - people[entry["image_id"]]) for entry in counts])
        row = table[(table.direction == direction) & (table.variant == "body-smear") & (table.metric == "MAE")].iloc[0]
        assert row.value == pytest.approx(error, abs=1e-3)
    assert (root / "evaluations/drawn/original/counter/seed0/on-original/metrics.json").is_file()


def test_nobody_is_left_out_and_the_fridge_is_untouched(counted: Project) -> None:
    root = counted.folder / "anonymized/drawn"
    summary = json.loads((root / "private/face-smear/manifests/train.json").read_text())
    people = summary["people"]["by_category"]["person"]
    assert people["people"] == people["anonymized"] > 5, "the detector finds every face"
    truth = json.loads((root / "original/annotations/train.json").read_text())
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    for a in truth["annotations"]:
        x, y, w, h = map(int, a["bbox"])
        before, after = (
            cv2.imread(str(root / v / "train" / names[a["image_id"]]))[y : y + h, x : x + w]
            for v in ("original", "body-smear")
        )
        if a["category_id"] == 2:
            assert (before == after).all()
    frames = [cv2.imread(str(root / v / "train/1.png")) for v in ("original", "body-identity")]
    assert (frames[0] == frames[1]).all()


def test_only_what_a_direction_asks_for_is_anonymized(counted: Project) -> None:
    assert (counted.folder / "anonymized/drawn/private/body-smear/manifests/val.json").is_file()
    counted.study("one", {**STUDY, "evaluate": {"on": ["original"]}})
    planned = counted.command(
        "snakemake", "--cores", "1", "--dry-run", "--forceall", "--configfile", "config/one.yaml"
    ).stdout
    assert "on-original" in planned
    assert "on-body-smear" not in planned
    assert "private/body-smear/manifests/val.json" not in planned


def test_the_page_speaks_of_the_task(counted: Project) -> None:
    page = (counted.folder / "results/report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "counting error on people" in text
    assert "trained on the original images and tested on the variant's" in text.replace("&#39;", "'")
    assert "±0.2 people" in text
    assert "box AP" not in text


def test_a_trainer_that_cannot_do_the_task_is_refused(counted: Project) -> None:
    wrong = {**STUDY, "models": {"m": {"preset": "cpu-small", "tasks": ["counting"]}}}
    counted.study("wrong", wrong)
    done = counted.snakemake("--dry-run", config="wrong")
    assert done.returncode != 0
    assert "the trainer torchvision cannot do counting" in done.stdout
    assert "Traceback" not in done.stdout
