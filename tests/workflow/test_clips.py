"""Clips through the whole workflow: whole frames downsampled, tested in every direction, videos drawn by the report."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from anonbench.evaluate import evidence
from tests.fixtures import clips
from tests.workflow.conftest import TINY_MODEL, Project

VARIANTS = ["original", "frame-identity", "frame-downsample-4x"]
DIRECTIONS = ["original", "same", "deployed"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which a study of eight clips a split has run."""
    project = Project(tmp_path_factory.mktemp("clips") / "project")
    value = clips.study("clips", VARIANTS, {"tiny": {**TINY_MODEL, "tasks": ["detection"]}})
    project.study("clips", {**value, "evaluate": {"on": DIRECTIONS}})
    done = project.snakemake(config="clips")
    assert done.returncode == 0, done.stdout
    return project


def test_videos_are_kept_and_never_cut(run: Project) -> None:
    folder = run.folder / "anonymized" / "clips"
    variant = json.loads((folder / "frame-downsample-4x/annotations/train.json").read_text())
    assert len(variant["videos"]) == 8
    assert all("name" not in video for video in variant["videos"])
    of = {image["file_name"]: image["video_id"] for image in variant["images"]}
    for video in variant["videos"]:
        frames = [image["frame_index"] for image in variant["images"] if image["video_id"] == video["id"]]
        assert frames == list(range(clips.OPTIONS["frames"]))
    shards = []
    for path in sorted((folder / "private/frame-downsample-4x/manifests/train").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        shards.append({of[row["file_name"]] for row in rows if row["type"] == "image"})
    assert len(shards) == 2
    assert not shards[0] & shards[1]


def test_the_table_draws_videos_and_has_no_untouched_category(run: Project) -> None:
    table = pd.read_csv(run.folder / "results/tables/impact.csv", keep_default_na=False)
    assert set(table.sampled) == {"video"}
    assert set(table.samples) == {8}
    assert set(table.direction) == set(DIRECTIONS)
    assert set(table.variant) == set(VARIANTS)
    others = table[
        (table.variant == "frame-downsample-4x") & ~table.category.isin(["person", "rider", "all", "untouched"])
    ]
    assert set(others.group) <= {"touched"}
    changed = table[table.variant == "frame-downsample-4x"]
    assert set(changed.share_changed) == {1}
    assert set(changed.region) == {"frame"}


def test_the_evidence_is_by_video(run: Project) -> None:
    found = evidence.read(run.folder / "evaluations/clips/original/tiny/seed0/on-frame-downsample-4x/evidence.npz")
    detection = found["detection"]
    assert detection.sampled == "video"
    assert len(detection.groups) == 8
    for part in detection.parts.values():
        assert len(part["instances"]) == 8
        assert np.all(part["image"] < 8)


def test_the_page_says_who_was_tested_on_what(run: Project) -> None:
    page = (run.folder / "results/report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).replace("&#39;", "'").split())
    assert "tested on the variant's own images" in text
    assert "trained on the original images and tested on the variant's" in text
    assert "which nobody touched" not in text.split("Impact")[0], "whole frames leave no control"
