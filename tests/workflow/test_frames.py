"""Variants of whole frames through the workflow: rendered data, a method of an outside package, no regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench import images, manifests
from tests.fixtures.outside import install
from tests.workflow.conftest import TINY, Project

pytestmark = pytest.mark.slow

VARIANTS = ["frame-identity", "frame-blur-medium", "frame-downsample-4x", "frame-toy_codec-8"]


@pytest.fixture(scope="module", name="framed")
def _framed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which a study of frames was anonymized."""
    project = Project(tmp_path_factory.mktemp("framed") / "project")
    install(project.folder / "src")
    project.study("tiny", {**TINY, "variants": ["original", *VARIANTS]})
    jobs = project.jobs("variants")
    assert jobs["anonymize"] == 2 * (len(VARIANTS) + 2)
    assert "regions" not in jobs, "nobody asks who has a region"
    done = project.snakemake("variants")
    assert done.returncode == 0, done.stdout
    return project


def split_of(project: Project, variant: str) -> tuple[Path, dict[int, np.ndarray]]:
    """Return a variant's folder, and its pixels by image id, found by its own JSON."""
    out = project.folder / "anonymized" / "streetlife" / variant
    entries = json.loads((out / "annotations" / "train.json").read_text())["images"]
    return out, {e["id"]: images.read_rgb(out / "train" / e["file_name"]) for e in entries}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_frame_is_there_changed_and_verified(framed: Project, variant: str) -> None:
    _, before = split_of(framed, "original")
    out, after = split_of(framed, variant)
    summary = manifests.summary_of(out, "train")
    assert manifests.verify(out, "train") == summary["digest"]
    assert (summary["touches"], summary["images"]) == ("everything", {"encoded": 4, "copied": 0, "stripped": 0})
    assert before.keys() == after.keys()
    for image_id, pixels in before.items():
        assert pixels.shape == after[image_id].shape
        if variant == "frame-identity":
            assert np.abs(pixels.astype(int) - after[image_id]).mean() < 2
        else:
            assert (pixels != after[image_id]).mean() > 0.3
    rows = list(manifests.rows_of(out, "train"))
    done = "control" if variant == "frame-identity" else "anonymized"
    assert {row["status"] for row in rows if row["type"] in ("frame", "person")} == {done}
    truth = json.loads((framed.folder / "annotations" / "streetlife" / "train.json").read_text())
    people = {c["id"] for c in truth["categories"] if c["supercategory"] == "person"}
    expected = sorted(a["id"] for a in truth["annotations"] if a["category_id"] in people)
    assert sorted(row["person_id"] for row in rows if row["type"] == "person") == expected


def test_a_method_of_an_outside_package_says_facts_and_is_stored_losslessly(framed: Project) -> None:
    out, _ = split_of(framed, "frame-toy_codec-8")
    assert {Path(name).suffix for name in manifests.files_under(out / "train")} == {".png"}
    summary = manifests.summary_of(out, "train")
    assert summary["encoder"] == "lossless"
    frames: list[dict[str, Any]] = [row for row in manifests.rows_of(out, "train") if row["type"] == "frame"]
    assert [row["facts"]["bits"] for row in frames] == [5 * 256 * 192 * 3] * 4
    assert summary["facts_mean"]["bits"] == {"count": 4, "mean": 5 * 256 * 192 * 3}


def test_a_frame_variant_is_handed_out(framed: Project) -> None:
    done = framed.command(
        "anonbench", "export", "anonymized/streetlife/frame-downsample-4x", "--out", "release", "--strict"
    )
    assert done.returncode == 0, done.stdout
    sheet = json.loads((framed.folder / "release" / "datasheet.json").read_text())["splits"]["train"]
    assert (sheet["touches"], sheet["frames"]["anonymized"], sheet["share_changed"]) == ("everything", 4, 1)
    assert framed.command("sh", "-c", "cd release && sha256sum --check SHA256SUMS").returncode == 0
    done = framed.command("anonbench", "export", "anonymized/streetlife/frame-identity", "--out", "control")
    assert "is a control" in done.stdout


def test_another_setting_of_regions_writes_no_frame_again(framed: Project) -> None:
    framed.study("other", {**TINY, "variants": ["original", *VARIANTS], "regions": {"face": {"margin": 0.3}}})
    assert framed.jobs("variants", config="other") == {}


def test_a_region_that_a_method_cannot_do_stops_the_study_with_one_sentence(framed: Project) -> None:
    framed.study("wrong", {**TINY, "variants": ["original", "frame-gan"]})
    done = framed.snakemake("--dry-run", config="wrong")
    assert done.returncode != 0
    said = "gan does not work on the region 'frame' (it works on: body, face)"
    assert [line for line in done.stdout.splitlines() if said in line and line.startswith("error: ")]
    assert "Traceback" not in done.stdout
