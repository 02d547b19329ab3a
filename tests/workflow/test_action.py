"""Action recognition through the whole workflow: clips trained on and tested on, kinds of actions told apart."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import pytest

from anonbench.evaluate import evidence
from tests.fixtures import clips
from tests.workflow.conftest import Project

VARIANTS = ["original", "frame-downsample-4x", "body-mask_out"]
ACTIONS = ["walk", "wave", "read", "carry"]
MODEL: dict[str, Any] = {
    "trainer": "clips",
    "tasks": ["action"],
    "batch_size": 4,
    "iterations": 3,
    "warmup_iterations": 1,
    "settings": {
        "network": "r3d_small",
        "small_widths": [4, 8],
        "small_depths": [1, 1],
        "frames": 3,
        "stride": 1,
        "height": 32,
        "width": 32,
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which a study of eight clips a split has run."""
    project = Project(tmp_path_factory.mktemp("action") / "project")
    value = clips.study("action", VARIANTS, {"r3d": MODEL}, actions=ACTIONS, identities=2)
    value["report"] |= {"primary": {"tasks": ["action"], "category": "detail"}, "margins": {"action": 5}}
    project.study("action", {**value, "evaluate": {"on": ["original", "same"]}})
    done = project.snakemake(config="action")
    assert done.returncode == 0, done.stdout
    return project


def test_variants_keep_actions_and_their_kinds(run: Project) -> None:
    for variant in VARIANTS:
        written = json.loads((run.folder / f"anonymized/clips/{variant}/annotations/train.json").read_text())
        assert written["actions"] == ACTIONS
        assert written["action_kinds"] == {a: "detail" if a in ("read", "carry") else "silhouette" for a in ACTIONS}
        assert sorted(video["action"] for video in written["videos"]) == sorted(2 * ACTIONS)


def test_a_model_knows_its_actions_and_answers_for_every_clip(run: Project) -> None:
    record = json.loads((run.folder / "models/clips/original/r3d/seed0/train.json").read_text())
    assert record["actions"] == ACTIONS
    assert record["data"]["clips"] == 8
    folder = run.folder / "evaluations/clips/original/r3d/seed0/on-original"
    answers = json.loads((folder / "predictions.json").read_text())["actions"]
    assert [answer["video_id"] for answer in answers] == list(range(1, 9))
    found = evidence.read(folder / "evidence.npz")["action"]
    assert found.sampled == "video"
    assert len(found.groups) == 8
    assert {name: part["instances"].sum() for name, part in found.parts.items()} == {"detail": 4, "silhouette": 4}


def test_the_table_has_both_kinds_and_their_mean(run: Project) -> None:
    table = pd.read_csv(run.folder / "results/tables/impact.csv", keep_default_na=False)
    assert set(table.task) == {"action"}
    assert set(table.category) == {"silhouette", "detail", "all"}
    assert set(table.metric) == {"top-1", "mean class"}, "four actions have no top-5"
    assert set(table.direction) == {"original", "same"}
    first = table[(table.metric == "top-1") & (table.direction == "original")].set_index(["variant", "category"])
    assert set(first.instances[:, "detail"]) == {4}
    assert set(first.instances[:, "all"]) == {8}
    assert (first.group[:, "detail"] == "people").all()
    assert first.share_changed["body-mask_out", "detail"] == 1
    asked = table[table.question == "primary"]
    assert set(asked.category) == {"detail"}
    assert set(asked.variant) == {"frame-downsample-4x", "body-mask_out"}


def test_the_page_speaks_of_accuracy(run: Project) -> None:
    page = (run.folder / "results/report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "top-1 accuracy" in text
    for name in ("impact.md", "impact.tex"):
        assert "detail" in (run.folder / "results/tables" / name).read_text()
    rows = [line for line in (run.folder / "results/tables/impact.tex").read_text().splitlines() if "&" in line]
    assert rows
    assert not [line for line in rows if re.search(r"(?<!\\)%", line)], "a unit in % would be a comment in LaTeX"
