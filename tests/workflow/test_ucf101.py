"""The papers' pair through the whole workflow: clips of one data set, photographs of another, a fit to both."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.anonymize.learned_tiny import SETTINGS
from tests.fixtures import ucf101, vispr
from tests.workflow.conftest import PROJECT, Project

VARIANTS = ["original", "frame-grey", "frame-learned-spact"]


def small(project: Project) -> dict[str, Any]:
    """Return config/ucf101.yaml on fixtures of the two data sets, with tiny networks."""
    value: dict[str, Any] = yaml.safe_load((PROJECT / "config" / "ucf101.yaml").read_text())
    ucf101.write_official(project.folder / "ucf101")
    vispr.write(project.folder / "vispr", images=20)
    value["datasets"]["ucf101"] |= {"root": str(project.folder / "ucf101"), "options": {"most": 5, "shorter_side": 48}}
    value["datasets"]["vispr"]["root"] = str(project.folder / "vispr")
    value |= {"output": ".", "variants": VARIANTS, "anonymize": {"shards": 2}}
    value["methods"]["learned"]["fit"] = {**SETTINGS, "frames": 4, "stride": 2, "short_clips": "repeat"}
    settings = {"network": "r3d_small", "small_widths": [4, 8], "small_depths": [1, 1], "frames": 3, "stride": 1,
                "height": 32, "width": 32}  # fmt: skip
    value["models"]["r3d"] = {"trainer": "clips", "tasks": ["action"], "datasets": ["ucf101"], "batch_size": 2,
                              "iterations": 3, "warmup_iterations": 1, "settings": settings}  # fmt: skip
    value["train"] = {"seeds": [0, 1], "device": "cpu"}
    value["attack"]["seeds"] = [0, 1]
    for attacker in value["attack"]["attackers"].values():
        attacker |= {"network": "compact", "width": 32, "height": 32, "iterations": 5}
    value["report"] = {**value["report"], "bootstrap": 100, "against": ["frame-grey"], "vector_formats": []}
    return value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which the study has run."""
    pytest.importorskip("av")
    project = Project(tmp_path_factory.mktemp("ucf101") / "project")
    project.study("pair", small(project))
    done = project.snakemake(config="pair")
    assert done.returncode == 0, done.stdout
    return project


def test_the_fit_has_seen_both_data_sets(run: Project) -> None:
    for again in ("", "-fit1"):
        folder = run.folder / f"anonymized/ucf101/private/fits/frame-learned-spact{again}"
        record = json.loads((folder / "fit.json").read_text())
        assert (record["dataset"], record["stills"]) == ("ucf101", {"dataset": "vispr", "split": "train2017"})
        assert (record["data"]["clips"], record["data"]["stills"]) == (6, 20)
    manifest = json.loads(
        (run.folder / "anonymized/vispr/private/frame-learned-spact/manifests/test2017.json").read_text()
    )
    assert manifest["fitted_on"]["dataset"] == "ucf101"
    assert manifest["fitted_on"]["stills"]["dataset"] == "vispr"


def test_photographs_are_attacked_without_a_model_of_their_own(run: Project) -> None:
    privacy = pd.read_csv(run.folder / "results/tables/privacy.csv", keep_default_na=False)
    assert set(privacy.dataset) == {"vispr"}
    assert set(privacy.variant) == set(VARIANTS)
    assert set(privacy.knowledge) == {"naive", "aware"}
    assert set(privacy.drawn) == {"images"}
    assert {"cmap", "average_precision/a4_gender", "average_precision/a65_rel_social"} <= set(privacy.measure)
    aware = run.folder / "attackers/vispr/frame-learned-spact/infer/aware/seed0/attacker.json"
    assert len(json.loads(aware.read_text())["own_images"]) == 20
    again = run.folder / "attackers/vispr/frame-learned-spact-fit1/infer/aware/seed1/attacker.json"
    assert again.is_file(), "who attacks with another seed has seen another fit"


def test_what_is_kept_on_one_stands_beside_what_is_found_on_the_other(run: Project) -> None:
    table = pd.read_csv(run.folder / "results/tables/impact.csv", keep_default_na=False)
    assert set(table.dataset) == {"ucf101"}
    tradeoff = pd.read_csv(run.folder / "results/tables/tradeoff.csv", keep_default_na=False)
    assert set(tradeoff.dataset) == {"vispr"}
    assert set(tradeoff.kept_on) == {"ucf101"}
    first = table[(table.metric == "top-1") & (table.variant == "frame-grey")].value.iloc[0]
    assert set(tradeoff.value[tradeoff.variant == "frame-grey"].astype(float)) == {round(float(first), 4)}
    text = (run.folder / "results/tables/tradeoff.md").read_text()
    assert "top-1 accuracy on ucf101, every action" in text
    page = (run.folder / "results/report.html").read_text()
    assert "fitted to ucf101 train and people of vispr train2017" in page
    assert "top-1 accuracy on every action (3 in 3 videos)" in page


def test_a_rerun_has_nothing_to_do(run: Project) -> None:
    assert run.jobs("all", config="pair") == {}
